//! The Docker target: reads what runs on an engine, puts manifests into its words, and does the acts of a
//! plan on it.
//!
//! ```text
//! observe: engine ─→ Live        inspect.rs reads a spec back from what the engine says
//! compile: Wanted + Live ─→ Desired     container_spec.rs, zones.rs, address.rs; refuse.rs says no
//! execute, undo, finish: Act ─→ engine  container.rs, network.rs, volume.rs; probe.rs waits
//! follow: events ─→ what is known        mirror.rs: a look asks only what may have another answer by now
//! ```
//!
//! An undo trusts what it observes: names and labels are computed, so a run that was killed finds what
//! it made. What is replaced is renamed and kept until the whole run is committed.

mod act;
mod address;
mod aside;
mod body;
mod compile;
mod connect;
mod container;
mod container_spec;
mod deed;
mod deliver;
mod endpoint;
mod environment;
mod examine;
mod exec;
mod facts;
mod failure;
mod image;
mod inspect;
mod job;
mod mirror;
mod names;
mod namespace;
mod network;
mod notes;
mod observe;
mod places;
mod preflight;
mod probe;
mod readings;
mod refuse;
mod reserved;
mod rules;
mod sight;
mod spec;
mod tmpfs;
mod traffic;
mod twins;
mod update;
mod upload;
mod volume;
mod zones;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, errors::Error};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Blame, EnvKey, Execute, Identity, Inflight, Observe, RunContext, TargetError, Wanted, Watch,
    notice::Change,
};
use trueup_plan::{Act, Desired, Live, Plan, ResourceId};
use trueup_schema::{Report, Subnet};

pub use endpoint::Endpoint;
pub use examine::{Examination, Pool, reach};
pub use job::CronRun;
pub use refuse::Gap;
pub use spec::{
    Check, ContainerSpec, EndpointSpec, EnvValue, FileSpec, ImageSpec, LogSpec, NetworkSpec, PortSpec,
    PullSpec, ResourcesSpec, VolumeSpec,
};
pub use tmpfs::is_in_memory;

use deed::Deed;
use facts::Engine;
use mirror::Mirror;
use readings::Readings;
use reserved::Reserved;
use traffic::Traffic;

/// How long one answer of the engine may take to begin.
const ANSWER: Duration = Duration::from_mins(2);

/// How long an engine may take to say what it is, before it counts as away.
const GREETING: Duration = Duration::from_secs(20);

/// What the operator says about an engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A file system in memory for secret files. Default: `/run/trueup`.
    pub runtime_dir: PathBuf,
    /// A folder for other delivered files. Default: `/var/lib/trueup`.
    pub state_dir: PathBuf,
    /// Where zones without a `subnet` get one from, in pieces of 256 addresses. Default: `10.88.0.0/16`.
    pub subnet_pool: Vec<Subnet>,
    /// Whether the engine sees this machine's files.
    pub locality: Locality,
}

impl Default for Settings {
    fn default() -> Self {
        let pool = Subnet { address: [10, 88, 0, 0].into(), prefix: 16 };
        Self {
            runtime_dir: "/run/trueup".into(),
            state_dir: "/var/lib/trueup".into(),
            subnet_pool: vec![pool],
            locality: Locality::Auto,
        }
    }
}

/// Whether an engine sees this machine's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Locality {
    /// It does when it is reached by a socket of this machine.
    #[default]
    Auto,
    /// It does not: plain files are uploaded, secret files are refused.
    Remote,
}

/// A Docker Engine.
#[derive(Clone)]
pub struct Docker(Arc<Inner>);

struct Inner {
    api: bollard::Docker,
    endpoint: Endpoint,
    settings: Settings,
    /// Held while files are written: replicas share theirs.
    deliveries: Arc<Mutex<()>>,
    inflight: Arc<Inflight>,
    traffic: Arc<Traffic>,
    unfinished: exec::Unfinished,
    mirror: Arc<Mirror>,
    readings: Readings,
    reserved: Reserved,
    /// One permit for each file in a container that may be read now.
    uploads_read: Semaphore,
    requests: Arc<AtomicU64>,
}

impl Docker {
    /// Returns a handle to the engine at `endpoint`. Nothing is asked yet, but a socket must be there.
    pub fn connect(endpoint: &Endpoint, settings: Settings) -> Result<Self, TargetError> {
        let seconds = ANSWER.as_secs();
        let api = match endpoint {
            Endpoint::Unix(path) => {
                bollard::Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp(host) => {
                bollard::Docker::connect_with_http(&format!("tcp://{host}"), seconds, API_DEFAULT_VERSION)
            }
        };
        let api = api.map_err(|error| {
            TargetError::new(Blame::Target, format!("cannot reach the engine at {endpoint}"))
                .caused_by(&error)
        })?;
        let endpoint = endpoint.clone();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let api = api.with_request_modifier(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            request
        });
        Ok(Self(Arc::new(Inner {
            api,
            endpoint,
            settings,
            deliveries: Arc::default(),
            inflight: Arc::default(),
            traffic: Arc::default(),
            unfinished: exec::Unfinished::default(),
            mirror: Arc::default(),
            readings: Readings::default(),
            reserved: Reserved::default(),
            uploads_read: Semaphore::new(upload::SIDE_BY_SIDE),
            requests,
        })))
    }

