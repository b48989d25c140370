//! What fails is taken back.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use trueup_engine::TargetError;
use trueup_engine::{
    Blame, Failed, Outcome, Store, Terms,
    crash::Side,
    fake::{Strike, Trouble},
    hold,
    record::Entry,
    repair,
    store::RunFilter,
};
use trueup_plan::{Act, Applied, Kind};
use trueup_schema::manifest::{MAX_STOP_GRACE, RollbackWhen};

use crate::{
    bench::{Bench, assert_as_it_was, block_on, terms},
    planner,
    sketch::{self, Sketch, component},
};

fn trouble(call: u64, side: Side) -> Trouble {
    Trouble { call, side, strike: Strike::Fail(TargetError::new(Blame::Manifest, "struck")) }
}

fn failed(result: Option<Result<trueup_engine::Completed, Failed>>) -> Failed {
    result.expect("it lives").expect_err("it fails")
}

fn five() -> Sketch {
    let [a, b, c] = ["a", "b", "c"].map(|name| component(Kind::Workload, name));
    Sketch::default()
        .with(Kind::Workload, "a", &json!({}), &[])
        .with(Kind::Workload, "b", &json!({}), &[&a])
        .with(Kind::Workload, "c", &json!({}), &[&a])
        .with(Kind::Job, "d", &json!({}), &[&b])
        .with(Kind::Workload, "e", &json!({}), &[&b, &c])
}

fn changed(name: &str, change: &serde_json::Value) -> Sketch {
    let kind = if name == "d" { Kind::Job } else { Kind::Workload };
    let mut sketch = five();
    for (id, declared) in &mut sketch.resources {
        if id.kind == Kind::Workload {
            declared.spec["image"] = json!(2);
        }
    }
    let needs = sketch.resources[&component(kind, name)].needs.clone();
    let needs: Vec<_> = needs.iter().filter(|id| id.kind != Kind::Network).collect();
    let mut spec = json!({ "image": 2 });
    spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    sketch.with(kind, name, &spec, &needs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn what_was_applied_needs_no_further_plan(before in sketch::any(), after in sketch::any()) {
        block_on(async {
            let bench = Bench::at(&before).await;
            let plan = bench.plan(&after).await;
            bench.run(&plan).await.unwrap().unwrap();
            prop_assert!(bench.plan(&after).await.is_empty());
            bench.assert_clean().await;
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn a_failure_at_any_call_leaves_everything_as_it_was(before in sketch::any(), after in sketch::any()) {
        block_on(async {
            let calls = {
                let bench = Bench::at(&before).await;
                let plan = bench.plan(&after).await;
                bench.world.strike(None);
                bench.run(&plan).await.unwrap().unwrap();
                let changes = |act: &Act| !matches!(act, Act::Fetch { .. } | Act::Run { .. } | Act::Verify { .. });
                bench.world.calls() - plan.steps.iter().filter(|step| changes(&step.act)).count() as u64
            };
            for call in 1..=calls {
                for side in [Side::Before, Side::After] {
                    let bench = Bench::at(&before).await;
                    let (plan, things) = (bench.plan(&after).await, bench.world.things());
                    bench.world.strike(Some(trouble(call, side)));
                    let failed = failed(bench.run(&plan).await);
                    assert_as_it_was(&things, &bench.world.things(), &plan);
                    bench.assert_clean().await;
                    prop_assert_eq!(bench.last_run().await.outcome, Some(failed.outcome.clone()));
                    let held = bench.store.holds(&bench.env).await.unwrap();
                    let is_held = hold::waiting(&held, &plan.desired_digest).is_some();
                    prop_assert_eq!(is_held, !plan.is_repair());
                    // A person may try the same again, and then it is applied.
                    let again = bench.plan(&after).await;
                    bench.world.strike(None);
                    bench.run(&again).await.unwrap().unwrap();
                    prop_assert!(bench.plan(&after).await.is_empty());
                    prop_assert!(bench.store.holds(&bench.env).await.unwrap().is_empty());
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[test]
fn an_unhealthy_component_rolls_all_five_back_and_is_held() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("c", &json!({ "fail": "health" }))).await, bench.world.things());
        let failed = failed(bench.run(&plan).await);
        let Outcome::RolledBack { fault } = &failed.outcome else { panic!("{failed}") };
        assert_eq!(fault.resource.as_ref().unwrap().name, "c");
        assert_eq!(failed.to_string(), "rolled back: c fails at health");
        assert_as_it_was(&things, &bench.world.things(), &plan);
        assert_eq!(bench.store.holds(&bench.env).await.unwrap(), [failed.hold.unwrap()]);
        bench.assert_clean().await;
    });
}

#[test]
fn an_image_that_does_not_exist_blocks_and_touches_nothing() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("e", &json!({ "fail": "fetch" }))).await, bench.world.things());
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::Blocked { .. }), "{failed}");
        assert_eq!(things, bench.world.things());
        let (_, journal) = bench.store.run(trueup_engine::RunId(2)).await.unwrap().unwrap();
        assert!(!journal.iter().any(|line| matches!(line.entry, trueup_engine::record::Entry::Begin { .. })));
    });
}

