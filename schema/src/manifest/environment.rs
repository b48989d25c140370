//! `environments/<name>/environment.yaml`: one declared system on one target.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Percent, Span};
use crate::{ComponentName, NamespaceName, RepoPath, TargetId, TargetName, ZoneName};

/// One declared system on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Which engine or cluster. Its address and credentials are the operator's, not the manifest's.
    pub target: TargetRef,
    /// What the environment is for. Default: `development`.
    #[serde(default)]
    pub class: Class,
    /// `<component>.<domain>` resolves in every zone of the component. Default: `<environment>.internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The network zones.
    #[serde(default)]
    #[schemars(extend("x-names" = "ZoneName"))]
    pub zones: BTreeMap<ZoneName, ZoneSpec>,
    /// The components of this environment, from the catalogue.
    pub components: Vec<ComponentName>,
    /// Files and folders with plain objects of a cluster, from the repository's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<RepoPath>,
    /// What differs here: a merge patch (RFC 7396) on the Component of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-names" = "ComponentName", "x-patch" = "ComponentSpec"))]
    pub patches: BTreeMap<ComponentName, Value>,
    /// Values for `${variables.name}` in the components.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// How changes are applied.
    #[serde(default)]
    pub sync: Sync,
    /// Who may read the secrets of this environment.
    #[serde(default, skip_serializing_if = "Encryption::is_empty")]
    pub encryption: Encryption,
}

/// A target by the name that the operator's configuration gives it: an engine, or a namespace of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// A Docker Engine. `local` exists by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<TargetName>,
    /// A Kubernetes cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<TargetName>,
    /// The namespace in it, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceName>,
}

impl TargetRef {
    /// Returns which target it is.
    ///
    /// # Panics
    ///
    /// When neither kind is named, which no environment that was resolved has.
    pub fn id(&self) -> TargetId {
        match (&self.docker, &self.kubernetes) {
            (Some(name), _) => TargetId::Docker(name.clone()),
            (None, name) => TargetId::Kubernetes(name.clone().expect("the rules ask for one of the two")),
        }
    }
}

/// What an environment is for. Policies read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// For its developers.
    #[default]
    Development,
    /// Like production, without its users.
    Staging,
    /// For its users.
    Production,
}

/// One network zone: a bridge network on Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneSpec {
    /// The IPv4 subnet in CIDR form. Default: the next free one of the operator's pool, and then kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Whether the zone has no way to the outside. Default: `false`.
    #[serde(default)]
    pub internal: bool,
    /// What happens to a container that nobody declared in this zone. Default: `report`.
    #[serde(default)]
    pub foreign: Foreign,
}

/// What happens to a container that nobody declared in a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Foreign {
    /// It is reported.
    #[default]
    Report,
    /// It is detached from the zone.
    Disconnect,
}

/// How changes are applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sync {
    /// `auto` applies a new commit; `manual` waits for `trueup apply`. Default: `auto`.
    pub mode: SyncMode,
    /// How often the environment is compared when nothing happens. Default: `60s`.
    pub interval: Span,
    /// Whether drift is repaired, or only reported. Default: `true`.
    pub self_heal: bool,
    /// How often the same drift is repaired within ten minutes before the next repair waits. Default: `5`.
    pub max_repairs: NonZeroU32,
    /// Whether what is owned and no longer declared is removed; volumes never. Default: `true`.
    pub prune: bool,
    /// A plan that deletes a larger share of the components is refused until confirmed. Default: `30%`.
    pub max_deletes: Percent,
    /// How long one run may take in all. Default: `10m`.
    pub timeout: Span,
    /// What happens when a run fails. Default: `onFailure`.
    pub rollback: RollbackWhen,
    /// How long a component without `health` must run without a restart to count as ready. Default: `3s`.
    pub stable: Span,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            mode: SyncMode::Auto,
            interval: Span(Duration::from_mins(1)),
            self_heal: true,
            max_repairs: NonZeroU32::new(5).expect("five is not zero"),
            prune: true,
            max_deletes: Percent(30),
            timeout: Span(Duration::from_mins(10)),
            rollback: RollbackWhen::OnFailure,
            stable: Span(Duration::from_secs(3)),
        }
    }
}

/// When a run starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// When a commit changes the environment.
    #[default]
    Auto,
    /// When a person applies the plan.
    Manual,
}

/// What happens when a run fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RollbackWhen {
    /// Everything goes back to where it was.
    #[default]
    OnFailure,
    /// What was done stays, and the environment is held.
    Never,
}

/// Who may read the secrets of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// age recipients: `age1…` or `ssh-ed25519 …`.
    #[serde(default)]
    pub recipients: Vec<String>,
}

impl Encryption {
    fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }
}
