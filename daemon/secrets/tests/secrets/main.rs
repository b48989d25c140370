//! Secrets with real keys, of age and of `ssh-keygen`, and real files.

#![expect(clippy::unwrap_used, reason = "what a test needs is there, or the test fails")]

mod commands;
mod editor;
mod keys;
mod opening;
mod person;
mod silence;
