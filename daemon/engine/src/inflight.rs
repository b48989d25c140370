//! Lets a call that has been sent to a target end, even when nobody waits for it any more.
//!
//! A run that is cancelled or whose time is up stops waiting, but the target goes on with what it was
//! asked. One call at a time for each resource: so an undo looks only after the act before it has ended.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use trueup_plan::ResourceId;

use crate::{Blame, RunContext, TargetError};

/// The resources that calls are made for, by environment: none of them without a call.
#[derive(Default)]
pub struct Inflight(Mutex<BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>>);

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
    /// Makes a call to its end, once those before it for the same resource of the environment have ended.
    pub async fn to_its_end(
        self: &Arc<Self>,
        run: &RunContext,
        resource: &ResourceId,
        call: impl Future<Output = Result<(), TargetError>> + Send + 'static,
    ) -> Result<(), TargetError> {
        let turn = Turn::new(self, (run.identity.uid.clone(), resource.clone()));
        let call = tokio::spawn(async move {
            let _alone = turn.row.lock().await;
            call.await
        });
        call.await.map_err(|error| {
            TargetError::new(Blame::Target, "a call to the target was interrupted").caused_by(&error)
        })?
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
