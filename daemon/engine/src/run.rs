//! Runs a plan as one transaction: all of it, or back to where it was.
//!
//! ```text
//! preflight ─ fetch ─ steps ─ COMMIT ─ finish ─ end: applied
//!     │         │       └── undo, last first ─── end: rolled back (and a hold)
//!     └─────────┴────────── nothing touched ──── end: blocked
//! ```
//!
//! The commit record is the only line between the way back and the way forward.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Act, Applied, Plan, ResourceId, Step};
use trueup_schema::{Materials, manifest::RollbackWhen};

use crate::{
    Blame, Execute, Fault, Outcome, RunContext, Store, StoreError, TargetError, hold,
    journal::{Journal, Trail},
    reach::{Limits, Reach},
    record::{Commit, Durations, Ended, Entry, Hold, Holds, Kept, Unfinished},
    recover,
    steps::Forward,
};

/// How one run is to be done, beside its plan.
pub struct Terms {
    /// What counts as applied once it is committed; `at` is set then. None removes the environment.
    pub applied: Option<Applied>,
    /// What the store keeps of it.
    pub kept: Kept,
    /// What becomes of the holds with the commit.
    pub holds: Holds,
    /// What happens when it fails.
    pub rollback: RollbackWhen,
    /// How long it may take, without the way back.
    pub timeout: Duration,
    /// How hard the target is worked.
    pub limits: Limits,
    /// The bytes behind the digests of the last applied revision, for the way back.
    pub undo_materials: Arc<Materials>,
    /// Says that a newer revision waits: what was done stays for the run that inherits it.
    pub supersede: CancellationToken,
    /// Superseded runs whose work this one takes over, newest first.
    pub inherited: Vec<Unfinished>,
}

/// A run that was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// What is applied now.
    pub applied: Option<Applied>,
    /// How long each phase took.
    pub durations: Durations,
    /// What was kept for the way back and could not be removed yet. The next recovery removes it.
    pub left: Vec<Fault>,
}

/// A run that was not committed.
#[derive(Debug)]
pub struct Failed {
    /// How it ended. Never [`Outcome::Applied`].
    pub outcome: Outcome,
    /// What keeps the environment from the same desired state now.
    pub hold: Option<Hold>,
    /// How long each phase took.
    pub durations: Durations,
    /// Why the end could not be written. The next recovery ends the run.
    pub unrecorded: Option<StoreError>,
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.unrecorded.as_ref().map(|error| error as _)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.word())?;
        self.outcome.fault().map_or(Ok(()), |fault| write!(f, ": {fault}"))
    }
}

/// Brings the environment to what `plan` says, or back to where it was.
///
/// The run was begun with [`Store::begin`], and `cx.run` is its number; the caller holds the lease.
pub async fn run<S: Store, T: Execute>(
    store: &S,
    target: &T,
    plan: &Plan,
    cx: &RunContext,
    terms: &Terms,
) -> Result<Completed, Failed> {
    cx.progress.planned(cx.run, plan);
    let journal = Journal::new(store, cx.run, Trail::default());
    let undo_cx = RunContext { materials: Arc::clone(&terms.undo_materials), ..cx.clone() };
    let reach = Reach::new(target, &undo_cx, terms.limits);
    let mut going = Run { store, plan, cx, terms, journal: &journal, reach, durations: Durations::default() };
    match going.forward(target).await {
        Ok(()) => going.commit().await,
        Err(Stop::Superseded) => going.hand_over().await,
        Err(Stop::Fault(fault)) => Err(going.back(fault).await),
    }
}

/// Why a run does not go further.
enum Stop {
    Superseded,
    Fault(Fault),
}

struct Run<'a, S, T> {
    store: &'a S,
    plan: &'a Plan,
    cx: &'a RunContext,
    terms: &'a Terms,
    journal: &'a Journal<'a, S>,
    reach: Reach<'a, T>,
    durations: Durations,
}

