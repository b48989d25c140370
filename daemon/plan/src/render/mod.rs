//! A plan as people and programs read it. All three forms carry the same facts.

mod field;
mod group;
mod json;
mod line;
mod markdown;
pub mod progress;
mod style;
mod text;
pub(crate) mod value;
mod words;

pub use json::{API_VERSION, json};
pub use markdown::markdown;
pub use style::Style;
pub use text::text;

/// Returns the value of the field at `path` on one line: digests cut short, bytes in their unit.
pub fn value_of(path: &str, value: &serde_json::Value, style: Style) -> String {
    value::of_field(path, value, style.marks().ellipsis)
}
