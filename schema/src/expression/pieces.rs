//! Where the expressions of a text are.

/// How expressions are marked off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delimiters<'a> {
    pub(crate) open: &'a str,
    pub(crate) close: &'a str,
}

impl Delimiters<'static> {
    /// `${` and `}`; `$${` stands for a plain `${`.
    pub(crate) const DEFAULT: Self = Self { open: "${", close: "}" };
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text that stays as it is.
    Plain(&'a str),
    /// An expression, without its delimiters; it starts so many bytes after the start of the text.
    Expression { source: &'a str, start: usize },
}

/// An expression that is not closed; its delimiter is so many bytes after the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclosed(pub(crate) usize);

/// Splits a text into plain parts and expressions.
///
/// Closing delimiters inside of quotes or brackets belong to the expression.
pub(crate) fn split<'a>(text: &'a str, delimiters: Delimiters<'_>) -> Result<Vec<Piece<'a>>, Unclosed> {
    let escapes = delimiters.open == "${";
    let mut pieces = Vec::new();
    let mut plain = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find(delimiters.open) {
        let at = from + found;
        let start = at + delimiters.open.len();
        if escapes && text[plain..at].ends_with('$') {
            // Of `$${` the first `$` is left out.
            pieces.push(Piece::Plain(&text[plain..at - 1]));
            pieces.push(Piece::Plain(&text[at..start]));
            (plain, from) = (start, start);
            continue;
        }
        let length = closing(&text[start..], delimiters.close).ok_or(Unclosed(at))?;
        pieces.push(Piece::Plain(&text[plain..at]));
        pieces.push(Piece::Expression { source: &text[start..start + length], start });
        plain = start + length + delimiters.close.len();
        from = plain;
    }
    pieces.push(Piece::Plain(&text[plain..]));
    pieces.retain(|piece| *piece != Piece::Plain(""));
    Ok(pieces)
}

/// Returns where the closing delimiter is: the first one outside of quotes and brackets.
fn closing(text: &str, close: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if depth == 0 && text[at..].starts_with(close) => return Some(at),
            None => match c {
                '"' | '\'' => quote = Some(c),
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match split(text, Delimiters::DEFAULT) {
            Err(Unclosed(at)) => format!("unclosed at {at}"),
            Ok(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Plain(plain) => plain.to_string(),
                    Piece::Expression { source, start } => format!("<{source}@{start}>"),
                })
                .collect(),
        }
    }

    #[test]
    fn expressions_end_at_their_own_bracket() {
        assert_eq!(show("a ${b} c"), "a <b@4> c");
        assert_eq!(show("${ {'a': 1}['a'] }${x}"), "< {'a': 1}['a'] @2><x@20>");
        assert_eq!(show("${'}' ~ \"\\\"}\"}"), "<'}' ~ \"\\\"}\"@2>");
        assert_eq!(show("a ${b"), "unclosed at 2");
        assert_eq!(show("$ {x} $x"), "$ {x} $x");
    }

    #[test]
    fn a_doubled_dollar_is_a_plain_one() {
        assert_eq!(show("$${HOME} ${b}"), "${HOME} <b@11>");
        assert_eq!(show("$$${b}"), "$${b}");
    }

    #[test]
    fn delimiters_can_be_chosen() {
        let pieces = split("${x} @{y}@", Delimiters { open: "@{", close: "}@" }).unwrap();
        assert_eq!(pieces, [Piece::Plain("${x} "), Piece::Expression { source: "y", start: 7 }]);
    }
}
