//! Environments that somebody else works on: their turn comes when they are free, and holds no other one up.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use trueup_engine::{EnvKey, Holder, Store, Trigger, Urgency};

use super::Daemon;

/// The environments that are waited for.
#[derive(Default)]
pub(crate) struct Busy(Mutex<BTreeSet<EnvKey>>);

/// Asks for a turn as soon as nobody has the environment in hand.
pub(crate) fn when_free(daemon: &Arc<Daemon>, key: &EnvKey, trigger: Trigger) {
    if !daemon.busy.insert(key) {
        return;
    }
    let (daemon, key) = (Arc::clone(daemon), key.clone());
    tokio::spawn(async move {
        let holder = Holder::here("the daemon");
        let free = daemon.store.lease_wait(&key, &holder, &daemon.cancel).await;
        daemon.busy.remove(&key);
        // A lease that cannot be asked for is met again, and told, by the turn.
        drop(free);
        daemon.queue.put(key.clone(), trigger, Urgency::Routine);
        // What came meanwhile was not kept, and somebody else was at work: all of it is looked at.
        daemon.queue.put(key, Trigger::Timer, Urgency::Routine);
    });
}

impl Busy {
    fn insert(&self, key: &EnvKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone())
    }

    fn remove(&self, key: &EnvKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
