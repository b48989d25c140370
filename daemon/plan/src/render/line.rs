//! One line: parts with a meaning, and a place at its right end.

use super::style::{Paint, Style};

/// One line that is not drawn yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    parts: Vec<(Paint, String)>,
    right: Option<String>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(super) fn add(mut self, text: impl Into<String>) -> Self {
        self.parts.push((Paint::Plain, text.into()));
        self
    }

    #[must_use]
    pub(super) fn paint(mut self, paint: Paint, text: impl Into<String>) -> Self {
        self.parts.push((paint, text.into()));
        self
    }

    #[must_use]
    pub(super) fn right(mut self, text: Option<String>) -> Self {
        self.right = text;
        self
    }

    /// Writes the line and its end. What stands at the right follows after two spaces where it does not fit.
    pub(super) fn draw(&self, style: &Style, to: &mut String) {
        let mut used = 0;
        for (paint, text) in &self.parts {
            let text = if style.ascii { ascii(text) } else { text.clone() };
            used += text.chars().count();
            write(to, style, *paint, &text);
        }
        if let Some(right) = &self.right {
            let right = if style.ascii { ascii(right) } else { right.clone() };
            let gap = style.width.saturating_sub(used + right.chars().count()).max(2);
            to.push_str(&" ".repeat(gap));
            write(to, style, Paint::Dim, &right);
        }
        to.truncate(to.trim_end_matches(' ').len());
        to.push('\n');
    }
}

fn write(to: &mut String, style: &Style, paint: Paint, text: &str) {
    match paint.code().filter(|_| style.color && !text.is_empty()) {
        Some(code) => to.extend([code, text, "\x1b[0m"]),
        None => to.push_str(text),
    }
}

pub(super) fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}
