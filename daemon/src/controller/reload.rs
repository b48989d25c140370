//! SIGHUP reads the configuration and the keys again: all of it is taken over, or nothing.
//!
//! A run that goes on keeps the configuration that it began with.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::signal::unix::Signal;
use trueup_engine::{Store, Trigger, Urgency};

use super::{Daemon, follow, systemd};
use crate::{
    config::Config,
    failure::{Failure, Kind},
};

/// How the configuration was read last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reloaded {
    /// Whether that is the one in force.
    pub(crate) is_good: bool,
    /// When the one in force was read.
    pub(crate) at: Timestamp,
}

/// How the configuration was read last.
pub(crate) struct Reloads(Mutex<Reloaded>);

impl Default for Reloads {
    fn default() -> Self {
        Self(Mutex::new(Reloaded { is_good: true, at: Timestamp::now() }))
    }
}

impl Reloads {
    pub(crate) fn last(&self) -> Reloaded {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, is_good: bool) {
        let at = if is_good { Timestamp::now() } else { self.last().at };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reloaded { is_good, at };
    }
}

/// Reads the configuration again whenever SIGHUP comes, once the daemon is up.
pub(crate) async fn on_hangup(daemon: Arc<Daemon>, mut hangups: Signal) {
    systemd::ready(&daemon).await;
    while hangups.recv().await.is_some() {
        systemd::reloading();
        let result = reload(&daemon).await;
        daemon.reloads.note(result.is_ok());
        match &result {
            Ok(()) => tracing::info!("the configuration was read again and is in force"),
            Err(failure) => {
                tracing::error!("the configuration was refused, the one before stays in force: {failure}");
            }
        }
        systemd::reloaded(result.as_ref().err());
    }
}

async fn reload(daemon: &Arc<Daemon>) -> Result<(), Failure> {
    let before = daemon.world();
    let world = before.reopen(&daemon.global)?;
    world.config.check()?;
    fixed(&before.config, &world.config)?;
    daemon.log_level.set(world.config.log.level);
    daemon.queue.set_parallel(world.config.parallel);
    let is_connected = |id: &_| world.targets().contains_key(id);
    daemon.targets.keep(is_connected);
    // An assignment cannot leave it half changed.
    *daemon.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
    follow::follow_all(daemon, &Trigger::Reload);
    look_again(daemon).await;
    Ok(())
}

/// Refuses a change of what is fixed at the start.
fn fixed(before: &Config, after: &Config) -> Result<(), Failure> {
    let settings = [
        ("stateDir", before.state_dir == after.state_dir),
        ("runtimeDir", before.runtime_dir == after.runtime_dir),
        ("listen", before.listen == after.listen),
        ("subnetPool", before.subnet_pool == after.subnet_pool),
        ("log.format", before.log.format == after.log.format),
    ];
    let changed: Vec<_> = settings.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let message = format!("{} cannot be changed while the daemon runs", changed.join(", "));
    Err(Failure::new(Kind::Config, message).hint("restart the daemon, or take the change back"))
}

/// Looks at every known environment with the new configuration; the turn of one that it does not follow says so.
async fn look_again(daemon: &Arc<Daemon>) {
    let known = match daemon.store.observations().await {
        Ok(known) => known,
        Err(error) => {
            // Each has a timer of its own.
            tracing::warn!(error = &error as &dyn std::error::Error, "nothing is looked at again at once");
            return;
        }
    };
    for key in known.into_keys() {
        daemon.queue.put(key, Trigger::Reload, Urgency::Fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fixed_at_the_start_is_named() {
        let before = Config::default();
        let listen = Some("127.0.0.1:1".to_owned());
        let after = Config { state_dir: "/elsewhere".into(), listen, ..Config::default() };
        let failure = fixed(&before, &after).unwrap_err();
        assert_eq!(failure.message, "stateDir, listen cannot be changed while the daemon runs");
        let after = Config { parallel: 9, ..Config::default() };
        fixed(&before, &after).unwrap();
    }
}
