//! What a store remembers: runs, how they ended, holds, what was applied.
//!
//! Every value here is plain data that may be shown to anybody: secrets stand in it as digests.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trueup_plan::{Applied, Foreign, Plan, PlanDigest, ResourceId, StepKey};
use trueup_schema::{ContentDigest, EnvironmentName, RepoPath, Revision, SourceName};

use crate::{Blame, Identity, RunId, TargetError};

/// Which environment: its name in one source. An environment that was renamed is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnvKey {
    /// The operator's name of the source.
    pub source: SourceName,
    /// The environment's name.
    pub environment: EnvironmentName,
}

impl fmt::Display for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.environment)
    }
}

impl Identity {
    /// Returns the key under which a store remembers the environment.
    pub fn key(&self) -> EnvKey {
        EnvKey { source: self.source.clone(), environment: self.environment.clone() }
    }
}

/// Who or what asked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase")]
pub enum Trigger {
    /// A new commit of a watched repository.
    Commit,
    /// A poll that found a new commit.
    Poll,
    /// The environment's interval was over.
    Timer,
    /// What runs moved away from what is declared.
    Drift,
    /// The daemon started.
    Start,
    /// The daemon's configuration was read again.
    Reload,
    /// A person decided something about the environment, such as to release it.
    Decision,
    /// A person on the command line.
    Cli {
        /// The operating system's name of the user.
        user: String,
    },
    /// A person wants an earlier revision back.
    Rollback {
        /// The operating system's name of the user.
        user: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("commit"),
            Self::Poll => f.write_str("poll"),
            Self::Timer => f.write_str("timer"),
            Self::Drift => f.write_str("drift"),
            Self::Start => f.write_str("start"),
            Self::Reload => f.write_str("reload"),
            Self::Decision => f.write_str("decision"),
            Self::Cli { user } => write!(f, "{user}, command line"),
            Self::Rollback { user, reason } => write!(f, "{user}, rollback: {reason}"),
        }
    }
}

/// What made a run fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The resource; none when it was the run as a whole, such as its preflight or its time-out.
    pub resource: Option<ResourceId>,
    /// The step.
    pub step: Option<StepKey>,
    /// What went wrong, with the last log lines and the causes.
    pub error: TargetError,
}

impl Fault {
    /// Returns a fault of the run as a whole.
    pub fn of_run(blame: Blame, message: impl Into<String>) -> Self {
        Self { resource: None, step: None, error: TargetError::new(blame, message) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// Everything is as declared.
    Applied,
    /// A step failed and everything is as it was before.
    RolledBack {
        /// Why.
        fault: Fault,
    },
    /// A step failed, and so did the way back. Nothing else is applied before that has succeeded.
    RollbackFailed {
        /// Why the run failed.
        fault: Fault,
        /// What could not be undone, and why.
        left: Vec<Fault>,
    },
    /// A step failed and what was done stays, because the manifest says `rollback: never`.
    Kept {
        /// Why.
        fault: Fault,
    },
    /// Nothing was touched, because something stood in the way.
    Blocked {
        /// What.
        fault: Fault,
    },
    /// A person or a signal stopped it and everything is as it was before.
    Cancelled,
    /// The process died; everything is as it was before, and it will be tried again.
    Interrupted,
    /// A newer revision took over what was done.
    Superseded,
}

impl Outcome {
    /// Returns what made the run fail, where something did.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::RolledBack { fault }
            | Self::RollbackFailed { fault, .. }
            | Self::Kept { fault }
            | Self::Blocked { fault } => Some(fault),
            Self::Applied | Self::Cancelled | Self::Interrupted | Self::Superseded => None,
        }
    }

    /// Returns whether a run with this outcome still has to be recovered.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::RollbackFailed { .. })
    }

    /// Returns the word that a table shows.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::RolledBack { .. } => "rolled back",
            Self::RollbackFailed { .. } => "rollback failed",
            Self::Kept { .. } => "failed, kept",
            Self::Blocked { .. } => "blocked",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Superseded => "superseded",
        }
    }
}

/// A run that is about to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The environment.
    pub env: EnvKey,
    /// Who or what asked.
    pub trigger: Trigger,
    /// What it does. Kept with the run, because the way back is found in its steps.
    pub plan: Plan,
}

