//! What runs, in the same words as [`crate::Desired`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ResourceId, Spec};

/// What runs of one environment, and what else matters for its plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The environment's resources.
    #[serde(with = "crate::resource::as_list")]
    pub resources: BTreeMap<ResourceId, Observed>,
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
    /// Its configuration.
    pub spec: Spec,
    /// Its condition.
    pub state: State,
    /// Who created it.
    pub owner: Owner,
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
