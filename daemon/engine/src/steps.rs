//! The way forward: checks, fetches, then the steps of a plan, each journaled before it is done.
//!
//! Nothing is touched before the preflight and every fetch have succeeded.

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Act, Plan, Step};

use crate::{
    Blame, Execute, Fault, RunContext, Store, TargetError,
    graph::{Graph, Walk},
    journal::{Journal, changes, fault, unwritten},
    record::{Durations, Entry},
};

/// One run on its way forward.
pub(crate) struct Forward<'a, S, T> {
    pub(crate) target: &'a T,
    pub(crate) plan: &'a Plan,
    /// Health waits of an inherited run that this plan does not repeat.
    pub(crate) inherited_waits: Vec<&'a Step>,
    /// Its `cancel` is `halt`: the executor may end a wait by itself.
    pub(crate) cx: RunContext,
    pub(crate) journal: &'a Journal<'a, S>,
    pub(crate) permits: Semaphore,
    /// Ends waits and keeps further steps from starting.
    pub(crate) halt: CancellationToken,
}

impl<S: Store, T: Execute> Forward<'_, S, T> {
    /// Goes forward to the end, and returns the first failure with everything that was cut short by it.
    pub(crate) async fn go(&self, durations: &mut Durations) -> Result<(), Vec<Fault>> {
        let at = Instant::now();
        let checked = self.preflight().await;
        durations.preflight = at.elapsed();
        checked.map_err(|fault| vec![fault])?;

        let at = Instant::now();
        let fetched = self.walk(self.plan.steps.iter().filter(|step| is_fetch(step))).await;
        durations.fetch = at.elapsed();
        fetched?;

        let at = Instant::now();
        let steps = self.plan.steps.iter().filter(|step| !is_fetch(step));
        let done = self.walk(steps.chain(self.inherited_waits.iter().copied())).await;
        durations.apply = at.elapsed();
        done
    }

    async fn preflight(&self) -> Result<(), Fault> {
        let call = self.target.preflight(&self.cx, self.plan);
        let result = tokio::select! {
            biased;
            result = call => result,
            () = self.halt.cancelled() => Err(TargetError::new(Blame::Cancelled, "the preflight was stopped")),
        };
        result.map_err(|error| Fault { resource: None, step: None, error })
    }

    async fn walk<'s>(&'s self, steps: impl Iterator<Item = &'s Step>) -> Result<(), Vec<Fault>> {
        let graph = Graph::of(steps);
        let walk = Walk { halt: &self.halt, stop_at_first: true };
        let walked = graph.walk(walk, |step| self.visit(step)).await;
        if !walked.faults.is_empty() {
            return Err(walked.faults);
        }
        if walked.done == walked.all {
            return Ok(());
        }
        Err(vec![if self.halt.is_cancelled() {
            Fault::of_run(Blame::Cancelled, "the run was stopped between two steps")
        } else {
            Fault::of_run(Blame::Manifest, "the plan's steps wait for each other")
        }])
    }

    async fn visit(&self, step: &Step) -> Result<(), Fault> {
        let _permit = if is_wait(&step.act) { None } else { Some(self.permit(step).await?) };
        if changes(&step.act) || matches!(step.act, Act::Run { .. }) {
            let begin = Entry::Begin { step: step.key.clone() };
            self.journal.write(begin).await.map_err(|error| unwritten(step, &error))?;
        }
        self.cx.progress.begun(step);
        let at = Instant::now();
        let result = self.call(step).await.map_err(|error| fault(step, error));
        self.cx.progress.ended(step, at.elapsed(), result.as_ref().err().map(|fault| &fault.error));
        result?;
        let done = Entry::Done { step: step.key.clone(), took: at.elapsed() };
        self.journal.write(done).await.map_err(|error| unwritten(step, &error))
    }

    /// Waits for its turn among the calls that are made at the same moment.
    async fn permit(&self, step: &Step) -> Result<tokio::sync::SemaphorePermit<'_>, Fault> {
        tokio::select! {
            biased;
            () = self.halt.cancelled() => Err(fault(step, stopped(step))),
            permit = self.permits.acquire() => Ok(permit.expect("it is never closed")),
        }
    }

    /// Makes the call. Waits end with the run; a call that changes something is never dropped before
    /// its time is up, because what it came to would be unknown.
    async fn call(&self, step: &Step) -> Result<(), TargetError> {
        let call = timeout(step.timeout, self.target.execute(&self.cx, &step.resource, &step.act));
        let result = if changes(&step.act) {
            call.await
        } else {
            tokio::select! {
                biased;
                result = call => result,
                () = self.halt.cancelled() => return Err(stopped(step)),
            }
        };
        result.unwrap_or_else(|_| {
            let message = format!("`{}` did not end within {} s", step.key, step.timeout.as_secs());
            Err(TargetError::new(Blame::TimedOut, message))
        })
    }
}

fn stopped(step: &Step) -> TargetError {
    TargetError::new(Blame::Cancelled, format!("`{}` was stopped", step.key))
}

fn is_fetch(step: &Step) -> bool {
    matches!(step.act, Act::Fetch { .. })
}

/// Returns whether an act mostly waits: it does not count against the calls made at the same moment.
fn is_wait(act: &Act) -> bool {
    matches!(act, Act::Run { .. } | Act::Verify { .. })
}
