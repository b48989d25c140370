//! Asks for an environment again when its interval is over; at most one timer an environment.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::AbortHandle;
use trueup_engine::{EnvKey, Queue, Trigger, Urgency};

/// The timers of all environments.
#[derive(Default)]
pub(crate) struct Timers(Mutex<BTreeMap<EnvKey, AbortHandle>>);

impl Timers {
    /// Asks for `key` after `pause`, in place of an earlier timer.
    pub(crate) fn set(&self, queue: &Queue<EnvKey, Trigger>, key: &EnvKey, pause: Duration) {
        let (queue, name) = (queue.clone(), key.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            queue.put(name, Trigger::Timer, Urgency::Routine);
        });
        if let Some(earlier) = self.all().insert(key.clone(), timer.abort_handle()) {
            earlier.abort();
        }
    }

    /// Ends the timer of an environment.
    pub(crate) fn end(&self, key: &EnvKey) {
        if let Some(timer) = self.all().remove(key) {
            timer.abort();
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<EnvKey, AbortHandle>> {
        // An insertion cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
