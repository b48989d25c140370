//! What runs, in the same words as [`crate::Desired`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ResourceId, Spec, rule};

/// What runs of one environment, and what else matters for its plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The environment's resources.
    #[serde(with = "crate::resource::as_list")]
    pub resources: BTreeMap<ResourceId, Observed>,
    /// What the target itself says of a change before it is made; nothing where it cannot be asked.
    #[serde(default, with = "crate::resource::as_list")]
    pub previews: BTreeMap<ResourceId, Preview>,
    /// What stands in the way or where it does not belong.
    pub foreign: Vec<Foreign>,
    /// When that was read of which the target tells no change, such as files inside containers; the oldest time, and
    /// none where there is no such thing.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// What the adapter wants to remember for its own `compile`: versions, image ids, subnets in use.
    /// Not compared and not part of a plan.
    #[serde(skip)]
    pub facts: serde_json::Value,
}

/// One resource that runs or exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// What the target calls it, unchangeable for its life: a container's or network's id.
    pub handle: String,
    /// Its configuration, as it is compared and shown.
    pub spec: Spec,
    /// What the target is sent to make it as it is again, where that is not `spec` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Spec>,
    /// What the target calls such a thing: `deployment`; none for a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun: Option<String>,
    /// Who wrote a field that is not as it was applied, by its path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hands: BTreeMap<String, Hand>,
    /// Its condition.
    pub state: State,
    /// Who created it.
    pub owner: Owner,
}

impl Observed {
    /// Returns a resource whose configuration is sent as it is compared.
    pub fn new(handle: String, spec: Spec, state: State, owner: Owner) -> Self {
        Self { handle, spec, body: None, noun: None, hands: BTreeMap::new(), state, owner }
    }

    /// Returns who wrote a field, or what lies around it.
    pub(crate) fn hand(&self, path: &str) -> Option<&Hand> {
        self.hands.iter().rfind(|(known, _)| rule::is_around(known, path)).map(|(_, hand)| hand)
    }
}

/// Somebody who wrote a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// The program's name for itself: `kubectl-edit`.
    pub who: String,
    /// When it did.
    pub at: Option<Timestamp>,
}

/// What a target says of a change before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "preview", rename_all = "camelCase")]
pub enum Preview {
    /// It would accept it.
    Verified,
    /// Only the form was checked.
    SchemaOnly {
        /// Why no more could be.
        why: String,
    },
    /// Nothing is known.
    Unknown {
        /// Why.
        why: String,
    },
    /// It would refuse it.
    Refused {
        /// What it says.
        why: String,
    },
}

/// The condition of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whether it runs; for a network or volume whether it exists.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// The exit code of what ended.
    pub exit_code: Option<i64>,
    /// Since when it has been so.
    pub since: Option<Timestamp>,
    /// What the target says about it in a few words, such as `restarting` or `out of memory`.
    pub detail: Option<String>,
}

impl State {
    /// Returns whether it has processes, which hold ports, addresses and networks: running or paused.
    pub fn is_up(&self) -> bool {
        self.running || self.paused
    }
}

/// Who created a resource, from its labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The store's id.
    pub store: String,
    /// The environment's uid.
    pub env_uid: String,
    /// The run that created it.
    pub run: String,
}

/// Something that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Foreign {
    /// What it is, as people read it: `container web`, `network demo-data`.
    pub what: String,
    /// Why it matters: where it is, or whose name it has.
    pub why: String,
    /// Whether nothing may be applied while it is there; otherwise it is only reported.
    pub blocks: bool,
}
