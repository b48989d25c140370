//! `trueup-daemon.yaml`: the operator's side. Git says what, this file says where.
//!
//! It never comes from a repository, and it holds no secret: those are files that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use trueup_docker::Endpoint;
use trueup_engine::EnvKey;
use trueup_git::Location;
use trueup_kubernetes::Connection;
use trueup_schema::{EnvironmentName, SourceName, Subnet, TargetName, manifest::Span};

use crate::{
    failure::{Failure, Kind},
    target::Address,
    world::git_failure,
};

/// How often a remote is asked for its newest commit at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The operator's configuration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the store, the mirrors and the delivered plain files are. Default: `/var/lib/trueup`.
    #[serde(default = "state_dir")]
    pub(crate) state_dir: PathBuf,
    /// Where secret files are: a file system in memory. Default: `/run/trueup`.
    #[serde(default = "runtime_dir")]
    pub(crate) runtime_dir: PathBuf,
    /// age key files: X25519 or ssh-ed25519, readable by their owner alone. Default: none.
    #[serde(default)]
    pub(crate) keys: Vec<PathBuf>,
    /// The repositories that are followed. Default: none.
    #[serde(default)]
    pub(crate) sources: Vec<Source>,
    /// Engines by the name that manifests use. `local` is there without being named.
    #[serde(default)]
    pub(crate) targets: BTreeMap<TargetName, Target>,
    /// Subnets that zones without one take theirs from, a /24 each. Default: `10.88.0.0/16`.
    #[serde(default = "subnet_pool")]
    pub(crate) subnet_pool: Vec<String>,
    /// Bounds on what a repository may hold.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Logs on standard error.
    #[serde(default)]
    pub(crate) log: Log,
    /// Where `/livez`, `/readyz` and `/metrics` are served, over HTTP without a login. Default: nowhere.
    #[serde(default)]
    pub(crate) listen: Option<String>,
    /// How many environments run at once. Default: 4.
    #[serde(default = "parallel")]
    pub(crate) parallel: usize,
    /// How long a run may take to finish or go back after SIGTERM. Default: `30s`.
    #[serde(default = "shutdown_grace")]
    pub(crate) shutdown_grace: Span,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    /// Its name: with the environment's it is the identity of what runs.
    pub(crate) name: SourceName,
    /// A local path (read in place), `file://`, `http://` or `https://`.
    pub(crate) url: String,
    /// The branch or tag. Default: `main`.
    #[serde(default = "main_branch")]
    pub(crate) reference: String,
    /// A file with the token or password for HTTP.
    #[serde(default)]
    pub(crate) token_file: Option<PathBuf>,
    /// The user name that goes with it. Default: `git`.
    #[serde(default = "git_user")]
    pub(crate) user: String,
    /// A file with the certificates to trust, beside the system's.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    /// How often a remote is asked for its newest commit. Default: `30s`.
    #[serde(default = "poll_interval")]
    pub(crate) interval: Span,
    /// The environments that are followed. Default: all.
    #[serde(default)]
    pub(crate) environments: Option<Vec<EnvironmentName>>,
}

/// One engine, or one cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Target {
    /// The Docker Engine: `unix:///var/run/docker.sock` or `tcp://host:port`.
    #[serde(default)]
    pub(crate) docker: Option<String>,
    /// The Kubernetes cluster, and how it is reached.
    #[serde(default)]
    pub(crate) kubernetes: Option<Cluster>,
    /// The sources that may use it. Default: all.
    #[serde(default)]
    pub(crate) allow: Option<Vec<SourceName>>,
}

