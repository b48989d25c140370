//! The wiring: from the operator's configuration to sources, targets, keys and the store.
//!
//! Git says what, the operator says where: a manifest only names a target, and whether its source may use
//! that target is decided here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use trueup_docker::{Endpoint, Locality, Settings};
use trueup_engine::{EnvKey, HeldBy, Holder, Store, StoreError, Watch};
use trueup_git::{GitSource, Reference, SourceConfig};
use trueup_schema::{EnvironmentName, SourceName, TargetId};
use trueup_secrets::Identities;
use trueup_store::{Lease, Sqlite};

use crate::{
    args::Global,
    config::{self, Config},
    failure::{Failure, Kind},
    show,
    target::{Address, Target},
};

/// The target that is there without being named.
const LOCAL: &str = "local";

/// Where the configuration is when nobody says so.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/trueup/trueup-daemon.yaml";

/// Everything around a reconciliation.
pub(crate) struct World {
    pub(crate) config: Config,
    /// The file that `config` was read from; none when there is none.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) store: Sqlite,
    pub(crate) keys: Identities,
    /// One connection a target: what it is doing is known to every run.
    targets: Mutex<BTreeMap<TargetId, Target>>,
}

impl World {
    /// Reads the configuration and opens the store and the keys.
    pub(crate) fn open(global: &Global) -> Result<Self, Failure> {
        Self::open_with(global, Sqlite::open)
    }

    /// Does the same, and reads the whole store first.
    pub(crate) fn open_checked(global: &Global) -> Result<Self, Failure> {
        Self::open_with(global, Sqlite::open_checked)
    }

    /// Does the same for one that only reads what the store knows, also where its disk is full.
    pub(crate) fn open_to_read(global: &Global) -> Result<Self, Failure> {
        Self::open_with(global, Sqlite::open_to_read)
    }

    fn open_with(
        global: &Global,
        open: impl FnOnce(&Path) -> Result<Sqlite, StoreError>,
    ) -> Result<Self, Failure> {
        let (config, config_file, keys) = read(global)?;
        let store = open(&config.state_dir)?;
        Ok(Self { config, config_file, store, keys, targets: Mutex::default() })
    }

    /// Reads the configuration and the keys again, and keeps the store and the connections.
    pub(crate) fn reopen(&self, global: &Global) -> Result<Self, Failure> {
        let (config, config_file, keys) = read(global)?;
        let mut targets = self.targets().clone();
        targets.retain(|id, _| config.targets.contains_key(id.name()) || id.name().as_str() == LOCAL);
        Ok(Self { config, config_file, store: self.store.clone(), keys, targets: Mutex::new(targets) })
    }

    /// Returns the source that has the environment: the one that was asked for, or the only one.
    pub(crate) fn source(
        &self,
        wanted: Option<&SourceName>,
        env: &EnvironmentName,
    ) -> Result<&config::Source, Failure> {
        let follows = |source: &&config::Source| source.follows(env);
        let named = |source: &&config::Source| wanted.is_none_or(|name| *name == source.name);
        let candidates: Vec<_> = self.config.sources.iter().filter(named).filter(follows).collect();
        match candidates.as_slice() {
            [source] => Ok(source),
            [] => Err(Failure::new(Kind::User, format!("no source has an environment `{env}`"))
                .hint("name it in the `environments` of a source of the configuration")),
            several => {
                let list: Vec<_> = several.iter().map(|source| source.name.as_str()).collect();
                Err(Failure::new(
                    Kind::User,
                    format!("several sources may have `{env}`: {}", list.join(", ")),
                )
                .hint("choose one with `--source`"))
            }
        }
    }

    /// Opens a source of the configuration.
    pub(crate) fn git(&self, source: &config::Source) -> Result<GitSource, Failure> {
        git(&self.config, source, limits(&self.config))
    }

    /// Connects to a target that the source may use.
    pub(crate) fn target(&self, id: &TargetId, source: &SourceName) -> Result<Target, Failure> {
        allowed(&self.config, id, source)?;
        let address = address(&self.config, id)?;
        let settings = settings(&self.config)?;
        let mut targets = self.targets();
        if let Some(connected) = targets.get(id).filter(|connected| connected.is_at(&address)) {
            return Ok(connected.clone());
        }
        let connected = Target::connect(&address, settings)?;
        targets.insert(id.clone(), connected.clone());
        Ok(connected)
    }

