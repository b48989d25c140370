//! Whether what runs works: the checks of the declared resources, tried once, side by side.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use trueup_engine::{
    Blame, Execute, Identity, Outcome, RunContext, RunId, Store, TargetError, Trigger,
    record::{Health, Observation},
};
use trueup_plan::{Act, Declared, Desired, How, Plan, Probe, ResourceId};
use trueup_schema::Materials;

use crate::{
    failure::Failure,
    material,
    reconcile::{Bench, Conclusion, Proposal},
};

/// The condition of an environment, and what does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) health: Health,
    /// The first thing that does not work, in one line.
    pub(crate) why: Option<String>,
    /// When all its checks were tried last; none when there is nothing to check.
    pub(crate) checked: Option<Timestamp>,
}

/// How much of the health is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What may be another one than it was less than an interval ago.
    Due,
}

impl Extent {
    /// Returns what is to be asked for after this began a reconciliation: it may be a sign that something ceased to work.
    pub(crate) fn after(why: &[Trigger]) -> Self {
        let is_no_sign = |trigger: &Trigger| match trigger {
            Trigger::Commit
            | Trigger::Poll
            | Trigger::Decision
            | Trigger::Cli { .. }
            | Trigger::Rollback { .. } => true,
            Trigger::Timer | Trigger::Drift | Trigger::Start | Trigger::Reload => false,
        };
        if why.iter().all(is_no_sign) { Self::Due } else { Self::Whole }
    }
}

/// Returns the condition after a reconciliation: of what was wanted when it is there, else of what was
/// applied before.
///
/// Where everything worked less than an interval ago, only what a run may have changed that it did not wait
/// for itself is asked again: that is what depends on what it replaced.
pub(crate) async fn condition<S: Store, T: Execute>(
    bench: &Bench<'_, S, T>,
    conclusion: &Conclusion,
    proposal: &Proposal,
    extent: Extent,
) -> Result<Condition, Failure> {
    let Proposal { identity, desired, materials, .. } = proposal;
    let interval = proposal.wanted.resolved.spec.sync.interval.0;
    let before = bench.store.observation(&identity.key()).await?;
    let fresh = before.filter(|_| extent == Extent::Due).and_then(|seen| worked(&seen, interval));
    match (conclusion, fresh) {
        (Conclusion::InSync, Some(checked)) if proposal.plan.reported.is_empty() => {
            Ok(Condition::new(None, checked))
        }
        (Conclusion::Ran { outcome: Outcome::Applied, .. }, Some(checked)) => {
            let touched = touched(&proposal.plan, desired);
            let why = check(bench, identity, desired, materials, |id| touched.contains(id)).await;
            Ok(Condition::new(why, checked))
        }
        (conclusion, _) if conclusion.is_reached() => {
            let why = check(bench, identity, desired, materials, |_| true).await;
            Ok(Condition::new(why, Timestamp::now()))
        }
        _ => of_applied(bench, identity).await,
    }
}

/// Returns when everything was seen to work, if that is less than an interval ago.
fn worked(seen: &Observation, interval: Duration) -> Option<Timestamp> {
    let checked = seen.checked.filter(|_| seen.health == Health::Healthy)?;
    // A clock that was set back makes no look last longer.
    let age = Duration::try_from(Timestamp::now().duration_since(checked)).ok()?;
    (age < interval).then_some(checked)
}

/// Returns what a plan may have stopped from working, and does not wait for itself: whatever depends on what it
/// changes, and what it changes in place.
fn touched<'a>(plan: &'a Plan, desired: &'a Desired) -> BTreeSet<&'a ResourceId> {
    let changed: BTreeSet<_> = plan.changes.iter().map(|change| &change.resource).collect();
    let waited_for = plan.changes.iter().filter(|change| change.how != How::InPlace);
    let waited_for: BTreeSet<_> = waited_for.map(|change| &change.resource).collect();
    let mut reached = changed;
    loop {
        let depends = |declared: &Declared| declared.needs.iter().any(|needs| reached.contains(&needs.on));
        let more =
            desired.resources.iter().filter(|(id, declared)| !reached.contains(id) && depends(declared));
        let more: Vec<_> = more.map(|(id, _)| id).collect();
        if more.is_empty() {
            return &reached - &waited_for;
        }
        reached.extend(more);
    }
}

/// Returns the condition of what was applied last.
async fn of_applied<S: Store, T: Execute>(
    bench: &Bench<'_, S, T>,
    identity: &Identity,
) -> Result<Condition, Failure> {
    let key = identity.key();
    let Some(applied) = bench.store.applied(&key).await? else {
        return Ok(Condition { health: Health::Missing, why: None, checked: None });
    };
    // What a check prints is cleaned of the secrets that run, not of those that are wanted.
    Ok(match material::applied(bench.store, bench.keys, &key).await {
        Ok(materials) => {
            let why = check(bench, identity, &applied.desired, &Arc::new(materials), |_| true).await;
            Condition::new(why, Timestamp::now())
        }
        Err(failure) => Condition { health: Health::Unknown, why: Some(failure.one_line()), checked: None },
    })
}

impl Condition {
    fn new(failure: Option<TargetError>, checked: Timestamp) -> Self {
        let health = match &failure {
            None => Health::Healthy,
            Some(error) if error.blame == Blame::Away => Health::Unknown,
            Some(_) => Health::Degraded,
        };
        Self { health, why: failure.map(|error| error.message), checked: Some(checked) }
    }
}

/// Tries the checks of some resources; returns the first failure.
async fn check<S, T: Execute>(
    bench: &Bench<'_, S, T>,
    identity: &Identity,
    desired: &Desired,
    materials: &Arc<Materials>,
    is_wanted: impl Fn(&ResourceId) -> bool,
) -> Option<TargetError> {
    let context = RunContext {
        identity: identity.clone(),
        run: RunId(0),
        materials: Arc::clone(materials),
        cancel: bench.cancel.clone(),
        progress: Arc::new(Silent),
    };
    let probes = desired.resources.iter().filter_map(|(id, declared)| Some((id, declared.probe.as_ref()?)));
    let tries = probes.filter(|(id, _)| is_wanted(id));
    let tries = tries.map(|(id, probe)| try_once(bench.target, &context, id, probe));
    join_all(tries).await.into_iter().flatten().next()
}

/// Tries one check once; returns why it failed.
async fn try_once<T: Execute>(
    target: &T,
    context: &RunContext,
    id: &ResourceId,
    probe: &Probe,
) -> Option<TargetError> {
    let once = Act::Verify { probe: Probe { startup: Duration::ZERO, ..probe.clone() } };
    target.execute(context, id, &once).await.err()
}

/// Tells nobody: a look is no run.
struct Silent;

impl trueup_engine::Progress for Silent {
    fn tell(&self, _: &ResourceId, _: &str) {}
}
