//! How an environment stands, written to the store for `status`: never better than what was seen.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;
use trueup_engine::{
    EnvKey, Execute, Observe, Outcome, Store, StoreError, Trigger,
    record::{Health, Observation, SyncStatus},
};
use trueup_plan::{Change, ResourceId, Wait};
use trueup_schema::{Catalogue, EnvironmentName, SourceName};

use crate::{
    failure::Failure,
    health::{Condition, Extent, condition},
    reconcile::{Bench, Conclusion, Proposal, Request, reconcile},
};

/// A reconciliation that came to its end, and how the environment is after it.
pub(crate) struct Concluded {
    pub(crate) conclusion: Conclusion,
    pub(crate) proposal: Proposal,
    pub(crate) condition: Condition,
}

/// Reconciles, and looks at what runs afterwards.
pub(crate) async fn reconcile_and_look<S: Store, T: Observe + Execute>(
    bench: &Bench<'_, S, T>,
    request: &Request<'_>,
    lease: &S::Lease,
    trigger: Trigger,
    extent: Extent,
) -> Result<Concluded, Failure> {
    let (conclusion, proposal) = reconcile(bench, request, lease, trigger).await?;
    let condition = condition(bench, &conclusion, &proposal, extent).await?;
    Ok(Concluded { conclusion, proposal, condition })
}

/// Writes down how a turn ended. A store that fails is logged: the turn itself is over.
///
/// `trouble` is why the source may have a newer commit. What is in sync with a commit that may be old is
/// not known to be in sync.
pub(crate) async fn conclusion<S: Store>(
    store: &S,
    key: &EnvKey,
    result: &Result<Concluded, Failure>,
    trouble: Option<&Failure>,
) {
    let written = match (result, trouble) {
        (Ok(concluded), Some(trouble)) if concluded.conclusion.is_reached() => {
            failed(store, key, trouble, Some(trouble)).await
        }
        (Ok(concluded), _) => reached(store, key, concluded, trouble).await,
        (Err(failure), _) => failed(store, key, failure, trouble).await,
    };
    log(key, written);
}

fn log(key: &EnvKey, written: Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::error!(error = &error as &dyn std::error::Error, "the status of {key} cannot be written");
    }
}

async fn reached<S: Store>(
    store: &S,
    key: &EnvKey,
    concluded: &Concluded,
    trouble: Option<&Failure>,
) -> Result<(), StoreError> {
    let Concluded { conclusion, proposal, condition } = concluded;
    let plan = &proposal.plan;
    let now = Timestamp::now();
    let reported = Wait::for_drift(plan).filter(|_| conclusion.is_reached());
    let (sync, why) = match (conclusion, &reported) {
        (Conclusion::InSync | Conclusion::Ran { outcome: Outcome::Applied, .. }, None) => {
            (SyncStatus::Synced, condition.why.clone().unwrap_or_default())
        }
        (Conclusion::Waits { wait: wait @ (Wait::Blocked { .. } | Wait::Refused(_)), .. }, None) => {
            (SyncStatus::Blocked, wait.to_string())
        }
        (Conclusion::Waits { wait, .. }, None) | (_, Some(wait)) => (SyncStatus::OutOfSync, wait.to_string()),
        (Conclusion::Ran { outcome: outcome @ Outcome::Blocked { .. }, .. }, None) => {
            (SyncStatus::Blocked, outcome.line(&plan.revision))
        }
        (Conclusion::Ran { outcome, .. }, None) => (SyncStatus::OutOfSync, outcome.line(&plan.revision)),
    };
    // What was repaired has drifted no longer.
    let left: &[Change] = if conclusion.is_reached() { &[] } else { &plan.changes };
    store.set_drift(key, &drifted(left.iter().chain(&plan.reported)), now).await?;
    let seen = Observation {
        target: plan.target.clone(),
        revision: Some(plan.revision.clone()),
        sync,
        health: condition.health,
        why,
        trouble: trouble.map(Failure::one_line),
        since: now,
        observed: now,
        checked: condition.checked,
        as_of: proposal.as_of,
        foreign: plan.foreign.clone(),
    };
    store.set_observation(key, &seen).await
}

/// Names every resource that somebody else changed.
fn drifted<'a>(changes: impl Iterator<Item = &'a Change>) -> BTreeSet<ResourceId> {
    changes.filter(|change| change.has_drifted()).map(|change| change.resource.clone()).collect()
}

/// Writes down that an environment could not be compared, and why.
async fn failed<S: Store>(
    store: &S,
    key: &EnvKey,
    failure: &Failure,
    trouble: Option<&Failure>,
) -> Result<(), StoreError> {
    let before = store.observation(key).await?;
    store.set_observation(key, &unknown(before, failure, trouble)).await
}

/// Returns what is known of an environment that could not be compared.
fn unknown(before: Option<Observation>, failure: &Failure, trouble: Option<&Failure>) -> Observation {
    let now = Timestamp::now();
    let (target, revision) = before.map_or_else(Default::default, |seen| (seen.target, seen.revision));
    Observation {
        target,
        revision,
        sync: SyncStatus::Unknown,
        health: Health::Unknown,
        why: failure.one_line(),
        trouble: trouble.map(Failure::one_line),
        since: now,
        observed: now,
        checked: None,
        as_of: None,
        foreign: Vec::new(),
    }
}

/// Says of every known environment of a source that the source cannot be read.
pub(crate) async fn unreadable<S: Store>(store: &S, source: &SourceName, failure: &Failure) {
    let Ok(observations) = store.observations().await else { return };
    let of_source = observations.into_iter().filter(|(key, _)| key.source == *source);
    // Side by side, so that they share the store's durable writes.
    join_all(of_source.map(async |(key, seen)| {
        log(&key, store.set_observation(&key, &unknown(Some(seen), failure, Some(failure))).await);
    }))
    .await;
}

/// Returns every known environment of a source that is not in Git.
pub(crate) async fn vanished<S: Store>(
    store: &S,
    source: &SourceName,
    catalogue: &Catalogue,
) -> Result<BTreeSet<EnvironmentName>, StoreError> {
    let known = store.observations().await?.into_keys().filter(|key| key.source == *source);
    Ok(known.map(|key| key.environment).filter(|name| !catalogue.has_environment(name)).collect())
}

/// Says of an environment that it is orphaned, and why; of one that nothing is known of, nothing.
pub(crate) async fn orphaned<S: Store>(store: &S, key: &EnvKey, reason: &str) {
    let written = async {
        let Some(seen) = store.observation(key).await? else { return Ok(()) };
        let why = format!(
            "orphaned: it {reason}, and what runs keeps running; `trueup env destroy {}` removes it",
            key.environment
        );
        let orphaned = Observation { sync: SyncStatus::Unknown, why, trouble: None, ..seen };
        store.set_observation(key, &orphaned).await
    };
    log(key, written.await);
}
