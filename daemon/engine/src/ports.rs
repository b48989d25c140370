//! The outside world, as the engine sees it. Reading and writing are different traits, so that a
//! preview, which is given no writer, cannot change anything.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Act, Applied, Desired, Live, Plan, ResourceId, Step};
use trueup_schema::{
    ComponentName, Deliveries, DigestKey, EnvironmentName, Materials, Report, Resolved, Snapshot, SourceName,
};

use crate::{EnvKey, TargetError, notice::Change};

/// Who an environment is, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The store that drives it: the `owner` label.
    pub store: String,
    /// The operator's name of the source.
    pub source: SourceName,
    /// The environment's name.
    pub environment: EnvironmentName,
    /// The random uid from its first apply: 16 hexadecimal digits.
    pub uid: String,
}

/// The number of a run, unique in its store: shown as `41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where desired state comes from.
pub trait Source: Send + Sync {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the newest revision of the branch or tag.
    fn fetch(&self) -> impl Future<Output = Result<Snapshot, Self::Error>> + Send;
}

/// What a revision wants, before it is put into the target's words.
pub struct Wanted {
    /// The environment, layered and computed.
    pub resolved: Resolved,
    /// What each component gets delivered, by digest.
    pub deliveries: BTreeMap<ComponentName, Deliveries>,
    /// The bytes behind the digests.
    pub materials: Materials,
    /// The key of the digests in `deliveries`: live values are compared by the same.
    pub digest_key: DigestKey,
    /// The input digests of the jobs that have succeeded before.
    pub jobs_done: std::collections::BTreeSet<String>,
    /// What was applied last: its kinds are looked for where nothing of them is declared any more.
    pub before: Option<Arc<Applied>>,
}

/// Reads a target. Holds nothing that writes.
pub trait Observe: Send + Sync {
    /// Returns what runs of the environment, and everything that [`Observe::compile`] needs to know.
    fn observe(
        &self,
        identity: &Identity,
        wanted: &Wanted,
    ) -> impl Future<Output = Result<Live, TargetError>> + Send;

    /// Returns what is wanted in the target's words. Pure: addresses and image ids come from `live`.
    fn compile(&self, identity: &Identity, wanted: &Wanted, live: &Live) -> Result<Desired, Report>;
}

/// Hears what happens at a target, so that it need not be polled.
pub trait Watch: Send + Sync {
    /// Keeps what is known of the target current until `cancel`. One task a target does it.
    fn follow(&self, cancel: &CancellationToken) -> impl Future<Output = ()> + Send;

    /// Waits for changes that [`Watch::follow`] hears of; returns the environments that should be looked at.
    fn changed(&self) -> impl Future<Output = BTreeMap<EnvKey, Change>> + Send;

    /// Forgets an environment that is looked at no more. One that is looked at again begins anew.
    fn forget(&self, env: &EnvKey);

    /// Returns whether the target's events are heard.
    fn hears_events(&self) -> bool;

    /// Returns how many requests were sent to the target, those for its events included.
    fn requests(&self) -> u64;
}

/// An environment that a target has, as its labels tell it. A store that takes over its uid and owner
/// drives it from then on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoptable {
    /// The store that drives it.
    pub owner: String,
    /// Its uid.
    pub uid: String,
    /// The operator's name of its source.
    pub source: String,
    /// What is there of it, by name.
    pub things: Vec<String>,
    /// The highest run that created something of it: the next one must be higher.
    pub last_run: i64,
}

/// What a person does with a whole environment, beside its manifests.
pub trait Estate: Send + Sync {
    /// Returns the environments of that name which the target has, by uid.
    fn adoptable(
        &self,
        environment: &EnvironmentName,
    ) -> impl Future<Output = Result<Vec<Adoptable>, TargetError>> + Send;

    /// Returns the names of an environment's volumes.
    fn volumes(&self, identity: &Identity) -> impl Future<Output = Result<Vec<String>, TargetError>> + Send;

    /// Removes everything of an environment; its volumes only when that is said.
    fn destroy(
        &self,
        identity: &Identity,
        with_volumes: bool,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;
}

/// Where the progress of a run is told: a terminal, a log.
pub trait Progress: Send + Sync {
    /// A step is doing something that may take long: `pulled 12 of 42 MiB`, `waiting for tcp 5432`.
    fn tell(&self, resource: &ResourceId, text: &str);

    /// A run begins.
    fn planned(&self, _run: RunId, _plan: &Plan) {}

    /// A step begins.
    fn begun(&self, _step: &Step) {}

    /// A step ended, after so long; with its error when it failed or was cut short.
    fn ended(&self, _step: &Step, _took: Duration, _error: Option<&TargetError>) {}

    /// A step was taken back, after so long; with the error when it could not be.
    fn undone(&self, _step: &Step, _took: Duration, _error: Option<&TargetError>) {}
}

/// What every act of one run shares.
#[derive(Clone)]
pub struct RunContext {
    /// The environment.
    pub identity: Identity,
    /// The run.
    pub run: RunId,
    /// The bytes behind the digests of the plan; of the last applied revision when it is undone.
    pub materials: Arc<Materials>,
    /// Says that the run should end.
    pub cancel: CancellationToken,
    /// Where progress is told.
    pub progress: Arc<dyn Progress>,
}

/// Writes to a target. Every call is idempotent: after a crash it is made again.
pub trait Execute: Send + Sync {
    /// Checks what can be checked before anything is touched: ports, subnets, names, capacity.
    fn preflight(
        &self,
        run: &RunContext,
        plan: &Plan,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Does one act. Refuses, as [`crate::Blame::Moved`], when what it expects no longer holds.
    fn execute(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Takes one act back that was done, or only begun. Trusts what it observes.
    fn undo(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;

    /// Removes what an act kept for its undo, once the whole run is committed.
    fn finish(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> impl Future<Output = Result<(), TargetError>> + Send;
}
