//! A newer revision ends the wait of a run and takes over what it did.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Failed, Outcome, RunId, Store, Terms,
    record::{Entry, Logged},
    store::RunFilter,
};
use trueup_plan::Kind;

use crate::{
    bench::{Bench, assert_as_it_was, block_on, terms},
    sketch::{Sketch, component},
};

fn three(image: u8, extra: &serde_json::Value) -> Sketch {
    let a = component(Kind::Workload, "a");
    let mut spec = json!({ "image": image });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Sketch::default()
        .with(Kind::Workload, "a", &json!({ "image": image }), &[])
        .with(Kind::Workload, "b", &spec, &[&a])
        .with(Kind::Workload, "c", &json!({ "image": image }), &[&a])
}

async fn superseded(bench: &Bench) {
    superseded_at(bench, &three(2, &json!({ "hang": true }))).await;
}

async fn superseded_at(bench: &Bench, hangs: &Sketch) {
    let plan = bench.plan(hangs).await;
    let terms = terms(&plan);
    let cancel = CancellationToken::new();
    let newer = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        terms.supersede.cancel();
    };
    let (result, ()) = tokio::join!(bench.run_on(&plan, &terms, &cancel), newer);
    let Failed { outcome, .. } = result.unwrap().unwrap_err();
    assert_eq!(outcome, Outcome::Superseded);
    assert_eq!(bench.unfinished().await.len(), 1);
}

async fn outcomes(bench: &Bench) -> Vec<Outcome> {
    let runs = bench.store.runs(&RunFilter::default()).await.unwrap();
    runs.into_iter().filter(|run| run.id > RunId(1)).map(|run| run.outcome.unwrap()).collect()
}

#[test]
fn the_next_run_commits_what_the_superseded_one_did() {
    block_on(async {
        let bench = Bench::at(&three(1, &json!({}))).await;
        superseded(&bench).await;
        let good = three(3, &json!({}));
        let plan = bench.plan(&good).await;
        let terms = Terms { inherited: bench.unfinished().await, ..terms(&plan) };
        bench.run_on(&plan, &terms, &CancellationToken::new()).await.unwrap().unwrap();
        assert!(bench.plan(&good).await.is_empty());
        assert_eq!(outcomes(&bench).await, [Outcome::Applied, Outcome::Superseded]);
        bench.assert_clean().await;
    });
}

#[test]
fn when_the_next_run_fails_too_both_are_taken_back() {
    block_on(async {
        let bench = Bench::at(&three(1, &json!({}))).await;
        let things = bench.world.things();
        superseded(&bench).await;
        let plan = bench.plan(&three(3, &json!({ "fail": "health" }))).await;
        let terms = Terms { inherited: bench.unfinished().await, ..terms(&plan) };
        let failed = bench.run_on(&plan, &terms, &CancellationToken::new()).await.unwrap().unwrap_err();
        assert!(matches!(failed.outcome, Outcome::RolledBack { .. }), "{failed}");
        assert_as_it_was(&things, &bench.world.things(), &plan);
        bench.assert_clean().await;
    });
}

#[test]
fn health_that_the_superseded_run_waited_for_is_waited_for_by_the_next() {
    block_on(async {
        let bench = Bench::at(&three(1, &json!({}))).await;
        let things = bench.world.things();
        superseded(&bench).await;
        // Nothing is left to do, but that `b` is healthy was never seen.
        let plan = bench.plan(&three(2, &json!({ "hang": true }))).await;
        assert!(plan.steps.iter().all(|step| step.resource.name != "b"));
        let terms = Terms { inherited: bench.unfinished().await, ..terms(&plan) };
        let failed = bench.run_on(&plan, &terms, &CancellationToken::new()).await.unwrap().unwrap_err();
        assert_eq!(failed.outcome.fault().unwrap().resource.as_ref().unwrap().name, "b");
        let first = bench.store.plan(RunId(2)).await.unwrap().unwrap();
        assert_as_it_was(&things, &bench.world.things(), &first);
        bench.assert_clean().await;
    });
}

#[test]
fn a_replacement_whose_predecessor_still_runs_is_not_handed_over() {
    block_on(async {
        let b = component(Kind::Workload, "b");
        let four = |image: u8, extra: &serde_json::Value| {
            three(image, extra).with(Kind::Workload, "d", &json!({ "image": image }), &[&b])
        };
        let bench = Bench::at(&four(1, &json!({}))).await;
        superseded_at(&bench, &four(2, &json!({ "hang": true }))).await;
        let undone: Vec<_> = bench.unfinished().await[0].journal.iter().filter_map(undone).collect();
        assert_eq!(undone, ["create d"]);
        let plan = bench.plan(&four(3, &json!({}))).await;
        let terms = Terms { inherited: bench.unfinished().await, ..terms(&plan) };
        bench.run_on(&plan, &terms, &CancellationToken::new()).await.unwrap().unwrap();
        bench.assert_clean().await;
    });
}

fn undone(line: &Logged) -> Option<String> {
    match &line.entry {
        Entry::Undone { step } => Some(step.to_string()),
        _ => None,
    }
}

#[test]
fn a_crash_after_it_was_superseded_takes_it_back() {
    block_on(async {
        let bench = Bench::at(&three(1, &json!({}))).await;
        let things = bench.world.things();
        superseded(&bench).await;
        let plan = bench.unfinished().await[0].plan.clone();
        bench.power.cut();
        bench.recover().await.unwrap();
        assert_as_it_was(&things, &bench.world.things(), &plan);
        assert_eq!(outcomes(&bench).await, [Outcome::Superseded]);
        bench.assert_clean().await;
    });
}
