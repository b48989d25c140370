//! The traits of the outside world, for a cluster.

use std::{collections::BTreeMap, future::pending};

use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Adoptable, EnvKey, Estate, Execute, Identity, Observe, RunContext, TargetError, Wanted, Watch,
    notice::Change,
};
use trueup_plan::{Act, Desired, Live, Plan, ResourceId};
use trueup_schema::{EnvironmentName, Report};

use crate::{Kubernetes, compile};

impl Observe for Kubernetes {
    async fn observe(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        self.look(identity, wanted).await
    }

    fn compile(&self, _: &Identity, wanted: &Wanted, live: &Live) -> Result<Desired, Report> {
        compile::desired(wanted, live)
    }
}

impl Execute for Kubernetes {
    async fn preflight(&self, _: &RunContext, _: &Plan) -> Result<(), TargetError> {
        Ok(())
    }

    async fn execute(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        if let Act::Verify { probe } = act {
            return self.verify(run, resource, probe).await;
        }
        let (cluster, context, id, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
        let call = async move { cluster.do_act(&context, &id, &act).await };
        self.inflight().to_its_end(run, resource, call).await
    }

    async fn undo(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        let (cluster, context, id, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
        let call = async move { cluster.undo_act(&context, &id, &act).await };
        self.inflight().to_its_end(run, resource, call).await
    }

    async fn finish(&self, run: &RunContext, resource: &ResourceId, act: &Act) -> Result<(), TargetError> {
        let (cluster, context, id, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
        let call = async move { cluster.finish_act(&context, &id, &act).await };
        self.inflight().to_its_end(run, resource, call).await
    }
}

impl Watch for Kubernetes {
    async fn follow(&self, cancel: &CancellationToken) {
        cancel.cancelled().await;
    }

    async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        pending().await
    }

    fn forget(&self, _: &EnvKey) {}

    fn hears_events(&self) -> bool {
        false
    }

    fn requests(&self) -> u64 {
        self.sent()
    }
}

impl Estate for Kubernetes {
    async fn adoptable(&self, environment: &EnvironmentName) -> Result<Vec<Adoptable>, TargetError> {
        self.environments(environment).await
    }

    async fn volumes(&self, identity: &Identity) -> Result<Vec<String>, TargetError> {
        self.claims(identity).await
    }

    async fn destroy(&self, identity: &Identity, with_volumes: bool) -> Result<(), TargetError> {
        self.delete_all(identity, with_volumes).await
    }
}
