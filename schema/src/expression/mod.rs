//! Computed values: `${...}` in a manifest's string or in a delivered file.
//!
//! The language is that of minijinja's expressions, with fuel and without I/O; there are no statements.
//! What it can read is a [`Scope`]. A name that does not exist is an error, and whether a secret was
//! touched is always known.
//!
//! | name | what it is |
//! |---|---|
//! | `variables.<name>` | a variable of the environment |
//! | `environment.name`, `.class`, `.domain` | the environment |
//! | `self.<field>` | the component's own fields; sizes in bytes, processors as a number, `ports.<name>` by name |
//! | `connects.<component>.<port>.host`, `.port`, `.url` | an endpoint that it declares in `connects` |
//! | `secrets.<name>` | one of its secrets, in files with `template: true` only |
//!
//! Filters: see [`filters`]. `$${` is a plain `${`.

mod engine;
mod filters;
mod pieces;
mod scope;

pub(crate) use engine::{Engine, Failure};
pub(crate) use pieces::{Delimiters, Piece, split};
pub(crate) use scope::{Scope, Tree};
