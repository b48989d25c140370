//! Plans as people see them: desired, live equal to it, one thing mutated, the printed plan.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod guards;
mod order;
mod printed;
mod properties;
mod rolling;
mod world;
