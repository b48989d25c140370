//! The real parts that `tests/rig/rig.sh up` started, read from the file that it wrote.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Failed, Trial};

/// Everything that the rig has.
pub(crate) struct Rig {
    values: BTreeMap<String, String>,
}

/// One Docker Engine of the rig.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    /// `engine20` or `engine29`.
    pub(crate) name: &'static str,
    /// The socket, as `unix:///…`.
    pub(crate) docker: String,
    /// The network namespace that it lives in; none for the host's.
    pub(crate) netns: Option<String>,
    /// A private registry that it can reach.
    pub(crate) registry: Option<Registry>,
    /// Where it keeps what it knows: its data directory.
    pub(crate) data: Vec<PathBuf>,
    /// The command that starts it again after it was killed.
    pub(crate) restart: String,
    /// The file with the number of its process.
    pub(crate) pid_file: PathBuf,
    /// Held by who has it alone.
    turn: Arc<Mutex<()>>,
}

impl Engine {
    /// Returns an engine that is away: nobody answers at its address.
    pub(crate) fn away() -> Self {
        Self {
            name: "away",
            docker: "tcp://127.0.0.1:1".into(),
            netns: None,
            registry: None,
            data: Vec::new(),
            restart: "false".into(),
            pid_file: PathBuf::new(),
            turn: Arc::default(),
        }
    }

    /// Returns a test that has the engine alone, among those that say so.
    pub(crate) fn alone(
        &self,
        name: &str,
        test: impl FnOnce(&Self) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let engine = self.clone();
        Trial::test(format!("{}::{name}", self.name), move || {
            let _turn = engine.turn.lock().unwrap_or_else(PoisonError::into_inner);
            test(&engine)
        })
    }
}

/// A registry that wants a password.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    /// `127.0.0.1:port`.
    pub(crate) host: String,
    /// The user.
    pub(crate) user: String,
}

/// A Git server that wants a token.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    /// The folder of the bare repositories that it serves.
    pub(crate) root: PathBuf,
    /// The folder's address over HTTP, and over HTTPS.
    pub(crate) url: String,
    pub(crate) tls_url: String,
    /// The file with the authority that certified it.
    pub(crate) ca: String,
    /// The user.
    pub(crate) user: String,
    /// The right token.
    pub(crate) token: String,
}

impl Git {
    /// Returns `127.0.0.1:port` of HTTP.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://").split('/').next().unwrap_or_default()
    }

    /// Returns the address of a repository, with the login in it.
    pub(crate) fn push_url(&self, name: &str) -> String {
        let login = format!("http://{}:{}@", self.user, self.token.trim());
        format!("{}/{name}.git", self.url.replace("http://", &login))
    }
}

/// The Kubernetes of the rig, which runs no pods by itself.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// The kubeconfig of somebody who may do everything.
    pub(crate) kubeconfig: String,
    pub(crate) kubectl: String,
    /// What the API server was asked, a line each.
    pub(crate) audit: PathBuf,
}

const ENGINES: [&str; 2] = ["engine20", "engine29"];

impl Rig {
    /// Reads what `rig.sh up` wrote; empty when it did not run.
    pub(crate) fn find() -> Arc<Self> {
        let dir = std::env::var("TRUEUP_RIG_DIR").unwrap_or_else(|_| "/run/trueup-rig".into());
        let text = fs::read_to_string(PathBuf::from(dir).join("env")).unwrap_or_default();
        let unquote = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
        let values = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), unquote(v)))
            .collect();
        Arc::new(Self { values })
    }

    fn value(&self, key: &str) -> Option<String> {
        self.values.get(&format!("TRUEUP_RIG_{key}")).cloned()
    }

    /// Returns the engines that run.
    pub(crate) fn engines(&self) -> Vec<Engine> {
        ENGINES.into_iter().filter_map(|name| self.engine(name)).collect()
    }

    fn engine(&self, name: &'static str) -> Option<Engine> {
        let upper = name.to_uppercase();
        let docker = self.value(&upper)?;
        let netns = self.value(&format!("{upper}_NETNS"));
        let registry = self.registry(&name.replace("engine", "REGISTRY"));
        let root = std::env::var("TRUEUP_RIG_DATA").unwrap_or_else(|_| "/var/lib/trueup-rig".into());
        let data = vec![PathBuf::from(root).join(name)];
        let restart = self.value(&format!("{upper}_RESTART"))?;
        let pid_file = self.value(&format!("{upper}_PIDFILE"))?.into();
        let turn = Arc::default();
        Some(Engine { name, docker, netns, registry, data, restart, pid_file, turn })
    }

    fn registry(&self, key: &str) -> Option<Registry> {
        Some(Registry { host: self.value(key)?, user: self.value("REGISTRY_USER")? })
    }

    /// Returns the Git server.
    pub(crate) fn git(&self) -> Option<Git> {
        Some(Git {
            root: self.value("GIT_ROOT")?.into(),
            url: self.value("GIT_URL")?,
            tls_url: self.value("GIT_TLS_URL")?,
            ca: self.value("GIT_CA")?,
            user: self.value("GIT_USER")?,
            token: fs::read_to_string(self.value("GIT_TOKEN_FILE")?).ok()?,
        })
    }

    /// Returns the Kubernetes, where it was asked for.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        Some(Cluster {
            kubeconfig: self.value("KUBERNETES")?,
            kubectl: self.value("KUBERNETES_KUBECTL")?,
            audit: self.value("KUBERNETES_AUDIT")?.into(),
        })
    }

    /// Returns the parts that could not be started, with the reason.
    pub(crate) fn missing(&self) -> Vec<(&str, &str)> {
        if self.values.is_empty() {
            return vec![("started", "run tests/run.sh, or tests/rig/rig.sh up before cargo test")];
        }
        self.values
            .iter()
            .filter_map(|(key, reason)| Some((key.strip_prefix("TRUEUP_RIG_MISSING_")?, reason.as_str())))
            .collect()
    }
}
