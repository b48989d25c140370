//! The engine on this store: a run, its way back and its recovery are what they are on any other.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Blame, Completed, EnvKey, Failed, Holder, Identity, Limits, Outcome, Progress, RunContext, RunId, Store,
    TargetError, Terms, Trigger,
    crash::Side,
    fake::{self, Power, Strike, Trouble, World},
    record::{Holds, Kept, NewRun},
    recover, run,
};
use trueup_plan::{
    Applied, Declared, Desired, Input, Kind, Manner, Needs, NoTexts, Ownership, Plan, Probe, ResourceId,
};
use trueup_schema::{
    Places, Revision,
    manifest::{Percent, RollbackWhen},
};
use trueup_store::Sqlite;

struct Silent;

impl Progress for Silent {
    fn tell(&self, _: &ResourceId, _: &str) {}
}

fn env() -> EnvKey {
    EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() }
}

fn zone() -> ResourceId {
    ResourceId { kind: Kind::Network, name: "zone".into(), component: None }
}

fn declared(spec: Value, needs: Vec<Needs>) -> Declared {
    let second = Duration::from_secs(1);
    let probe = Probe { check: json!({}), interval: second, timeout: second, startup: 30 * second };
    Declared { probe: (!needs.is_empty()).then_some(probe), needs, ..Declared::new(spec, Places::default()) }
}

/// An image of which `b` is never healthy.
const UNHEALTHY: u8 = 3;

/// Two components in a zone, of that image.
fn desired(image: u8) -> Desired {
    let mut resources = BTreeMap::from([(zone(), declared(json!({}), Vec::new()))]);
    for name in ["a", "b"] {
        let id = ResourceId { kind: Kind::Workload, name: name.into(), component: name.parse().ok() };
        let fail = if image == UNHEALTHY && name == "b" { "health" } else { "never" };
        let spec = json!({ "image": image, "networks": { "zone": {} }, "address": name, "fail": fail });
        resources.insert(id, declared(spec, vec![Needs { on: zone(), ready: false }]));
    }
    Desired {
        environment: "demo".parse().unwrap(),
        target: "fake/world".into(),
        revision: Revision {
            commit: format!("commit-{image}"),
            reference: "main".into(),
            author: "Ada".into(),
            subject: "change".into(),
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
        },
        resources,
        rules: fake::rules(),
        prune: true,
        max_deletes: Percent(100),
        manner: Manner::Beside,
        notes: Vec::new(),
    }
}

async fn plan(store: &Sqlite, world: &World, desired: &Desired) -> Plan {
    let identity = store.establish(&env()).await.unwrap();
    let applied = store.applied(&env()).await.unwrap();
    trueup_plan::plan(&Input {
        desired,
        intent: &trueup_plan::desired_digest(desired),
        live: &world.live(),
        applied: applied.as_ref(),
        identity: Ownership { store: &identity.store, env_uid: &identity.uid },
        texts: &NoTexts,
        repairs: true,
        contested: &[],
        budget_confirmed: true,
    })
}

fn context(identity: Identity, run: RunId) -> RunContext {
    let cancel = CancellationToken::new();
    RunContext { identity, run, materials: Arc::default(), cancel, progress: Arc::new(Silent) }
}

async fn go(store: &Sqlite, world: &World, image: u8) -> Result<Completed, Failed> {
    let desired = desired(image);
    let plan = plan(store, world, &desired).await;
    let lease = store.lease(&env(), &Holder::here("a test")).await.unwrap();
    let new = NewRun { env: env(), trigger: Trigger::Commit, plan: plan.clone() };
    let id = store.begin(&lease, &new).await.unwrap();
    let applied = Applied {
        revision: desired.revision.clone(),
        at: desired.revision.time,
        desired,
        drift_since: BTreeMap::new(),
    };
    let terms = Terms {
        applied: Some(applied),
        kept: Kept::default(),
        holds: Holds::Release,
        rollback: RollbackWhen::OnFailure,
        timeout: Duration::from_mins(1),
        limits: Limits { patience: Duration::ZERO, ..Limits::default() },
        undo_materials: Arc::default(),
        supersede: CancellationToken::new(),
        inherited: Vec::new(),
    };
    let cx = context(store.establish(&env()).await.unwrap(), id);
    run(store, world, &plan, &cx, &terms).await
}

fn struck(call: u64) -> Trouble {
    let strike = Strike::Fail(TargetError::new(Blame::Manifest, "struck"));
    Trouble { call, side: Side::Before, strike }
}

#[tokio::test]
async fn a_run_that_fails_at_any_call_is_brought_to_its_end_also_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(Power::default());
    let handles = || world.things().into_values().map(|thing| thing.handle).collect::<BTreeSet<_>>();
    {
        let store = Sqlite::open(folder.path()).unwrap();
        go(&store, &world, 1).await.unwrap();
        assert!(plan(&store, &world, &desired(1)).await.is_empty());
    }
    let before = handles();
    let mut failures = 0;
    for call in 1.. {
        let store = Sqlite::open(folder.path()).unwrap();
        world.strike(Some(struck(call)));
        let Err(failed) = go(&store, &world, 2).await else { break };
        failures += 1;
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{failed}");
        assert_eq!(handles(), before);
        assert!(store.unfinished(&env()).await.unwrap().is_empty());
        assert_eq!(store.holds(&env()).await.unwrap(), [failed.hold.unwrap()]);
        // Calls after those of the way forward are those of cleaning up: another test's matter.
        if call == 8 {
            break;
        }
    }
    assert_eq!(failures, 8);

    // The way back fails as well: the next process that opens the store finds what is left of it.
    {
        let store = Sqlite::open(folder.path()).unwrap();
        world.strike(Some(struck(10)));
        let failed = go(&store, &world, UNHEALTHY).await.unwrap_err();
        assert!(matches!(failed.outcome, Outcome::RollbackFailed { .. }), "{failed}");
        assert_ne!(world.aside(), []);
    }
    world.strike(None);
    let store = Sqlite::open(folder.path()).unwrap();
    let cx = context(store.establish(&env()).await.unwrap(), RunId(0));
    let recovered = recover(&store, &world, &cx, Limits::default()).await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].outcome.fault().unwrap().error.message, "b fails at health");
    assert_eq!(handles(), before);
    assert_eq!(world.aside(), []);
    assert!(store.unfinished(&env()).await.unwrap().is_empty());
}