    /// Takes the lease of an environment, waiting for it at most so long; says who has it.
    pub(crate) async fn lease(&self, key: &EnvKey, what: &str, wait: Duration) -> Result<Lease, Failure> {
        let holder = Holder::here(what);
        let cancel = CancellationToken::new();
        let waiting = self.store.lease_wait(key, &holder, &cancel);
        match tokio::time::timeout(wait, waiting).await {
            Ok(lease) => Ok(lease?),
            // Asked once more, to say who has it.
            Err(_) => match self.store.lease(key, &holder).await {
                Err(StoreError::Lease(held)) => Err(self.held(held).await),
                taken => Ok(taken?),
            },
        }
    }

    /// Says who has an environment, and with which run.
    async fn held(&self, held: HeldBy) -> Failure {
        let Some(holder) = held.holder.clone() else { return StoreError::Lease(held).into() };
        let runs = self.store.unfinished(&held.env).await.unwrap_or_default();
        let run = runs.iter().map(|run| &run.run).find(|run| run.started >= holder.since);
        let by = show::holder(&holder, run.map(|run| run.id), Timestamp::now());
        let message = format!("`{}` is held by {by}", held.env);
        let failure = Failure::new(Kind::Refused, message);
        match StoreError::Lease(held).help() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// Returns the targets that were connected to.
    pub(crate) fn targets(&self) -> MutexGuard<'_, BTreeMap<TargetId, Target>> {
        // An insertion cannot leave the map half changed.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an environment nowhere but on this target.
    pub(crate) fn keep_only(&self, key: &EnvKey, target: Option<&TargetId>) {
        let targets = self.targets();
        let others = targets.iter().filter(|(id, _)| Some(*id) != target);
        others.for_each(|(_, other)| other.forget(key));
    }

    /// Returns the key of an environment of a source.
    pub(crate) fn key(source: &config::Source, env: &EnvironmentName) -> EnvKey {
        EnvKey { source: source.name.clone(), environment: env.clone() }
    }
}

/// Returns how much of a repository is read.
pub(crate) fn limits(config: &Config) -> trueup_git::Limits {
    trueup_git::Limits {
        files: config.limits.files,
        file_bytes: config.limits.file_bytes,
        fetch_bytes: config.limits.fetch_bytes,
        fetch_time: config.limits.fetch_timeout.0,
        ..trueup_git::Limits::default()
    }
}

/// Opens a source of the configuration.
pub(crate) fn git(
    config: &Config,
    source: &config::Source,
    limits: trueup_git::Limits,
) -> Result<GitSource, Failure> {
    let config = SourceConfig {
        location: source.location()?,
        reference: reference(&source.reference),
        user: Some(source.user.clone()),
        token_file: source.token_file.clone(),
        ca_file: source.ca_file.clone(),
        mirror_dir: config.state_dir.join("mirrors").join(source.name.as_str()),
        limits,
    };
    GitSource::open(config).map_err(|error| git_failure(&error))
}

/// Refuses a target that the source may not use.
pub(crate) fn allowed(config: &Config, id: &TargetId, source: &SourceName) -> Result<(), Failure> {
    let name = id.name();
    let allow = config.targets.get(name).and_then(|target| target.allow.as_ref());
    if allow.is_none_or(|allowed| allowed.contains(source)) {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("source `{source}` may not use the target `{name}`"))
        .hint(format!("its operator can add `{source}` to `targets.{name}.allow`")))
}

