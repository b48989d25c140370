//! The resolved environment as people and other tools read it.
//!
//! The order is that of the names, every default is filled in, and a secret is shown by its reference.

use serde_json::Value;

use crate::Resolved;

/// Returns the whole resolved environment.
pub fn render(resolved: &Resolved) -> Value {
    serde_json::to_value(resolved).expect("every part of it has text keys")
}
