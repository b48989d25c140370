//! The smallest world that can be changed: one component that starts and stops at once.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{lab::Lab, rig::Engine};

/// A test of one lab.
pub(crate) type Test = (&'static str, fn(&Engine) -> Result<(), Failed>);

/// Returns the tests of a module for one engine.
pub(crate) fn trials(engine: &Engine, module: &str, tests: &[Test]) -> Vec<Trial> {
    let trial = |(name, test): &Test| {
        let (engine, test) = (engine.clone(), *test);
        Trial::test(format!("{}::{module}::{name}", engine.name), move || test(&engine))
    };
    tests.iter().map(trial).collect()
}

/// Writes the component `app`; another `word` is another desired state.
pub(crate) fn write(lab: &Lab, word: &str) -> Result<(), Failed> {
    write_checked(lab, word, "[\"true\"]", "2m")
}

/// Writes an `app` that has the time `startup` until this command, its health check, succeeds.
pub(crate) fn write_checked(lab: &Lab, word: &str, check: &str, startup: &str) -> Result<(), Failed> {
    write_with(lab, &format!("[sh, -c, \"exec sleep infinity # {word}\"]"), check, startup)
}

/// Writes an `app` that says why and ends as soon as it starts.
pub(crate) fn write_broken(lab: &Lab) -> Result<(), Failed> {
    write_with(lab, "[sh, -c, \"echo no luck today; exit 3\"]", "[\"true\"]", "2m")
}

/// Writes an `app` that runs and is not healthy before a minute is over.
pub(crate) fn write_slow(lab: &Lab) -> Result<(), Failed> {
    write_with(lab, "[sleep, infinity]", "[test, -e, /nowhere]", "60s")
}

fn write_with(lab: &Lab, command: &str, check: &str, startup: &str) -> Result<(), Failed> {
    lab.component(
        "app",
        &format!(
            "  image: trueup-test/busybox:1\n  zone: data\n  workload: stateful\n  command: {command}\n  stopSignal: SIGKILL\n  stopGrace: 1s\n  \
             volumes:\n    - {{name: data, path: /data}}\n  \
             health: {{exec: {check}, interval: 200ms, startup: {startup}}}\n"
        ),
    )?;
    lab.environment("  zones:\n    data: {}\n  components: [app]\n")
}

/// Makes a world where `app` runs, applied by a person.
pub(crate) fn applied(engine: &Engine) -> Result<Lab, Failed> {
    let lab = Lab::new(engine)?;
    write(&lab, "first")?;
    lab.commit("first")?;
    lab.succeed(&["apply", &lab.env, "--yes"])?;
    Ok(lab)
}

/// Whether an environment runs a commit and nothing is left to do.
pub(crate) fn in_sync_at(commit: &str) -> impl Fn(&Value) -> bool {
    let commit = commit.to_owned();
    move |status| status["sync"] == "Synced" && status["revision"]["commit"] == commit.as_str()
}

/// Reads what a command printed with `-o json`.
pub(crate) fn json(lab: &Lab, arguments: &[&str]) -> Result<Value, Failed> {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    Ok(serde_json::from_str(&lab.succeed(&all)?)?)
}

/// Fails unless `text` holds all of `words`.
pub(crate) fn says(text: &str, words: &[&str]) -> Result<(), Failed> {
    match words.iter().find(|word| !text.contains(*word)) {
        Some(word) => Err(format!("`{word}` is not in:\n{text}").into()),
        None => Ok(()),
    }
}
