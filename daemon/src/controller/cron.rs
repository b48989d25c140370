//! Runs what runs by schedule, as it was applied last: one task a `cron` resource.
//!
//! Times are UTC. A run waits while somebody else works on its environment. One that is due while the one before
//! still goes on is left out: nothing runs twice. Which time of a schedule was dealt with last is in the store, so that
//! neither a restart nor another time of the clock doubles a run; `schedule.rs` says what is next.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use croner::Cron;
use jiff::Timestamp;
use tokio::task::AbortHandle;
use trueup_engine::{Backoff, Blame, EnvKey, Holder, Identity, RunId, Store, StoreError, TargetError};
use trueup_plan::{Desired, Kind as ResourceKind, Manner, ResourceId};
use trueup_schema::manifest::MissedRuns;

use super::{
    Daemon,
    schedule::{Next, is_of_wrong_clock, next},
    turn::target_of,
    wall_clock,
};
use crate::{
    failure::{Failure, Kind},
    material,
};

/// The schedules of all environments.
#[derive(Default)]
pub(crate) struct Crons(Mutex<BTreeMap<EnvKey, Running>>);

/// The tasks of one environment, and what they were made of.
struct Running {
    follows: Followed,
    tasks: Vec<AbortHandle>,
}

/// What is followed of one environment.
#[derive(PartialEq, Eq)]
struct Followed {
    uid: String,
    target: String,
    schedules: BTreeMap<ResourceId, Schedule>,
}

/// When something runs, and what becomes of the runs that it missed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule {
    cron: String,
    missed: MissedRuns,
}

/// How soon a run that could not begin is tried again.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_mins(5) };

impl Crons {
    /// Ends the schedules of an environment. A run that goes on comes to its end by itself.
    pub(crate) fn end(&self, key: &EnvKey) {
        if let Some(running) = self.all().remove(key) {
            running.tasks.iter().for_each(AbortHandle::abort);
        }
    }

