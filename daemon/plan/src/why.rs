//! Why nothing moves: one line each, for `status` and for a run that ends before it starts.
//!
//! A wait is data. Whoever prints it adds nothing, and whoever stores it stores what was printed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trueup_schema::Revision;

use crate::{Contest, Plan, Refusal};

/// What keeps an environment from being brought to its newest revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wait", rename_all = "camelCase")]
pub enum Wait {
    /// It was rolled back from this revision, and the same desired state is not tried again.
    Held {
        /// The revision that failed, or that a person keeps the environment at.
        revision: Revision,
        /// What went wrong, or the person's reason.
        why: String,
        /// Who held it; none when the rollback of a failure did.
        by: Option<String>,
    },
    /// A person suspended it.
    Suspended {
        /// Who.
        by: String,
        /// The reason that was given.
        reason: Option<String>,
    },
    /// `sync.mode` is `manual`: a person applies the plan.
    ManualMode {
        /// The short digest of the plan that waits.
        plan: String,
    },
    /// The preflight refused it; nothing was touched.
    Blocked {
        /// The revision.
        revision: Revision,
        /// What stands in the way.
        why: String,
        /// Whether it is tried again by itself, because the target causes it; otherwise it takes a new commit.
        retries: bool,
    },
    /// A rule of the plan refuses it.
    Refused(Refusal),
    /// It has drifted, and `sync.selfHeal` is off.
    DriftReported {
        /// How many resources.
        resources: usize,
    },
    /// It has drifted, and the same repair was undone again and again.
    Contested(Contest),
    /// It has drifted, and the repair has failed.
    RepairFailed {
        /// The revision that is to be brought back.
        revision: Revision,
        /// What went wrong.
        why: String,
        /// When it is tried again.
        until: Timestamp,
    },
}

impl Wait {
    /// Returns why drift is not repaired by a plan, if there is such drift.
    pub fn for_drift(plan: &Plan) -> Option<Self> {
        let contested = plan.contested.iter().min_by_key(|contest| contest.until).cloned();
        let reported = || Self::DriftReported { resources: plan.reported.len() };
        (!plan.reported.is_empty()).then(|| contested.map_or_else(reported, Self::Contested))
    }

    /// Returns what a person does about it, in one line.
    pub fn help(&self, environment: &str) -> Option<String> {
        match self {
            Self::Held { by: None, .. } => Some(format!(
                "commit a fix, or `trueup env release {environment} --reason ...` to try the same again"
            )),
            Self::Held { by: Some(_), .. } => {
                Some(format!("`trueup env release {environment} --reason ...` to follow the branch again"))
            }
            Self::Suspended { .. } => Some(format!("`trueup env resume {environment}`")),
            Self::ManualMode { plan } => Some(format!("`trueup apply {environment} --plan {plan}`")),
            Self::Blocked { retries: false, .. } => Some("commit a fix".into()),
            Self::Blocked { retries: true, .. } => None,
            Self::Refused(refusal) => refusal.help.clone(),
            Self::DriftReported { .. } => {
                Some(format!("`trueup apply {environment}` to repair it, or set `sync.selfHeal`"))
            }
            Self::Contested(_) => Some(format!(
                "find out who changes it, or `trueup apply {environment}` to repair it once more now"
            )),
            Self::RepairFailed { .. } => {
                Some(format!("commit a fix, or `trueup apply {environment}` to try it once more now"))
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { revision, why, by: None } => {
                write!(f, "held, because {} was rolled back: {why}", revision.short())
            }
            Self::Held { revision, why, by: Some(by) } => {
                write!(f, "held by {by} at {}: {why}", revision.short())
            }
            Self::Suspended { by, reason: Some(reason) } => write!(f, "suspended by {by}: {reason}"),
            Self::Suspended { by, reason: None } => write!(f, "suspended by {by}"),
            Self::ManualMode { plan } => write!(f, "sync.mode is manual, plan {plan} waits to be applied"),
            Self::Blocked { revision, why, retries } => {
                let then = if *retries { "tried again" } else { "waits for a new commit" };
                write!(f, "{} is blocked, nothing was changed, {then}: {why}", revision.short())
            }
            Self::Refused(refusal) => write!(f, "refused by {}: {}", refusal.rule, refusal.message),
            Self::DriftReported { resources } => {
                let noun = if *resources == 1 { "resource" } else { "resources" };
                write!(f, "drift in {resources} {noun}, sync.selfHeal is off")
            }
            Self::Contested(contest) => write!(f, "{} was {contest}", contest.resource),
            Self::RepairFailed { revision, why, until } => {
                let until = until.strftime("%H:%M:%S UTC");
                write!(f, "the repair of {} failed, tried again at {until}: {why}", revision.short())
            }
        }
    }
}
