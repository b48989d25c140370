//! The product: from a commit to a plan, and from a plan to what runs, or back to where it was.
//!
//! ```text
//! propose    commit ─ resolved ─ secrets opened ─ live ─ desired ─ plan        (holds no writer)
//! reconcile  recover ─ propose ─ waits | in sync | run ─ applied
//!                         ↑                         ├─ failed ─ rolled back, held
//!                         └────── inherited ────────┴─ superseded by a newer commit
//! ```
//!
//! The preview is [`propose`]; the run is [`propose`] and [`run()`]. Nothing else computes what would change,
//! and neither knows what asked for it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trueup_engine::{
    EnvKey, Execute, Fault, Identity, Limits, Observe, Outcome, Progress, RunContext, RunId, Store, Terms,
    Trail, Trigger, Wanted, hold,
    record::{Hold, HoldKind, Holds, NewRun, Unfinished},
    recover, repair, run,
    store::RunFilter,
};
use trueup_plan::{Applied, Contest, Desired, Input, Ownership, Plan, Wait};
use trueup_schema::{
    Catalogue, Materials, Snapshot,
    manifest::{Sync, SyncMode},
};
use trueup_secrets::Identities;

use crate::{
    failure::{Failure, Kind},
    material,
    meter::{Meter, Phase},
};

/// When a repair is tried again that the world got in the way of.
const SOON: Duration = Duration::from_secs(1);

/// One environment of one commit, whose state is wanted.
pub(crate) struct Request<'a> {
    /// Which environment.
    pub(crate) key: &'a EnvKey,
    /// The commit.
    pub(crate) snapshot: &'a Snapshot,
    /// The commit's manifests.
    pub(crate) catalogue: &'a Catalogue,
    /// What a person has said about it.
    pub(crate) approval: Approval,
    /// Whether the environment's `sync` decides what becomes of drift. A person's own wish is to repair it.
    pub(crate) patient: bool,
}

/// What a person has said about a request. A daemon's own request has none of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Approval {
    /// The plan may run although `sync.mode` is `manual`.
    pub(crate) run: bool,
    /// More may be deleted than `sync.maxDeletes`.
    pub(crate) deletes: bool,
    /// Only the plan of this digest may run, or of a digest that begins so.
    pub(crate) plan: Option<String>,
    /// A person goes back to this revision, and the environment is held there.
    pub(crate) hold: Option<Hold>,
}

/// Everything up to the plan.
pub(crate) struct Proposal {
    pub(crate) plan: Plan,
    pub(crate) desired: Desired,
    /// Without its materials.
    pub(crate) wanted: Wanted,
    /// The bytes behind the digests of the plan.
    pub(crate) materials: Arc<Materials>,
    pub(crate) identity: Identity,
    /// When that was read of which the target tells no change.
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) took: Took,
}

/// How long a proposal took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    /// Looking at what runs.
    observe: Duration,
    /// Everything else.
    plan: Duration,
}

/// How a reconciliation ended.
pub(crate) enum Conclusion {
    /// Everything is as declared.
    InSync,
    /// Nothing moves, and this is why.
    Waits {
        wait: Wait,
        /// When something is tried again by itself, where that is known.
        until: Option<Timestamp>,
    },
    /// The plan was run, and this is how it ended.
    Ran {
        run: RunId,
        outcome: Outcome,
        took: Duration,
        /// What was kept for the way back and could not be removed yet.
        left: Vec<Fault>,
    },
}

impl Conclusion {
    /// Returns whether what is declared is what runs now.
    pub(crate) fn is_reached(&self) -> bool {
        matches!(self, Self::InSync | Self::Ran { outcome: Outcome::Applied, .. })
    }
}

/// What both need beside the request.
pub(crate) struct Bench<'a, S, T> {
    pub(crate) store: &'a S,
    pub(crate) target: &'a T,
    pub(crate) keys: &'a Identities,
    pub(crate) progress: Arc<dyn Progress>,
    /// Where runs and their phases are counted.
    pub(crate) meter: &'a Meter,
    /// Says that the process stops: a run then goes back.
    pub(crate) cancel: CancellationToken,
    /// Says that the author wants something else by now: a run then leaves what it did to the next one.
    pub(crate) newer: CancellationToken,
}