/// How a cluster is reached: by a kubeconfig, from inside of it, or at an address with a token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "`inCluster` is what everybody calls it")]
pub(crate) struct Cluster {
    /// A file as `kubectl` reads it.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// One of its contexts. Default: its current one.
    pub(crate) context: Option<String>,
    /// Whether it may name programs that are run for credentials. Default: `false`.
    pub(crate) allow_exec: bool,
    /// Whether trueup runs in the cluster, and uses the service account of its pod. Default: `false`.
    pub(crate) in_cluster: bool,
    /// The address of the API server.
    pub(crate) server: Option<String>,
    /// A file with the token for it.
    pub(crate) token_file: Option<PathBuf>,
    /// A file with the authority that its certificate is checked against. Default: those of this machine.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Cluster {
    fn connection(&self) -> Result<Connection, Failure> {
        let wrong = |message: &str, hint: &str| Failure::new(Kind::Config, message).hint(hint);
        let ways =
            "write one of `kubeconfig: FILE`, `inCluster: true`, and `server: URL` with `tokenFile: FILE`";
        match (&self.kubeconfig, self.in_cluster, &self.server) {
            (Some(file), false, None) => Ok(Connection::Kubeconfig {
                file: file.clone(),
                context: self.context.clone(),
                allow_exec: self.allow_exec,
            }),
            (None, true, None) => Ok(Connection::InCluster),
            (None, false, Some(url)) => match &self.token_file {
                Some(token_file) => Ok(Connection::Server {
                    url: url.clone(),
                    token_file: token_file.clone(),
                    ca_file: self.ca_file.clone(),
                }),
                None => Err(wrong("a server needs a token", "write `tokenFile: FILE`")),
            },
            (None, false, None) => Err(wrong("nothing says how the cluster is reached", ways)),
            _ => Err(wrong("the cluster is reached in two ways", ways)),
        }
    }
}

/// Bounds on what a repository may hold. What is over them is refused with its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Files in a commit. Default: 50,000.
    pub(crate) files: usize,
    /// Bytes of one file that is read. Default: 4 MiB.
    pub(crate) file_bytes: u64,
    /// Bytes of one download. Default: 512 MiB.
    pub(crate) fetch_bytes: u64,
    /// How long one fetch may take. Default: `60s`.
    pub(crate) fetch_timeout: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 50_000,
            file_bytes: 4 << 20,
            fetch_bytes: 512 << 20,
            fetch_timeout: Span(Duration::from_mins(1)),
        }
    }
}

/// Logs on standard error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Log {
    /// `text` or `json`. Default: `text`.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`. Default: `info`.
    pub(crate) level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// Only what failed.
    Error,
    /// Also what a person should look at.
    Warn,
    /// Also what was done.
    Info,
    /// Also how.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Config {
    /// Finds what the types of the values do not show: a name that two sources have, addresses that are none, and
    /// numbers that nothing can be done with.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let mut names = BTreeSet::new();
        for source in &self.sources {
            let at = |failure: Failure| failure.at(&format!("sources.{}", source.name));
            if !names.insert(&source.name) {
                let twice = Failure::new(Kind::Config, "two sources have this name");
                return Err(at(twice.hint("give one of them another name")));
            }
            source.location().map_err(at)?;
            if source.interval.0 < SHORTEST_INTERVAL {
                let failure = Failure::new(Kind::Config, "a server is asked ten times a second at most");
                let place = format!("sources.{}.interval", source.name);
                return Err(failure.at(&place).hint("write `100ms` or more"));
            }
        }
        for (name, target) in &self.targets {
            let kind = match (&target.docker, &target.kubernetes) {
                (Some(_), None) => ".docker",
                (None, Some(_)) => ".kubernetes",
                _ => "",
            };
            target.address().map_err(|failure| failure.at(&format!("targets.{name}{kind}")))?;
        }
        if self.parallel == 0 {
            let failure = Failure::new(Kind::Config, "no environment would ever be run");
            return Err(failure.at("parallel").hint("write 1 or more"));
        }
        self.address().map(drop)?;
        self.subnets().map(drop).map_err(|failure| failure.at("subnetPool"))
    }

    /// Returns where to listen, if anywhere.
    pub(crate) fn address(&self) -> Result<Option<SocketAddr>, Failure> {
        let Some(text) = &self.listen else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Failure::new(Kind::Config, format!("`{text}` is no address to listen at"))
                .at("listen")
                .hint("write an IP address and a port, such as `127.0.0.1:9180`")
        })
    }

    /// Returns the subnets that zones without one take theirs from.
    pub(crate) fn subnets(&self) -> Result<Vec<Subnet>, Failure> {
        let pool = self.subnet_pool.iter();
        pool.map(|text| text.parse().map_err(|error| Failure::of(Kind::Config, &error))).collect()
    }

    /// Returns whether an environment is one that is followed.
    pub(crate) fn follows(&self, key: &EnvKey) -> bool {
        let source = self.sources.iter().find(|source| source.name == key.source);
        source.is_some_and(|source| source.follows(&key.environment))
    }
}

