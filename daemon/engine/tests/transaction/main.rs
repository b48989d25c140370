//! Runs on a world in memory, with a failure and a crash at each point in turn.
//!
//! After a failure everything is as it was; after a crash and a recovery everything is as it was or as
//! it was to be; nothing that was set aside is ever left.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod bench;
mod crash;
mod failure;
mod planner;
mod sketch;
mod supersede;
