//! Plans as people see them: desired, live equal to it, one thing mutated, the printed plan.

mod guards;
mod order;
mod printed;
mod properties;
mod world;
