//! One turn of an environment: take its lease, reconcile it, publish how it stands, say when to look again.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trueup_engine::{
    Blame, EnvKey, Holder, Next, Outcome, Store, StoreError, Trigger, Turn, Turns, record::Health,
};
use trueup_plan::Applied;
use trueup_schema::{RepoPath, Resolved, SourceName, TargetId};
use trueup_store::{Lease, Sqlite};

use super::{Daemon, busy::when_free, checkout::Checkout, cron, targets};
use crate::{
    failure::{Failure, Kind},
    health::Extent,
    material, progress,
    publish::{self, Concluded},
    reconcile::{Approval, Bench, Conclusion, Request, keep_alive, settle},
    target::Target,
    world::World,
};

/// When an environment is looked at again that cannot say so itself.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// When an environment is looked at again at the latest whose checks fail: nothing tells when they succeed.
const UNHEALTHY: Duration = Duration::from_secs(10);

/// How long a source is waited for that may have a newer commit: less than a person waits for the lease.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Takes names from the queue until the daemon stops.
pub(crate) async fn work(daemon: Arc<Daemon>, turns: Turns<EnvKey, Trigger>) {
    turns
        .serve(&daemon.cancel, |Turn { key, why, .. }| {
            let daemon = Arc::clone(&daemon);
            let span = tracing::info_span!("environment", name = %key);
            let extent = Extent::after(&why);
            let trigger = why.into_iter().next().unwrap_or(Trigger::Timer);
            daemon.meter.turned(&trigger);
            async move { turn(&daemon, &key, trigger, extent).await }.instrument(span)
        })
        .await;
}

/// Reconciles one environment, and says when to look again.
async fn turn(daemon: &Arc<Daemon>, key: &EnvKey, trigger: Trigger, extent: Extent) -> Next {
    let mut repair = None;
    let result = match daemon.store.lease(key, &Holder::here("the daemon")).await {
        Ok(lease) => {
            if daemon.is_orphaned(key) && settle_unfinished(daemon, key).await.is_ok() {
                daemon.orphan(key).await;
                return Next::Rest;
            }
            daemon.checkouts.unsettle(key);
            let result = reconcile_newest(daemon, key, &lease, trigger, extent).await;
            match after(daemon, key, &lease, &result).await {
                Ok(until) => repair = until,
                Err(failure) => tracing::warn!("{failure}"),
            }
            // Under the lease: a later run of somebody else must not be overwritten.
            tell(daemon, key, &result).await;
            if let Some(resolved) = settled(&result) {
                daemon.checkouts.settle(key, resolved);
            }
            result
        }
        Err(StoreError::Lease(_)) => {
            when_free(daemon, key, trigger);
            return Next::Rest;
        }
        Err(error) => {
            let result = Err(error.into());
            tell(daemon, key, &result).await;
            result
        }
    };
    let next = next(&result);
    if next == Next::Rest {
        let repair = repair.map(|until| left(until, Timestamp::now()));
        daemon.timers.set(&daemon.queue, key, repair.into_iter().fold(interval(&result), Duration::min));
    }
    next
}

/// Does what every turn does for what was applied last, whatever came of the newest commit. Returns when a repair that
/// failed is tried again.
async fn after(
    daemon: &Arc<Daemon>,
    key: &EnvKey,
    lease: &Lease,
    result: &Result<Concluded, Failure>,
) -> Result<Option<Timestamp>, Failure> {
    let mut until = None;
    let followed = cron::follow(daemon, key).await;
    if let Err(failure) = result
        && let Some(applied) = daemon.store.applied(key).await?
        && (failure.is_report() || !daemon.knows_newest(key, &applied))
    {
        // It lets go of nothing that the newest commit cannot be read.
        let world = daemon.world();
        let id = target_id(&applied.desired.target)?;
        let target = world.target(&id, &key.source)?;
        targets::follow(daemon, &id, &target);
        until = keep_alive(&daemon.bench(&world, &target), key, lease).await?.until;
    }
    followed.map(|()| until)
}

/// Returns the environment after a turn that need not be done again before something is new of it.
fn settled(result: &Result<Concluded, Failure>) -> Option<&Resolved> {
    let Ok(Concluded { conclusion, proposal, .. }) = result else { return None };
    let is_settled = conclusion.is_reached() || matches!(conclusion, Conclusion::Waits { .. });
    is_settled.then_some(&proposal.wanted.resolved)
}

/// Logs and publishes how a turn ended.
async fn tell(daemon: &Daemon, key: &EnvKey, result: &Result<Concluded, Failure>) {
    if let Err(failure) = result {
        tracing::warn!("{failure}");
    }
    let trouble = daemon.checkouts.trouble(&key.source);
    publish::conclusion(&daemon.store, key, result, trouble.as_deref()).await;
    if trouble.is_none()
        && let Some(trouble) = daemon.checkouts.trouble(&key.source)
    {
        // It began meanwhile, and what it wrote down may be written over.
        publish::conclusion(&daemon.store, key, result, Some(&trouble)).await;
    }
}

