//! Lets a call that has been sent to the engine end, even when nobody waits for it any more.
//!
//! A run that is cancelled or whose time is up stops waiting, but the engine goes on with what it was
//! asked. One call at a time for each resource: so an undo looks only after the act before it has ended.
//! A check waits as well, but changes nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Act, ResourceId};

use crate::Docker;

/// The resources that calls are made for, by environment: none of them without a call.
#[derive(Default)]
pub(crate) struct Inflight(Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>);

type Key = (String, ResourceId);

/// A place in the row of the calls for one resource.
struct Turn {
    inflight: Arc<Inflight>,
    key: Key,
    row: Arc<tokio::sync::Mutex<()>>,
}

impl Turn {
    fn new(inflight: &Arc<Inflight>, key: Key) -> Self {
        let row = Arc::clone(inflight.rows().entry(key.clone()).or_default());
        Self { inflight: Arc::clone(inflight), key, row }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut rows = self.inflight.rows();
        // The map and this one: nobody else waits, and nobody can come while the map is held.
        if Arc::strong_count(&self.row) == 2 {
            rows.remove(&self.key);
        }
    }
}

impl Inflight {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        if deed == Deed::Execute && matches!(act, Act::Verify { .. }) {
            return self.act(run, resource, act).await;
        }
        let acting = self.mirror().act(run.identity.key());
        if deed == Deed::Execute && matches!(act, Act::Fetch { .. } | Act::Run { .. }) {
            // These wait for long and listen to the cancellation; what they leave is observed.
            return self.act(run, resource, act).await;
        }
        let turn = Turn::new(self.inflight(), (run.identity.uid.clone(), resource.clone()));
        let (docker, run, resource, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
        let call = tokio::spawn(async move {
            let _acting = acting;
            let _alone = turn.row.lock().await;
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
}

#[cfg(test)]
mod tests {
    use trueup_plan::Kind;

    use super::*;

    #[tokio::test]
    async fn the_last_call_for_a_resource_leaves_nothing_behind() {
        let inflight = Arc::default();
        let web = ResourceId { kind: Kind::Network, name: "web".into(), component: None };
        let turn = || Turn::new(&inflight, ("0011".into(), web.clone()));
        let (first, second) = (turn(), turn());
        let held = first.row.lock().await;
        assert!(second.row.try_lock().is_err(), "two calls at a time");
        drop(held);
        drop(first);
        assert_eq!(inflight.rows().len(), 1);
        drop(second);
        assert!(inflight.rows().is_empty());
    }
}
