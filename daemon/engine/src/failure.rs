//! What went wrong at a target, and whose matter it is.

use std::fmt;

/// Whose matter a failure is. It decides whether it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The manifest: the same commit fails again.
    Manifest,
    /// The target: registry, port, subnet, disk, engine. Tried again with back-off.
    Target,
    /// The target does not answer: nobody's doing, so nothing is held for it. Tried again with back-off.
    Away,
    /// The world moved since the plan was made. Planned again.
    Moved,
    /// A person or a signal asked to stop.
    Cancelled,
    /// The step's time was up.
    TimedOut,
}

/// A failure of one call to a target, with what a person needs to understand it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TargetError {
    /// Whose matter it is.
    pub blame: Blame,
    /// What went wrong, in one line, with the name of the thing: `haproxy was not healthy within 30s`.
    pub message: String,
    /// What lies behind it, outermost first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// The last lines of the log of what failed, redacted.
    pub log: Vec<String>,
}

impl TargetError {
    /// Returns a failure with a message alone.
    pub fn new(blame: Blame, message: impl Into<String>) -> Self {
        Self { blame, message: message.into(), causes: Vec::new(), help: None, log: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what lies behind it.
    #[must_use]
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Returns the message and the outermost of what lies behind it, for a place that has one line.
    pub fn one_line(&self) -> String {
        match self.causes.first() {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        }
    }
}

impl std::error::Error for TargetError {}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
