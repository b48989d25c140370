//! The plan: an immutable value that says all there is to say about a run before it starts.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_schema::{EnvironmentName, Place, Revision};

use crate::{Contest, Foreign, Hand, How, Preview, ResourceId, Step};

/// All changes of an environment, in order, with everything that a person asks about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The environment.
    pub environment: EnvironmentName,
    /// The target as people read it.
    pub target: String,
    /// The commit that it brings the environment to.
    pub revision: Revision,
    /// The commit that was applied last, as far as the store knows.
    pub applied: Option<Revision>,
    /// The digest over desired, expected live state and steps.
    pub digest: PlanDigest,
    /// The digest of what the author wants: what a hold is keyed by.
    pub desired_digest: String,
    /// What changes; empty when everything is as declared.
    pub changes: Vec<Change>,
    /// The resources that stay as they are.
    pub unchanged: Vec<ResourceId>,
    /// What is done, in an order that respects every step's `after`.
    pub steps: Vec<Step>,
    /// How many ranks the steps have: what is in one rank runs side by side.
    pub waves: usize,
    /// Why nothing may move; empty when the plan may be applied.
    pub refusals: Vec<Refusal>,
    /// Drift that is only reported: `selfHeal` is off, or its repair waits.
    pub reported: Vec<Change>,
    /// Why its repair waits, where that is so.
    #[serde(default)]
    pub contested: Vec<Contest>,
    /// What is in a zone or carries our labels and is not ours.
    pub foreign: Vec<Foreign>,
    /// What the target cannot honour exactly.
    pub notes: Vec<String>,
    /// The share of the components that is deleted, and the largest share allowed, in percent.
    pub deletes: (u8, u8),
}

impl Plan {
    /// Returns whether everything is as declared.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns whether it only brings back what was applied: nobody wants anything new.
    pub fn is_repair(&self) -> bool {
        !self.is_empty() && self.changes.iter().all(|change| change.cause == Cause::Drift)
    }
}

/// The digest of a plan: 64 hexadecimal digits, of which eight are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(pub String);

impl PlanDigest {
    /// Returns the first eight digits.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It does not exist and is created.
    Create,
    /// It exists and some of its fields change.
    Update,
    /// It is replaced by a new one.
    Replace,
    /// It exists as declared, but does not run, and is started.
    Start,
    /// The job runs.
    Run,
    /// It is no longer declared and is removed.
    Delete,
}

/// Why a field changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The author changed it.
    Intent,
    /// Somebody changed what runs.
    Drift,
    /// The store does not know what was applied before.
    Unknown,
}

/// The difference of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Which resource.
    pub resource: ResourceId,
    /// What happens to it.
    pub action: Action,
    /// How: the heaviest of its fields decides.
    pub how: How,
    /// Why: `Intent` when at least one field is.
    pub cause: Cause,
    /// The field that forces more than a change in place.
    pub forced_by: Option<String>,
    /// Its fields that differ; of a creation only those that a person wants to see.
    pub fields: Vec<FieldChange>,
    /// What stops answering meanwhile, as people read it; empty when nothing does.
    pub interrupts: Vec<String>,
    /// Whether the old and the new one both answer for a while (`update: startFirst`).
    pub overlaps: bool,
    /// What of it stays although it is no longer declared, as people read it (`volume statsd-data`).
    pub keeps: Vec<String>,
    /// Since when it has drifted, where that is known.
    pub since: Option<Timestamp>,
    /// Where it was declared.
    pub place: Option<Place>,
    /// What cannot be undone.
    pub irreversible: Option<String>,
    /// What the target says of it; none where it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// What the target calls such a thing; none for a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun: Option<String>,
}

impl Change {
    /// Returns whether somebody else than the author changed something of it.
    pub fn has_drifted(&self) -> bool {
        self.cause == Cause::Drift || self.fields.iter().any(|field| field.cause == Cause::Drift)
    }
}

/// The difference of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its path in the configuration.
    pub path: String,
    /// The live value; none where there is none.
    pub before: Option<Value>,
    /// The declared value; none where it is not declared.
    pub after: Option<Value>,
    /// Why it changes.
    pub cause: Cause,
    /// How it is changed.
    pub how: How,
    /// Where the declared value was written.
    pub place: Option<Place>,
    /// For a file whose text is known before and after: the unified diff, without its header.
    pub diff: Option<String>,
    /// Who wrote the live value, where the target knows it and it was not us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Hand>,
}

/// Why a plan may not be applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule: `maxDeletes`, `emptySource`, `owner`, `cycle`, `field`, `nameTaken`, `admission`.
    pub rule: String,
    /// What stands in the way.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where it was declared.
    pub place: Option<Place>,
}