/// Everything up to the plan. It holds no writer, so a preview cannot change anything.
pub(crate) async fn propose<S: Store, T: Observe>(
    store: &S,
    keys: &Identities,
    target: &T,
    request: &Request<'_>,
) -> Result<Proposal, Failure> {
    let began = Instant::now();
    let key = request.key;
    let resolved = request.catalogue.resolve(&key.environment)?;
    // The uid is part of what is planned, so that it is given with the first look.
    let identity = store.establish(key).await?;
    let jobs_done = store.jobs_done(key).await?;
    let mut wanted = material::open(store.digest_key(), keys, request.snapshot, resolved, jobs_done)?;
    wanted.before = store.applied(key).await?.map(Arc::new);
    let at = Instant::now();
    let live = target.observe(&identity, &wanted).await?;
    let observe = at.elapsed();
    let desired = target.compile(&identity, &wanted, &live)?;
    let applied = wanted.before.clone();
    let sync = &wanted.resolved.spec.sync;
    let contested =
        if request.patient && sync.self_heal { contested(store, key, sync).await? } else { Vec::new() };
    let texts = material::Texts::collect(store, &wanted.materials, applied.as_deref()).await?;
    let plan = trueup_plan::plan(&Input {
        desired: &desired,
        intent: &material::intent(store.digest_key(), &wanted)?,
        live: &live,
        applied: applied.as_deref(),
        identity: Ownership { store: store.id(), env_uid: &identity.uid },
        texts: &texts,
        repairs: sync.self_heal || !request.patient,
        contested: &contested,
        budget_confirmed: request.approval.deletes,
    });
    let materials = Arc::new(std::mem::take(&mut wanted.materials));
    let took = Took { observe, plan: began.elapsed().saturating_sub(observe) };
    Ok(Proposal { plan, desired, wanted, materials, identity, as_of: live.as_of, took })
}

/// Returns what drifts again and again, although it is repaired.
async fn contested<S: Store>(store: &S, key: &EnvKey, sync: &Sync) -> Result<Vec<Contest>, Failure> {
    let now = Timestamp::now();
    let recent =
        RunFilter { env: Some(key.clone()), since: Some(now - repair::WINDOW), ..RunFilter::default() };
    let most = usize::try_from(sync.max_repairs.get()).unwrap_or(usize::MAX);
    Ok(repair::contested(&store.runs(&recent).await?, most, now))
}

/// Brings the environment to its revision, or back to where it was.
///
/// The caller holds the lease of the environment.
pub(crate) async fn reconcile<S: Store, T: Observe + Execute>(
    bench: &Bench<'_, S, T>,
    request: &Request<'_>,
    lease: &S::Lease,
    trigger: Trigger,
) -> Result<(Conclusion, Proposal), Failure> {
    let identity = bench.store.establish(request.key).await?;
    let inherited = superseded(bench.store, request.key).await?;
    if inherited.is_empty() {
        settle(bench, &identity).await?;
    }
    let proposal = bench.propose(request).await?;
    if let Some(wait) = waits(bench.store, request, &proposal).await? {
        if !inherited.is_empty() {
            // Nobody takes over what the superseded run did, so it goes back.
            settle(bench, &identity).await?;
            return Box::pin(reconcile(bench, request, lease, trigger)).await;
        }
        let is_held = matches!(wait, Wait::Held { .. } | Wait::Blocked { .. });
        // A person who was shown one plan has agreed to no other.
        let may_repair = is_held && !request.approval.run;
        let kept = if may_repair { keep_alive(bench, request.key, lease).await? } else { Kept::default() };
        // What was repaired has drifted no longer.
        let proposal = if kept.ran { bench.propose(request).await? } else { proposal };
        return Ok((Conclusion::Waits { wait, until: kept.until }, proposal));
    }
    if request.patient
        && inherited.is_empty()
        && let Some((wait, until)) = rests(bench.store, request.key, &proposal.plan).await?
    {
        return Ok((Conclusion::Waits { wait, until: Some(until) }, proposal));
    }
    if proposal.plan.is_empty() && request.approval.hold.is_none() && inherited.is_empty() {
        return Ok((Conclusion::InSync, proposal));
    }
    let holds = request.approval.hold.clone().map_or(Holds::Release, Holds::Begin);
    apply(bench, request, lease, proposal, Beginning { trigger, inherited, holds }).await
}

/// Returns the runs whose work waits to be taken over; none when anything else was left unfinished.
async fn superseded<S: Store>(store: &S, key: &EnvKey) -> Result<Vec<Unfinished>, Failure> {
    let unfinished = store.unfinished(key).await?;
    let is_handed_over = |run: &Unfinished| !run.committed && Trail::of(&run.journal).is_handed_over();
    Ok(if unfinished.iter().all(is_handed_over) { unfinished } else { Vec::new() })
}

