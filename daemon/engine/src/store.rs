//! What must outlive the process: identities, leases, the journal, history, holds.
//!
//! A method that writes returns when the write is durable. The second implementation in sight is a
//! shared database for several replicas; tests use one in memory.

use std::{collections::BTreeMap, collections::BTreeSet, error::Error, fmt, future::Future, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Applied, Plan, ResourceId};
use trueup_schema::{ContentDigest, DigestKey, EnvironmentName, Revision, SourceName, snapshot::MemoryFiles};

use crate::{
    Identity, RunId,
    record::{
        AppliedRevision, Audit, Commit, Ended, Entry, EnvKey, Hold, KeptRevision, Logged, NewRun,
        Observation, RunRecord, Suspended, Unfinished,
    },
};

/// What lies behind a failure of a store.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder could not be opened.
    #[error("cannot open the store `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The file is damaged. It is left as it is.
    #[error("the store `{path}` is damaged and was left as it is: {detail}")]
    FindDamaged {
        /// The file.
        path: PathBuf,
        /// The first things that are wrong.
        detail: String,
    },
    /// The file was written by a newer version.
    #[error("the store `{path}` has layout {found}, and this version knows only up to {known}")]
    FindNewer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest layout that this version knows.
        known: i64,
    },
    /// The disk is full.
    #[error("the disk of the store `{path}` is full")]
    FindFull {
        /// The file.
        path: PathBuf,
    },
    /// Something could not be read.
    #[error("cannot read {what} from the store")]
    Read {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Something could not be written.
    #[error("cannot write {what} to the store")]
    Write {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Somebody else holds the environment.
    #[error("{0}")]
    Lease(#[from] HeldBy),
    /// The wait for a lease was cancelled.
    #[error("stopped waiting for the lease of `{env}`")]
    Cancelled {
        /// The environment.
        env: EnvKey,
    },
}

impl StoreError {
    /// Returns what to do about it, where that is known.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::FindDamaged { .. } => Some(
                "containers keep running; move the file away or restore a copy, then run `trueup env adopt`",
            ),
            Self::FindNewer { .. } => Some("install the version of trueup that wrote it, or a newer one"),
            Self::FindFull { .. } => Some("free some space; what was begun is finished after that"),
            Self::Lease(_) => Some("wait for it to end, or try again with `--wait`"),
            Self::Open { .. } => Some("the folder must exist and belong to the user who runs trueup"),
            Self::Read { .. } | Self::Write { .. } | Self::Cancelled { .. } => None,
        }
    }
}

/// Who takes a lease, for the message that others read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it does, as people read it: `the daemon`, `trueup apply by anna`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

impl Holder {
    /// Returns this process as a holder, since now.
    pub fn here(what: impl Into<String>) -> Self {
        Self { pid: std::process::id(), what: what.into(), since: Timestamp::now() }
    }
}

/// The environment is held by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct HeldBy {
    /// The environment.
    pub env: EnvKey,
    /// Who holds it; none in the moment between its lock and its name.
    pub holder: Option<Holder>,
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(Holder { pid, what, .. }) => {
                write!(f, "`{}` is held by {what} (process {pid})", self.env)
            }
            None => write!(f, "`{}` is held by another process", self.env),
        }
    }
}

/// What is known of an environment whose store was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// The uid on its resources.
    pub uid: String,
    /// The digests of the inputs of jobs that count as done.
    pub jobs_done: BTreeSet<String>,
    /// The highest run that created one of its resources: runs go on above it.
    pub last_run: i64,
}

/// Which runs history shows, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of one environment only.
    pub env: Option<EnvKey>,
    /// Older than this run only: the next page.
    pub before: Option<RunId>,
    /// Begun at that time or later only.
    pub since: Option<Timestamp>,
    /// At most so many; none for all.
    pub limit: Option<u32>,
}

/// What must outlive the process.
pub trait Store: Send + Sync {
    /// The right to change an environment. It ends when this is dropped or the process dies.
    type Lease: Send + Sync + fmt::Debug;

    /// Returns the store's random id, 8 hexadecimal digits: the `owner` label.
    fn id(&self) -> &str;

    /// Returns the key of the digests that stand for secrets.
    fn digest_key(&self) -> &DigestKey;

    // --- environments

    /// Returns who the environment is; `None` before its first apply.
    fn identity(&self, env: &EnvKey) -> impl Future<Output = Result<Option<Identity>, StoreError>> + Send;

    /// Returns who the environment is, and gives it a random uid when it has none.
    fn establish(&self, env: &EnvKey) -> impl Future<Output = Result<Identity, StoreError>> + Send;

    /// Gives the environment the uid that was found on its resources.
    fn adopt(
        &self,
        env: &EnvKey,
        found: &Adoption,
    ) -> impl Future<Output = Result<Identity, StoreError>> + Send;

