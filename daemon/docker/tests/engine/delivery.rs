//! Placeholder.
use crate::Test;
pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    Vec::new()
}