/// Returns why and until when a plan rests that repairs what could not be repaired before.
async fn rests<S: Store>(store: &S, key: &EnvKey, plan: &Plan) -> Result<Option<(Wait, Timestamp)>, Failure> {
    if !plan.is_repair() {
        return Ok(None);
    }
    let last = RunFilter { env: Some(key.clone()), limit: Some(repair::RUNS), ..RunFilter::default() };
    let runs = store.runs(&last).await?;
    Ok(repair::rest(&runs, Timestamp::now()).map(|(until, fault)| {
        let (revision, why) = (plan.revision.clone(), fault.error.message.clone());
        (Wait::RepairFailed { revision, why, until }, until)
    }))
}

/// What came of looking after what was applied last.
#[derive(Default)]
pub(crate) struct Kept {
    /// Whether something was done.
    ran: bool,
    /// When a repair that failed is tried again.
    pub(crate) until: Option<Timestamp>,
}

/// Repairs what was applied last while its successor is held or cannot be read: that keeps a commit out, it does
/// not let go of what runs.
pub(crate) async fn keep_alive<S: Store, T: Observe + Execute>(
    bench: &Bench<'_, S, T>,
    key: &EnvKey,
    lease: &S::Lease,
) -> Result<Kept, Failure> {
    let Some(applied) = material::last_applied(bench.store, key).await? else { return Ok(Kept::default()) };
    let request = applied.request(key);
    let proposal = bench.propose(&request).await?;
    let plan = &proposal.plan;
    let holds = bench.store.holds(key).await?;
    let failed_before = hold::waiting(&holds, &plan.desired_digest)
        .is_some_and(|hold| matches!(hold.kind, HoldKind::Automatic { .. }));
    let is_manual = proposal.wanted.resolved.spec.sync.mode == SyncMode::Manual;
    let is_suspended = bench.store.suspended(key).await?.is_some();
    if plan.is_empty() || !plan.refusals.is_empty() || is_manual || is_suspended || failed_before {
        return Ok(Kept::default());
    }
    if let Some((_, until)) = rests(bench.store, key, plan).await? {
        return Ok(Kept { ran: false, until: Some(until) });
    }
    let repair = Beginning { trigger: Trigger::Drift, inherited: Vec::new(), holds: Holds::Leave };
    let (conclusion, proposal) = apply(bench, &request, lease, proposal, repair).await?;
    match conclusion {
        Conclusion::Ran { outcome: Outcome::RollbackFailed { fault, .. }, .. } => Err(fault.error.into()),
        Conclusion::Ran { outcome: Outcome::Applied, .. } => Ok(Kept { ran: true, until: None }),
        _ => {
            let rests = rests(bench.store, key, &proposal.plan).await?;
            let until = rests.map_or_else(|| Timestamp::now() + SOON, |(_, until)| until);
            Ok(Kept { ran: true, until: Some(until) })
        }
    }
}

/// Ends what a dead process left unfinished, before anything new is planned.
pub(crate) async fn settle<S: Store, T: Observe + Execute>(
    bench: &Bench<'_, S, T>,
    identity: &Identity,
) -> Result<(), Failure> {
    let key = identity.key();
    if bench.store.unfinished(&key).await?.is_empty() {
        return Ok(());
    }
    let materials = Arc::new(material::of_last_applied(bench.store, bench.keys, &key).await);
    let context = bench.context(identity.clone(), RunId(0), materials);
    for ended in recover(bench.store, bench.target, &context, Limits::default()).await? {
        tracing::info!(run = %ended.run.id, environment = %key, outcome = ended.outcome.word(), "recovered");
    }
    Ok(())
}