impl Source {
    /// Returns whether an environment is one that is followed.
    pub(crate) fn follows(&self, env: &EnvironmentName) -> bool {
        self.environments.as_ref().is_none_or(|environments| environments.contains(env))
    }

    /// Returns where the repository is.
    pub(crate) fn location(&self) -> Result<Location, Failure> {
        self.url.parse().map_err(|error| git_failure(&error))
    }
}

impl Target {
    /// Returns where it is.
    pub(crate) fn address(&self) -> Result<Address, Failure> {
        match (&self.docker, &self.kubernetes) {
            (Some(docker), None) => Ok(Address::Docker(docker.parse::<Endpoint>()?)),
            (None, Some(cluster)) => Ok(Address::Kubernetes(cluster.connection()?)),
            (None, None) => Err(Failure::new(Kind::Config, "the target has no kind")
                .hint("write `docker: ADDRESS` or `kubernetes: {...}`")),
            (Some(_), Some(_)) => {
                Err(Failure::new(Kind::Config, "the target has two kinds").hint("make two targets of it"))
            }
        }
    }
}

/// Reads a configuration as strictly as a manifest.
pub(crate) fn read(file: &Path) -> Result<Config, Failure> {
    let bytes = std::fs::read(file).map_err(|error| {
        Failure::new(Kind::Config, format!("cannot read the configuration `{}`: {error}", file.display()))
    })?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.parse().map_err(|error| Failure::of(Kind::Config, &error))?;
    Ok(trueup_schema::read(&name, &bytes, &trueup_schema::Limits::default())?)
}

/// Returns what can be read of a configuration that has mistakes, and defaults for the rest: to look at, not
/// to work with.
pub(crate) fn read_leniently(file: &Path) -> Config {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let fields: serde_json::Map<String, Value> = serde_yaml::from_str(&text).unwrap_or_default();
    let is_readable =
        |name: &str, value: &Value| serde_json::from_value::<Config>(json!({ name: value })).is_ok();
    let readable = fields.into_iter().filter(|(name, value)| is_readable(name, value)).collect();
    serde_json::from_value(Value::Object(readable)).unwrap_or_default()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: state_dir(),
            runtime_dir: runtime_dir(),
            keys: Vec::new(),
            sources: Vec::new(),
            targets: BTreeMap::new(),
            subnet_pool: subnet_pool(),
            limits: Limits::default(),
            log: Log::default(),
            listen: None,
            parallel: parallel(),
            shutdown_grace: shutdown_grace(),
        }
    }
}

fn state_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/trueup".into();
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    std::env::var_os("XDG_STATE_HOME").map_or_else(|| home.join(".local/state"), PathBuf::from).join("trueup")
}

fn runtime_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/trueup".into();
    }
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from).join("trueup")
}

fn subnet_pool() -> Vec<String> {
    trueup_docker::Settings::default().subnet_pool.iter().map(ToString::to_string).collect()
}

fn parallel() -> usize {
    4
}

fn shutdown_grace() -> Span {
    Span(Duration::from_secs(30))
}

fn main_branch() -> String {
    "main".into()
}

fn git_user() -> String {
    "git".into()
}

