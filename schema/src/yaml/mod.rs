//! YAML, read strictly into values with places.
//!
//! The only place that knows the YAML reader. What the reader accepts is YAML 1.2 with its core schema,
//! less what surprises: duplicate keys are errors, `yes` and `on` are strings, `012` and `1_000` are
//! strings, an unknown tag is an error, and nothing grows beyond [`crate::Limits`].

mod build;
mod node;
mod scalar;
mod syntax;

pub(crate) use build::read;
pub(crate) use node::{Entry, Layout, Mark, Node, Source, Text, Value, holds_a_key};
pub(crate) use scalar::resolve as plain_scalar;
