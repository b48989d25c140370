//! What the service manager is told (`sd_notify(3)`): that the daemon is up, reloads or stops, and that it goes on.
//!
//! Without one, all of it does nothing.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;

use super::{Daemon, probes};
use crate::failure::Failure;

/// Says that the daemon is up: its store is open, and each source was read or could not be. A Git server that is
/// away must not keep the daemon from starting: it looks after what runs.
pub(crate) async fn ready(daemon: &Daemon) {
    for source in &daemon.world().config.sources {
        daemon.checkouts.tried(&source.name).await;
    }
    tell(&[NotifyState::Ready]);
}

/// Says that the configuration is read again.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the clock cannot be read"),
    }
}

/// Says that the configuration was read again, or why it was refused.
pub(crate) fn reloaded(refused: Option<&Failure>) {
    let status = refused.map(|failure| format!("configuration refused: {}", failure.one_line()));
    tell(&[NotifyState::Ready, NotifyState::Status(status.as_deref().unwrap_or_default())]);
}

/// Says that the daemon stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says, as often as it is wanted, that the daemon goes on; when it does not, nothing.
pub(crate) async fn keep_awake(daemon: Arc<Daemon>) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else { return };
    let mut beats = tokio::time::interval(limit / 2);
    loop {
        beats.tick().await;
        match probes::alive(&daemon).await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(why) => tracing::error!("the watchdog is not told that the daemon goes on: {why}"),
        }
    }
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager is not told");
    }
}
