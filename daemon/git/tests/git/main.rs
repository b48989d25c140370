//! The source against real repositories, made by the `git` program, and real HTTP.

#![expect(clippy::unwrap_used, reason = "what a test needs is there, or the test fails")]

mod hostile;
mod local;
mod remote;
mod repository;
mod server;
mod watch;