impl<S: Store, T: Execute> Run<'_, S, T> {
    async fn forward(&mut self, target: &T) -> Result<(), Stop> {
        let halt = CancellationToken::new();
        let forward = Forward {
            target,
            plan: self.plan,
            inherited_waits: self.inherited_waits(),
            cx: RunContext { cancel: halt.clone(), ..self.cx.clone() },
            journal: self.journal,
            permits: Semaphore::new(self.terms.limits.parallel.max(1)),
            halt: halt.clone(),
        };
        let mut durations = Durations::default();
        let outcome = {
            let mut going = std::pin::pin!(forward.go(&mut durations));
            tokio::select! {
                biased;
                result = &mut going => result.map_err(|faults| Stop::Fault(first(faults))),
                stop = self.stopped() => {
                    halt.cancel();
                    // What was about to end may still end well: then there is nothing to take back.
                    going.await.map_err(|faults| named(stop, &faults))
                },
            }
        };
        self.durations = durations;
        outcome
    }

    /// Waits for whatever ends the run from outside.
    async fn stopped(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.cx.cancel.cancelled() => {
                Stop::Fault(Fault::of_run(Blame::Cancelled, "the run was stopped"))
            },
            () = self.terms.supersede.cancelled() => Stop::Superseded,
            () = tokio::time::sleep(self.terms.timeout) => {
                let limit = self.terms.timeout.as_secs();
                Stop::Fault(Fault::of_run(Blame::TimedOut, format!("the run did not end within {limit} s")))
            },
        }
    }

    /// Returns the health waits of inherited runs whose resources this plan leaves alone.
    fn inherited_waits(&self) -> Vec<&Step> {
        let ours = |step: &Step| self.plan.steps.iter().any(|own| own.resource == step.resource);
        let waits = self.terms.inherited.iter().flat_map(|run| {
            let taken_back = Trail::of(&run.journal).undone;
            let is_there = move |step: &&Step| {
                let mut of_it = run.plan.steps.iter().filter(|other| other.resource == step.resource);
                !of_it.any(|other| taken_back.contains(&other.key))
            };
            run.plan.steps.iter().filter(is_there)
        });
        waits.filter(|step| matches!(step.act, Act::Verify { .. }) && !ours(step)).collect()
    }

    async fn commit(mut self) -> Result<Completed, Failed> {
        let inherited = &self.terms.inherited;
        let mut jobs_done: Vec<String> =
            self.journal.trail().jobs(self.plan).iter().map(|(_, inputs)| (*inputs).to_owned()).collect();
        for run in inherited {
            jobs_done.extend(Trail::of(&run.journal).jobs(&run.plan).iter().map(|(_, i)| (*i).to_owned()));
        }
        let commit = Commit {
            applied: self.terms.applied.clone().map(|applied| Applied { at: Timestamp::now(), ..applied }),
            kept: self.terms.kept.clone(),
            jobs_done,
            inherited: inherited.iter().map(|run| run.run.id).collect(),
            holds: self.terms.holds.clone(),
        };
        if let Err(error) = self.store.commit(self.cx.run, &commit).await {
            self.unsure(error).await?;
        }
        let at = Instant::now();
        let mut left = self.reach.finish(self.journal, self.plan).await;
        self.durations.finish = at.elapsed();
        for run in inherited {
            let recovered = recover::forward(self.store, &self.reach, run).await;
            left.extend(recovered.err().unwrap_or_default());
        }
        for fault in &left {
            self.journal.note(Entry::Left { fault: fault.clone() }).await;
        }
        if left.is_empty()
            && let Err(error) = self.end(Outcome::Applied, None).await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(run = %self.cx.run, error, "the run is committed, and its end is not written");
        }
        Ok(Completed { applied: commit.applied, durations: self.durations, left })
    }

    /// Finds out whether a commit that failed is durable after all, and goes back when it is not.
    async fn unsure(&mut self, error: StoreError) -> Result<(), Failed> {
        let why = TargetError::new(Blame::Target, "the commit record could not be written").caused_by(&error);
        let fault = Fault { resource: None, step: None, error: why };
        match self.store.unfinished(&self.cx.identity.key()).await {
            Ok(runs) if runs.iter().any(|run| run.run.id == self.cx.run && run.committed) => Ok(()),
            Ok(_) => Err(self.back(fault).await),
            // Neither way is safe while it is unknown which; the next recovery reads it.
            Err(unread) => Err(Failed {
                outcome: Outcome::RollbackFailed { fault: fault.clone(), left: vec![fault] },
                hold: None,
                durations: self.durations,
                unrecorded: Some(unread),
            }),
        }
    }

    /// Leaves what was done to the run that inherits it, but for replacements whose predecessor still runs: the
    /// next plan is made for one of a kind.
    async fn hand_over(mut self) -> Result<Completed, Failed> {
        let doubled = doubled(self.plan, &self.journal.trail());
        let is_doubled = |step: &Step| doubled.contains(&step.resource);
        let left = self.reach.undo_those(self.journal, self.plan, is_doubled).await;
        if let Some(fault) = left.into_iter().next() {
            return Err(self.back(fault).await);
        }
        match self.journal.write(Entry::Supersede).await {
            Ok(()) => Err(Failed {
                outcome: Outcome::Superseded,
                hold: None,
                durations: self.durations,
                unrecorded: None,
            }),
            Err(error) => {
                let why = TargetError::new(Blame::Cancelled, "the run was superseded").caused_by(&error);
                Err(self.back(Fault { resource: None, step: None, error: why }).await)
            }
        }
    }

    /// Ends a run that failed: takes everything back, or keeps it where the manifest says so.
    async fn back(&mut self, fault: Fault) -> Failed {
        let touched = !self.journal.trail().begun.is_empty();
        let cancelled = fault.error.blame == Blame::Cancelled;
        let keep = touched && !cancelled && self.terms.rollback == RollbackWhen::Never;
        if touched {
            let fault = fault.clone();
            self.journal.note(if keep { Entry::Keep { fault } } else { Entry::RollBack { fault } }).await;
        }
        let at = Instant::now();
        let mut left = self.reach.undo(self.journal, self.plan).await;
        if keep && left.is_empty() {
            left = self.reach.finish(self.journal, self.plan).await;
        }
        self.durations.rollback = at.elapsed();
        let mut outcome = match () {
            () if !left.is_empty() => Outcome::RollbackFailed { fault, left },
            () if keep => Outcome::Kept { fault },
            () if cancelled => Outcome::Cancelled,
            () if touched => Outcome::RolledBack { fault },
            () => Outcome::Blocked { fault },
        };
        let mut hold = hold::after(&outcome, self.plan, Timestamp::now());
        let unrecorded = self.end(outcome.clone(), hold.clone()).await.err();
        if !outcome.is_open()
            && let Err(left) = self.take_back_inherited().await
        {
            let fault = Fault::of_run(Blame::Target, "a superseded run could not be taken back");
            (outcome, hold) = (Outcome::RollbackFailed { fault, left }, None);
        }
        if let Some(error) = &unrecorded {
            let error: &dyn std::error::Error = error;
            tracing::warn!(run = %self.cx.run, error, "the end of the run is not written");
        }
        Failed { outcome, hold, durations: self.durations, unrecorded }
    }

    /// Takes back the runs whose work this one took over. A crash meanwhile leaves them to recovery.
    async fn take_back_inherited(&self) -> Result<(), Vec<Fault>> {
        for run in &self.terms.inherited {
            recover::back(self.store, &self.reach, run).await?;
        }
        Ok(())
    }

    async fn end(&self, outcome: Outcome, hold: Option<Hold>) -> Result<(), StoreError> {
        let jobs_run = {
            let trail = self.journal.trail();
            trail.jobs(self.plan).into_iter().map(|(resource, _)| resource.clone()).collect()
        };
        self.store.end(self.cx.run, &Ended { outcome, durations: self.durations, jobs_run, hold }).await
    }
}