/// Says why nothing may move, if something says so.
async fn waits<S: Store>(
    store: &S,
    request: &Request<'_>,
    proposal: &Proposal,
) -> Result<Option<Wait>, Failure> {
    let plan = &proposal.plan;
    if let Some(suspended) = store.suspended(request.key).await? {
        return Ok(Some(suspended.wait()));
    }
    let moved = request.approval.plan.as_ref().filter(|wanted| !plan.digest.0.starts_with(wanted.as_str()));
    if plan.is_empty() && request.approval.hold.is_none() {
        return moved.map_or_else(|| Ok(Wait::for_drift(plan)), |wanted| Err(stale(plan, wanted)));
    }
    if let Some(refusal) = plan.refusals.first() {
        return Ok(Some(Wait::Refused(refusal.clone())));
    }
    let holds = store.holds(request.key).await?;
    if request.approval.hold.is_none()
        && let Some(hold) = hold::waiting(&holds, &plan.desired_digest)
    {
        return Ok(Some(hold.wait()));
    }
    if let Some(wanted) = moved {
        return Err(stale(plan, wanted));
    }
    if proposal.wanted.resolved.spec.sync.mode == SyncMode::Manual && !request.approval.run {
        return Ok(Some(Wait::ManualMode { plan: plan.digest.short().to_owned() }));
    }
    Ok(None)
}

fn stale(plan: &Plan, wanted: &str) -> Failure {
    let short = wanted.get(..8).unwrap_or(wanted);
    Failure::new(
        Kind::Refused,
        format!("plan {short} is stale: what would be done now is plan {}", plan.digest.short()),
    )
    .hint(format!("something moved since it was made; look again with `trueup plan {}`", plan.environment))
}

/// What a run begins with, beside its plan.
struct Beginning {
    trigger: Trigger,
    /// Superseded runs whose work it takes over, newest first.
    inherited: Vec<Unfinished>,
    /// What becomes of the holds when it is committed.
    holds: Holds,
}

/// Runs the plan of a proposal as one transaction.
async fn apply<S: Store, T: Observe + Execute>(
    bench: &Bench<'_, S, T>,
    request: &Request<'_>,
    lease: &S::Lease,
    proposal: Proposal,
    Beginning { trigger, inherited, holds }: Beginning,
) -> Result<(Conclusion, Proposal), Failure> {
    let started = Instant::now();
    let sync = &proposal.wanted.resolved.spec.sync;
    let applied = Applied {
        revision: proposal.plan.revision.clone(),
        desired: proposal.desired.clone(),
        at: Timestamp::now(),
        drift_since: BTreeMap::new(),
    };
    let terms = Terms {
        applied: Some(applied),
        kept: material::kept(request.snapshot, &proposal)?,
        holds,
        rollback: sync.rollback,
        timeout: sync.timeout.0,
        limits: Limits::default(),
        undo_materials: Arc::new(material::of_last_applied(bench.store, bench.keys, request.key).await),
        supersede: bench.newer.clone(),
        inherited,
    };
    let begun = NewRun { env: request.key.clone(), trigger, plan: proposal.plan.clone() };
    let id = bench.store.begin(lease, &begun).await?;
    let context = bench.context(proposal.identity.clone(), id, Arc::clone(&proposal.materials));
    tracing::info!(run = %id, environment = %request.key, revision = %proposal.plan.revision, plan = proposal.plan.digest.short(), "run begins");
    let span = tracing::info_span!("run", id = %id, environment = %request.key);
    let running = run(bench.store, bench.target, &proposal.plan, &context, &terms).instrument(span);
    let (outcome, durations, left) = match running.await {
        Ok(completed) => (Outcome::Applied, completed.durations, completed.left),
        Err(failed) => (failed.outcome, failed.durations, Vec::new()),
    };
    let took = started.elapsed();
    bench.meter.ran(request.key, &outcome, took, &durations);
    tracing::info!(run = %id, environment = %request.key, outcome = outcome.word(), seconds = took.as_secs_f64(), why = outcome.fault().map(tracing::field::display), "run ends");
    for fault in &left {
        tracing::warn!(run = %id, environment = %request.key, "cannot clean up yet: {fault}");
    }
    Ok((Conclusion::Ran { run: id, outcome, took, left }, proposal))
}

impl<S: Store, T: Observe> Bench<'_, S, T> {
    /// Everything up to the plan, with its phases counted.
    async fn propose(&self, request: &Request<'_>) -> Result<Proposal, Failure> {
        let proposal = propose(self.store, self.keys, self.target, request).await?;
        self.meter.took(Phase::Observe, proposal.took.observe);
        self.meter.took(Phase::Plan, proposal.took.plan);
        Ok(proposal)
    }
}

impl<S, T> Bench<'_, S, T> {
    /// Returns what the acts of a run share.
    pub(crate) fn context(&self, identity: Identity, run: RunId, materials: Arc<Materials>) -> RunContext {
        RunContext {
            identity,
            run,
            materials,
            cancel: self.cancel.clone(),
            progress: Arc::clone(&self.progress),
        }
    }
}