/// One run, as history shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// Its number.
    pub id: RunId,
    /// The environment.
    pub env: EnvKey,
    /// The commit that it wanted to bring the environment to.
    pub revision: Revision,
    /// The digest of its plan.
    pub plan: PlanDigest,
    /// The digest of the desired state alone.
    pub desired: String,
    /// Who or what asked.
    pub trigger: Trigger,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none while it runs, and after its process died.
    pub ended: Option<Timestamp>,
    /// How it ended. A failed rollback stands here while the run is still unfinished.
    pub outcome: Option<Outcome>,
    /// What changed, in short.
    pub summary: Vec<ChangeSummary>,
    /// How long each phase took.
    pub durations: Durations,
    /// Jobs that ran to their end. Their effects stay, whatever the outcome is.
    pub jobs_run: Vec<ResourceId>,
}

/// One changed resource, as history shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSummary {
    /// Which.
    pub resource: ResourceId,
    /// What happened to it.
    pub action: trueup_plan::Action,
    /// How.
    pub how: trueup_plan::How,
    /// Why.
    pub cause: trueup_plan::Cause,
    /// The paths of its fields that changed.
    pub fields: Vec<String>,
}

impl RunRecord {
    /// Returns the record of a run that begins.
    pub fn new(id: RunId, run: &NewRun, started: Timestamp) -> Self {
        let summary = run.plan.changes.iter().map(|change| ChangeSummary {
            resource: change.resource.clone(),
            action: change.action,
            how: change.how,
            cause: change.cause,
            fields: change.fields.iter().map(|field| field.path.clone()).collect(),
        });
        Self {
            id,
            env: run.env.clone(),
            revision: run.plan.revision.clone(),
            plan: run.plan.digest.clone(),
            desired: run.plan.desired_digest.clone(),
            trigger: run.trigger.clone(),
            started,
            ended: None,
            outcome: None,
            summary: summary.collect(),
            durations: Durations::default(),
            jobs_run: Vec::new(),
        }
    }

    /// Takes over how the run ended.
    pub fn end(&mut self, ended: &Ended, now: Timestamp) {
        self.outcome = Some(ended.outcome.clone());
        self.durations = ended.durations;
        self.jobs_run.clone_from(&ended.jobs_run);
        self.ended = (!ended.outcome.is_open()).then_some(now);
    }
}

/// How long the phases of a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// Checks before anything is touched.
    pub preflight: Duration,
    /// Getting images.
    pub fetch: Duration,
    /// Steps, with their waits for health.
    pub apply: Duration,
    /// The way back.
    pub rollback: Duration,
    /// Removing what was kept for the way back.
    pub finish: Duration,
}

/// One durable line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase")]
pub enum Entry {
    /// The step is about to be done. Durable before the call.
    Begin {
        /// The step, whose act stands in the run's plan.
        step: StepKey,
    },
    /// The step was done, and how long it took. Steps that change nothing have this line alone.
    Done {
        /// The step.
        step: StepKey,
        /// From its begin to its end.
        took: Duration,
    },
    /// The run goes back, for this reason.
    RollBack {
        /// Why.
        fault: Fault,
    },
    /// The step was taken back.
    Undone {
        /// The step.
        step: StepKey,
    },
    /// The run failed and what was done stays: from here on there is only cleaning up.
    Keep {
        /// Why.
        fault: Fault,
    },
    /// A newer revision takes over: what was done stays for the run that inherits this one.
    Supersede,
    /// What the step kept for the way back is removed.
    Finished {
        /// The step.
        step: StepKey,
    },
    /// The run is committed, and something that was kept for the way back could not be removed yet.
    Left {
        /// What, and why.
        fault: Fault,
    },
}

/// A journal's line with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// When it became durable.
    pub at: Timestamp,
    /// The line.
    pub entry: Entry,
}

/// A run without an end: it runs, its process died, its way back failed, or it was superseded.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// The run.
    pub run: RunRecord,
    /// What it was to do.
    pub plan: Plan,
    /// What it did, oldest first.
    pub journal: Vec<Logged>,
    /// Whether the commit record is there: then it is cleaned up forward, never taken back.
    pub committed: bool,
}

/// What a commit makes durable, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The bytes of the Git blobs that went into the environment, encrypted as in Git.
    pub inputs: BTreeMap<RepoPath, Arc<[u8]>>,
    /// The text of delivered plain files, by digest, for later diffs. Never a secret.
    pub plain: BTreeMap<ContentDigest, Arc<[u8]>>,
}

