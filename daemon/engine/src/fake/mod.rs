//! A target and a store in memory, with faults and crashes on demand.
//!
//! After a crash nothing is answered any more, as if the process had died: the test drops what it
//! runs, calls [`Power::restore`] and recovers.

mod compile;
mod memory;
mod power;
mod world;

pub use compile::rules;
pub use memory::{Memory, MemoryLease};
pub use power::Power;
pub use world::{Strike, Thing, Trouble, World};
