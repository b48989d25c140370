//! Plans and runs: exit codes, files, digests, and what is printed for people and programs.

use std::fs;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::{
    app::{self, Test, json, says},
    lab::Lab,
    rig::Engine,
};

pub(super) const TESTS: [Test; 7] = [
    ("a_plan_says_with_its_code_whether_something_would_change", a_plan_says_with_its_code),
    ("exactly_the_agreed_plan_is_run_or_none", exactly_the_agreed_plan),
    ("a_failed_apply_says_what_happened_and_what_to_do", a_failed_apply_says),
    ("a_check_that_fails_at_first_is_shown_where_it_is_declared", a_check_that_fails_at_first),
    ("programs_find_the_same_keys_every_time", programs_find_the_same_keys),
    ("every_key_for_programs_is_written_in_camel_case", every_key_in_camel_case),
    ("a_mistake_at_the_command_line_is_told_apart", a_mistake_at_the_command_line),
];

fn a_plan_says_with_its_code(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    lab.exits(2, &["plan", &lab.env, "--detailed-exitcode"])?;
    assert_eq!(lab.containers()?.len(), 0, "a plan changes nothing");
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    app::write(&lab, "second")?;
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    lab.exits(2, &["-C", "repo", "plan", &lab.env, "--worktree", "--detailed-exitcode"])?;
    lab.exits(0, &["plan", &lab.env])?;
    Ok(())
}

fn exactly_the_agreed_plan(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    app::write(&lab, "second")?;
    lab.commit("second")?;
    let digest = |lab: &Lab| {
        let plan = json(lab, &["plan", &lab.env])?;
        Ok::<_, Failed>(plan["digest"].as_str().ok_or("a plan has a digest")?.to_owned())
    };
    let second = digest(&lab)?;
    says(&lab.exits(0, &["plan", &lab.env, "--out", "second.json"])?, &[&second[..8]])?;
    app::write(&lab, "third")?;
    lab.commit("third")?;
    let before = lab.picture()?;
    let stale = lab.exits(3, &["apply", &lab.env, "--yes", "--plan", &second])?;
    says(&stale, &["stale", &second[..8], "trueup plan"])?;
    assert_eq!(lab.picture()?, before);
    // The file names its commit as well, and nothing that it is about has moved.
    says(&lab.exits(0, &["apply", &lab.env, "--yes", "--plan", "second.json"])?, &["applied"])?;
    says(&lab.picture()?.to_string(), &["# second"])?;

    lab.exits(0, &["plan", &lab.env, "--out", "third.json"])?;
    lab.docker(&["stop", &format!("{}-app", lab.env)])?;
    let before = lab.picture()?;
    let stale = lab.exits(3, &["apply", &lab.env, "--yes", "--plan", "third.json"])?;
    says(&stale, &["stale", "trueup plan"])?;
    assert_eq!(lab.picture()?, before);
    lab.exits(0, &["apply", &lab.env, "--yes", "--plan", &digest(&lab)?[..8]])?;
    says(&lab.picture()?.to_string(), &["# third"])?;
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    // Where nothing is to be done, another plan is refused as well.
    let stale = lab.exits(3, &["apply", &lab.env, "--yes", "--plan", "deadbeef"])?;
    says(&stale, &["stale", "deadbeef"])?;
    says(&lab.exits(0, &["apply", &lab.env, "--yes", "--plan", &digest(&lab)?])?, &["in sync"])?;
    Ok(())
}

fn a_failed_apply_says(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let before = lab.picture()?;
    app::write_broken(&lab)?;
    let bad = lab.commit("broken")?;
    let told = lab.exits(4, &["apply", &lab.env, "--yes"])?;
    says(
        &told,
        &[
            "rolled back",
            "held",
            "app",
            "no luck today",
            "components/app.yaml:",
            &bad[..7],
            "\n  now ",
            "\n  next ",
        ],
    )?;
    says(&told, &[&format!("trueup env release {}", lab.env)])?;
    assert_eq!(lab.picture()?, before);
    let held = lab.exits(3, &["apply", &lab.env, "--yes"])?;
    says(&held, &["held", "rolled back", &bad[..7], "trueup env release"])?;
    assert_eq!(lab.picture()?, before);
    Ok(())
}

/// Nothing changed before: what is wrong is the check, or what it asks.
fn a_check_that_fails_at_first(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write_checked(&lab, "first", "[\"false\"]", "5s")?;
    lab.commit("first")?;
    let told = lab.exits(4, &["apply", &lab.env, "--yes"])?;
    let text = fs::read_to_string(lab.path("repo/components/app.yaml"))?;
    let line = 1 + text.lines().position(|line| line.contains("health:")).ok_or("there is a check")?;
    says(&told, &[&format!("\n  from    components/app.yaml:{line}:")])?;
    // Standard error is no terminal here: each step that ended is a line.
    says(
        &told,
        &[&format!("{} ", lab.env), "\u{2713} app", "created", "started", "\u{2717} app", "taken back"],
    )
}

