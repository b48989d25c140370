//! `components/<name>.yaml`: one deployable, the same for all environments.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bytes, Cpu, Publish, Span};
use crate::{ComponentName, PortName, RepoPath, VolumeName, ZoneName};

/// One deployable of an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentSpec {
    /// The version of the product, for people and policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The image, best with tag and digest; the digest decides. Required unless `workload: external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The SPDX expression of the product's license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where the product's end of life is looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The network zone that it lives in. It joins others only where `connects` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// How it runs. Default: `service`.
    #[serde(default)]
    pub workload: Workload,
    /// When a `cron` runs: five fields, in UTC (`0 3 * * *`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What becomes of runs of a `cron` that were missed, as while nothing ran here. Default: `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<MissedRuns>,
    /// How a new version takes over. Default: `stopFirst`.
    #[serde(default)]
    pub update: Update,
    /// How many of it run. Default: 1.
    #[serde(default = "one")]
    pub replicas: u16,
    /// What the engine does when it exits. Default: `unless-stopped`, for jobs `no`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Credentials of the image's registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
    /// The entry point; replaces the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The arguments; replaces the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// The user: a name or uid, with an optional `:group`. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The working directory. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The signal that asks it to stop. Default: the image's, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed: `9m` at most. Default: `10s`.
    #[serde(default = "ten_seconds")]
    pub stop_grace: Span,
    /// Environment variables. A value must not come from a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Labels on what runs, for people and other tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Secrets that are delivered to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["name"]))]
    pub secrets: Vec<SecretSpec>,
    /// Configuration files that are delivered to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["to"]))]
    pub files: Vec<FileSpec>,
    /// Volumes that outlive it. Need `workload: stateful`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["name"]))]
    pub volumes: Vec<VolumeSpec>,
    /// Ports that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["name"]))]
    pub ports: Vec<PortSpec>,
    /// Whom it calls. What is not declared here cannot be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["to", "port"]))]
    pub connects: Vec<Connect>,
    /// What must be there before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["component"]))]
    pub depends_on: Vec<Dependency>,
    /// How to tell that it works. Without it: running for `sync.stable` without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// How much it may use.
    #[serde(default)]
    pub resources: Resources,
    /// Versions of others that it works with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-key" = ["component"]))]
    pub requires: Vec<Requirement>,
    /// For a `job`: when a rollback may run it again. Default: `never`.
    #[serde(default)]
    pub rerun: Rerun,
    /// Whether a rollback to another major version may reuse the volumes. Default: `ask`.
    #[serde(default)]
    pub rollback: RollbackPolicy,
    /// The address of an `external` endpoint: a host name or an IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the root file system is read-only. Default: `false`.
    #[serde(default)]
    pub read_only: bool,
    /// What only Docker knows.
    #[serde(default)]
    pub docker: DockerSpec,
    /// What only Kubernetes knows. Not read by the Docker target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Value>,
}

/// The longest `stopGrace`: going back waits for every stop, so there is a limit to what one may ask for.
pub const MAX_STOP_GRACE: Span = Span(Duration::from_mins(9));

fn one() -> u16 {
    1
}

fn ten_seconds() -> Span {
    Span(Duration::from_secs(10))
}

/// Where a product's end of life is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// The product's name at endoflife.date.
    pub product: String,
    /// Its release cycle.
    pub cycle: String,
}

/// How a component runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Runs all the time and keeps nothing.
    #[default]
    Service,
    /// Runs all the time and has volumes.
    Stateful,
    /// Runs once on every node; one container on Docker.
    Daemon,
    /// Runs once for each change of its inputs, and must exit with 0.
    Job,
    /// Runs by `schedule`.
    Cron,
    /// Is not run: an endpoint that others connect to.
    External,
}

impl Workload {
    /// Returns whether it is expected to run all the time.
    pub fn is_long_running(self) -> bool {
        matches!(self, Self::Service | Self::Stateful | Self::Daemon)
    }
}

/// What becomes of runs of a `cron` whose time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MissedRuns {
    /// One run makes up for all of them, as soon as it can.
    #[default]
    Run,
    /// They are left out.
    Skip,
}

impl fmt::Display for MissedRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Skip => "skip",
        })
    }
}

/// How a new version takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Update {
    /// The old one stops, then the new one starts on the same address.
    #[default]
    StopFirst,
    /// The new one starts; when it is healthy the old one stops. No volume, no published port.
    StartFirst,
}

/// What the engine does when a container exits. `always` and `on-failure` do not exist: after a restart of
/// the engine they would start a container that was kept for a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Nothing.
    No,
    /// Starts it again unless it was stopped.
    UnlessStopped,
}

/// Credentials of an image registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pull {
    /// `FILE#KEY` of the password or token.
    pub secret: String,
    /// The user name. Default: `token`.
    #[serde(default = "token")]
    pub user: String,
}

fn token() -> String {
    "token".into()
}

