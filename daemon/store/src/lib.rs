//! What trueup remembers, in one `SQLite` file beside its key and its leases.
//!
//! A write is answered when it is durable; writes that come at the same moment share one sync. Nothing
//! in the folder is a secret in plaintext: the file holds digests, and Git blobs as they are in Git.
//!
//! ```text
//! /var/lib/trueup/  store.db  the store           digest.key  the key of the digests of secrets
//!                   leases/   one lock an environment    reserve  given up when the disk is full
//!                   in-use    locked while it is open    decisions  written when a person has decided something
//! ```
//!
//! A damaged file is refused where the damage is met, and left as it is. After an unclean end, who opens the
//! file first reads all of it before anything else.

mod applied;
mod crons;
mod decisions;
mod environments;
mod folder;
mod holds;
mod inspect;
mod layout;
mod lease;
mod runs;
mod seen;
mod sql;
mod sqlite;
mod worker;

pub use decisions::Decisions;
pub use folder::COMFORT;
pub use inspect::{Inspection, inspect};
pub use lease::Lease;
pub use sqlite::Sqlite;