#[test]
fn a_preflight_that_the_target_refuses_blocks_without_a_hold() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let plan = bench.plan(&changed("e", &json!({ "fail": "preflight" }))).await;
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::Blocked { .. }), "{failed}");
        assert_eq!(failed.hold, None);
    });
}

#[test]
fn a_job_that_ran_is_not_taken_back_and_history_says_so() {
    block_on(async {
        let bench = Bench::new();
        let plan = bench.plan(&changed("e", &json!({ "fail": "start" }))).await;
        failed(bench.run(&plan).await);
        assert_eq!(bench.world.jobs().len(), 1);
        assert!(bench.world.things().is_empty());
        let runs = bench.store.runs(&RunFilter::default()).await.unwrap();
        assert_eq!(runs[0].jobs_run.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["d"]);
    });
}

#[test]
fn a_cancel_ends_the_wait_for_health_and_takes_all_back_without_a_hold() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("c", &json!({ "hang": true }))).await, bench.world.things());
        let cancel = CancellationToken::new();
        let terms = terms(&plan);
        let going = bench.run_on(&plan, &terms, &cancel);
        let stop = async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            cancel.cancel();
        };
        let (result, ()) = tokio::join!(going, stop);
        let failed = failed(result);
        assert_eq!(failed.outcome, Outcome::Cancelled);
        assert_eq!(failed.hold, None);
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn a_step_and_a_run_that_take_too_long_say_what_they_waited_for() {
    block_on(async {
        for (limit, message) in [
            (600, "`verify c` did not end within 36 s"),
            (10, "the run did not end within 10 s: `verify c` was still going on"),
        ] {
            let bench = Bench::at(&five()).await;
            let plan = bench.plan(&changed("c", &json!({ "hang": true }))).await;
            let terms = Terms { timeout: std::time::Duration::from_secs(limit), ..terms(&plan) };
            let failed = failed(bench.run_on(&plan, &terms, &CancellationToken::new()).await);
            assert_eq!(failed.outcome.fault().unwrap().error.message, message);
            assert_eq!(failed.outcome.fault().unwrap().error.blame, Blame::TimedOut);
            assert!(failed.hold.is_some());
            bench.assert_clean().await;
        }
    });
}

#[test]
fn going_back_waits_for_the_longest_stop() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let change = json!({ "fail": "health", "grace": MAX_STOP_GRACE.0.as_secs() });
        let (plan, things) = (bench.plan(&changed("c", &change)).await, bench.world.things());
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{:?}", failed.outcome);
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn a_full_disk_stops_the_run_and_the_way_back_is_still_written() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("c", &json!({ "hang": true }))).await, bench.world.things());
        let terms = Terms { timeout: std::time::Duration::from_secs(10), ..terms(&plan) };
        let cancel = CancellationToken::new();
        let going = bench.run_on(&plan, &terms, &cancel);
        let fill = async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            bench.store.fill(true);
        };
        let (result, ()) = tokio::join!(going, fill);
        assert!(matches!(failed(result).outcome, Outcome::RolledBack { .. }));
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn without_rollback_what_was_done_stays_and_nothing_is_left_aside() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let plan = bench.plan(&changed("c", &json!({ "fail": "health" }))).await;
        let terms = Terms { rollback: RollbackWhen::Never, ..terms(&plan) };
        let failed = failed(bench.run_on(&plan, &terms, &CancellationToken::new()).await);
        assert!(matches!(failed.outcome, Outcome::Kept { .. }), "{failed}");
        assert!(failed.hold.is_some());
        let images: Vec<_> = bench.world.things().values().map(|thing| thing.spec["image"].clone()).collect();
        assert!(images.contains(&json!(2)) && images.contains(&json!(1)));
        bench.assert_clean().await;
    });
}