/// Returns the keys of an object, joined.
fn keys(value: &Value) -> String {
    let keys = value.as_object().map(|object| object.keys().map(String::as_str).collect::<Vec<_>>());
    keys.unwrap_or_default().join(" ")
}

fn programs_find_the_same_keys(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let status = json(&lab, &["status"])?;
    assert_eq!(keys(&status), "apiVersion environments");
    assert_eq!(
        keys(&status["environments"][0]),
        "asOf compared foreign health hold holder name observed revision since source suspended sync target why"
    );
    let history = json(&lab, &["history", &lab.env])?;
    assert_eq!(keys(&history), "apiVersion runs");
    assert_eq!(
        keys(&history["runs"][0]),
        "desired durations ended env id jobsRun outcome plan revision started summary trigger"
    );
    let run = history["runs"][0]["id"].to_string();
    let log = json(&lab, &["logs", &run])?;
    assert_eq!(keys(&log), "apiVersion journal run");
    assert_eq!(keys(&log["run"]), keys(&history["runs"][0]));
    assert_eq!(keys(&log["journal"][0]), "at entry");
    let again = json(&lab, &["apply", &lab.env, "--yes"])?;
    assert_eq!(keys(&again), "apiVersion conclusion environment left outcome plan revision run why");
    assert_eq!(again["conclusion"], "inSync");
    says(&lab.exits(1, &["logs", "4711"])?, &["there is no run 4711", "help:"])
}

/// Returns the first key with an underscore, with the path to it.
fn snake_case(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            if key.contains('_') { Some(path) } else { snake_case(value, &path) }
        }),
        Value::Array(items) => items.iter().find_map(|item| snake_case(item, path)),
        _ => None,
    }
}

fn every_key_in_camel_case(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    let check = |code: i32, arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = lab.trueup(&all)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() != Some(code) {
            return Err(Failed::from(format!(
                "{arguments:?} ended with {}, not {code}: {text}",
                output.status
            )));
        }
        match snake_case(&serde_json::from_str(&text)?, "") {
            Some(key) => Err(format!("{arguments:?} prints the key {key}").into()),
            None => Ok(()),
        }
    };
    let of_env = |code: i32, arguments: &[&str]| check(code, &[arguments, &[&lab.env]].concat());
    app::write(&lab, "first")?;
    lab.commit("first")?;
    of_env(0, &["plan"])?;
    of_env(0, &["apply", "--yes"])?;
    app::write_broken(&lab)?;
    lab.commit("broken")?;
    of_env(0, &["plan"])?;
    of_env(0, &["diff"])?;
    of_env(4, &["apply", "--yes"])?;
    of_env(3, &["apply", "--yes"])?;
    of_env(0, &["env", "suspend", "--reason", "x"])?;
    of_env(0, &["status"])?;
    of_env(3, &["apply", "--yes"])?;
    for decision in ["resume", "release", "hold"] {
        of_env(0, &["env", decision, "--reason", "x"])?;
    }
    of_env(0, &["status"])?;
    of_env(0, &["history"])?;
    check(0, &["logs", "1"])?;
    check(0, &["logs", "2"])?;
    let repo = ["-C", "repo"];
    check(0, &[&repo[..], &["validate"]].concat())?;
    check(0, &[&repo[..], &["render", &lab.env]].concat())?;
    check(0, &[&repo[..], &["explain", &lab.env, "app.image"]].concat())?;
    lab.replace_in_environment("[app]", "[app, nobody]")?;
    check(1, &[&repo[..], &["validate"]].concat())
}

fn a_mistake_at_the_command_line(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    for arguments in [&["plan"][..], &["no-such-command"], &["rollback", &lab.env], &["status", "--nope"]] {
        lab.exits(64, arguments)?;
    }
    lab.exits(0, &["--help"])?;
    app::write(&lab, "second")?;
    lab.commit("second")?;
    let nobody = lab.exits(1, &["apply", &lab.env])?;
    says(&nobody, &["no terminal", "--yes"])?;
    says(&lab.exits(1, &["plan", "nobody"])?, &["nobody"])?;
    let config = fs::read_to_string(lab.path("trueup-daemon.yaml"))?;
    let socket = format!("unix://{}", lab.path("none.sock").display());
    fs::write(lab.path("trueup-daemon.yaml"), config.replace(&lab.engine.docker, &socket))?;
    let away = lab.exits(1, &["plan", &lab.env])?;
    says(&away, &["error: ", "none.sock"])?;
    lab.exits(1, &["apply", &lab.env, "--yes"])?;
    Ok(())
}
