//! Dies on purpose at one write of the journal, to show that a crash anywhere is safe.
//!
//! Off unless `TRUEUP_CRASH_AT` is set; then it is read once, when a store is opened. For tests only.

use std::{fmt, str::FromStr};

/// The environment variable that sets a [`CrashPoint`]: `7:before` or `7:after`.
pub const CRASH_AT: &str = "TRUEUP_CRASH_AT";

/// At which write of the journal the process dies. Begin, lines, commit and end of all runs count,
/// from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// Which write.
    pub write: u64,
    /// On which side of it.
    pub side: Side,
}

/// On which side of a durable write something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Before anything of it is durable.
    Before,
    /// When it is durable, but before anybody was told.
    After,
}

/// Why a text is no [`CrashPoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a crash point: write a number, then `:before` or `:after`")]
pub struct InvalidCrashPoint(String);

impl FromStr for CrashPoint {
    type Err = InvalidCrashPoint;
    fn from_str(text: &str) -> Result<Self, InvalidCrashPoint> {
        let invalid = || InvalidCrashPoint(text.to_owned());
        let (write, side) = text.split_once(':').ok_or_else(invalid)?;
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return Err(invalid()),
        };
        Ok(Self { write: write.parse().map_err(|_| invalid())?, side })
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Before { "before" } else { "after" };
        write!(f, "{}:{side}", self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_point_reads_as_it_is_written() {
        for text in ["1:before", "12:after"] {
            assert_eq!(text.parse::<CrashPoint>().unwrap().to_string(), text);
        }
        assert!("7".parse::<CrashPoint>().is_err());
        assert!("x:before".parse::<CrashPoint>().is_err());
        assert!("7:during".parse::<CrashPoint>().is_err());
    }
}
