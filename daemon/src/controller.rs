//! `trueup daemon`: whatever happens puts the name of an environment on one queue; one worker at a time
//! brings an environment to its newest revision.
//!
//! ```text
//! commit (notify) ─┐
//! poll ────────────┤                  ┌─ worker ─ lease ─ reconcile ─ publish
//! timer ───────────┼─ queue (names) ──┤
//! engine's events ─┤                  │
//! people decide ───┤                  └─ worker …
//! start, reload ───┤
//! failure ─ later ─┘
//!
//! SIGHUP ─ reload.rs: another world, with the same store     probes.rs ─┬─ listen.rs: HTTP
//!                                                                       └─ systemd.rs: ready, watchdog
//! ```

mod busy;
mod checkout;
mod cron;
mod decisions;
mod follow;
mod listen;
mod metrics;
mod probes;
mod reload;
mod schedule;
mod systemd;
mod targets;
mod timer;
mod turn;
mod wall_clock;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trueup_engine::{Backoff, EnvKey, Queue, Store, Trigger, Urgency, queue};
use trueup_store::Sqlite;

use crate::{
    args::Global,
    failure::{Failure, Kind},
    meter::Meter,
    telemetry,
    world::World,
};
use busy::Busy;
use checkout::Checkouts;
use cron::Crons;
use follow::Followers;
use reload::Reloads;
use targets::Targets;
use timer::Timers;

/// How long an environment rests whose target fails.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };

/// What all tasks of the daemon share.
pub(crate) struct Daemon {
    /// What the command line says; it goes before the configuration.
    global: Global,
    /// The configuration in force, with all that follows from it. Whoever works takes it once, at the beginning.
    world: RwLock<Arc<World>>,
    store: Sqlite,
    queue: Queue<EnvKey, Trigger>,
    timers: Timers,
    crons: Crons,
    busy: Busy,
    checkouts: Checkouts,
    targets: Targets,
    followers: Followers,
    meter: Meter,
    reloads: Reloads,
    log_level: telemetry::Level,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Daemon {
    /// Returns the configuration in force, with all that follows from it.
    pub(crate) fn world(&self) -> Arc<World> {
        // An assignment cannot leave it half changed.
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until a signal, then lets runs finish or go back within the grace.
pub(crate) async fn run(global: Global) -> Result<u8, Failure> {
    let (stop, hangups) = (stopped()?, listen_for(SignalKind::hangup())?);
    let world = World::open_checked(&global)?;
    world.config.check()?;
    let listener = match world.config.address()? {
        Some(address) => Some(listen::bind(address).await?),
        None => None,
    };
    let log_level = telemetry::start(&world.config.log);
    let (queue, turns) = queue(world.config.parallel, BACKOFF);
    let daemon = Arc::new(Daemon {
        global,
        store: world.store.clone(),
        world: RwLock::new(Arc::new(world)),
        queue,
        timers: Timers::default(),
        crons: Crons::default(),
        busy: Busy::default(),
        checkouts: Checkouts::default(),
        targets: Targets::default(),
        followers: Followers::default(),
        meter: Meter::default(),
        reloads: Reloads::default(),
        log_level,
        tasks: TaskTracker::new(),
        cancel: CancellationToken::new(),
    });
    tell_start(&daemon);
    queue_interrupted(&daemon).await;
    follow::follow_all(&daemon, &Trigger::Start);
    daemon.tasks.spawn(turn::work(Arc::clone(&daemon), turns));
    if let Some(listener) = listener {
        tokio::spawn(listen::serve(Arc::clone(&daemon), listener));
    }
    tokio::spawn(decisions::follow(Arc::clone(&daemon)));
    tokio::spawn(systemd::keep_awake(Arc::clone(&daemon)));
    tokio::spawn(reload::on_hangup(Arc::clone(&daemon), hangups));
    stop.await;
    systemd::stopping();
    let grace = daemon.world().config.shutdown_grace.0;
    tracing::info!(grace_seconds = grace.as_secs(), "daemon stops: runs finish or go back");
    daemon.cancel.cancel();
    daemon.tasks.close();
    if tokio::time::timeout(grace + Duration::from_secs(1), daemon.tasks.wait()).await.is_err() {
        tracing::warn!("a run is still going on; it is taken back at the next start");
    }
    Ok(0)
}

fn tell_start(daemon: &Daemon) {
    let world = daemon.world();
    let config = world.config_file.as_ref().map(|file| file.display().to_string());
    let listen = world.config.listen.as_deref();
    let store = daemon.store.id();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config, store, listen, "daemon starts");
}

/// Asks for a turn of every environment that a dead process left: it begins by ending that run, also while
/// Git is away.
async fn queue_interrupted(daemon: &Daemon) {
    match daemon.store.interrupted().await {
        Ok(keys) => keys.into_iter().for_each(|key| daemon.queue.put(key, Trigger::Start, Urgency::Fresh)),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the journal cannot be read"),
    }
}

/// Returns what ends with SIGTERM or SIGINT.
pub(crate) fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let (mut terminate, mut interrupt) =
        (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::of(Kind::Internal, &error))
}
