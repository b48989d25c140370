//! The configuration of networks, volumes and containers, as it is compared and as it is created.
//!
//! [`crate::compile`] makes it from manifests and [`crate::inspect`] reads the same back from an engine:
//! equal means that nothing is to be done. Every field is there, with its default; values read as a
//! person writes them; secrets are digests.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use trueup_engine::{Blame, TargetError};
use trueup_plan::Spec;
use trueup_schema::{
    ContentDigest,
    manifest::{Bytes, Cpu, Span},
};

/// A zone's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The subnet in CIDR form.
    pub subnet: String,
    /// The first address: the bridge itself.
    pub gateway: String,
    /// Where the engine takes addresses from that nobody planned: the upper half.
    pub dynamic: String,
    /// Whether there is no way to the outside.
    pub internal: bool,
    /// The engine's driver.
    pub driver: String,
    /// The name of the bridge on the host.
    pub bridge: String,
    /// Containers that do not belong here and are detached, with their endpoints.
    pub foreign: BTreeMap<String, EndpointSpec>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The engine's driver.
    pub driver: String,
    /// Who owns the top of a new volume: `uid:gid`.
    pub owner: Option<String>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSpec {
    /// What the engine calls it.
    #[serde(default)]
    pub name: String,
    /// What it is made from.
    pub image: ImageSpec,
    /// The entry point; the image's when there is none.
    pub command: Option<Vec<String>>,
    /// The arguments; the image's when there are none.
    pub args: Option<Vec<String>>,
    /// The user; the image's when there is none.
    pub user: Option<String>,
    /// The working directory; the image's when there is none.
    pub working_dir: Option<String>,
    /// Environment variables over those of the image.
    pub env: BTreeMap<String, EnvValue>,
    /// Files, by their path in the container.
    pub files: BTreeMap<String, FileSpec>,
    /// Volumes, by their path in the container: the engine's name of each.
    pub volumes: BTreeMap<String, String>,
    /// File systems in memory, by their path, with the engine's options.
    pub tmpfs: BTreeMap<String, String>,
    /// The networks that it is in: a zone's name, or `other:<name>` for one that is no zone.
    pub networks: BTreeMap<String, EndpointSpec>,
    /// Published ports, by their name.
    pub ports: BTreeMap<String, PortSpec>,
    /// What it may use.
    pub resources: ResourcesSpec,
    /// What the engine does when it exits.
    pub restart: String,
    /// The signal that asks it to stop; the image's when there is none.
    pub stop_signal: Option<String>,
    /// How long it may take to stop.
    pub stop_grace: Span,
    /// Added capabilities, without `CAP_`, sorted.
    pub cap_add: Vec<String>,
    /// Dropped capabilities, without `CAP_`, sorted.
    pub cap_drop: Vec<String>,
    /// Limits of the processes: `soft:hard`.
    pub ulimits: BTreeMap<String, String>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// The size of `/dev/shm`.
    pub shm_size: Bytes,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Whether an init process reaps children.
    pub init: bool,
    /// Where the output goes; the engine's default when there is none.
    pub log: Option<LogSpec>,
    /// Labels for people and other tools.
    pub labels: BTreeMap<String, String>,
    /// When it runs, in the five fields of cron; only for what runs by schedule.
    pub schedule: Option<String>,
    /// What becomes of the runs that it missed, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<String>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// The name that it is asked for by.
    pub reference: String,
    /// What decides: its registry digest where it has one, else the engine's id.
    pub id: String,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EnvValue {
    /// Anybody may see it.
    Plain(String),
    /// The digest of an exposed secret, or of a live value that nobody declared.
    Secret(ContentDigest),
}

impl From<String> for EnvValue {
    fn from(text: String) -> Self {
        match serde_json::from_value::<ContentDigest>(text.clone().into()) {
            Ok(digest) if is_keyed_digest(&text) => Self::Secret(digest),
            _ => Self::Plain(text),
        }
    }
}

impl From<EnvValue> for String {
    fn from(value: EnvValue) -> Self {
        match value {
            EnvValue::Plain(text) => text,
            EnvValue::Secret(digest) => digest.to_string(),
        }
    }
}

/// Returns whether `text` reads as the digest of a secret. A plain value must not.
pub(crate) fn is_keyed_digest(text: &str) -> bool {
    text.strip_prefix("keyed:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A delivered file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Its bytes.
    pub digest: ContentDigest,
    /// Its mode, octal: `0444`.
    pub mode: String,
    /// Who owns it: `uid:gid`.
    pub owner: String,
}

impl FileSpec {
    /// Returns the mode as a number.
    pub fn mode_bits(&self) -> u32 {
        u32::from_str_radix(&self.mode, 8).unwrap_or(0o400)
    }

    /// Returns the uid and gid.
    pub fn owner_ids(&self) -> (u32, u32) {
        parse_owner(&self.owner).unwrap_or((0, 0))
    }
}

/// Returns the uid and gid of `uid:gid` or `uid`, whose gid is the same number.
pub(crate) fn parse_owner(text: &str) -> Option<(u32, u32)> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// How a container is in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    /// Names that resolve to it there, sorted.
    pub aliases: Vec<String>,
    /// Its address.
    pub address: Option<String>,
    /// The address that a new version takes while this one still runs; only with `startFirst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<String>,
    /// Whether the network is none of the environment's: somebody else has brought the container into it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undeclared: bool,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpec {
    /// The port of the container: `5432/tcp`.
    pub port: String,
    /// The port of the host: `8080` or `127.0.0.1:8080`; several of them with commas.
    pub publish: String,
}

/// What a container may use; what is left out is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcesSpec {
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Memory and swap together: the same as `memory`, or `-1` where the engine cannot limit swap.
    pub swap: Option<String>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// Where the output of a container goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSpec {
    /// The engine's driver.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// How a container is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// A command in the container that exits with 0.
    Exec(Vec<String>),
    /// A request that is answered with a status from 200 to 399.
    Http {
        /// The zone in whose network it is asked.
        zone: String,
        /// The port in the container.
        port: u16,
        /// The path.
        path: String,
    },
    /// A port that accepts a connection.
    Tcp {
        /// The zone in whose network it is asked.
        zone: String,
        /// The port in the container.
        port: u16,
    },
    /// It runs for so long without a restart.
    Stable(Span),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(command) => write!(f, "`{}`", command.join(" ")),
            Self::Http { port, path, .. } => write!(f, "http {port}{path}"),
            Self::Tcp { port, .. } => write!(f, "tcp {port}"),
            Self::Stable(span) => write!(f, "running for {span} without a restart"),
        }
    }
}

