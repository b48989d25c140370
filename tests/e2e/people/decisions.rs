//! Decisions of people: suspend and resume, hold and release, rollback. The daemon follows them.

use libtest_mimic::Failed;

use crate::{
    app::{self, Test, in_sync_at, json, says},
    lab::Lab,
    rig::Engine,
};

pub(super) const TESTS: [Test; 8] = [
    ("what_is_suspended_is_not_moved_until_it_is_resumed", suspend_and_resume),
    ("what_is_held_is_not_moved_until_it_is_released", hold_and_release),
    ("an_environment_that_nobody_knows_is_no_object_of_a_decision", nobody_knows),
    ("a_reason_moves_no_cursor", a_reason_is_one_line),
    ("a_released_failure_is_tried_again", a_released_failure),
    ("a_rollback_is_held_where_it_went", a_rollback_is_held),
    ("a_rollback_that_fails_changes_nothing_and_may_be_tried_again", a_rollback_that_fails),
    ("a_mistake_after_a_failure_is_told_as_what_it_is", a_mistake_after_a_failure),
];

/// Keeps the daemon from looking again by itself: only the decision makes it.
fn look_rarely(lab: &Lab) -> Result<(), Failed> {
    lab.replace_in_environment("  components:", "  sync: {interval: 1h}\n  components:")
}

