//! A target of any kind, as the rest of the daemon sees it: the traits of the outside world.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;
use trueup_docker::{Docker, Endpoint, Settings};
use trueup_engine::{
    Adoptable, EnvKey, Estate, Execute, Identity, Observe, RunContext, TargetError, Wanted, Watch,
    notice::Change,
};
use trueup_kubernetes::{Connection, Kubernetes};
use trueup_plan::{Act, Desired, Live, Plan, ResourceId};
use trueup_schema::{EnvironmentName, Report};

/// An engine or a cluster.
#[derive(Clone)]
pub(crate) enum Target {
    Docker(Docker),
    Kubernetes(Kubernetes),
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    Docker(Endpoint),
    Kubernetes(Connection),
}

/// Asks whichever it is.
macro_rules! either {
    ($target:expr, $one:ident => $call:expr) => {
        match $target {
            Target::Docker($one) => $call,
            Target::Kubernetes($one) => $call,
        }
    };
}

impl Target {
    /// Connects to a target.
    pub(crate) fn connect(address: &Address, settings: Settings) -> Result<Self, TargetError> {
        match address {
            Address::Docker(endpoint) => Docker::connect(endpoint, settings).map(Self::Docker),
            Address::Kubernetes(connection) => Kubernetes::connect(connection).map(Self::Kubernetes),
        }
    }

    /// Returns whether it is a connection to this address.
    pub(crate) fn is_at(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::Docker(docker), Address::Docker(endpoint)) => docker.endpoint() == endpoint,
            (Self::Kubernetes(cluster), Address::Kubernetes(connection)) => {
                cluster.connection() == connection
            }
            _ => false,
        }
    }

    /// Returns whether both are the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Docker(one), Self::Docker(other)) => one.is_same(other),
            (Self::Kubernetes(one), Self::Kubernetes(other)) => one.is_same(other),
            _ => false,
        }
    }

    /// Returns the engine; none for a cluster, which has a clock of its own.
    pub(crate) fn docker(&self) -> Option<&Docker> {
        match self {
            Self::Docker(docker) => Some(docker),
            Self::Kubernetes(_) => None,
        }
    }
}

impl Observe for Target {
    async fn observe(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        either!(self, one => one.observe(identity, wanted).await)
    }

    fn compile(&self, identity: &Identity, wanted: &Wanted, live: &Live) -> Result<Desired, Report> {
        either!(self, one => one.compile(identity, wanted, live))
    }
}

impl Watch for Target {
    async fn follow(&self, cancel: &CancellationToken) {
        either!(self, one => one.follow(cancel).await);
    }

    async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        either!(self, one => one.changed().await)
    }

    fn forget(&self, env: &EnvKey) {
        either!(self, one => one.forget(env));
    }

    fn hears_events(&self) -> bool {
        either!(self, one => one.hears_events())
    }

    fn requests(&self) -> u64 {
        either!(self, one => one.requests())
    }
}

impl Estate for Target {
    async fn adoptable(&self, environment: &EnvironmentName) -> Result<Vec<Adoptable>, TargetError> {
        either!(self, one => one.adoptable(environment).await)
    }

    async fn volumes(&self, identity: &Identity) -> Result<Vec<String>, TargetError> {
        either!(self, one => one.volumes(identity).await)
    }

    async fn destroy(&self, identity: &Identity, with_volumes: bool) -> Result<(), TargetError> {
        either!(self, one => one.destroy(identity, with_volumes).await)
    }
}

impl Execute for Target {
    async fn preflight(&self, run: &RunContext, plan: &Plan) -> Result<(), TargetError> {
        either!(self, one => one.preflight(run, plan).await)
    }

    async fn execute(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        either!(self, one => one.execute(run, resource, act).await)
    }

    async fn undo(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        either!(self, one => one.undo(run, resource, act).await)
    }

    async fn finish(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        either!(self, one => one.finish(run, resource, act).await)
    }
}