#[test]
fn a_target_that_fails_on_the_way_back_is_tried_again() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("c", &json!({ "fail": "health" }))).await, bench.world.things());
        let forward = {
            let other = Bench::at(&five()).await;
            other.world.strike(None);
            failed(other.run(&plan).await);
            other.world.calls() / 2 + 2
        };
        let down = Strike::Fail(TargetError::new(Blame::Target, "the engine does not answer"));
        bench.world.strike(Some(Trouble { call: forward, side: Side::Before, strike: down }));
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{failed}");
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn a_way_back_that_fails_is_finished_by_the_next_recovery() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("e", &json!({ "fail": "health" }))).await, bench.world.things());
        let calls = {
            let other = Bench::at(&five()).await;
            other.world.strike(None);
            failed(other.run(&plan).await);
            other.world.calls()
        };
        bench.world.strike(Some(trouble(calls, Side::Before)));
        let failed = failed(bench.run(&plan).await);
        let Outcome::RollbackFailed { left, .. } = &failed.outcome else { panic!("{failed}") };
        assert_eq!(left.len(), 1);
        assert_eq!(bench.unfinished().await.len(), 1);
        bench.world.strike(None);
        let recovered = bench.recover().await.unwrap();
        assert!(matches!(recovered[0].outcome, Outcome::RolledBack { .. }));
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn what_cannot_be_removed_after_the_commit_is_told_and_removed_by_the_next_recovery() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let plan = bench.plan(&changed("c", &json!({}))).await;
        let calls = {
            let other = Bench::at(&five()).await;
            other.world.strike(None);
            other.run(&plan).await.unwrap().unwrap();
            other.world.calls()
        };
        bench.world.strike(Some(trouble(calls, Side::Before)));
        let completed = bench.run(&plan).await.unwrap().unwrap();
        assert_eq!(completed.left.len(), 1);
        let unfinished = bench.unfinished().await;
        assert!(unfinished[0].committed);
        let told = unfinished[0].journal.last().map(|line| &line.entry);
        assert_eq!(told, Some(&Entry::Left { fault: completed.left[0].clone() }));
        bench.world.strike(None);
        let recovered = bench.recover().await.unwrap();
        assert!(matches!(recovered[0].outcome, Outcome::Applied));
        bench.assert_clean().await;
    });
}

/// Returns a process at `five`, where somebody has stopped one.
async fn tampered() -> Bench {
    let bench = Bench::new();
    let plan = bench.plan(&five()).await;
    let desired = planner::desired(&five(), &BTreeSet::new());
    let mut terms = terms(&plan);
    terms.applied = terms.applied.map(|applied| Applied { desired, ..applied });
    bench.run_on(&plan, &terms, &CancellationToken::new()).await.unwrap().unwrap();
    bench.world.tamper(|things| {
        things.get_mut(&component(Kind::Workload, "c")).unwrap().running = false;
    });
    bench
}

#[test]
fn a_repair_that_fails_is_taken_back_and_not_held() {
    block_on(async {
        let bench = tampered().await;
        let (plan, things) = (bench.plan(&five()).await, bench.world.things());
        assert!(plan.is_repair());
        bench.world.strike(Some(trouble(1, Side::After)));
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{failed}");
        assert_eq!(failed.hold, None);
        assert_as_it_was(&things, &bench.world.things(), &plan);
        let runs = bench.store.runs(&RunFilter::default()).await.unwrap();
        assert!(repair::rest(&runs, runs[0].ended.unwrap()).is_some(), "it rests instead");
        bench.world.strike(None);
        let again = bench.plan(&five()).await;
        bench.run(&again).await.unwrap().unwrap();
        assert!(bench.plan(&five()).await.is_empty());
        bench.assert_clean().await;
    });
}

#[test]
fn a_way_back_that_somebody_gets_in_the_way_of_looks_again() {
    block_on(async {
        let bench = Bench::at(&five()).await;
        let (plan, things) =
            (bench.plan(&changed("e", &json!({ "fail": "health" }))).await, bench.world.things());
        let calls = {
            let other = Bench::at(&five()).await;
            other.world.strike(None);
            failed(other.run(&plan).await);
            other.world.calls()
        };
        let gone = Strike::Fail(TargetError::new(Blame::Moved, "no such container"));
        bench.world.strike(Some(Trouble { call: calls, side: Side::Before, strike: gone }));
        let failed = failed(bench.run(&plan).await);
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{failed}");
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}
