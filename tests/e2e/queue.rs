//! Many triggers, one run at a time: nothing is done twice, nothing is lost, the last word counts.

use std::fs;

use jiff::Timestamp;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, Test, in_sync_at, json},
    lab::Lab,
    random::say,
    rig::Engine,
};

const TESTS: [Test; 3] = [
    ("of_fifty_commits_at_once_the_last_is_applied", fifty_commits),
    ("two_daemons_on_one_store_take_turns", two_daemons),
    ("environments_that_begin_at_once_share_no_subnet", new_environments),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(engine, "queue", &TESTS)
}

/// Returns the runs, oldest first. Fails where one has no end, or began before the one before it had ended.
fn one_after_the_other(lab: &Lab) -> Result<Vec<Value>, Failed> {
    let history = json(lab, &["history", &lab.env, "--limit", "1000"])?;
    let mut runs = history["runs"].as_array().cloned().ok_or("history lists runs")?;
    runs.reverse();
    let time = |run: &Value, key: &str| run[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    // What a superseded run did ends with its heir.
    for pair in runs.windows(2) {
        let is_handed_over = pair[0]["outcome"]["outcome"] == "superseded";
        if !is_handed_over && time(&pair[0], "ended") > time(&pair[1], "started") {
            return Err(format!("two runs at a time: {} and {}", pair[0], pair[1]).into());
        }
    }
    match runs.iter().find(|run| run["ended"].is_null()) {
        Some(run) => Err(format!("a run has no end: {run}").into()),
        None => Ok(runs),
    }
}

fn fifty_commits(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let _daemon = lab.daemon()?;
    let mut last = lab.git(&["rev-parse", "HEAD"])?;
    lab.wait_for("the first look", in_sync_at(&last))?;
    let start = std::time::Instant::now();
    for number in 0..50 {
        app::write(&lab, &format!("commit {number}"))?;
        last = lab.commit(&format!("commit {number}"))?;
    }
    let took = start.elapsed();
    lab.wait_for("the last commit", in_sync_at(&last))?;
    let runs = one_after_the_other(&lab)?;
    say(&format!("{} queue: fifty commits in {took:.1?} were {} runs", engine.name, runs.len() - 1));
    let newest = runs.last().ok_or("there are runs")?;
    assert_eq!(
        (&newest["revision"]["commit"], &newest["outcome"]["outcome"]),
        (&last.into(), &"applied".into())
    );
    let ended_well =
        |run: &&Value| ["applied", "superseded"].iter().any(|end| run["outcome"]["outcome"] == *end);
    assert_eq!(runs.iter().filter(ended_well).count(), runs.len(), "{runs:?}");
    Ok(())
}

fn two_daemons(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let mut daemons = [lab.daemon()?, lab.daemon()?];
    for number in 0..6 {
        app::write(&lab, &format!("commit {number}"))?;
        let commit = lab.commit(&format!("commit {number}"))?;
        lab.wait_for(&format!("commit {number}"), in_sync_at(&commit))?;
    }
    for daemon in &mut daemons {
        assert!(!daemon.ended()?, "a daemon has ended:\n{}", lab.daemon_log());
    }
    let runs = one_after_the_other(&lab)?;
    // What one daemon has done, the other one need not do again; one that reads a commit late may, once.
    assert!((7..14).contains(&runs.len()), "{runs:?}");
    let [first, second] = daemons;
    first.kill();
    app::write(&lab, "the last")?;
    let commit = lab.commit("the last")?;
    lab.wait_for("the commit after one of them is gone", in_sync_at(&commit))?;
    second.stop()
}

/// Four environments of one commit, whose zones take their subnets from the pool.
fn new_environments(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    let mut all = vec![lab.env.clone()];
    let text = fs::read_to_string(lab.path(format!("repo/environments/{}/environment.yaml", lab.env)))?;
    for letter in ["b", "c", "d"] {
        let beside = format!("{}{letter}", lab.env);
        lab.write(
            &format!("environments/{beside}/environment.yaml"),
            &text.replace(&format!("{{name: {}}}", lab.env), &format!("{{name: {beside}}}")),
        )?;
        all.push(beside);
    }
    let commit = lab.commit("four environments")?;
    let outcome = all_begin(&lab, &all, &commit);
    for beside in &all[1..] {
        lab.succeed(&["env", "destroy", beside, "--volumes", "--yes", "--reason", "over"])?;
    }
    outcome
}

fn all_begin(lab: &Lab, all: &[String], commit: &str) -> Result<(), Failed> {
    let _daemon = lab.daemon()?;
    lab.wait_until("all environments", || {
        let status = json(lab, &["status"])?;
        let known = status["environments"].as_array().cloned().unwrap_or_default();
        Ok(known.iter().filter(|env| in_sync_at(commit)(env)).count() == all.len())
    })?;
    for env in all {
        let history = json(lab, &["history", env])?;
        let runs = history["runs"].as_array().ok_or("history lists runs")?;
        assert_eq!(runs.len(), 1, "{env}: {runs:?}");
    }
    Ok(())
}
