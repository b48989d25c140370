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