async fn reconcile_newest(
    daemon: &Arc<Daemon>,
    key: &EnvKey,
    lease: &Lease,
    trigger: Trigger,
    extent: Extent,
) -> Result<Concluded, Failure> {
    catch_up(daemon, key).await?;
    let world = daemon.world();
    let (checkout, target) = match newest(daemon, &world, key) {
        Ok(newest) => newest,
        Err(failure) => {
            settle_unfinished(daemon, key).await?;
            return Err(failure);
        }
    };
    let catalogue = checkout.catalogue.as_ref().map_err(|report| Failure::from(report.clone()))?;
    let bench = daemon.bench(&world, &target);
    let request = Request {
        key,
        snapshot: &checkout.snapshot,
        catalogue,
        approval: Approval::default(),
        patient: true,
    };
    tokio::select! {
        concluded = publish::reconcile_and_look(&bench, &request, lease, trigger, extent) => concluded,
        never = supersede(daemon, key, &checkout, &bench.newer) => match never {},
    }
}

/// Looks at the source where somebody else has applied a commit since it was looked at: it may be newer than what
/// is the newest here, and nobody wants to go back from it.
async fn catch_up(daemon: &Daemon, key: &EnvKey) -> Result<(), Failure> {
    let Some(applied) = daemon.store.applied(key).await? else { return Ok(()) };
    let is_behind = || daemon.checkouts.may_be_behind(&key.source, &applied);
    if is_behind() {
        tokio::time::timeout(CATCH_UP, daemon.followers.look_now(&key.source)).await.ok();
    }
    if is_behind() {
        let message = format!("source `{}` does not say whether it has a newer commit", key.source);
        return Err(Failure::new(Kind::Target, message)
            .hint(format!("{} was applied since it answered last", applied.revision)));
    }
    Ok(())
}

/// Returns the newest commit of an environment, and where it runs.
fn newest(daemon: &Arc<Daemon>, world: &World, key: &EnvKey) -> Result<(Arc<Checkout>, Target), Failure> {
    let checkout = daemon.checkouts.newest(&key.source).ok_or_else(|| daemon.not_read(&key.source))?;
    let catalogue = checkout.catalogue.as_ref().map_err(|report| Failure::from(report.clone()))?;
    let id = catalogue.resolve(&key.environment)?.spec.target.id();
    let target = world.target(&id, &key.source)?;
    targets::follow(daemon, &id, &target);
    world.keep_only(key, Some(&id));
    Ok((checkout, target))
}

/// Cancels `newer` once a newer commit wants something else of the environment. A commit that cannot be read,
/// or that says nothing new of it, ends no run.
async fn supersede(
    daemon: &Daemon,
    key: &EnvKey,
    running: &Arc<Checkout>,
    newer: &CancellationToken,
) -> Infallible {
    let mut known = Arc::clone(running);
    let mut wanted = None;
    loop {
        known = daemon.checkouts.newer(&key.source, &known).await;
        let Ok(then) = wanted.get_or_insert_with(|| intent(daemon, key, running)) else { continue };
        if then.may_change(running, &known)
            && let Ok(now) = intent(daemon, key, &known)
            && now.digest != then.digest
        {
            tracing::info!(revision = %known.snapshot.revision, "a newer commit takes over");
            newer.cancel();
        }
    }
}

/// What a commit wants of an environment.
struct Intent {
    digest: String,
    /// The files that say so.
    inputs: Vec<RepoPath>,
}

impl Intent {
    /// Returns whether a newer commit may say something else.
    fn may_change(&self, then: &Checkout, now: &Checkout) -> bool {
        let (Ok(then), Ok(now)) = (&then.catalogue, &now.catalogue) else { return true };
        let changed = now.changes_since(then);
        self.inputs.iter().any(|path| changed.contains(path))
    }
}

fn intent(daemon: &Daemon, key: &EnvKey, checkout: &Checkout) -> Result<Intent, Failure> {
    let catalogue = checkout.catalogue.as_ref().map_err(|report| Failure::from(report.clone()))?;
    let resolved = catalogue.resolve(&key.environment)?;
    let digest_key = daemon.store.digest_key();
    let keys = &daemon.world().keys;
    let wanted = material::open(digest_key, keys, &checkout.snapshot, resolved, BTreeSet::new())?;
    let inputs = wanted.resolved.inputs.keys().cloned().collect();
    Ok(Intent { digest: material::intent(digest_key, &wanted)?, inputs })
}

/// Ends what a dead process left of an environment, whatever Git says today.
async fn settle_unfinished(daemon: &Daemon, key: &EnvKey) -> Result<(), Failure> {
    let (store, world) = (&daemon.store, daemon.world());
    let Some(identity) = store.identity(key).await? else { return Ok(()) };
    let Some(run) = store.unfinished(key).await?.into_iter().next() else { return Ok(()) };
    settle(&daemon.bench(&world, &target_of(&world, key, &run.plan.target)?), &identity).await
}

