//! Problems in manifests: each with its place, its source line and what to do about it.

use std::fmt;

use serde::Serialize;

use crate::{Place, RepoPath};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// It can be used, but probably not as meant.
    Warning,
}

/// One mistake in a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where it is; the whole file when nothing better is known (line 1, column 1).
    pub place: Place,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong: lower case, values in backticks, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The source line, without its end; `None` for what has no text. Never a line of a secret file.
    pub source_line: Option<String>,
    /// How many characters to underline, at least 1.
    pub width: u32,
}

/// All problems of a repository, sorted by place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The problems.
    pub problems: Vec<Problem>,
    /// How many files were read.
    pub files: usize,
}

impl Report {
    /// Returns a report of one problem of a whole file.
    pub fn of_file(file: RepoPath, message: impl Into<String>, help: impl Into<String>) -> Self {
        let place = Place { file, line: 1, column: 1 };
        let problem = Problem {
            place,
            severity: Severity::Error,
            message: message.into(),
            help: Some(help.into()),
            source_line: None,
            width: 1,
        };
        Self { problems: vec![problem], files: 1 }
    }

    /// Returns a report of these problems by their places, each once.
    pub fn sorted(mut problems: Vec<Problem>, files: usize) -> Self {
        problems.sort();
        problems.dedup_by(|a, b| a.place == b.place && a.severity == b.severity && a.message == b.message);
        Self { problems, files }
    }

    /// Returns whether at least one problem is an error.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{word}: {}: {}", self.place, printable(&self.message))?;
        let number = self.place.line.to_string();
        let margin = " ".repeat(number.len());
        if let Some(line) = &self.source_line {
            let indent = " ".repeat(self.place.column.saturating_sub(1) as usize);
            let marks = "^".repeat(self.width.max(1) as usize);
            writeln!(f, "{margin} |\n{number} | {}\n{margin} | {indent}{marks}", printable(line))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{margin} = help: {}", printable(help))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let count = |severity| self.problems.iter().filter(|p| p.severity == severity).count();
        write!(
            f,
            "{}, {} in {}",
            plural(count(Severity::Error), "error"),
            plural(count(Severity::Warning), "warning"),
            plural(self.files, "file")
        )
    }
}

/// Returns a text without what a terminal would obey, each such character as one `�`, so that columns
/// stay; a tab as one space.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |c: char| match c {
        '\t' => ' ',
        c if hidden(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let mut report = Report::of_file("a.yaml".parse().unwrap(), "x\u{1b}[31m\u{202e}y", "z\0");
        report.problems[0].source_line = Some("\ta: \u{1b}".into());
        let printed = report.to_string();
        assert!(!printed.contains(['\u{1b}', '\u{202e}', '\0', '\t']), "{printed:?}");
        assert!(printed.contains("1 |  a: \u{fffd}"), "{printed}");
    }
}