    /// Forgets the environment, all but its history and audit. Its name may come back, as another one.
    fn forget(
        &self,
        lease: &Self::Lease,
        env: &EnvKey,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns every environment that has a uid.
    fn environments(&self) -> impl Future<Output = Result<Vec<Identity>, StoreError>> + Send;

    // --- leases

    /// Takes the right to change the environment, or says who has it ([`StoreError::Lease`]).
    fn lease(
        &self,
        env: &EnvKey,
        holder: &Holder,
    ) -> impl Future<Output = Result<Self::Lease, StoreError>> + Send;

    /// Takes the right to change the environment as soon as nobody else has it.
    fn lease_wait(
        &self,
        env: &EnvKey,
        holder: &Holder,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<Self::Lease, StoreError>> + Send;

    /// Returns who has the right to change the environment at this moment, if anybody has.
    fn holder(&self, env: &EnvKey) -> impl Future<Output = Result<Option<Holder>, StoreError>> + Send;

    // --- runs and their journal

    /// Writes down that a run is about to begin, with its plan, and returns its number.
    fn begin(
        &self,
        lease: &Self::Lease,
        run: &NewRun,
    ) -> impl Future<Output = Result<RunId, StoreError>> + Send;

    /// Adds a line to the run's journal. Concurrent calls share one durable write.
    fn append(&self, run: RunId, entry: &Entry) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes the commit record, and with it what is applied, its material and the finished jobs; it
    /// releases automatic holds. From here on the run, and those that it inherited, are only cleaned
    /// up, never taken back. The outcome in history is [`crate::Outcome::Applied`] from now on.
    fn commit(&self, run: RunId, commit: &Commit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the run. A hold becomes durable with it. After [`crate::Outcome::RollbackFailed`] the run stays unfinished.
    fn end(&self, run: RunId, ended: &Ended) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the environment's runs without an end, newest first.
    fn unfinished(&self, env: &EnvKey) -> impl Future<Output = Result<Vec<Unfinished>, StoreError>> + Send;

    /// Returns the environments that have a run without an end.
    fn interrupted(&self) -> impl Future<Output = Result<Vec<EnvKey>, StoreError>> + Send;

    /// Returns runs, newest first.
    fn runs(&self, filter: &RunFilter) -> impl Future<Output = Result<Vec<RunRecord>, StoreError>> + Send;

    /// Returns one run with its journal.
    fn run(
        &self,
        run: RunId,
    ) -> impl Future<Output = Result<Option<(RunRecord, Vec<Logged>)>, StoreError>> + Send;

    /// Returns the plan of a run, while it is kept.
    fn plan(&self, run: RunId) -> impl Future<Output = Result<Option<Plan>, StoreError>> + Send;

    // --- what is applied

    /// Returns what was applied last, with since when its resources have drifted.
    fn applied(&self, env: &EnvKey) -> impl Future<Output = Result<Option<Applied>, StoreError>> + Send;

    /// Returns which revision was applied last: what it declared is not read.
    fn applied_revision(
        &self,
        env: &EnvKey,
    ) -> impl Future<Output = Result<Option<AppliedRevision>, StoreError>> + Send;

    /// Returns the revisions that can be applied again, newest first; at most [`KEPT_REVISIONS`].
    fn kept(&self, env: &EnvKey) -> impl Future<Output = Result<Vec<KeptRevision>, StoreError>> + Send;

    /// Returns the files that the run's revision was made of, encrypted as in Git.
    fn inputs(&self, run: RunId) -> impl Future<Output = Result<Option<MemoryFiles>, StoreError>> + Send;

    /// Returns the text of a delivered plain file, for a diff.
    fn plain(
        &self,
        digest: &ContentDigest,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Returns the digests of the inputs of the environment's finished jobs.
    fn jobs_done(&self, env: &EnvKey) -> impl Future<Output = Result<BTreeSet<String>, StoreError>> + Send;

    // --- why an environment does not move

    /// Returns the holds, newest first. Several desired states may be held back at once.
    fn holds(&self, env: &EnvKey) -> impl Future<Output = Result<Vec<Hold>, StoreError>> + Send;

    /// Adds a person's hold in place of an earlier one, and writes it to the audit trail.
    fn add_hold(
        &self,
        env: &EnvKey,
        hold: &Hold,
        audit: &Audit,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Releases all holds and writes it to the audit trail. Returns what was released.
    fn release(
        &self,
        env: &EnvKey,
        audit: &Audit,
    ) -> impl Future<Output = Result<Vec<Hold>, StoreError>> + Send;

    /// Returns whether a person suspended the environment.
    fn suspended(&self, env: &EnvKey) -> impl Future<Output = Result<Option<Suspended>, StoreError>> + Send;

    /// Suspends or, with `None`, resumes the environment, and writes it to the audit trail.
    fn set_suspended(
        &self,
        env: &EnvKey,
        suspended: Option<&Suspended>,
        audit: &Audit,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    // --- what was seen

    /// Replaces the resources that have drifted; those that had before keep their time.
    fn set_drift(
        &self,
        env: &EnvKey,
        drifted: &BTreeSet<ResourceId>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns what was last seen of every environment, also of those that were never applied.
    fn observations(&self) -> impl Future<Output = Result<BTreeMap<EnvKey, Observation>, StoreError>> + Send;

    /// Returns what was last seen of one environment.
    fn observation(
        &self,
        env: &EnvKey,
    ) -> impl Future<Output = Result<Option<Observation>, StoreError>> + Send;

    /// Says which commit of a source is the newest from now on. What was compared with the newest one before counts
    /// as compared with this one: it says the same of all environments but those that are `behind`. With none, of no
    /// environment is known that it does.
    fn advance(
        &self,
        source: &SourceName,
        newest: &Revision,
        behind: Option<&BTreeSet<EnvironmentName>>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Replaces what was last seen; `since` stays when `sync`, `health` and `why` are the same.
    fn set_observation(
        &self,
        env: &EnvKey,
        seen: &Observation,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds a line to the audit trail.
    fn audit(&self, line: &Audit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the audit trail of an environment or of all, newest first.
    fn audits(
        &self,
        env: Option<&EnvKey>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Audit>, StoreError>> + Send;
}

/// How many applied revisions of an environment can be applied again.
pub const KEPT_REVISIONS: u32 = 20;

/// How many plans of an environment are kept for `logs`.
pub const KEPT_PLANS: u32 = 50;
