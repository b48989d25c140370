//! Git as a source of desired state, read as objects and never as a checkout.
//!
//! Every read is bounded in bytes, files, depth and time; no program is run; no configuration but
//! our own is read; a token never reaches an address, a log or an error.
//!
//! ```text
//! local path, file://  --opened in place------------+
//!                                                   +--> commit --> tree --> Snapshot
//! http(s)://           --fetch--> mirror (bare) ----+
//! ```

mod budget;
mod commit;
pub mod config;
pub mod error;
mod files;
mod history;
mod mirror;
mod remote;
mod repository;
pub mod source;
pub mod watch;
pub mod worktree;

pub use config::{Limits, Location, Reference, SourceConfig};
pub use error::{Error, Kind};
pub use repository::discover;
pub use source::GitSource;
pub use watch::Watch;
pub use worktree::worktree;
