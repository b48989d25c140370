//! The source against real repositories, made by the `git` program, and real HTTP.

mod hostile;
mod local;
mod remote;
mod repository;
mod server;
mod watch;
