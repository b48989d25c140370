//! Secrets: age files opened in memory, and the commands that write them.
//!
//! This is the only place where plaintext exists. It lives in [`trueup_schema::Secret`] or in buffers
//! that are overwritten when they are dropped; it never reaches a disk, a log or an error. Errors
//! about the content of a secret file name a line or a key, never what stands there.
//!
//! ```text
//! key files --Identities--+
//!                         +--open--> content (YAML, dotenv, raw) --> Secret, one a reference
//! age files --------------+
//! ```

pub mod check;
mod content;
mod disk;
pub mod edit;
mod envelope;
pub mod error;
pub mod identity;
pub mod open;
pub mod process;
pub mod recipient;
pub mod write;

pub use check::{Access, Readers, Verdict, check};
pub use edit::{Edited, edit};
pub use error::Error;
pub use identity::Identities;
pub use open::open;
pub use process::forbid_core_dumps;
pub use recipient::Recipients;
pub use write::{Generate, create_missing, encrypt, generate, init, rekey, view};
