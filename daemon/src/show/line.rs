//! What others wrote, without anything that moves a cursor: a reason, a commit, an engine's or a program's words.

use trueup_plan::render::{Style, progress::text};

/// Returns it as one line.
pub(crate) fn one_line(said: &str) -> String {
    text(&said.replace(['\n', '\r', '\t'], " "), &Style::default())
}

/// Returns its lines.
pub(crate) fn lines(said: &str) -> String {
    said.lines().map(one_line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_that_others_wrote_moves_the_cursor() {
        let said = "a\u{1b}[2J\tb\r\nc\u{7}";
        assert_eq!(super::one_line(said), "a\u{fffd}[2J b  c\u{fffd}");
        assert_eq!(super::lines(said), "a\u{fffd}[2J b\nc\u{fffd}");
    }
}
