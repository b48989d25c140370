//! Runs what runs by schedule: one task a `cron` component, from its environment's last reconciliation on.
//!
//! Times are UTC. A run that is due while the one before still goes on, or while nobody could start it, is
//! left out: nothing runs twice.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use croner::Cron;
use tokio::task::AbortHandle;
use trueup_docker::Docker;
use trueup_engine::{EnvKey, RunContext};
use trueup_plan::{Kind, ResourceId};

use crate::reconcile::Proposal;

/// The schedules of all environments.
#[derive(Default)]
pub(crate) struct Crons(Mutex<BTreeMap<EnvKey, Running>>);

/// The tasks of one environment, and what they were made of.
struct Running {
    desired: String,
    tasks: Vec<AbortHandle>,
}

impl Crons {
    /// Follows the schedules of what was reconciled, in place of those before. What is as it was goes on.
    pub(crate) fn follow(&self, key: &EnvKey, target: &Docker, proposal: &Proposal, context: &RunContext) {
        let mut all = self.all();
        let desired = &proposal.plan.desired_digest;
        if all.get(key).is_some_and(|running| running.desired == *desired) {
            return;
        }
        if let Some(before) = all.remove(key) {
            before.tasks.iter().for_each(AbortHandle::abort);
        }
        let tasks = schedules(proposal)
            .map(|(resource, cron)| {
                let task = by_schedule(target.clone(), context.clone(), resource, cron);
                tokio::spawn(task).abort_handle()
            })
            .collect();
        all.insert(key.clone(), Running { desired: desired.clone(), tasks });
    }

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

/// The `cron` resources with their schedules, which were checked with the manifest.
fn schedules(proposal: &Proposal) -> impl Iterator<Item = (ResourceId, Cron)> {
    let components = &proposal.wanted.resolved.components;
    let crons = proposal.desired.resources.keys().filter(|id| id.kind == Kind::Cron);
    crons.filter_map(|id| {
        let schedule = components.get(id.component.as_ref()?)?.spec.schedule.as_ref()?;
        Some((id.clone(), schedule.parse().ok()?))
    })
}

async fn by_schedule(target: Docker, context: RunContext, resource: ResourceId, cron: Cron) {
    while let Some(pause) = until_next(&cron) {
        tokio::time::sleep(pause).await;
        let environment = context.identity.key();
        match target.run_cron(&context, &resource).await {
            Ok(true) => tracing::info!(%environment, %resource, "ran by its schedule"),
            Ok(false) => tracing::warn!(%environment, %resource, "still runs, so this run is left out"),
            Err(error) => {
                tracing::error!(%environment, %resource, log = ?error.log, "failed by its schedule: {error}");
            }
        }
    }
}

/// How long it is to the next time, which is never now: a run that ended quickly is not done again.
fn until_next(cron: &Cron) -> Option<Duration> {
    let now = Utc::now();
    let next = cron.find_next_occurrence(&now, false).ok()?;
    (next - now).to_std().ok()
}