    fn is_followed(&self, key: &EnvKey, wanted: &Followed) -> bool {
        self.all().get(key).is_some_and(|running| running.follows == *wanted)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<EnvKey, Running>> {
        // A panic cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the schedules of what is applied now, in place of those before. What is as it was goes on.
pub(crate) async fn follow(daemon: &Arc<Daemon>, key: &EnvKey) -> Result<(), Failure> {
    let store = &daemon.store;
    let applied = store.applied(key).await?;
    let follows = Followed {
        uid: store.identity(key).await?.map(|identity| identity.uid).unwrap_or_default(),
        schedules: applied.as_ref().map(|applied| schedules(&applied.desired)).unwrap_or_default(),
        target: applied.map(|applied| applied.desired.target).unwrap_or_default(),
    };
    if daemon.crons.is_followed(key, &follows) {
        return Ok(());
    }
    store.keep_crons(key, follows.schedules.keys()).await?;
    daemon.crons.end(key);
    let tasks = follows.schedules.iter().filter_map(|(resource, schedule)| {
        // It was checked with the manifest.
        let cron = schedule.cron.parse().ok()?;
        let of = Follower {
            daemon: Arc::clone(daemon),
            key: key.clone(),
            target: follows.target.clone(),
            resource: resource.clone(),
            schedule: schedule.clone(),
            cron,
        };
        Some(tokio::spawn(of.follow()).abort_handle())
    });
    let tasks = tasks.collect();
    daemon.crons.all().insert(key.clone(), Running { follows, tasks });
    Ok(())
}

/// Returns what runs by schedule, and when.
fn schedules(desired: &Desired) -> BTreeMap<ResourceId, Schedule> {
    // A cluster has a clock of its own.
    let is_ours =
        |(id, _): &(&ResourceId, _)| id.kind == ResourceKind::Cron && desired.manner == Manner::Beside;
    let crons = desired.resources.iter().filter(is_ours);
    let schedule = |(id, declared): (&ResourceId, &trueup_plan::Declared)| {
        let cron = declared.spec.get("schedule")?.as_str()?.to_owned();
        let missed = declared.spec.get("missedRuns").cloned();
        let missed = missed.and_then(|missed| serde_json::from_value(missed).ok()).unwrap_or_default();
        Some((id.clone(), Schedule { cron, missed }))
    };
    crons.filter_map(schedule).collect()
}

/// Runs one thing by its schedule.
struct Follower {
    daemon: Arc<Daemon>,
    key: EnvKey,
    target: String,
    resource: ResourceId,
    schedule: Schedule,
    /// The same, read.
    cron: Cron,
}

impl Follower {
    async fn follow(self) {
        let Self { daemon, key: environment, resource, .. } = &self;
        let mut failures = 0;
        while !daemon.cancel.is_cancelled() {
            let step = self.step().await;
            failures = if step.is_err() { failures + 1 } else { 0 };
            match step {
                Ok(Ran::Gone) => return,
                Ok(Ran::Not) => {}
                Ok(Ran::ToItsEnd) => tracing::info!(%environment, %resource, "ran by its schedule"),
                Ok(Ran::StillBefore) => {
                    tracing::warn!(%environment, %resource, "still runs, so this run is left out");
                }
                Ok(Ran::Missed) => tracing::warn!(%environment, %resource, "missed, so this run is left out"),
                // It comes to its end without us.
                Ok(Ran::Failed { error, .. }) if error.blame == Blame::Cancelled => return,
                Ok(Ran::Failed { error, log }) => {
                    tracing::error!(%environment, %resource, ?log, "failed by its schedule: {}", error.message);
                }
                Err(failure) => {
                    tracing::error!(%environment, %resource, "cannot begin by its schedule, tried again: {failure}");
                    tokio::time::sleep(TRY_AGAIN.jittered(failures)).await;
                }
            }
        }
    }

    /// Does what is next. What failed before it began was not done, and is next once more.
    async fn step(&self) -> Result<Ran, Failure> {
        match self.next().await? {
            Next::Never => Ok(Ran::Gone),
            Next::At(time) => {
                let waited = wall_clock::until(time).await;
                waited.map(|()| Ran::Not).map_err(|error| Failure::of(Kind::Internal, &error))
            }
            Next::LeaveOut(time) => Ok(self.dealt_with(time).await.map(|()| Ran::Missed)?),
            Next::Run(_) => self.run().await,
        }
    }

    /// Returns what is next, by the store and the clock of now.
    async fn next(&self) -> Result<Next, StoreError> {
        let now = Timestamp::now();
        Ok(next(&self.cron, self.schedule.missed, self.last(now).await?, now))
    }

    /// Returns the last time that was dealt with.
    async fn last(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        match self.daemon.store.cron_due(&self.key, &self.resource, &self.schedule.cron).await? {
            Some(last) if !is_of_wrong_clock(last, now) => Ok(last),
            // Followed for the first time, it has missed nothing.
            _ => self.dealt_with(now).await.map(|()| now),
        }
    }

    async fn dealt_with(&self, time: Timestamp) -> Result<(), StoreError> {
        self.daemon.store.set_cron_due(&self.key, &self.resource, &self.schedule.cron, time).await
    }

    /// Runs it, unless somebody else did while the environment was waited for.
    async fn run(&self) -> Result<Ran, Failure> {
        let Self { daemon, key, resource, .. } = self;
        let store = &daemon.store;
        // Only the start: a run of the environment waits for nothing that it does not replace.
        let lease =
            store.lease_wait(key, &Holder::here("the daemon, to start a cron"), &daemon.cancel).await?;
        let last = self.last(Timestamp::now()).await?;
        let Next::Run(time) = self.next().await? else { return Ok(Ran::Not) };
        let world = daemon.world();
        let target = &target_of(&world, key, &self.target)?;
        let Some(identity) = is_applied(daemon, key).await? else { return Ok(Ran::Gone) };
        let Some(engine) = target.docker() else { return Ok(Ran::Gone) };
        // Without its secrets it still runs, but nothing that it prints is shown.
        let opened = material::applied(store, &world.keys, key).await;
        let is_shown = opened.is_ok();
        let materials = Arc::new(opened.unwrap_or_default());
        let context = daemon.bench(&world, target).context(identity, RunId(0), materials);
        let idle = engine.idle_cron(&context, resource).await?;
        // The daemon does not stop between the note and the start. Who is killed there loses a run, and doubles none.
        let token = daemon.tasks.token();
        self.dealt_with(time).await?;
        let Some(idle) = idle else { return Ok(Ran::StillBefore) };
        let started = engine.start_cron(&context, resource, &idle).await;
        if let Err(error) = &started
            && error.blame != Blame::Manifest
            && !engine.has_begun(&idle).await
        {
            self.dealt_with(last).await?;
            return Err(error.clone().into());
        }
        drop((token, lease));
        let ended = match started {
            Ok(()) => engine.end_of_cron(&context, resource, &idle).await,
            Err(error) => Err(error),
        };
        // What came due while it ran is left out.
        self.dealt_with(Timestamp::now().max(time)).await?;
        Ok(match ended {
            Ok(()) => Ran::ToItsEnd,
            Err(error) => Ran::Failed { log: is_shown.then(|| error.log.clone()), error },
        })
    }
}

/// What came of one step along a schedule.
enum Ran {
    /// Nothing was due.
    Not,
    ToItsEnd,
    /// It ended with a failure; its output is none where it cannot be cleaned of secrets.
    Failed {
        error: TargetError,
        log: Option<Vec<String>>,
    },
    /// The run before still goes on.
    StillBefore,
    /// Its time is over.
    Missed,
    /// The environment is not there any more, or there is no next time.
    Gone,
}

async fn is_applied(daemon: &Daemon, key: &EnvKey) -> Result<Option<Identity>, Failure> {
    let store = &daemon.store;
    Ok(match store.applied(key).await? {
        Some(_) => store.identity(key).await?,
        None => None,
    })
}
