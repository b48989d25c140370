//! One turn of an environment: take its lease, reconcile it, publish how it stands, say when to look again.

use std::{sync::Arc, time::Duration};

use tracing::Instrument;
use trueup_docker::Docker;
use trueup_engine::{Blame, EnvKey, Holder, Next, Outcome, RunId, Store, StoreError, Trigger, Turn, Turns};
use trueup_schema::TargetName;
use trueup_store::{Lease, Sqlite};

use super::Daemon;
use crate::{
    failure::{Failure, Kind},
    progress,
    publish::{self, Concluded},
    reconcile::{Approval, Bench, Conclusion, Request, settle},
};

/// When an environment is looked at again that cannot say so itself.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Takes names from the queue until the daemon stops.
pub(crate) async fn work(daemon: Arc<Daemon>, turns: Turns<EnvKey, Trigger>) {
    turns
        .serve(&daemon.cancel, |Turn { key, why, .. }| {
            let daemon = Arc::clone(&daemon);
            let span = tracing::info_span!("environment", name = %key);
            let trigger = why.into_iter().next().unwrap_or(Trigger::Timer);
            async move { turn(&daemon, &key, trigger).await }.instrument(span)
        })
        .await;
}

/// Reconciles one environment, and says when to look again.
async fn turn(daemon: &Daemon, key: &EnvKey, trigger: Trigger) -> Next {
    let store = &daemon.world.store;
    let result = match store.lease_wait(key, &Holder::here("the daemon"), &daemon.cancel).await {
        Ok(lease) => {
            let settled = settle_unfinished(daemon, key).await;
            if settled.is_ok() && daemon.is_orphaned(key) {
                daemon.orphan(key).await;
                return Next::Rest;
            }
            let result = match settled {
                Ok(()) => reconcile_newest(daemon, key, &lease, trigger).await,
                Err(failure) => Err(failure),
            };
            // Under the lease: a later run of somebody else must not be overwritten.
            tell(daemon, key, &result).await;
            result
        }
        Err(StoreError::Cancelled { .. }) => return Next::Rest,
        Err(error) => {
            let result = Err(error.into());
            tell(daemon, key, &result).await;
            result
        }
    };
    if daemon.is_orphaned(key) {
        // It vanished during the turn.
        daemon.orphan(key).await;
        return Next::Rest;
    }
    let next = next(&result);
    if next == Next::Rest {
        daemon.timers.set(&daemon.queue, key, interval(&result));
    }
    next
}

/// Logs and publishes how a turn ended.
async fn tell(daemon: &Daemon, key: &EnvKey, result: &Result<Concluded, Failure>) {
    if let Err(failure) = result {
        tracing::warn!("{failure}");
    }
    let trouble = daemon.checkouts.trouble(&key.source);
    publish::conclusion(&daemon.world.store, key, result, trouble.as_deref()).await;
}

async fn reconcile_newest(
    daemon: &Daemon,
    key: &EnvKey,
    lease: &Lease,
    trigger: Trigger,
) -> Result<Concluded, Failure> {
    let checkout = daemon
        .checkouts
        .newest(&key.source)
        .ok_or_else(|| Failure::new(Kind::Target, format!("source `{}` was not read yet", key.source)))?;
    let catalogue = checkout.catalogue.as_ref().map_err(|report| Failure::from(report.clone()))?;
    let target_name = catalogue.resolve(&key.environment)?.spec.target.docker;
    let target = daemon.world.target(&target_name, &key.source)?;
    let bench = daemon.bench(&target);
    let request = Request { key, snapshot: &checkout.snapshot, catalogue, approval: Approval::default() };
    let concluded = publish::reconcile_and_look(&bench, &request, lease, trigger).await?;
    if concluded.is_reached() {
        let proposal = &concluded.proposal;
        let context = bench.context(proposal.identity.clone(), RunId(0), Arc::clone(&proposal.materials));
        daemon.crons.follow(key, &target, proposal, &context);
    }
    Ok(concluded)
}

/// Ends what a dead process left of an environment, whatever Git says today.
async fn settle_unfinished(daemon: &Daemon, key: &EnvKey) -> Result<(), Failure> {
    let store = &daemon.world.store;
    let Some(identity) = store.identity(key).await? else { return Ok(()) };
    let Some(run) = store.unfinished(key).await?.into_iter().next() else { return Ok(()) };
    let name = run.plan.target.rsplit('/').next().unwrap_or_default();
    let name: TargetName = name.parse().map_err(|error| Failure::of(Kind::Internal, &error))?;
    let target = daemon.world.target(&name, &key.source)?;
    settle(&daemon.bench(&target), &identity).await
}

impl Daemon {
    /// Returns whether the newest commit of the source no longer declares an environment.
    fn is_orphaned(&self, key: &EnvKey) -> bool {
        let checkout = self.checkouts.newest(&key.source);
        let catalogue = checkout.as_ref().and_then(|checkout| checkout.catalogue.as_ref().ok());
        catalogue.is_some_and(|catalogue| !catalogue.environments().any(|name| *name == key.environment))
    }

    /// Leaves an environment alone that is no longer declared: what runs keeps running, and nothing asks
    /// for it any more.
    pub(super) async fn orphan(&self, key: &EnvKey) {
        self.timers.end(key);
        self.crons.end(key);
        publish::orphaned(&self.world.store, key).await;
    }

    fn bench<'a>(&'a self, target: &'a Docker) -> Bench<'a, Sqlite, Docker> {
        Bench {
            store: &self.world.store,
            target,
            keys: &self.world.keys,
            progress: progress::log(),
            cancel: self.cancel.clone(),
        }
    }
}

/// Whether to try again soon, or to rest until something is new or the interval is over.
fn next(result: &Result<Concluded, Failure>) -> Next {
    match result {
        Ok(Concluded { conclusion: Conclusion::Ran { outcome, .. }, .. }) => match outcome {
            Outcome::Blocked { fault } if fault.error.blame != Blame::Manifest => Next::Retry,
            Outcome::RollbackFailed { .. } => Next::Retry,
            Outcome::RolledBack { fault } if fault.error.blame == Blame::Away => Next::Retry,
            Outcome::RolledBack { fault } if fault.error.blame == Blame::Moved => Next::Again,
            Outcome::Interrupted | Outcome::Superseded => Next::Again,
            _ => Next::Rest,
        },
        Err(failure) if matches!(failure.kind, Kind::Target | Kind::Stranded) => Next::Retry,
        Ok(_) | Err(_) => Next::Rest,
    }
}

/// The interval of an environment; of one that cannot be read, the usual one.
fn interval(result: &Result<Concluded, Failure>) -> Duration {
    result.as_ref().map_or(LOOK_AGAIN, |concluded| concluded.proposal.wanted.resolved.spec.sync.interval.0)
}
