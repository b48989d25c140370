//! The manifests: what a user writes, read strictly, layered and computed.
//!
//! Everything here is pure. Files come from a [`Snapshot`]; every value knows the file, line and
//! column that it came from; all problems of a repository are reported together.
//!
//! ```text
//! Snapshot --load--> Catalogue --resolve(environment)--> Resolved --deliver(secrets)--> Materials
//! ```

mod catalogue;
mod compute;
mod conform;
mod context;
mod deliver;
mod document;
mod explain;
mod expression;
mod folder;
mod json_schema;
mod limits;
mod located;
pub mod manifest;
pub mod material;
mod merge;
pub mod names;
mod objects;
pub mod place;
pub mod problems;
mod read;
mod render;
pub mod report;
mod resolve;
pub mod resolved;
mod rules;
pub mod secret;
mod shape;
mod shelf;
pub mod snapshot;
pub mod suggest;
mod template;
mod yaml;

pub use catalogue::{Cache, Catalogue, load, load_with};
pub use deliver::Opened;
pub use explain::{ExplainError, Explanation, Layer, LayerKind, explain};
pub use json_schema::json_schema;
pub use limits::Limits;
pub use material::{Content, ContentDigest, Materials};
pub use names::{
    ComponentName, EnvironmentName, NamespaceName, PortName, RepoPath, SourceName, TargetId, TargetName,
    VolumeName, ZoneName,
};
pub use objects::PlainObject;
pub use place::{Place, Places};
pub use problems::Problems;
pub use read::read;
pub use render::render;
pub use report::{Problem, Report, Severity};
pub use resolved::{DeliveredFile, Deliveries, Endpoint, Resolved, ResolvedComponent, SecretRef, Subnet};
pub use secret::{DigestKey, Secret};
pub use snapshot::{Files, Revision, Snapshot};
