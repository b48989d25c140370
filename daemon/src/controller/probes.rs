//! Whether the daemon goes on, and whether it knows enough to work: what a supervisor asks.
//!
//! What is wrong outside, such as an engine that is away, is no reason to start the daemon again: it is in
//! the metrics.

use std::time::Duration;

use tokio::time::timeout;
use trueup_engine::Store;

use super::Daemon;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Says why the daemon does not go on: the loop that gives environments their turns does not answer.
pub(crate) async fn alive(daemon: &Daemon) -> Result<(), &'static str> {
    // From then on no turn begins.
    if daemon.cancel.is_cancelled() {
        return Ok(());
    }
    match timeout(PATIENCE, daemon.queue.depth()).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("the queue has ended"),
        Err(_) => Err("the queue does not answer"),
    }
}

/// Says what the daemon still needs before it can work: its store, and one look at each source.
pub(crate) async fn ready(daemon: &Daemon) -> Result<(), Vec<String>> {
    let mut missing = Vec::new();
    if daemon.cancel.is_cancelled() {
        missing.push("the daemon stops".to_owned());
    }
    match timeout(PATIENCE, daemon.store.environments()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => missing.push(error.to_string()),
        Err(_) => missing.push("the store does not answer".to_owned()),
    }
    for source in &daemon.world().config.sources {
        if daemon.checkouts.newest(&source.name).is_none() {
            let why =
                daemon.checkouts.trouble(&source.name).map(|trouble| format!(": {}", trouble.one_line()));
            missing.push(format!("source `{}` was not read yet{}", source.name, why.unwrap_or_default()));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}