    /// Returns whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn count_request(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn api(&self) -> &bollard::Docker {
        &self.0.api
    }

    /// Returns where the engine is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.0.mirror
    }

    pub(crate) fn readings(&self) -> &Readings {
        &self.0.readings
    }

    pub(crate) fn reserved(&self) -> &Reserved {
        &self.0.reserved
    }

    pub(crate) fn uploads_read(&self) -> &Semaphore {
        &self.0.uploads_read
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn inflight(&self) -> &Arc<Inflight> {
        &self.0.inflight
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    pub(crate) fn deliveries(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.0.deliveries)
    }

    /// Returns whether the engine sees this machine's files.
    pub(crate) fn is_local(&self) -> bool {
        match self.0.settings.locality {
            Locality::Remote => false,
            Locality::Auto => matches!(self.0.endpoint, Endpoint::Unix(_)),
        }
    }

    /// Returns a failure of `doing`; an engine that cannot be reached is said to be so.
    pub(crate) fn failed(&self, doing: impl std::fmt::Display, error: &Error) -> TargetError {
        let unreachable = matches!(
            error,
            Error::SocketNotFoundError(_)
                | Error::HyperLegacyError { .. }
                | Error::IOError { .. }
                | Error::HyperResponseError { .. }
        );
        if !unreachable {
            return failure::failed(doing, error);
        }
        self.away().caused_by(error)
    }

    fn away(&self) -> TargetError {
        TargetError::new(Blame::Away, format!("the engine at {} does not answer", self.0.endpoint))
            .help("check that it runs, and that trueup may use its socket")
    }

    /// Returns what the engine is and can do, asked once until the next doubt about it.
    pub(crate) async fn engine(&self) -> Result<Engine, TargetError> {
        let known = self.mirror().engine();
        known.get_or_try_init(|| self.ask_engine()).await.cloned()
    }

    async fn ask_engine(&self) -> Result<Engine, TargetError> {
        let asking = futures::future::try_join(self.api().version(), self.api().info());
        let asked = tokio::time::timeout(GREETING, asking).await.map_err(|_| self.away())?;
        let (version, info) = asked.map_err(|error| self.failed("ask the engine for its version", &error))?;
        let api = version.api_version.as_deref().and_then(parse_api).unwrap_or((0, 0));
        let name = version.version.unwrap_or_else(|| "of an unknown version".to_owned());
        if api < refuse::OLDEST_API {
            let message = format!("engine {name} (API {}.{}) is too old", api.0, api.1);
            return Err(TargetError::new(Blame::Target, message).help("use Docker Engine 20.10 or newer"));
        }
        let is_set = |flag: Option<bool>| flag.unwrap_or(true);
        Ok(Engine {
            version: name,
            api,
            swap_limit: is_set(info.swap_limit),
            memory_limit: is_set(info.memory_limit),
            cpu_limit: is_set(info.cpu_cfs_quota),
            pids_limit: is_set(info.pids_limit),
            memory: info.mem_total.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
            cpus: info.ncpu.and_then(|count| count.try_into().ok()).unwrap_or(0),
            log_driver: info.logging_driver.unwrap_or_default(),
            local: self.is_local(),
            same_network: None,
        })
    }
}

/// Returns the numbers of `1.41`.
fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Observe for Docker {
    async fn observe(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        self.look(identity, wanted).await
    }

    fn compile(&self, identity: &Identity, wanted: &Wanted, live: &Live) -> Result<Desired, Report> {
        compile::compile(self.settings(), identity, wanted, live)
    }
}

impl Watch for Docker {
    async fn follow(&self, cancel: &CancellationToken) {
        self.keep_current(cancel).await;
    }

    async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        self.mirror().changed().await
    }

    fn forget(&self, env: &EnvKey) {
        self.mirror().forget(env);
        self.reserved().forget(env);
    }

    fn hears_events(&self) -> bool {
        self.mirror().hears()
    }

    fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}

impl Execute for Docker {
    async fn preflight(&self, run: &RunContext, plan: &Plan) -> Result<(), TargetError> {
        self.check_before(run, plan).await
    }

    async fn execute(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        self.to_its_end(Deed::Execute, run, resource, act).await
    }

    async fn undo(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        self.to_its_end(Deed::Undo, run, resource, act).await
    }

    async fn finish(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        self.to_its_end(Deed::Finish, run, resource, act).await
    }
}
