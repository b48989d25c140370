//! Ends what a dead process, or a failed rollback, left unfinished, before anything new is planned.
//!
//! It may die as well: doing it again continues where it was. A run with a commit record is cleaned
//! up forward; every other one is taken back.

use jiff::Timestamp;

use crate::{
    Blame, Execute, Fault, Outcome, RunContext, Store, StoreError, hold,
    journal::{Journal, Trail},
    reach::{Limits, Reach},
    record::{Ended, EnvKey, Hold, RunRecord, Unfinished},
};

/// A run that was ended by recovery.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The run, as it stood in history.
    pub run: RunRecord,
    /// How it ended.
    pub outcome: Outcome,
    /// The hold that began with its end.
    pub hold: Option<Hold>,
}

/// Why recovery did not come to its end. It is tried again before anything new is planned.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be taken back.
    #[error("run {run} of `{env}` could not be brought to an end: {}", left.first().map_or_else(String::new, |fault| fault.error.one_line()))]
    Leave {
        /// The environment.
        env: EnvKey,
        /// The run.
        run: crate::RunId,
        /// What is left.
        left: Vec<Fault>,
    },
}

/// Ends every unfinished run of the environment of `cx`, newest first. A committed run whose leftovers cannot be
/// removed yet stays unfinished and is met again: it keeps nothing new from being planned.
///
/// The caller holds the lease; `cx.materials` are those of the last applied revision, and `cx.run` is
/// not used.
pub async fn recover<S: Store, T: Execute>(
    store: &S,
    target: &T,
    cx: &RunContext,
    limits: Limits,
) -> Result<Vec<Recovered>, RecoverError> {
    let env = cx.identity.key();
    let mut recovered = Vec::new();
    for run in store.unfinished(&env).await? {
        let reach = Reach::new(target, cx, limits);
        tracing::info!(run = %run.run.id, env = %env, committed = run.committed, "recovers an unfinished run");
        let ended =
            if run.committed { forward(store, &reach, &run).await } else { back(store, &reach, &run).await };
        match ended {
            Ok((outcome, hold)) => recovered.push(Recovered { run: run.run, outcome, hold }),
            // What it wanted is there; what it replaced can be removed later.
            Err(left) if run.committed => {
                let left = left.first().map(tracing::field::display);
                tracing::warn!(run = %run.run.id, %env, left, "what the run replaced is not removed yet");
            }
            Err(left) => return Err(RecoverError::Leave { env, run: run.run.id, left }),
        }
    }
    Ok(recovered)
}

/// How an unfinished run ended, or what is left of it.
type Settled = Result<(Outcome, Option<Hold>), Vec<Fault>>;

/// Cleans up a committed run.
pub(crate) async fn forward<S: Store, T: Execute>(
    store: &S,
    reach: &Reach<'_, T>,
    run: &Unfinished,
) -> Settled {
    let trail = Trail::of(&run.journal);
    let superseded = trail.superseded;
    let journal = Journal::new(store, run.run.id, trail);
    let left = reach.of_run(run.run.id).finish(&journal, &run.plan).await;
    if !left.is_empty() {
        return Err(left);
    }
    let outcome = if superseded { Outcome::Superseded } else { Outcome::Applied };
    end(store, run, &journal, outcome).await
}

/// Takes an uncommitted run back, or keeps what was done where that had been decided.
pub(crate) async fn back<S: Store, T: Execute>(store: &S, reach: &Reach<'_, T>, run: &Unfinished) -> Settled {
    let trail = Trail::of(&run.journal);
    let (fault, keep, superseded) = (trail.fault.clone(), trail.keep, trail.superseded);
    let journal = Journal::new(store, run.run.id, trail);
    let reach = reach.of_run(run.run.id);
    let mut left = reach.undo(&journal, &run.plan).await;
    if keep && left.is_empty() {
        left = reach.finish(&journal, &run.plan).await;
    }
    if !left.is_empty() {
        let interrupted = || Fault::of_run(Blame::Cancelled, "the process died during the run");
        let outcome =
            Outcome::RollbackFailed { fault: fault.unwrap_or_else(interrupted), left: left.clone() };
        // The run stays unfinished, and history says so; a store that fails too is met again.
        let _unfinished = end(store, run, &journal, outcome).await;
        return Err(left);
    }
    let outcome = match fault {
        _ if superseded => Outcome::Superseded,
        None => Outcome::Interrupted,
        Some(fault) if keep => Outcome::Kept { fault },
        Some(fault) if fault.error.blame == Blame::Cancelled => Outcome::Cancelled,
        Some(fault) => Outcome::RolledBack { fault },
    };
    end(store, run, &journal, outcome).await
}

async fn end<S: Store>(store: &S, run: &Unfinished, journal: &Journal<'_, S>, outcome: Outcome) -> Settled {
    let hold = hold::after(&outcome, &run.plan, Timestamp::now());
    let jobs_run = journal.trail().jobs(&run.plan).into_iter().map(|(id, _)| id.clone()).collect();
    let ended = Ended { outcome, durations: run.run.durations, jobs_run, hold };
    match store.end(run.run.id, &ended).await {
        Ok(()) => Ok((ended.outcome, ended.hold)),
        Err(error) => {
            let why = crate::TargetError::new(Blame::Target, "the end of the run could not be written");
            Err(vec![Fault { resource: None, step: None, error: why.caused_by(&error) }])
        }
    }
}