/// What is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullSpec {
    /// The image's name.
    pub reference: String,
    /// What it must be once it is there.
    pub id: String,
    /// The user at the registry.
    pub user: Option<String>,
    /// The digest of the password.
    pub password: Option<ContentDigest>,
}

/// Returns a configuration as the plan holds it.
pub(crate) fn to_spec<T: Serialize>(typed: &T) -> Spec {
    serde_json::to_value(typed).expect("every map of a configuration has text keys")
}

/// Returns the typed form of a plan's configuration.
pub(crate) fn from_spec<T: DeserializeOwned>(spec: &Spec) -> Result<T, TargetError> {
    T::deserialize(spec).map_err(|error| {
        TargetError::new(Blame::Moved, "the plan holds a configuration that this version cannot read")
            .caused_by(&error)
            .help("make a new plan")
    })
}

/// Returns a span of whole seconds, rounded up: the engine knows no less.
pub(crate) fn whole_seconds(span: Span) -> i64 {
    let seconds = span.0.as_secs() + u64::from(span.0.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_value_is_told_from_a_plain_one() {
        let digest = format!("keyed:{}", "a1".repeat(32));
        assert!(matches!(EnvValue::from(digest.clone()), EnvValue::Secret(_)));
        assert!(matches!(EnvValue::from("keyed:x".to_owned()), EnvValue::Plain(_)));
        assert_eq!(String::from(EnvValue::from(digest.clone())), digest);
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_up() {
        assert_eq!(whole_seconds("1500ms".parse().unwrap()), 2);
        assert_eq!(whole_seconds("10s".parse().unwrap()), 10);
    }

    #[test]
    fn an_owner_without_a_group_has_the_group_of_root_as_a_file_has() {
        assert_eq!(parse_owner("70"), Some((70, 0)));
        assert_eq!(parse_owner("70:0"), Some((70, 0)));
        assert_eq!(parse_owner("postgres"), None);
    }
}
