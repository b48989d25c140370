//! How a text is drawn: colours, symbols, width.
//!
//! Everything is understood without colour, and with ASCII alone.

/// How a text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are written.
    pub color: bool,
    /// Whether only ASCII is written; other characters of names and texts become `?`.
    pub ascii: bool,
    /// The width to align to, in columns.
    pub width: usize,
}

impl Default for Style {
    /// Plain, with symbols, 100 columns.
    fn default() -> Self {
        Self { color: false, ascii: false, width: 100 }
    }
}

impl Style {
    pub(super) fn marks(self) -> Marks {
        if self.ascii {
            Marks { dot: " - ", arrow: "->", ellipsis: "..", cross: "x", tick: "+" }
        } else {
            Marks { dot: " · ", arrow: "→", ellipsis: "…", cross: "✗", tick: "✓" }
        }
    }
}

/// The symbols that are not ASCII.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) dot: &'static str,
    pub(super) arrow: &'static str,
    pub(super) ellipsis: &'static str,
    pub(super) cross: &'static str,
    pub(super) tick: &'static str,
}

/// What a part of a line means; the colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Created,
    Changed,
    Deleted,
    Dim,
    Strong,
}

impl Paint {
    /// Returns the ANSI code that switches it on; none for what is written as it is.
    pub(super) fn code(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::Created => "\x1b[32m",
            Self::Changed => "\x1b[33m",
            Self::Deleted => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Strong => "\x1b[1m",
        })
    }
}
