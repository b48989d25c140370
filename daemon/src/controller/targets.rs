//! Follows the targets: what changes on one is a reason to look at the environment that it is of.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;
use trueup_engine::{Trigger, Urgency, Watch, notice::Change};
use trueup_schema::TargetId;

use super::Daemon;
use crate::target::Target;

/// The targets that are followed, each from its first use on.
#[derive(Default)]
pub(crate) struct Targets(Mutex<BTreeMap<TargetId, (Target, AbortHandle)>>);

impl Targets {
    /// Follows only those that are named from now on.
    pub(crate) fn keep(&self, is_named: impl Fn(&TargetId) -> bool) {
        for (_, (_, task)) in self.all().extract_if(.., |id, _| !is_named(id)) {
            task.abort();
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<TargetId, (Target, AbortHandle)>> {
        // An insertion cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows a target until the daemon stops, in place of another one of that name, unless that is done already.
pub(crate) fn follow(daemon: &Arc<Daemon>, id: &TargetId, target: &Target) {
    let mut followed = daemon.targets.all();
    if followed.get(id).is_some_and(|(known, _)| known.is_same(target)) {
        return;
    }
    let (daemon, followed_one) = (Arc::clone(daemon), target.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = followed_one.follow(&daemon.cancel) => {}
            () = queue_changed(&daemon, &followed_one) => {}
        }
    });
    if let Some((_, before)) = followed.insert(id.clone(), (target.clone(), task.abort_handle())) {
        before.abort();
    }
}

async fn queue_changed(daemon: &Daemon, target: &impl Watch) {
    loop {
        for (key, change) in target.changed().await {
            if daemon.is_orphaned(&key) {
                continue;
            }
            // What a run did itself must not end the wait after its failure.
            let urgency = match change {
                Change::Foreign => Urgency::Fresh,
                Change::Echo => Urgency::Routine,
            };
            daemon.queue.put(key, Trigger::Drift, urgency);
        }
    }
}
