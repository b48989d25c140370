//! Runs what runs by schedule, as it was applied last: one task a `cron` resource.
//!
//! Times are UTC. A run waits while somebody else works on its environment. One that is due while the one before
//! still goes on is left out: nothing runs twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use croner::Cron;
use tokio::task::AbortHandle;
use trueup_engine::{EnvKey, Holder, Identity, RunId, Store};
use trueup_plan::{Desired, Kind, ResourceId};

use super::{Daemon, turn::target_of};
use crate::{failure::Failure, material};

/// The schedules of all environments.
#[derive(Default)]
pub(crate) struct Crons(Mutex<BTreeMap<EnvKey, Running>>);

/// The tasks of one environment, and what they were made of.
struct Running {
    uid: String,
    schedules: BTreeMap<ResourceId, String>,
    tasks: Vec<AbortHandle>,
}

impl Crons {
    /// Ends the schedules of an environment. A run that goes on comes to its end by itself.
    pub(crate) fn end(&self, key: &EnvKey) {
        if let Some(running) = self.all().remove(key) {
            running.tasks.iter().for_each(AbortHandle::abort);
        }
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
    let schedules = applied.as_ref().map(|applied| schedules(&applied.desired)).unwrap_or_default();
    let uid = store.identity(key).await?.map(|identity| identity.uid).unwrap_or_default();
    let mut all = daemon.crons.all();
    if all.get(key).is_some_and(|running| running.uid == uid && running.schedules == schedules) {
        return Ok(());
    }
    if let Some(before) = all.remove(key) {
        before.tasks.iter().for_each(AbortHandle::abort);
    }
    let Some(applied) = applied.filter(|_| !schedules.is_empty()) else { return Ok(()) };
    let target = &applied.desired.target;
    let tasks = schedules.iter().filter_map(|(resource, schedule)| {
        // It was checked with the manifest.
        let cron = schedule.parse().ok()?;
        let task = by_schedule(Arc::clone(daemon), key.clone(), target.clone(), resource.clone(), cron);
        Some(tokio::spawn(task).abort_handle())
    });
    let tasks = tasks.collect();
    all.insert(key.clone(), Running { uid, schedules, tasks });
    Ok(())
}

/// Returns what runs by schedule, and when.
fn schedules(desired: &Desired) -> BTreeMap<ResourceId, String> {
    let crons = desired.resources.iter().filter(|(id, _)| id.kind == Kind::Cron);
    let schedule = |(id, declared): (&ResourceId, &trueup_plan::Declared)| {
        Some((id.clone(), declared.spec.get("schedule")?.as_str()?.to_owned()))
    };
    crons.filter_map(schedule).collect()
}

async fn by_schedule(daemon: Arc<Daemon>, key: EnvKey, target: String, resource: ResourceId, cron: Cron) {
    while let Some(pause) = until_next(&cron) {
        tokio::time::sleep(pause).await;
        match run(&daemon, &key, &target, &resource).await {
            Ok(Ran::ToItsEnd) => tracing::info!(environment = %key, %resource, "ran by its schedule"),
            Ok(Ran::NotAgain) => {
                tracing::warn!(environment = %key, %resource, "still runs, so this run is left out");
            }
            Ok(Ran::Failed) => {}
            Ok(Ran::Gone) => return,
            Err(failure) => {
                tracing::error!(environment = %key, %resource, "could not run by its schedule: {failure}");
            }
        }
    }
}

/// What came of one time of a schedule.
enum Ran {
    ToItsEnd,
    /// It ended with a failure, which was told.
    Failed,
    /// The run before still goes on.
    NotAgain,
    /// The environment is not there any more.
    Gone,
}

async fn run(daemon: &Daemon, key: &EnvKey, target: &str, resource: &ResourceId) -> Result<Ran, Failure> {
    let store = &daemon.store;
    let world = daemon.world();
    let target = &target_of(&world, key, target)?;
    // Only the start: a run of the environment waits for nothing that it does not replace.
    let lease = store.lease_wait(key, &Holder::here("the daemon, to start a cron"), &daemon.cancel).await?;
    let Some(identity) = is_applied(daemon, key).await? else { return Ok(Ran::Gone) };
    // Without its secrets it still runs, but nothing that it prints is shown.
    let opened = material::applied(store, &world.keys, key).await;
    let is_shown = opened.is_ok();
    let materials = Arc::new(opened.unwrap_or_default());
    let context = daemon.bench(&world, target).context(identity, RunId(0), materials);
    let started = target.start_cron(&context, resource).await?;
    drop(lease);
    let Some(started) = started else { return Ok(Ran::NotAgain) };
    match target.end_of_cron(&context, resource, &started).await {
        Ok(()) => Ok(Ran::ToItsEnd),
        Err(error) => {
            let log = is_shown.then_some(&error.log);
            tracing::error!(environment = %key, %resource, ?log, "failed by its schedule: {}", error.message);
            Ok(Ran::Failed)
        }
    }
}

async fn is_applied(daemon: &Daemon, key: &EnvKey) -> Result<Option<Identity>, Failure> {
    let store = &daemon.store;
    Ok(match store.applied(key).await? {
        Some(_) => store.identity(key).await?,
        None => None,
    })
}

/// How long it is to the next time, which is never now: a run that ended quickly is not done again.
fn until_next(cron: &Cron) -> Option<Duration> {
    let now = Utc::now();
    let next = cron.find_next_occurrence(&now, false).ok()?;
    (next - now).to_std().ok()
}
