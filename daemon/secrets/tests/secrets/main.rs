//! Secrets with real keys, of age and of `ssh-keygen`, and real files.

mod commands;
mod editor;
mod keys;
mod opening;
mod person;
mod silence;
