//! `trueup daemon`: whatever happens puts the name of an environment on one queue; one worker at a time
//! brings an environment to its newest revision.
//!
//! ```text
//! commit (notify) ─┐
//! poll ────────────┤                  ┌─ worker ─ lease ─ reconcile ─ publish
//! timer ───────────┼─ queue (names) ──┤
//! engine's events ─┤                  │
//! start ───────────┤                  └─ worker …
//! failure ─ later ─┘
//! ```

mod busy;
mod checkout;
mod cron;
mod engines;
mod follow;
mod timer;
mod turn;

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trueup_engine::{Backoff, EnvKey, Queue, Store, Trigger, Urgency, queue};

use crate::{
    failure::{Failure, Kind},
    telemetry,
    world::World,
};
use busy::Busy;
use checkout::Checkouts;
use cron::Crons;
use engines::Engines;
use timer::Timers;

/// How long an environment rests whose target fails.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };

/// What all tasks of the daemon share.
pub(crate) struct Daemon {
    world: World,
    queue: Queue<EnvKey, Trigger>,
    timers: Timers,
    crons: Crons,
    busy: Busy,
    checkouts: Checkouts,
    engines: Engines,
    cancel: CancellationToken,
}

/// Runs until a signal, then lets runs finish or go back within the grace.
pub(crate) async fn run(world: World) -> Result<u8, Failure> {
    telemetry::start(&world.config.log);
    let stop = stopped()?;
    let grace = world.config.shutdown_grace.0;
    let parallel = world.config.parallel;
    let (queue, turns) = queue(parallel, BACKOFF);
    let daemon = Arc::new(Daemon {
        world,
        queue,
        timers: Timers::default(),
        crons: Crons::default(),
        busy: Busy::default(),
        checkouts: Checkouts::default(),
        engines: Engines::default(),
        cancel: CancellationToken::new(),
    });
    let tasks = TaskTracker::new();
    let config = daemon.world.config_file.as_ref().map(|file| file.display().to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config,
        store = daemon.world.store.id(),
        "daemon starts"
    );
    queue_interrupted(&daemon).await;
    for source in daemon.world.config.sources.clone() {
        tasks.spawn(follow::follow(Arc::clone(&daemon), source));
    }
    tasks.spawn(turn::work(Arc::clone(&daemon), turns));
    tasks.close();
    stop.await;
    tracing::info!(grace_seconds = grace.as_secs(), "daemon stops: runs finish or go back");
    daemon.cancel.cancel();
    if tokio::time::timeout(grace + Duration::from_secs(1), tasks.wait()).await.is_err() {
        tracing::warn!("a run is still going on; it is taken back at the next start");
    }
    Ok(0)
}

/// Asks for a turn of every environment that a dead process left: it begins by ending that run, also while
/// Git is away.
async fn queue_interrupted(daemon: &Daemon) {
    match daemon.world.store.interrupted().await {
        Ok(keys) => keys.into_iter().for_each(|key| daemon.queue.put(key, Trigger::Start, Urgency::Fresh)),
        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the journal cannot be read"),
    }
}

/// Returns what ends with SIGTERM or SIGINT.
pub(crate) fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::of(Kind::Internal, &error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
