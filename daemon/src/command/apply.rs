//! `apply` and `rollback`: a run that a person asked for.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    EnvKey, Outcome, Store, Trigger,
    record::{Hold, HoldKind},
};
use trueup_plan::Plan;
use trueup_schema::{Catalogue, EnvironmentName, Limits, Snapshot, load};
use trueup_store::Lease;

use super::{
    confirmed,
    plan::{Version, read, show as show_plan},
    user,
};
use crate::{
    args::{self, Global, Output},
    config,
    failure::{Failure, Kind},
    health::Extent,
    meter::Meter,
    progress,
    publish::{self, Concluded},
    reconcile::{Approval, Bench, Conclusion, Proposal, Request, propose, settle},
    show::{self, Screen},
    telemetry,
    world::World,
};

/// What `rollback` was asked for.
pub(crate) struct Back {
    pub(crate) env: EnvironmentName,
    pub(crate) to: Option<String>,
    pub(crate) reason: String,
    pub(crate) yes: bool,
    pub(crate) wait: Duration,
}

/// Brings an environment to its newest revision, or to the one of a plan.
pub(crate) async fn apply(global: &Global, screen: Screen, args: &args::Apply) -> Result<u8, Failure> {
    let world = World::open(global)?;
    let source = world.source(global.source.as_ref(), &args.env)?.clone();
    let approved = args.plan.as_deref().map(wanted_plan).transpose()?;
    let commit = args.revision.clone().or_else(|| approved.as_ref().and_then(|plan| plan.commit.clone()));
    let version = commit.as_deref().map_or(Version::Newest, Version::At);
    let (snapshot, catalogue) = read(&world, &source, version).await?;
    let approval = Approval {
        run: true,
        deletes: args.confirm_deletes,
        plan: approved.map(|plan| plan.digest),
        hold: None,
    };
    let errand = Errand {
        world: &world,
        source: &source,
        key: World::key(&source, &args.env),
        snapshot,
        catalogue,
        approval,
        trigger: Trigger::Cli { user: user() },
        wait: args.wait.0,
        yes: args.yes,
    };
    errand.run(screen).await
}

/// A plan by its file or by its digest.
struct WantedPlan {
    digest: String,
    commit: Option<String>,
}

fn wanted_plan(text: &str) -> Result<WantedPlan, Failure> {
    let is_digest = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let file = std::path::Path::new(text);
    if is_digest && !file.exists() {
        return Ok(WantedPlan { digest: text.to_lowercase(), commit: None });
    }
    let bad = |reason: String| {
        Failure::new(Kind::User, format!("cannot read the plan `{text}`: {reason}"))
            .hint("give a file that `trueup plan --out FILE` wrote, or at least 8 digits of a plan's digest")
    };
    let bytes = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    Ok(WantedPlan { digest: plan.digest.0, commit: Some(plan.revision.commit) })
}

/// Goes back to a revision that the store kept, and holds the environment there.
pub(crate) async fn rollback(global: &Global, screen: Screen, back: &Back) -> Result<u8, Failure> {
    let world = World::open_checked(global)?;
    let source = world.source(global.source.as_ref(), &back.env)?.clone();
    let key = World::key(&source, &back.env);
    let (snapshot, catalogue) = kept(&world, &key, back.to.as_deref()).await?;
    let who = user();
    let hold = Hold {
        kind: HoldKind::Person { who: who.clone(), reason: back.reason.clone() },
        revision: snapshot.revision.clone(),
        why: back.reason.clone(),
        since: Timestamp::now(),
    };
    let errand = Errand {
        world: &world,
        source: &source,
        key,
        snapshot,
        catalogue,
        approval: Approval { run: true, deletes: true, plan: None, hold: Some(hold) },
        trigger: Trigger::Rollback { user: who, reason: back.reason.clone() },
        wait: back.wait,
        yes: back.yes,
    };
    errand.run(screen).await
}

/// Reads a revision from the store: the one that begins so, or the one before the newest.
async fn kept(world: &World, key: &EnvKey, to: Option<&str>) -> Result<(Snapshot, Catalogue), Failure> {
    let revisions = world.store.kept(key).await?;
    let current = revisions.first().map(|kept| kept.revision.commit.clone());
    let chosen = revisions.iter().find(|kept| match to {
        Some(prefix) => kept.revision.commit.starts_with(prefix),
        None => Some(&kept.revision.commit) != current.as_ref(),
    });
    let chosen = chosen.ok_or_else(|| {
        let known: Vec<_> = revisions.iter().map(|kept| kept.revision.short()).collect();
        let message = match to {
            Some(prefix) => {
                format!("`{prefix}` is no revision that was applied to `{}` and is kept", key.environment)
            }
            None => format!("nothing was applied to `{}` before the newest revision", key.environment),
        };
        Failure::new(Kind::User, message).hint(format!("kept revisions: {}", known.join(", ")))
    })?;
    let files = world.store.inputs(chosen.run).await?.ok_or_else(|| {
        Failure::new(Kind::Internal, format!("the files of {} are not in the store", chosen.revision))
    })?;
    let snapshot = Snapshot { revision: chosen.revision.clone(), files: std::sync::Arc::new(files) };
    let catalogue = load(&snapshot, &Limits::default())?;
    Ok((snapshot, catalogue))
}

