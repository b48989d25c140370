//! How a text is drawn: colours, symbols, width.
//!
//! Everything is understood without colour, and with ASCII alone.

/// How a text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are written.
    pub color: bool,
    /// Whether only ASCII is written.
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
