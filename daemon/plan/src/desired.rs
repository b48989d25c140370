//! What a revision declares, in the words of the target.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use trueup_schema::{
    EnvironmentName, Places, Revision,
    manifest::{Percent, Update},
};

use crate::{How, Kind, ResourceId, Spec};

/// What a revision declares for one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The environment.
    pub environment: EnvironmentName,
    /// The target as people read it: `docker/local`.
    pub target: String,
    /// The commit.
    pub revision: Revision,
    /// How the target brings in a new version.
    #[serde(default, skip_serializing_if = "Manner::is_beside")]
    pub manner: Manner,
    /// Its resources.
    #[serde(with = "crate::resource::as_list")]
    pub resources: BTreeMap<ResourceId, Declared>,
    /// How each field is changed, by kind.
    pub rules: Rules,
    /// Whether owned resources that are no longer declared are removed.
    pub prune: bool,
    /// The largest share of the components that one plan may delete.
    pub max_deletes: Percent,
    /// What the target cannot honour exactly, said once in the plan.
    pub notes: Vec<String>,
}

/// How a target brings in a new version of what runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Manner {
    /// A new one is made beside the old, which is stopped; then the new one is started.
    #[default]
    Beside,
    /// The target itself replaces what runs of one and the same resource, and what is created runs.
    Rolling,
}

impl Manner {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_beside(&self) -> bool {
        *self == Self::Beside
    }
}

/// One declared resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// Its configuration, as it is compared and shown.
    pub spec: Spec,
    /// What the target is sent where that is not `spec` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Spec>,
    /// How its own fields are changed; they come before the rules of its kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Where each field of `spec` was written, by the field's path (`ports.sql.publish`).
    pub places: Places,
    /// What must be there before it starts.
    pub needs: Vec<Needs>,
    /// How to tell that it works; none for what only has to exist.
    pub probe: Option<Probe>,
    /// How a new version takes over.
    pub update: Update,
    /// What stops answering while it is replaced, as people read it (`postgresql:5432`).
    pub serves: Vec<String>,
    /// What must be fetched before it can be created, such as an image; none when it is there.
    pub fetch: Option<Spec>,
    /// A digest of everything that a job's outcome depends on; none for other kinds.
    pub inputs: Option<String>,
    /// Whether the run of a job with these inputs has succeeded before: there is nothing to do then.
    pub done: bool,
    /// What cannot be undone once it has happened, in a few words.
    pub irreversible: Option<String>,
}

impl Declared {
    /// Returns what only has to be there.
    pub fn new(spec: Spec, places: Places) -> Self {
        Self {
            spec,
            body: None,
            rules: Vec::new(),
            places,
            needs: Vec::new(),
            probe: None,
            update: Update::default(),
            serves: Vec::new(),
            fetch: None,
            inputs: None,
            done: false,
            irreversible: None,
        }
    }

    /// Returns what the target is sent.
    pub fn body(&self) -> &Spec {
        self.body.as_ref().unwrap_or(&self.spec)
    }
}

/// One thing that must be there before a resource starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Needs {
    /// The other resource.
    pub on: ResourceId,
    /// Whether it must be ready (healthy, or completed for a job), or only exist and be started.
    pub ready: bool,
}

/// How to tell that a resource works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The check, in the words of the target.
    pub check: Spec,
    /// How often it is tried.
    pub interval: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// How long it may take until the first success.
    pub startup: Duration,
}

/// How each field is changed: the first rule whose path is the field's or lies around it wins.
pub type Rules = BTreeMap<Kind, Vec<Rule>>;

/// How one field, and everything inside of it, is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The field's path; empty for every field that no rule before it named.
    pub path: String,
    /// How.
    pub how: How,
    /// Whether that interrupts what it serves.
    pub interrupts: bool,
    /// For a refusal: why.
    pub reason: Option<String>,
}
