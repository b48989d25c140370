//! What a person decides about an environment is a reason to look at it at once.

use std::{error::Error, sync::Arc};

use trueup_engine::{StoreError, Trigger, Urgency};

use super::Daemon;

/// Asks for a turn of each environment that somebody decides something about, until the daemon stops.
pub(crate) async fn follow(daemon: Arc<Daemon>) {
    let followed = tokio::select! {
        followed = queue_decided(&daemon) => followed,
        () = daemon.cancel.cancelled() => return,
    };
    if let Err(error) = followed {
        let error = &error as &dyn Error;
        tracing::warn!(
            error,
            "decisions are not followed any more: each environment is looked at by its interval"
        );
    }
}

async fn queue_decided(daemon: &Daemon) -> Result<(), StoreError> {
    let mut decisions = daemon.store.decisions().await?;
    loop {
        for key in decisions.next().await? {
            daemon.queue.put(key, Trigger::Decision, Urgency::Fresh);
        }
    }
}
