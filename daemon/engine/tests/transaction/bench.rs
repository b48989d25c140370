//! A process that can die: a world, a store and one environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Completed, EnvKey, Failed, Holder, Limits, Progress, Recovered, RunContext, RunId, Store, Terms, Trigger,
    fake::{Memory, Power, Thing, World},
    record::{Holds, Kept, NewRun, RunRecord, Unfinished},
    recover, run,
    store::RunFilter,
};
use trueup_plan::{Act, Applied, Plan, ResourceId};
use trueup_schema::manifest::RollbackWhen;

use crate::{planner, sketch::Sketch};

struct Silent;

impl Progress for Silent {
    fn tell(&self, _: &ResourceId, _: &str) {}
}

pub(crate) struct Bench {
    pub(crate) power: Power,
    pub(crate) world: World,
    pub(crate) store: Memory,
    pub(crate) env: EnvKey,
}

/// Runs a test without waiting for its timers.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

impl Bench {
    pub(crate) fn new() -> Self {
        let power = Power::default();
        Self {
            world: World::new(power.clone()),
            store: Memory::new(power.clone()),
            power,
            env: EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() },
        }
    }

    /// Returns a process whose environment is as `sketch` says.
    pub(crate) async fn at(sketch: &Sketch) -> Self {
        let bench = Self::new();
        let plan = bench.plan(sketch).await;
        bench.run(&plan).await.expect("it lives").expect("a good plan is applied");
        bench
    }

    pub(crate) async fn plan(&self, sketch: &Sketch) -> Plan {
        let jobs_done = self.store.jobs_done(&self.env).await.unwrap();
        let desired = planner::desired(sketch, &jobs_done);
        let applied = self.store.applied(&self.env).await.unwrap();
        let identity = self.store.establish(&self.env).await.unwrap();
        planner::plan(&self.world.live(), &desired, applied.as_ref(), &identity)
    }

    pub(crate) async fn context(&self, run: RunId) -> RunContext {
        RunContext {
            identity: self.store.establish(&self.env).await.unwrap(),
            run,
            materials: Arc::default(),
            cancel: CancellationToken::new(),
            progress: Arc::new(Silent),
        }
    }

    /// Runs a plan; `None` when the process died meanwhile.
    pub(crate) async fn run(&self, plan: &Plan) -> Option<Result<Completed, Failed>> {
        self.run_on(plan, &terms(plan), &CancellationToken::new()).await
    }

    pub(crate) async fn run_on(
        &self,
        plan: &Plan,
        terms: &Terms,
        cancel: &CancellationToken,
    ) -> Option<Result<Completed, Failed>> {
        let going = async {
            let lease = self.store.lease(&self.env, &Holder::here("a test")).await.unwrap();
            let new = NewRun { env: self.env.clone(), trigger: Trigger::Commit, plan: plan.clone() };
            let id = self.store.begin(&lease, &new).await.unwrap();
            let cx = RunContext { cancel: cancel.clone(), ..self.context(id).await };
            run(&self.store, &self.world, plan, &cx, terms).await
        };
        tokio::select! {
            biased;
            () = self.power.is_cut() => None,
            result = going => Some(result),
        }
    }

    /// Gives a dead process its life back and recovers; `None` when it died again.
    pub(crate) async fn recover(&self) -> Option<Vec<Recovered>> {
        self.power.restore();
        let going = async {
            let _lease = self.store.lease(&self.env, &Holder::here("a test")).await.unwrap();
            let cx = self.context(RunId(0)).await;
            recover(&self.store, &self.world, &cx, Limits::default()).await.expect("it recovers")
        };
        tokio::select! {
            biased;
            () = self.power.is_cut() => None,
            result = going => Some(result),
        }
    }

    /// Asserts that nothing is left of any run, and that history has an end for each.
    pub(crate) async fn assert_clean(&self) {
        assert_eq!(self.world.aside(), []);
        assert!(self.store.unfinished(&self.env).await.unwrap().is_empty());
        let runs = self.store.runs(&RunFilter::default()).await.unwrap();
        for run in runs {
            assert!(run.outcome.is_some() && run.ended.is_some(), "run {} has no end: {run:?}", run.id);
        }
    }

    pub(crate) async fn last_run(&self) -> RunRecord {
        let filter = RunFilter { limit: Some(1), ..Default::default() };
        self.store.runs(&filter).await.unwrap().remove(0)
    }

    pub(crate) async fn unfinished(&self) -> Vec<Unfinished> {
        self.store.unfinished(&self.env).await.unwrap()
    }
}

pub(crate) fn terms(plan: &Plan) -> Terms {
    Terms {
        applied: Some(Applied {
            revision: plan.revision.clone(),
            desired: planner::desired(&Sketch::default(), &BTreeSet::new()),
            at: plan.revision.time,
            drift_since: BTreeMap::new(),
        }),
        kept: Kept::default(),
        holds: Holds::Release,
        rollback: RollbackWhen::OnFailure,
        timeout: Duration::from_mins(10),
        limits: Limits::default(),
        undo_materials: Arc::default(),
        supersede: CancellationToken::new(),
        inherited: Vec::new(),
    }
}

/// Asserts that the world is as it was before `plan`: all but the start times of what it stops.
#[track_caller]
pub(crate) fn assert_as_it_was(
    before: &BTreeMap<ResourceId, Thing>,
    now: &BTreeMap<ResourceId, Thing>,
    plan: &Plan,
) {
    let stops = |id: &ResourceId| {
        plan.steps.iter().any(|step| {
            let stops = matches!(
                step.act,
                Act::Stop { .. } | Act::Restart { .. } | Act::Retire { .. } | Act::Start { .. }
            );
            step.resource == *id && stops
        })
    };
    let mut now = now.clone();
    for (id, thing) in &mut now {
        if let Some(before) = before.get(id).filter(|_| stops(id)) {
            thing.started = before.started;
        }
    }
    assert_eq!(*before, now);
}
