//! Follows the engines: what changes on one is a reason to look at the environment that it is of.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use trueup_docker::{Change, Docker};
use trueup_engine::{Trigger, Urgency};
use trueup_schema::TargetName;

use super::Daemon;

/// The engines that are followed, each from its first use on.
#[derive(Default)]
pub(crate) struct Engines(Mutex<BTreeSet<TargetName>>);

/// Follows an engine until the daemon stops, unless that is done already.
pub(crate) fn follow(daemon: &Arc<Daemon>, name: &TargetName, target: &Docker) {
    // An insertion cannot leave the set half changed.
    let mut followed = daemon.engines.0.lock().unwrap_or_else(PoisonError::into_inner);
    if !followed.insert(name.clone()) {
        return;
    }
    let (daemon, target) = (Arc::clone(daemon), target.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = target.follow(&daemon.cancel) => {}
            () = queue_changed(&daemon, &target) => {}
        }
    });
}

async fn queue_changed(daemon: &Daemon, target: &Docker) {
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