/// One secret and how it is delivered: as a file, or, with `exposed: true`, in an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// Its name, for `secrets.<name>` in templates.
    pub name: String,
    /// `FILE#KEY`, or `FILE` for one that holds a single raw value; from the environment's folder.
    pub from: String,
    /// Where the file is in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Who owns the file: `uid` or `uid:gid`. Default: `0:0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The mode of the file, octal. Default: `"0400"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// An environment variable that holds the path of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_env: Option<String>,
    /// An environment variable that holds the value itself. Needs `exposed: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Says that the engine may store and show the value. Default: `false`.
    #[serde(default)]
    pub exposed: bool,
}

/// One configuration file that is delivered, read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// The file in the repository, from its root.
    pub from: RepoPath,
    /// Where it is in the container: an absolute path, not inside a volume.
    pub to: String,
    /// The mode, octal. Default: `"0444"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Who owns it: `uid` or `uid:gid`. Default: `0:0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether expressions in it are computed. Default: `false`.
    #[serde(default)]
    pub template: bool,
    /// The delimiters of expressions. Default: `["${", "}"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiters: Option<[String; 2]>,
}

/// One named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its name, unique in the component.
    pub name: VolumeName,
    /// Where it is in the container: an absolute path.
    pub path: String,
    /// Who owns the top of a new volume: `uid:gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The volume driver on Docker. Default: `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The class of storage. Advisory on Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The size. Advisory on Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// How it is backed up. Advisory on Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// One port that a component listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortSpec {
    /// Its name, for `connects`.
    pub name: PortName,
    /// The number inside the container.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// TCP or UDP. Default: `tcp`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Who may reach it. Default: `internal`.
    #[serde(default)]
    pub access: Access,
    /// The port of the host: `8080`, or `127.0.0.1:8080` for one address. Default: not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
    /// The scheme of `connects.<component>.<port>.url`. Default: `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
}

/// A port by its name or its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PortRef {
    /// The number in the container.
    Number(u16),
    /// The name of one of the component's `ports`.
    Name(PortName),
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Who may reach a port. Policies read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Components that declare it in `connects`.
    #[default]
    Internal,
    /// Also administrators.
    Admin,
    /// Also users of the platform.
    Users,
    /// Also the world.
    External,
}

/// One flow to another component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// Who is called.
    pub to: ComponentName,
    /// On which of its ports.
    pub port: PortName,
}

/// What must be there before a component starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// The other component.
    pub component: ComponentName,
    /// What is waited for. Default: `healthy`, and `completed` for a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// It has been started.
    Started,
    /// Its health check passed.
    Healthy,
    /// The job exited with 0.
    Completed,
}

/// How to tell that a component works: exactly one of `exec`, `http` and `tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// A command in the container that exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// A request that is answered with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// A port that accepts a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// How often it is tried while starting. Default: `5s`; the first tries come sooner.
    #[serde(default = "five_seconds")]
    pub interval: Span,
    /// How long one try may take. Default: `3s`.
    #[serde(default = "three_seconds")]
    pub timeout: Span,
    /// How long it may take to become healthy. Default: `60s`.
    #[serde(default = "sixty_seconds")]
    pub startup: Span,
}

fn three_seconds() -> Span {
    Span(Duration::from_secs(3))
}

fn five_seconds() -> Span {
    Span(Duration::from_secs(5))
}

fn sixty_seconds() -> Span {
    Span(Duration::from_mins(1))
}

/// A request over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    /// The name of one of the component's ports, or a number.
    pub port: PortRef,
    /// The path. Default: `/`.
    #[serde(default = "root_path")]
    pub path: String,
}

fn root_path() -> String {
    "/".into()
}

/// A connection over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    /// The name of one of the component's ports, or a number.
    pub port: PortRef,
}

/// How much a component may use. What is left out is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory; swap is limited to the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// A version of another component that this one works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The other component.
    pub component: ComponentName,
    /// The range, such as `>=2024`.
    pub version: String,
}

/// When a rollback may run a job again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rerun {
    /// Never.
    #[default]
    Never,
    /// With every rollback to inputs that it ran with before.
    OnRollback,
}

/// Whether a rollback to another major version may reuse the volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RollbackPolicy {
    /// It stops and asks.
    #[default]
    Ask,
    /// The data of both versions are compatible.
    DataSafe,
}

/// What only Docker knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DockerSpec {
    /// Limits of the processes, by name (`nofile`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Capabilities that are added, without `CAP_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities that are taken away; `ALL` is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// The size of `/dev/shm`. Default: the engine's, 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// Paths that are file systems in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// Kernel settings of the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Where the output goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<LogSpec>,
    /// Whether an init process reaps children. Default: `false`.
    #[serde(default)]
    pub init: bool,
}

/// A limit of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ulimit {
    /// What a process gets; -1 is unlimited.
    pub soft: i64,
    /// Up to what it may raise it.
    pub hard: i64,
}

/// Where the output of a container goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSpec {
    /// The engine's log driver.
    pub driver: String,
    /// Its options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}
