//! Calls that must succeed: taking steps back, and removing what was kept.
//!
//! Each is tried again while the target fails, and each is safe to make twice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Kind, Plan, Step};
use trueup_schema::manifest::MAX_STOP_GRACE;

use crate::{
    Blame, Execute, Fault, RunContext, RunId, Store, TargetError,
    graph::{Graph, Walk},
    journal::{Journal, fault},
    record::Entry,
    retry,
};

/// How hard a target is worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many calls that change something are made at the same moment.
    pub parallel: usize,
    /// How long taking back one step is tried again while the target fails.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parallel: 16, patience: Duration::from_mins(1) }
    }
}

/// Taking a step back may stop what it started, and takes as long as its grace, whatever the step was given.
const AT_LEAST: Duration = Duration::from_mins(10);
const _: () = assert!(AT_LEAST.as_secs() > MAX_STOP_GRACE.0.as_secs(), "the longest stop has its time");

/// A target, with what a call that must succeed needs.
pub(crate) struct Reach<'a, T> {
    target: &'a T,
    cx: RunContext,
    permits: Arc<Semaphore>,
    patience: Duration,
}

impl<'a, T: Execute> Reach<'a, T> {
    /// Returns the reach of a run whose wish to end does not concern these calls.
    pub(crate) fn new(target: &'a T, cx: &RunContext, limits: Limits) -> Self {
        let cx = RunContext { cancel: CancellationToken::new(), ..cx.clone() };
        Self {
            target,
            cx,
            permits: Arc::new(Semaphore::new(limits.parallel.max(1))),
            patience: limits.patience,
        }
    }

    /// Returns the same for another run.
    pub(crate) fn of_run(&self, run: RunId) -> Self {
        let cx = RunContext { run, ..self.cx.clone() };
        Self { target: self.target, cx, permits: Arc::clone(&self.permits), patience: self.patience }
    }

    /// Takes back what the journal says was begun, in the order opposite to the plan's. Returns what
    /// could not be taken back.
    pub(crate) async fn undo<S: Store>(&self, journal: &Journal<'_, S>, plan: &Plan) -> Vec<Fault> {
        self.undo_those(journal, plan, |_| true).await
    }

    /// Takes back those of the begun steps that are chosen.
    pub(crate) async fn undo_those<S: Store>(
        &self,
        journal: &Journal<'_, S>,
        plan: &Plan,
        chosen: impl Fn(&Step) -> bool,
    ) -> Vec<Fault> {
        let halt = CancellationToken::new();
        let graph = Graph::of(&plan.steps).reversed();
        let chosen = &chosen;
        let walked = graph.walk(Walk { halt: &halt, stop_at_first: false }, |step| async move {
            if chosen(step) { self.undo_step(journal, step).await } else { Ok(()) }
        });
        walked.await.faults
    }

    async fn undo_step<S: Store>(&self, journal: &Journal<'_, S>, step: &Step) -> Result<(), Fault> {
        if !journal.trail().to_undo(step) {
            return Ok(());
        }
        let _permit = self.permits.acquire().await.expect("it is never closed");
        let at = Instant::now();
        let call = || self.in_time(step, self.target.undo(&self.cx, &step.resource, &step.act));
        let result = retry::until_done(self.patience, call).await;
        self.cx.progress.undone(step, at.elapsed(), result.as_ref().err());
        result.map_err(|error| fault(step, error))?;
        journal.note(Entry::Undone { step: step.key.clone() }).await;
        Ok(())
    }

    /// Removes what the run's steps kept for the way back. Returns what could not be removed.
    ///
    /// Kinds go in the order opposite to that of creation: nothing is removed while something that
    /// stands on it is there.
    pub(crate) async fn finish<S: Store>(&self, journal: &Journal<'_, S>, plan: &Plan) -> Vec<Fault> {
        let mut by_kind: BTreeMap<Kind, Vec<&Step>> = BTreeMap::new();
        for step in &plan.steps {
            by_kind.entry(step.resource.kind).or_default().push(step);
        }
        let mut faults = Vec::new();
        for steps in by_kind.into_values().rev() {
            let calls = steps.into_iter().map(|step| self.finish_step(journal, step));
            let results = futures::future::join_all(calls).await;
            faults.extend(results.into_iter().filter_map(Result::err));
        }
        faults
    }

    async fn finish_step<S: Store>(&self, journal: &Journal<'_, S>, step: &Step) -> Result<(), Fault> {
        if !journal.trail().to_finish(step) {
            return Ok(());
        }
        let _permit = self.permits.acquire().await.expect("it is never closed");
        let call = || self.in_time(step, self.target.finish(&self.cx, &step.resource, &step.act));
        retry::until_done(self.patience, call).await.map_err(|error| fault(step, error))?;
        journal.note(Entry::Finished { step: step.key.clone() }).await;
        Ok(())
    }

    async fn in_time(
        &self,
        step: &Step,
        call: impl Future<Output = Result<(), TargetError>>,
    ) -> Result<(), TargetError> {
        let limit = step.timeout.max(AT_LEAST);
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            let message = format!("taking back `{}` did not end within {} s", step.key, limit.as_secs());
            Err(TargetError::new(Blame::TimedOut, message))
        })
    }
}
