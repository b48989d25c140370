//! Lets a call that has been sent to the engine end, even when nobody waits for it any more.
//!
//! A run that is cancelled or whose time is up stops waiting, but the engine goes on with what it was
//! asked. One call at a time for each resource: so an undo looks only after the act before it has ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Act, ResourceId};

use crate::Docker;

/// The resources that calls are made for, by environment.
pub(crate) type Inflight = Mutex<BTreeMap<(String, ResourceId), Arc<tokio::sync::Mutex<()>>>>;

/// What is done with an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Execute,
    Undo,
    Finish,
}

impl Docker {
    /// Does an act, takes it back or cleans up after it, to its end.
    pub(crate) async fn to_its_end(
        &self,
        deed: Deed,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        if deed == Deed::Execute && matches!(act, Act::Fetch { .. } | Act::Run { .. } | Act::Verify { .. }) {
            // These wait for long and listen to the cancellation; what they leave is observed.
            return self.act(run, resource, act).await;
        }
        let turn = self.turn(run, resource);
        let (docker, run, resource, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
        let call = tokio::spawn(async move {
            let _turn = turn.lock().await;
            match deed {
                Deed::Execute => docker.act(&run, &resource, &act).await,
                Deed::Undo => docker.take_back(&run, &resource, &act).await,
                Deed::Finish => docker.clean_up(&run, &resource, &act).await,
            }
        });
        call.await.map_err(|error| {
            TargetError::new(Blame::Target, "a call to the engine was interrupted").caused_by(&error)
        })?
    }

    fn turn(&self, run: &RunContext, resource: &ResourceId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.inflight().lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry((run.identity.uid.clone(), resource.clone())).or_default())
    }
}
