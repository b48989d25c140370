//! What `observe` has found out about each declared object, for `compile`, which asks nobody.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_plan::{ResourceId, Rule};

/// What was found out about the declared objects of an environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The objects, in the order of their manifests.
    pub(crate) objects: Vec<Judged>,
    /// What cannot be declared, with its place.
    pub(crate) findings: Vec<Finding>,
}

/// One declared object, as its cluster sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    /// Which plain object of the environment it is.
    pub(crate) number: usize,
    pub(crate) id: ResourceId,
    /// Its configuration as the cluster would have it.
    pub(crate) spec: Value,
    /// What is sent.
    pub(crate) body: Value,
    /// How its own fields are changed.
    pub(crate) rules: Vec<Rule>,
    /// What goes for good with a change.
    pub(crate) irreversible: Option<String>,
}

/// Something that cannot be declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Which plain object of the environment it is about.
    pub(crate) number: usize,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Facts {
    /// Reads them from what was observed.
    pub(crate) fn of(value: &Value) -> Self {
        serde_json::from_value(value.clone()).expect("`observe` wrote them")
    }
}
