//! The journal of one run: what it began, did and took back.
//!
//! A line is noted in memory only after it is durable in the store, so that both agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use trueup_plan::{Act, Plan, ResourceId, Step, StepKey};

use crate::{
    Blame, Fault, RunId, Store, StoreError, TargetError,
    record::{Entry, Logged},
};

/// What a journal says, without the order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    /// Steps that were begun.
    pub begun: BTreeSet<StepKey>,
    /// Steps that were done, and how long each took.
    pub done: BTreeMap<StepKey, Duration>,
    /// Steps that were taken back.
    pub undone: BTreeSet<StepKey>,
    /// Steps whose kept resources are removed.
    pub finished: BTreeSet<StepKey>,
    /// Why the run goes back, or why it failed and what was done stays.
    pub fault: Option<Fault>,
    /// Whether what was done stays.
    pub keep: bool,
    /// Whether a newer revision took over.
    pub superseded: bool,
    /// Whether it goes back although a newer revision took over: that one failed.
    pub given_back: bool,
}

impl Trail {
    /// Returns what the lines say.
    pub fn of(journal: &[Logged]) -> Self {
        let mut trail = Self::default();
        for line in journal {
            trail.note(&line.entry);
        }
        trail
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Begin { step } => {
                self.begun.insert(step.clone());
            }
            Entry::Done { step, took } => {
                self.done.insert(step.clone(), *took);
            }
            Entry::Undone { step } => {
                self.undone.insert(step.clone());
                self.given_back |= self.superseded;
            }
            Entry::Finished { step } => {
                self.finished.insert(step.clone());
            }
            Entry::RollBack { fault } => self.fault = Some(fault.clone()),
            Entry::Keep { fault } => {
                self.fault = Some(fault.clone());
                self.keep = true;
            }
            Entry::Supersede => self.superseded = true,
            Entry::Left { .. } => {}
        }
    }

    /// Returns whether the step must still be taken back. What a job did stays, but one that may still
    /// run is stopped.
    pub fn to_undo(&self, step: &Step) -> bool {
        let cut_short = matches!(step.act, Act::Run { .. }) && !self.done.contains_key(&step.key);
        (changes(&step.act) || cut_short)
            && self.begun.contains(&step.key)
            && !self.undone.contains(&step.key)
            && !(self.keep && self.done.contains_key(&step.key))
    }

    /// Returns whether something that the step kept must still be removed.
    pub fn to_finish(&self, step: &Step) -> bool {
        changes(&step.act)
            && self.begun.contains(&step.key)
            && !self.undone.contains(&step.key)
            && !self.finished.contains(&step.key)
    }

    /// Returns whether another run can take over what it did.
    pub fn is_handed_over(&self) -> bool {
        self.superseded && !self.given_back
    }

    /// Returns the jobs of `plan` that ran to their end, with the digests of their inputs.
    pub fn jobs<'p>(&self, plan: &'p Plan) -> Vec<(&'p ResourceId, &'p str)> {
        let done = plan.steps.iter().filter(|step| self.done.contains_key(&step.key));
        done.filter_map(|step| match &step.act {
            Act::Run { inputs } => Some((&step.resource, inputs.as_str())),
            _ => None,
        })
        .collect()
    }
}

/// Returns whether an act changes something that can be taken back. The effects of a job cannot.
pub(crate) fn changes(act: &Act) -> bool {
    match act {
        Act::Fetch { .. } | Act::Run { .. } | Act::Verify { .. } => false,
        Act::Create { .. }
        | Act::Update { .. }
        | Act::Stop { .. }
        | Act::Start { .. }
        | Act::Restart { .. }
        | Act::Retire { .. } => true,
    }
}

/// Writes the journal of one run.
pub(crate) struct Journal<'a, S> {
    store: &'a S,
    run: RunId,
    trail: Mutex<Trail>,
}

impl<'a, S: Store> Journal<'a, S> {
    /// Continues the journal of `run` after `trail`.
    pub(crate) fn new(store: &'a S, run: RunId, trail: Trail) -> Self {
        Self { store, run, trail: Mutex::new(trail) }
    }

    /// Makes a line durable.
    pub(crate) async fn write(&self, entry: Entry) -> Result<(), StoreError> {
        self.store.append(self.run, &entry).await?;
        self.trail().note(&entry);
        Ok(())
    }

    /// Makes a line durable that says what was done, and goes on without it when that fails: the next
    /// recovery looks for itself.
    pub(crate) async fn note(&self, entry: Entry) {
        if let Err(error) = self.write(entry).await {
            tracing::warn!(run = %self.run, error = &error as &dyn std::error::Error, "journal line lost");
        }
    }

    /// Returns what the journal says so far.
    pub(crate) fn trail(&self) -> MutexGuard<'_, Trail> {
        // A panic cannot leave a set half changed.
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the failure of a step whose journal could not be written.
pub(crate) fn unwritten(step: &Step, error: &StoreError) -> Fault {
    let target = TargetError::new(Blame::Target, format!("`{}` could not be journaled", step.key));
    fault(step, target.caused_by(error))
}

/// Returns the failure of a step.
pub(crate) fn fault(step: &Step, error: TargetError) -> Fault {
    Fault { resource: Some(step.resource.clone()), step: Some(step.key.clone()), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(entries: &[Entry]) -> Trail {
        let mut trail = Trail::default();
        for entry in entries {
            trail.note(entry);
        }
        trail
    }

    #[test]
    fn what_goes_back_is_not_taken_over_any_more() {
        let undone = Entry::Undone { step: StepKey("create web".into()) };
        assert!(!trail(&[]).is_handed_over());
        assert!(trail(&[undone.clone(), Entry::Supersede]).is_handed_over());
        assert!(!trail(&[Entry::Supersede, undone]).is_handed_over());
    }
}