/// Returns the resources whose replacement was made while what it replaces was not stopped yet.
fn doubled(plan: &Plan, trail: &Trail) -> BTreeSet<ResourceId> {
    let is_begun = |step: &&Step| matches!(step.act, Act::Create { .. }) && trail.begun.contains(&step.key);
    let waits = |step: &Step| matches!(step.act, Act::Stop { .. }) && !trail.done.contains_key(&step.key);
    let created = plan.steps.iter().filter(is_begun).map(|step| &step.resource);
    let doubled = created.filter(|id| plan.steps.iter().any(|step| step.resource == **id && waits(step)));
    doubled.cloned().collect()
}

/// Returns the failure that came first; the others were only cut short by it.
fn first(faults: Vec<Fault>) -> Fault {
    faults.into_iter().next().expect("a walk that failed has a failure")
}

/// Gives a stop from outside the name of what was still going on.
fn named(stop: Stop, faults: &[Fault]) -> Stop {
    let Stop::Fault(mut fault) = stop else { return stop };
    if let Some(cut) = faults.iter().find(|fault| fault.resource.is_some()) {
        fault.resource.clone_from(&cut.resource);
        fault.step.clone_from(&cut.step);
        if let (Blame::TimedOut, Some(step)) = (fault.error.blame, &cut.step) {
            fault.error.message = format!("{}: `{step}` was still going on", fault.error.message);
        }
    }
    Stop::Fault(fault)
}