/// One run that a person asked for.
struct Errand<'a> {
    world: &'a World,
    source: &'a config::Source,
    key: EnvKey,
    snapshot: Snapshot,
    catalogue: Catalogue,
    approval: Approval,
    trigger: Trigger,
    /// How long to wait while somebody else has the environment.
    wait: Duration,
    yes: bool,
}

impl Errand<'_> {
    async fn run(mut self, screen: Screen) -> Result<u8, Failure> {
        telemetry::start_quiet();
        let target = self.catalogue.resolve(&self.key.environment)?.spec.target.id();
        let target = self.world.target(&target, &self.source.name)?;
        let meter = Meter::default();
        let mut bench = Bench {
            store: &self.world.store,
            target: &target,
            keys: &self.world.keys,
            progress: progress::here(screen.progress_style()),
            meter: &meter,
            cancel: CancellationToken::new(),
            newer: CancellationToken::new(),
        };
        if !self.yes {
            // Nobody else waits while a person thinks: that the plan is still the same is seen by its digest.
            let lease = self.lease().await?;
            settle(&bench, &self.world.store.establish(&self.key).await?).await?;
            drop(lease);
            if !self.agreed(screen, &target).await? {
                return Err(Failure::new(Kind::User, "nothing was done"));
            }
        }
        let lease = self.lease().await?;
        // Until here Ctrl-C ends the process, because there is nothing to take back.
        bench.cancel = cancelled_by_signal();
        let request = Request {
            key: &self.key,
            snapshot: &self.snapshot,
            catalogue: &self.catalogue,
            approval: std::mem::take(&mut self.approval),
            patient: false,
        };
        let result = publish::reconcile_and_look(&bench, &request, &lease, self.trigger, Extent::Due).await;
        publish::conclusion(&self.world.store, &self.key, &result, None).await;
        let Concluded { conclusion, proposal, .. } = result?;
        // The lines of the progress go before the answer comes.
        drop(bench);
        screen.either(
            || show::conclusion(&conclusion, &proposal),
            || show::conclusion_json(&conclusion, &proposal.plan),
        )?;
        Ok(exit_code(&conclusion))
    }

    async fn lease(&self) -> Result<Lease, Failure> {
        let what = match &self.trigger {
            Trigger::Rollback { user, .. } => format!("`trueup rollback` by {user}"),
            _ => format!("`trueup apply` by {}", user()),
        };
        self.world.lease(&self.key, &what, self.wait).await
    }

    /// Shows the plan and asks. What is agreed to is that plan and no other.
    async fn agreed(&mut self, screen: Screen, target: &crate::target::Target) -> Result<bool, Failure> {
        let request = Request {
            key: &self.key,
            snapshot: &self.snapshot,
            catalogue: &self.catalogue,
            approval: self.approval.clone(),
            patient: false,
        };
        let Proposal { plan, .. } = &propose(&self.world.store, &self.world.keys, target, &request).await?;
        if screen.output == Output::Text {
            show_plan(screen, plan)?;
        }
        self.approval.plan = Some(plan.digest.0.clone());
        if plan.is_empty() || !plan.refusals.is_empty() {
            return Ok(true);
        }
        confirmed("run this plan?", self.yes)
    }
}

/// Returns what is cancelled with Ctrl-C or SIGTERM: the run goes back and the command ends.
fn cancelled_by_signal() -> CancellationToken {
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        if let Ok(stop) = crate::controller::stopped() {
            stop.await;
            token.cancel();
        }
    });
    cancel
}

fn exit_code(conclusion: &Conclusion) -> u8 {
    match conclusion {
        Conclusion::InSync => 0,
        Conclusion::Waits { .. } => 3,
        Conclusion::Ran { outcome, .. } => match outcome {
            Outcome::Applied => 0,
            Outcome::Blocked { .. } => 1,
            Outcome::Superseded => 3,
            Outcome::RolledBack { .. } | Outcome::Kept { .. } => 4,
            Outcome::RollbackFailed { .. } => 5,
            Outcome::Cancelled | Outcome::Interrupted => 130,
        },
    }
}
