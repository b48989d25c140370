//! A commit that comes while an older one is still being waited for: the newest one wins, and nothing of the
//! others is left.

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, Test},
    crash::{nothing_is_left, write_five},
    lab::{Daemon, Lab},
    rig::Engine,
};

/// How long a component that never becomes healthy is waited for, unless a newer commit ends that.
const STARTUP: Duration = Duration::from_mins(5);

const TESTS: [Test; 4] = [
    ("a_newer_commit_takes_over_what_is_waited_for", a_newer_commit_takes_over),
    ("what_two_commits_did_goes_back_together", what_two_commits_did_goes_back_together),
    ("a_commit_about_something_else_ends_no_wait", a_commit_about_something_else_ends_no_wait),
    ("of_many_commits_the_last_one_wins", of_many_commits_the_last_one_wins),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(engine, "supersede", &TESTS)
}

/// Five components in their first generation, and a daemon that follows them.
fn prepared(engine: &Engine) -> Result<(Lab, Daemon), Failed> {
    let lab = Lab::new(engine)?;
    write_five(&lab, 0, false)?;
    let commit = lab.commit("generation 0")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&commit))?;
    Ok((lab, daemon))
}

fn in_sync_at(commit: &str) -> impl Fn(&Value) -> bool {
    let commit = commit.to_owned();
    move |status| {
        status["sync"] == "Synced"
            && status["health"] == "Healthy"
            && status["revision"]["commit"] == commit.as_str()
    }
}

/// Commits a generation whose third component is waited for in vain, and returns when it is.
fn commit_a_long_wait(lab: &Lab, generation: usize) -> Result<(), Failed> {
    write_five(lab, generation, true)?;
    let startup = format!("startup: {}s", STARTUP.as_secs());
    lab.replace_in("components/web3.yaml", "startup: 2s", &startup)?;
    let before = lab.picture()?;
    lab.commit(&format!("generation {generation}, never healthy"))?;
    lab.wait_for_new_container(&before)
}

fn outcomes(lab: &Lab) -> Result<Vec<String>, Failed> {
    let history: Value = serde_json::from_str(&lab.succeed(&["history", &lab.env, "-o", "json"])?)?;
    let runs = history["runs"].as_array().ok_or("history lists runs")?;
    Ok(runs.iter().map(|run| run["outcome"]["outcome"].as_str().unwrap_or("none").to_owned()).collect())
}

fn a_newer_commit_takes_over(engine: &Engine) -> Result<(), Failed> {
    let (lab, daemon) = prepared(engine)?;
    commit_a_long_wait(&lab, 1)?;
    let start = Instant::now();
    write_five(&lab, 2, false)?;
    let commit = lab.commit("generation 2")?;
    lab.wait_for("the newer commit", in_sync_at(&commit))?;
    assert!(start.elapsed() < STARTUP, "the older commit was waited for");
    daemon.stop()?;
    nothing_is_left(&lab)?;
    assert_eq!(outcomes(&lab)?, ["applied", "superseded", "applied"]);
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    Ok(())
}

fn what_two_commits_did_goes_back_together(engine: &Engine) -> Result<(), Failed> {
    let (lab, daemon) = prepared(engine)?;
    let before = lab.picture()?;
    commit_a_long_wait(&lab, 1)?;
    write_five(&lab, 2, true)?;
    let commit = lab.commit("generation 2, never healthy")?;
    lab.wait_for("the hold", |status| {
        status["sync"] == "Held" && status["hold"]["revision"]["commit"] == commit.as_str()
    })?;
    daemon.stop()?;
    nothing_is_left(&lab)?;
    assert_eq!(lab.picture()?, before);
    assert_eq!(outcomes(&lab)?, ["rolledBack", "superseded", "applied"]);
    Ok(())
}

fn a_commit_about_something_else_ends_no_wait(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = prepared(engine)?;
    write_five(&lab, 1, true)?;
    lab.replace_in("components/web3.yaml", "startup: 2s", "startup: 5s")?;
    let before = lab.picture()?;
    let bad = lab.commit("generation 1, never healthy")?;
    lab.wait_for_new_container(&before)?;
    lab.write("notes.txt", "nobody reads this\n")?;
    lab.commit("notes")?;
    lab.wait_for("the hold", |status| {
        status["sync"] == "Held" && status["hold"]["revision"]["commit"] == bad.as_str()
    })?;
    assert_eq!(outcomes(&lab)?, ["rolledBack", "applied"]);
    Ok(())
}

fn of_many_commits_the_last_one_wins(engine: &Engine) -> Result<(), Failed> {
    let (lab, daemon) = prepared(engine)?;
    let mut last = String::new();
    for generation in 1..=50 {
        write_five(&lab, generation, generation % 7 == 0)?;
        last = lab.commit(&format!("generation {generation}"))?;
        std::thread::sleep(Duration::from_millis(50));
    }
    lab.wait_for("the last commit", in_sync_at(&last))?;
    daemon.stop()?;
    nothing_is_left(&lab)?;
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    Ok(())
}
