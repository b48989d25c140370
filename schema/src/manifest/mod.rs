//! The three kinds of document: [`RepositorySpec`], [`EnvironmentSpec`] and [`ComponentSpec`].
//!
//! These types are the single description of the format: the reader, the JSON Schema and its
//! descriptions come from them. Every field that may be left out has its documented default here.

mod component;
mod environment;
mod quantity;
mod repository;

pub use component::{
    Access, ComponentSpec, Connect, Dependency, DockerSpec, FileSpec, Health, HttpProbe, Lifecycle, LogSpec,
    MAX_STOP_GRACE, MissedRuns, PortRef, PortSpec, Protocol, Pull, Requirement, Rerun, Resources, Restart,
    RollbackPolicy, SecretSpec, TcpProbe, Ulimit, Until, Update, VolumeSpec, Workload,
};
pub use environment::{
    Class, Encryption, EnvironmentSpec, Foreign, RollbackWhen, Sync, SyncMode, TargetRef, ZoneSpec,
};
pub use quantity::{Bytes, Cpu, InvalidQuantity, Percent, Publish, Span};
pub use repository::RepositorySpec;

/// The only `apiVersion` there is.
pub const API_VERSION: &str = "trueup.dev/v1";