/// A daemon has applied a first commit.
fn followed(engine: &Engine) -> Result<(Lab, crate::lab::Daemon), Failed> {
    let lab = Lab::new(engine)?;
    let first = commit(&lab, "first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    Ok((lab, daemon))
}

fn commit(lab: &Lab, word: &str) -> Result<String, Failed> {
    app::write(lab, word)?;
    look_rarely(lab)?;
    lab.commit(word)
}

/// Waits until the daemon has compared a commit and shows this state.
fn compared(lab: &Lab, commit: &str, sync: &str) -> Result<(), Failed> {
    let wanted = |status: &serde_json::Value| {
        status["compared"]["commit"] == commit && status["sync"] == sync && status["holder"].is_null()
    };
    lab.wait_for(&format!("{sync} at {commit}"), wanted).map(drop)
}

fn nobody_knows(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    commit(&lab, "first")?;
    let typo = format!("{}x", lab.env);
    let meant = format!("did you mean `{}`?", lab.env);
    for decision in ["suspend", "resume", "hold", "release"] {
        says(&lab.exits(1, &["env", decision, &typo, "--reason", "a typo"])?, &["there is no", &meant])?;
    }
    says(&lab.exits(1, &["history", &typo])?, &["there is no", &meant])?;
    says(&lab.exits(1, &["status", &typo])?, &["nothing is known"])?;
    lab.exits(0, &["history", &lab.env])?;
    lab.exits(0, &["env", "suspend", &lab.env, "--reason", "declared, and not applied yet"]).map(drop)
}

fn a_reason_is_one_line(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    commit(&lab, "first")?;
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    lab.exits(0, &["env", "suspend", &lab.env, "--reason", "a\u{1b}[2J\nb"])?;
    let said = lab.exits(0, &["status", &lab.env])?;
    says(&said, &["a\u{fffd}[2J b"])?;
    assert!(!said.contains('\u{1b}'), "{said}");
    Ok(())
}

fn suspend_and_resume(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = followed(engine)?;
    lab.exits(64, &["env", "suspend", &lab.env])?;
    lab.exits(0, &["env", "suspend", &lab.env, "--reason", "moving house"])?;
    let before = lab.picture()?;
    let second = commit(&lab, "second")?;
    compared(&lab, &second, "Suspended")?;
    says(lab.status()?["why"].as_str().unwrap_or_default(), &["suspended by", "moving house"])?;
    says(&lab.exits(3, &["apply", &lab.env, "--yes"])?, &["suspended", "env resume"])?;
    assert_eq!(lab.picture()?, before);
    lab.exits(0, &["env", "resume", &lab.env, "--reason", "moved"])?;
    lab.wait_for("the second commit", in_sync_at(&second)).map(drop)
}

fn hold_and_release(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = followed(engine)?;
    says(&lab.exits(0, &["env", "hold", &lab.env, "--reason", "demo today"])?, &["held at"])?;
    let before = lab.picture()?;
    let second = commit(&lab, "second")?;
    compared(&lab, &second, "Held")?;
    says(lab.status()?["why"].as_str().unwrap_or_default(), &["held by", "demo today"])?;
    assert_eq!(lab.picture()?, before);
    lab.exits(0, &["env", "release", &lab.env, "--reason", "demo over"])?;
    lab.wait_for("the second commit", in_sync_at(&second)).map(drop)
}

fn a_released_failure(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    app::write_broken(&lab)?;
    lab.commit("broken")?;
    lab.exits(4, &["apply", &lab.env, "--yes"])?;
    lab.exits(3, &["apply", &lab.env, "--yes"])?;
    lab.exits(0, &["env", "release", &lab.env, "--reason", "the network was down"])?;
    lab.exits(4, &["apply", &lab.env, "--yes"])?;
    let runs = json(&lab, &["history", &lab.env])?["runs"].as_array().map_or(0, Vec::len);
    assert_eq!(runs, 3, "one good run, and two that failed");
    says(&lab.exits(0, &["env", "release", &lab.env, "--reason", "again"])?, &["released"])?;
    says(&lab.exits(0, &["env", "release", &lab.env, "--reason", "again"])?, &["not held"])
}

fn a_rollback_is_held(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = followed(engine)?;
    let first = lab.git(&["rev-parse", "HEAD"])?;
    let second = commit(&lab, "second")?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    let bad = "0123456";
    let unknown = lab.exits(1, &["rollback", &lab.env, "--to", bad, "--reason", "x", "--yes"])?;
    says(&unknown, &[bad, &first[..7], &second[..7]])?;

    let back =
        ["rollback", &lab.env, "--to", &first[..10], "--reason", "it is slow", "--yes", "--wait", "5m"];
    let told = lab.exits(0, &back)?;
    says(&told, &["applied", &first[..7]])?;
    let held = lab.picture()?;
    says(&held.to_string(), &["# first"])?;
    let third = commit(&lab, "third")?;
    compared(&lab, &third, "Held")?;
    let status = lab.status()?;
    assert_eq!(status["revision"]["commit"], first.as_str(), "{status}");
    says(status["why"].as_str().unwrap_or_default(), &["held by", "it is slow"])?;
    assert_eq!(lab.picture()?, held);

    // Back to what a person went away from, and then on with the branch.
    lab.exits(
        0,
        &["rollback", &lab.env, "--to", &second[..10], "--reason", "it was not", "--yes", "--wait", "5m"],
    )?;
    says(&lab.picture()?.to_string(), &["# second"])?;
    lab.exits(0, &["env", "release", &lab.env, "--reason", "go on"])?;
    lab.wait_for("the third commit", in_sync_at(&third)).map(drop)
}

fn a_rollback_that_fails(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write_checked(&lab, "first", "[test, \"!\", -e, /data/poison]", "15s")?;
    lab.commit("first")?;
    lab.succeed(&["apply", &lab.env, "--yes"])?;
    app::write(&lab, "second")?;
    lab.commit("second")?;
    lab.succeed(&["apply", &lab.env, "--yes"])?;
    let app = format!("{}-app", lab.env);
    lab.docker(&["exec", &app, "touch", "/data/poison"])?;
    let before = lab.picture()?;
    let back = ["rollback", &lab.env, "--reason", "the second is slow", "--yes"];
    says(&lab.exits(4, &back)?, &["rolled back", "healthy", "\n  now ", "\n  next "])?;
    assert_eq!(lab.picture()?, before);
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;

    lab.docker(&["exec", &app, "rm", "/data/poison"])?;
    lab.exits(0, &back)?;
    says(&lab.picture()?.to_string(), &["# first"])?;
    let status = lab.status()?;
    says(status["why"].as_str().unwrap_or_default(), &["held by", "the second is slow"])
}

fn a_mistake_after_a_failure(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = followed(engine)?;
    app::write_broken(&lab)?;
    let bad = lab.commit("broken")?;
    compared(&lab, &bad, "Held")?;
    lab.replace_in_environment("[app]", "[app, nobody]")?;
    lab.commit("names nobody")?;
    let place = format!("environments/{}/environment.yaml:", lab.env);
    let told = |status: &serde_json::Value| status["why"].as_str().is_some_and(|why| why.contains(&place));
    let status = lab.wait_for("the newest mistake", told)?;
    says(&status.to_string(), &["nobody"])
}