/// The commit record: it divides "roll back" from "clean up forward".
#[derive(Debug, Clone)]
pub struct Commit {
    /// What is applied from now on; none when the environment was destroyed.
    pub applied: Option<Applied>,
    /// The material for a later rollback to this revision.
    pub kept: Kept,
    /// The digests of the inputs of the jobs that ran to their end.
    pub jobs_done: Vec<String>,
    /// Runs whose work this one took over. They are committed with it.
    pub inherited: Vec<RunId>,
    /// What becomes of the holds.
    pub holds: Holds,
}

/// What a commit does to the holds of its environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Holds {
    /// What the author wants runs now: automatic holds have had their time.
    #[default]
    Release,
    /// A person went back to an earlier revision, and the environment is held there.
    Begin(Hold),
    /// What runs was only repaired: nothing is decided about what waits.
    Leave,
}

/// How a run ended, with everything that becomes durable at that moment.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// How long each phase took.
    pub durations: Durations,
    /// Jobs that ran to their end.
    pub jobs_run: Vec<ResourceId>,
    /// What keeps the environment from the same desired state, where something does.
    pub hold: Option<Hold>,
}

/// A revision that the store can apply again without its Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRevision {
    /// The run that applied it.
    pub run: RunId,
    /// The commit.
    pub revision: Revision,
    /// When it was applied.
    pub at: Timestamp,
}

/// The revision that was applied last, without what it declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRevision {
    /// The commit.
    pub revision: Revision,
    /// When its run was committed.
    pub at: Timestamp,
    /// How many resources are known to differ from it.
    pub drifted: usize,
}

/// Why an environment does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What kind.
    pub kind: HoldKind,
    /// The commit that is held back.
    pub revision: Revision,
    /// Why, in one line.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// What releases a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum HoldKind {
    /// A run was rolled back, or blocked by its manifest. Another desired state releases it.
    Automatic {
        /// The digest of the desired state that is not tried again.
        desired: String,
        /// Whether nothing had been touched: shown as `Blocked`, not as `Held`.
        blocked: bool,
    },
    /// Only a person releases it.
    Person {
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
}

/// A switch of a person that stops automatic runs, without saying anything about a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Who.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// What was last seen of an environment, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The target as people read it; the manifest may be unreadable later.
    pub target: String,
    /// The commit that live was compared with.
    pub revision: Option<Revision>,
    /// The comparison.
    pub sync: SyncStatus,
    /// The condition.
    pub health: Health,
    /// Why it is so, in one line; empty when there is nothing to say.
    pub why: String,
    /// Why the source may have a newer commit that cannot be read; none when it was read.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Since when `sync` and `health` have been so.
    pub since: Timestamp,
    /// When it was observed last.
    pub observed: Timestamp,
    /// When all its checks were tried last; none when nothing says so.
    #[serde(default)]
    pub checked: Option<Timestamp>,
    /// When that was read of which the target tells no change, such as files in the containers of a remote engine;
    /// none where there is no such thing.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// What nobody declared and is left alone, such as a container of somebody else in a zone.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

impl Observation {
    /// Keeps the time of the observation before where nothing changed.
    #[must_use]
    pub fn following(mut self, before: Option<&Self>) -> Self {
        let same = |b: &&Self| {
            (b.sync, b.health, &b.why, &b.foreign) == (self.sync, self.health, &self.why, &self.foreign)
        };
        if let Some(before) = before.filter(same) {
            self.since = before.since;
        }
        self
    }
}

/// Whether what runs is what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SyncStatus {
    /// It is: compared, not assumed.
    Synced,
    /// It is not.
    OutOfSync,
    /// It is not, and something refused the change before anything was touched.
    Blocked,
    /// It could not be compared.
    Unknown,
}

/// The condition of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Health {
    /// Everything works.
    Healthy,
    /// Something does not work.
    Degraded,
    /// Something that is declared is not there.
    Missing,
    /// It could not be seen.
    Unknown,
}

/// One line of the audit trail: what a person, or the daemon in its own name, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Who: a user of the operating system, or `daemon`.
    pub who: String,
    /// The environment; none for what concerns the store.
    pub env: Option<EnvKey>,
    /// What: `suspend`, `release`, `apply`.
    pub what: String,
    /// Why, or with which arguments.
    pub detail: String,
}