fn poll_interval() -> Span {
    Span(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_settings_are_the_defaults() {
        let text = include_str!("../../deploy/trueup-daemon.yaml");
        let path = "trueup-daemon.yaml".parse().unwrap();
        let documented: Config =
            trueup_schema::read(&path, text.as_bytes(), &trueup_schema::Limits::default()).unwrap();
        let root = Config {
            state_dir: "/var/lib/trueup".into(),
            runtime_dir: "/run/trueup".into(),
            ..Config::default()
        };
        assert_eq!(serde_json::to_value(documented).unwrap(), serde_json::to_value(root).unwrap());
    }

    #[test]
    fn the_documented_source_and_targets_are_read() {
        let text = include_str!("../../deploy/trueup-daemon.yaml");
        let text = text
            .replace("sources: []\n", "sources:\n")
            .replace("targets: {}\n", "targets:\n")
            .replace("\n#  ", "\n  ");
        let path = "trueup-daemon.yaml".parse().unwrap();
        let config: Config =
            trueup_schema::read(&path, text.as_bytes(), &trueup_schema::Limits::default()).unwrap();
        assert_eq!(config.sources[0].interval, poll_interval());
        assert_eq!(config.targets.len(), 2);
        config.check().unwrap();
    }

    fn read_text(text: &str) -> Config {
        let path = "trueup-daemon.yaml".parse().unwrap();
        trueup_schema::read(&path, text.as_bytes(), &trueup_schema::Limits::default()).unwrap()
    }

    #[test]
    fn what_no_single_value_shows_is_found() {
        for (text, place) in [
            ("sources: [{name: a, url: /x}, {name: a, url: /y}]", "sources.a: two sources have this name"),
            ("sources: [{name: a, url: \"ftp://x\"}]", "sources.a: "),
            ("targets: {local: {docker: \"ssh://x\"}}", "targets.local.docker: "),
            ("targets: {a: {allow: [x]}}", "targets.a: the target has no kind"),
            (
                "targets: {a: {docker: \"unix:///x\", kubernetes: {inCluster: true}}}",
                "targets.a: the target has two",
            ),
            ("targets: {a: {kubernetes: {}}}", "targets.a.kubernetes: nothing says how"),
            (
                "targets: {a: {kubernetes: {server: \"https://x\"}}}",
                "targets.a.kubernetes: a server needs a token",
            ),
            (
                "targets: {a: {kubernetes: {inCluster: true, kubeconfig: /x}}}",
                "targets.a.kubernetes: the cluster is reached in two ways",
            ),
            ("sources: [{name: a, url: /x, interval: 0s}]", "sources.a.interval: "),
            ("parallel: 0", "parallel: no environment"),
            ("subnetPool: [10.0.0.0/99]", "subnetPool: "),
            ("listen: localhost", "listen: `localhost` is no address"),
        ] {
            let failure = read_text(text).check().unwrap_err();
            assert!(failure.kind == Kind::Config && failure.message.starts_with(place), "{failure}");
        }
        read_text("sources: [{name: a, url: /x}, {name: b, url: /x}]\nlisten: 127.0.0.1:9180")
            .check()
            .unwrap();
    }

    #[test]
    fn what_is_readable_of_a_broken_configuration_is_read() {
        let folder = std::env::temp_dir().join(format!("trueup-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("trueup-daemon.yaml");
        std::fs::write(&file, "stateDr: /x\nkeys: [/a.key]\nparallel: many\nsubnetPool: [10.1.0.0/16]\n")
            .unwrap();
        let config = read_leniently(&file);
        assert_eq!(config.keys, [PathBuf::from("/a.key")]);
        assert_eq!((config.subnet_pool.len(), config.parallel), (1, parallel()));
        std::fs::write(&file, "{ not yaml").unwrap();
        assert_eq!(read_leniently(&file).state_dir, state_dir());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_mistake_is_reported_at_its_place() {
        let path = "trueup-daemon.yaml".parse().unwrap();
        let report =
            trueup_schema::read::<Config>(&path, b"stateDr: /x\n", &trueup_schema::Limits::default());
        let report = report.unwrap_err().to_string();
        assert!(
            report.contains("trueup-daemon.yaml:1:1") && report.contains("did you mean `stateDir`"),
            "{report}"
        );
    }
}
