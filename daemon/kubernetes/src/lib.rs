//! The Kubernetes target: how a cluster is asked, and what its answers mean.
//!
//! ```text
//! connect.rs: where, as whom ─→ call.rs: one request ─→ failure.rs: whose matter it is
//! kinds.rs, ask.rs: what is asked      fieldset.rs, owners.rs: who has which field of an object
//! ```
//!
//! What was applied is in sync as long as its fields are still ours: whoever changes, removes or takes one takes it
//! out of our set (`Owners::covers`).

mod act;
mod ask;
mod call;
mod compare;
mod compile;
mod connect;
mod environment;
mod facts;
mod failure;
mod fieldset;
mod kinds;
mod names;
mod object;
mod observe;
mod owners;
mod plain;
mod ports;
mod ready;

use std::sync::{Arc, atomic::AtomicU64};

use http::Uri;
use kube::Client;
use tokio::sync::Semaphore;
use trueup_engine::{Inflight, TargetError};

pub use ask::{About, Apply, Ask};
pub use call::Answer;
pub use connect::Connection;
pub use failure::ApiError;
pub use fieldset::FieldSet;
pub use kinds::Resource;
pub use object::{Gvk, Object};
pub use owners::{Hand, MANAGER, Other, Owners};

use kinds::Kinds;

/// How many requests one cluster has to answer at a time, whoever makes them.
const SIDE_BY_SIDE: usize = 64;

/// A Kubernetes cluster.
#[derive(Clone)]
pub struct Kubernetes(Arc<Inner>);

struct Inner {
    connection: Connection,
    client: Client,
    uri: Uri,
    kinds: Kinds,
    requests: AtomicU64,
    gate: Semaphore,
    inflight: Arc<Inflight>,
}

impl Kubernetes {
    /// Returns a handle to a cluster. Nothing is asked yet, but credentials must be there. It must be called inside of a
    /// Tokio runtime.
    pub fn connect(connection: &Connection) -> Result<Self, TargetError> {
        let (client, uri) = connection.client()?;
        Ok(Self(Arc::new(Inner {
            connection: connection.clone(),
            client,
            uri,
            kinds: Kinds::default(),
            requests: AtomicU64::new(0),
            gate: Semaphore::new(SIDE_BY_SIDE),
            inflight: Arc::default(),
        })))
    }

    fn inflight(&self) -> &Arc<Inflight> {
        &self.0.inflight
    }

    /// Returns how the cluster is reached.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Returns whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns what the cluster says of itself: `v1.37.0`.
    pub async fn version(&self) -> Result<String, TargetError> {
        let answer = self.call(&Ask::document("/version", "application/json")).await?;
        Ok(answer.object["gitVersion"].as_str().unwrap_or("of an unknown version").to_owned())
    }
}