/// Returns where a target is.
pub(crate) fn address(config: &Config, id: &TargetId) -> Result<Address, Failure> {
    let name = id.name();
    match (id, config.targets.get(name)) {
        (_, Some(target)) => {
            let address = target.address()?;
            let is_meant = matches!(
                (id, &address),
                (TargetId::Docker(_), Address::Docker(_)) | (TargetId::Kubernetes(_), Address::Kubernetes(_))
            );
            if is_meant {
                return Ok(address);
            }
            let message = format!("the target `{name}` of the configuration is not `{id}`");
            Err(Failure::new(Kind::Config, message)
                .hint("name it by the kind that its operator has given it"))
        }
        (TargetId::Docker(_), None) if name.as_str() == LOCAL => match std::env::var("DOCKER_HOST") {
            Ok(address) => Ok(Address::Docker(address.parse()?)),
            Err(_) => Ok(Address::Docker(Endpoint::default())),
        },
        (_, None) => Err(Failure::new(Kind::Config, format!("there is no target `{name}`"))
            .hint(format!("its operator can add `targets.{name}` to the configuration"))),
    }
}

/// Returns what the operator says about every engine.
pub(crate) fn settings(config: &Config) -> Result<Settings, Failure> {
    Ok(Settings {
        runtime_dir: config.runtime_dir.clone(),
        state_dir: config.state_dir.clone(),
        subnet_pool: config.subnets()?,
        locality: Locality::Auto,
    })
}

/// Reads the configuration and the keys that it names.
fn read(global: &Global) -> Result<(Config, Option<PathBuf>, Identities), Failure> {
    let (mut config, config_file) = configuration(global)?;
    if config_file.is_none() {
        config.sources.push(checkout(global)?);
    }
    config.keys.extend(global.key.iter().cloned());
    let keys = Identities::load(&config.keys).map_err(|error| crate::command::secret_failure(&error))?;
    Ok((config, config_file, keys))
}

/// Returns the configuration's file: the one that was named, or the default one where it exists.
pub(crate) fn configuration_file(global: &Global) -> Option<PathBuf> {
    let default = PathBuf::from(DEFAULT_CONFIG);
    global.config.clone().or_else(|| default.exists().then_some(default))
}

/// Reads the configuration.
pub(crate) fn configuration(global: &Global) -> Result<(Config, Option<PathBuf>), Failure> {
    let file = configuration_file(global);
    let mut config = match &file {
        Some(file) => config::read(file)?,
        None => Config::default(),
    };
    if let Some(state_dir) = &global.state_dir {
        config.state_dir.clone_from(state_dir);
    }
    Ok((config, file))
}

/// The checkout around the current folder, as a source.
pub(crate) fn checkout(global: &Global) -> Result<config::Source, Failure> {
    let root = trueup_git::discover(&global.dir).map_err(|error| git_failure(&error))?;
    let name = match &global.source {
        Some(name) => name.clone(),
        None => repository_name(&crate::command::root(global))?,
    };
    Ok(config::Source {
        name,
        url: root.display().to_string(),
        reference: "HEAD".into(),
        token_file: None,
        user: String::new(),
        ca_file: None,
        interval: trueup_schema::manifest::Span(Duration::from_secs(30)),
        environments: None,
    })
}

/// Returns the name that a repository gives itself in `trueup.yaml`.
fn repository_name(root: &Path) -> Result<SourceName, Failure> {
    let snapshot =
        trueup_git::worktree(root, &trueup_git::Limits::default()).map_err(|error| git_failure(&error))?;
    let catalogue = trueup_schema::load(&snapshot, &trueup_schema::Limits::default())?;
    catalogue.name().parse().map_err(|error| Failure::of(Kind::Config, &error))
}

/// Reads a branch name, or a full name such as `refs/tags/v1`.
fn reference(text: &str) -> Reference {
    if text == "HEAD" {
        return Reference::Head;
    }
    match text.strip_prefix("refs/tags/") {
        Some(tag) => Reference::Tag(tag.into()),
        None => Reference::Branch(text.strip_prefix("refs/heads/").unwrap_or(text).into()),
    }
}

pub(crate) fn git_failure(error: &trueup_git::Error) -> Failure {
    if let Some(report) = error.report() {
        return report.into();
    }
    let kind = match error.kind() {
        trueup_git::Kind::User => Kind::User,
        trueup_git::Kind::Config => Kind::Config,
        trueup_git::Kind::Target => Kind::Target,
    };
    let failure = Failure::of(kind, error);
    match error.help() {
        Some(help) => failure.hint(help),
        None => failure,
    }
}
