//! What the YAML reader complains about, in words that say what to do.

use granit_parser::{ErrorKind, ScanError};

/// Returns whether an error is about a tab that indents.
pub(crate) fn is_tab(error: &ScanError) -> bool {
    use ErrorKind as E;
    matches!(
        error.kind(),
        E::TabNotAllowed | E::TabInBlockIndentation | E::TabInIndentation | E::TabInPlainScalar
    )
}

/// Returns the message and the help for an error of the reader.
pub(crate) fn explain(error: &ScanError) -> (String, Option<String>) {
    let found = brackets(error.kind()).or_else(|| texts(error.kind())).or_else(|| lines(error.kind()));
    match found {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (format!("this is no YAML: {}", error.info()), None),
    }
}

type Words = (&'static str, &'static str);

fn brackets(kind: &ErrorKind) -> Option<Words> {
    use ErrorKind as E;
    Some(match kind {
        E::UnclosedFlowCollection { .. }
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping => {
            ("the bracket is not closed", "close `[` with `]` and `{` with `}`")
        }
        E::ExpectedFlowMappingSeparator => {
            ("`,` or `}` is missing", "separate entries with `,` and close with `}`")
        }
        E::ExpectedFlowSequenceSeparator => {
            ("`,` or `]` is missing", "separate items with `,` and close with `]`")
        }
        E::MismatchedFlowCollectionEnd { .. } | E::MisplacedFlowCollectionEnd => {
            ("this bracket closes nothing", "close `[` with `]` and `{` with `}`")
        }
        E::RecursionLimitExceeded => ("maps and lists lie too deep in each other", "flatten the document"),
        E::InvalidColonPlacement | E::InvalidMappingValueWhitespace => {
            ("`:` is not allowed here", "close a `[` or `{` before it, or quote the text")
        }
        _ => return None,
    })
}

fn texts(kind: &ErrorKind) -> Option<Words> {
    use ErrorKind as E;
    Some(match kind {
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar => {
            ("the quoted string is not closed", "close it with the same quote on this line")
        }
        E::UnknownQuotedScalarEscape | E::InvalidQuotedScalarHexEscape | E::InvalidUnicodeEscape => (
            "this escape is not known in a double-quoted string",
            "use single quotes, or write `\\\\` for a backslash",
        ),
        E::UnexpectedCharacter { character: '%' | '@' | '`' } => {
            ("a text cannot start with this character", "quote the text")
        }
        E::UndeclaredTagHandle => ("this tag is not supported", "quote a text that starts with `!`"),
        E::UnknownAnchor => (
            "no anchor of this name stands before it",
            "define it with `&name` before `*name`, or quote the text",
        ),
        E::ExpectedNodeContent => {
            ("a value is missing here", "quote a text that starts with a special character")
        }
        E::CommentNotSeparated => {
            ("`#` needs a space before it", "put a space before the comment, or quote the text")
        }
        E::BomInsideDocument => ("a byte-order mark stands inside the document", "remove it"),
        _ => return None,
    })
}

fn lines(kind: &ErrorKind) -> Option<Words> {
    use ErrorKind as E;
    Some(match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabInPlainScalar
        | E::TabAtBlockScalarStart => ("a tab cannot indent", "indent with spaces"),
        E::MappingValueNotAllowed => {
            ("`:` is not allowed here", "indent a key like its neighbours; quote a text that holds `: `")
        }
        E::ExpectedBlockMappingKey | E::InvalidIndentation => {
            ("this line does not fit the indentation around it", "indent it like its neighbours")
        }
        E::SimpleKeyExpected | E::InvalidSimpleKey => {
            ("`:` is missing after the key", "write `key: value`; quote a text that goes over several lines")
        }
        E::ExpectedBlockSequenceEntry | E::BlockSequenceEntryNotAllowed => {
            ("a list item does not fit here", "start every item with `- ` in the same column")
        }
        E::DirectiveDisallowed => {
            ("YAML directives are not supported", "remove the line that starts with `%`")
        }
        _ => return None,
    })
}