/// Returns the target that a plan names: `docker/local`.
pub(crate) fn target_of(world: &World, key: &EnvKey, target: &str) -> Result<Target, Failure> {
    world.target(&target_id(target)?, &key.source)
}

fn target_id(target: &str) -> Result<TargetId, Failure> {
    target.parse().map_err(|error| Failure::of(Kind::Internal, &error))
}

impl Daemon {
    /// Returns whether nobody declares an environment any more: the configuration does not follow it, or the
    /// newest commit of its source does not have it.
    pub(super) fn is_orphaned(&self, key: &EnvKey) -> bool {
        if !self.world().config.follows(key) {
            return true;
        }
        let checkout = self.checkouts.newest(&key.source);
        let catalogue = checkout.as_ref().and_then(|checkout| checkout.catalogue.as_ref().ok());
        catalogue.is_some_and(|catalogue| !catalogue.has_environment(&key.environment))
    }

    /// Returns whether the newest commit of an environment's source is known, as far as can be told.
    fn knows_newest(&self, key: &EnvKey, applied: &Applied) -> bool {
        self.checkouts.newest(&key.source).is_some() && !self.checkouts.may_be_behind(&key.source, applied)
    }

    fn not_read(&self, source: &SourceName) -> Failure {
        let mut failure = Failure::new(Kind::Target, format!("source `{source}` was not read yet"));
        failure.causes.extend(self.checkouts.trouble(source).map(|trouble| trouble.one_line()));
        failure
    }

    /// Leaves an environment alone that is no longer declared: what runs keeps running, and nothing asks
    /// for it any more. Its lease is held: what somebody destroys meanwhile would be written down again.
    async fn orphan(&self, key: &EnvKey) {
        self.timers.end(key);
        self.crons.end(key);
        self.world().keep_only(key, None);
        // What comes back later has missed nothing.
        if let Err(error) = self.store.keep_crons(key, []).await {
            tracing::warn!(environment = %key, "its schedules cannot be forgotten: {error}");
        }
        let follows = self.world().config.follows(key);
        let why = if follows { "is no longer in Git" } else { "is no longer in the daemon's configuration" };
        publish::orphaned(&self.store, key, why).await;
    }

    pub(crate) fn bench<'a>(&'a self, world: &'a World, target: &'a Target) -> Bench<'a, Sqlite, Target> {
        Bench {
            store: &self.store,
            target,
            keys: &world.keys,
            progress: progress::log(),
            meter: &self.meter,
            cancel: self.cancel.clone(),
            newer: CancellationToken::new(),
        }
    }
}

/// Whether to try again soon, or to rest until something is new or the interval is over.
fn next(result: &Result<Concluded, Failure>) -> Next {
    match result {
        Ok(Concluded { conclusion: Conclusion::Ran { outcome, .. }, proposal, .. }) => match outcome {
            Outcome::Blocked { fault } if fault.error.blame != Blame::Manifest => Next::Retry,
            Outcome::RollbackFailed { .. } => Next::Retry,
            Outcome::RolledBack { fault } if fault.error.blame == Blame::Away => Next::Retry,
            Outcome::RolledBack { fault } if fault.error.blame == Blame::Moved => Next::Again,
            Outcome::RolledBack { .. } | Outcome::Blocked { .. } | Outcome::Kept { .. }
                if proposal.plan.is_repair() =>
            {
                Next::Retry
            }
            // What did not run before the run either is brought back by the next one, which the hold lets through.
            Outcome::RolledBack { .. } | Outcome::Interrupted | Outcome::Superseded => Next::Again,
            _ => Next::Rest,
        },
        Err(failure) if matches!(failure.kind, Kind::Target | Kind::Stranded) => Next::Retry,
        Ok(_) | Err(_) => Next::Rest,
    }
}

/// When an environment is looked at again though nothing is new: after its interval, or as soon as a repair may be
/// tried once more.
fn interval(result: &Result<Concluded, Failure>) -> Duration {
    let Ok(Concluded { conclusion, proposal, condition }) = result else { return LOOK_AGAIN };
    let now = Timestamp::now();
    let waits = proposal.plan.contested.iter().map(|contest| contest.until);
    let repair = if let Conclusion::Waits { until, .. } = conclusion { *until } else { None };
    let waits = waits.chain(repair).map(|until| left(until, now));
    // What was never applied has nothing to check.
    let unhealthy = (!matches!(condition.health, Health::Healthy | Health::Missing)).then_some(UNHEALTHY);
    let interval = proposal.wanted.resolved.spec.sync.interval.0;
    // From the last whole look on, however many commits there were since.
    let age = condition.checked.and_then(|checked| Duration::try_from(now.duration_since(checked)).ok());
    let interval = interval.saturating_sub(age.unwrap_or_default());
    waits.chain(unhealthy).fold(interval, Duration::min)
}

/// Returns how long it is until a moment; nothing when it is over.
fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}
