//! `kill -9` at every point of a run: after the restart it converges, and nothing is left over.
//!
//! A point is one write of the journal, before or after it is durable; or one answer of the engine, that
//! the daemon never gets. `TRUEUP_CRASH_POINTS=all` goes through every one of them; else a sample is drawn
//! whose seed is printed (`TRUEUP_SEED` draws the same again).

use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::{
    lab::Lab,
    proxy::Proxy,
    random::{Random, say},
    rig::Engine,
};

const IMAGE: &str = "trueup-test/busybox:1";

/// How many points of each scenario a sample has, and how many must have killed the daemon.
const SAMPLE: usize = 6;

/// How long a daemon may take to come to its crash point, or to converge without one.
const PATIENCE: Duration = Duration::from_mins(6);

/// What is going on when the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    FirstBringUp,
    Update,
    Rollback,
}

/// Every scenario, by the name that tests give it.
pub(crate) const SCENARIOS: [(&str, Scenario); 3] = [
    ("first_bring_up", Scenario::FirstBringUp),
    ("update_of_five", Scenario::Update),
    ("rollback_of_five", Scenario::Rollback),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    let mut trials: Vec<_> = SCENARIOS
        .into_iter()
        .map(|(name, scenario)| {
            let engine = engine.clone();
            Trial::test(
                format!("{}::crash::of_the_daemon_at_journal_writes_of_{name}", engine.name),
                move || at_journal_writes(&engine, scenario, SAMPLE, |_| Ok(())),
            )
        })
        .collect();
    let other = engine.clone();
    trials.push(Trial::test(
        format!("{}::crash::of_the_daemon_before_an_answer_arrives", engine.name),
        move || at_answers(&other),
    ));
    trials
}

/// Five components; `generation` changes all of them, and the third is broken where it says so.
pub(crate) fn write_five(lab: &Lab, generation: usize, broken: bool) -> Result<(), Failed> {
    for n in 1..=5 {
        lab.write(&format!("files/page{n}.html"), &format!("page {n}, generation {generation}\n"))?;
        // What works has all the time that a busy machine takes; what never will is given up on soon.
        let is_broken = broken && n == 3;
        let check = if is_broken { "[test, -f, /nowhere]" } else { "[test, -f, /www/index.html]" };
        let startup = if is_broken { "2s" } else { "2m" };
        let more = if n == 5 { "  dependsOn: [{component: web4}]\n" } else { "" };
        lab.component(
            &format!("web{n}"),
            &format!(
                "  image: {IMAGE}\n  zone: data\n  command: [httpd, -f, -p, \"8080\", -h, /www]\n  stopGrace: 1s\n  \
                 stopSignal: SIGKILL\n  files:\n    - {{from: files/page{n}.html, to: /www/index.html}}\n  \
                 health: {{exec: {check}, interval: 200ms, startup: {startup}}}\n{more}"
            ),
        )?;
    }
    // A killed engine leaves everything stopped, each time anew: that is nobody who fights what is declared.
    lab.environment(
        "  zones:\n    data: {}\n  sync: {maxRepairs: 1000}\n  components: [web1, web2, web3, web4, web5]\n",
    )
}

/// The points that are tried: all of them when that is asked for, else a sample.
fn tried<T>(random: &mut Random, all: Vec<T>, sample: usize) -> Vec<T> {
    if std::env::var("TRUEUP_CRASH_POINTS").is_ok_and(|points| points == "all") {
        return all;
    }
    random.sample(all, sample)
}

/// Kills the daemon at journal writes, and does what else happens then; after a restart it converges.
pub(crate) fn at_journal_writes(
    engine: &Engine,
    scenario: Scenario,
    sample: usize,
    and: impl Fn(&Engine) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut random = Random::printed(&format!("{} {scenario:?}", engine.name));
    let mut killed = Vec::new();
    let mut lab = None;
    let last = journal_writes(engine, scenario)?;
    let points = (1..=last).flat_map(|write| [(write, "before"), (write, "after")]).collect();
    let points = tried(&mut random, points, sample);
    for (n, (write, side)) in points.iter().enumerate() {
        // A first bring-up is the first thing that a world sees; the others go on in the same one.
        let lab = match (&mut lab, scenario) {
            (Some(lab), Scenario::Update | Scenario::Rollback) => lab,
            (slot, _) => slot.insert(prepared(engine, scenario)?),
        };
        let point = format!("{write}:{side}");
        write_five(lab, n + 1, scenario == Scenario::Rollback)?;
        lab.commit(&format!("generation {}", n + 1))?;
        let passed = || {
            let died = dies_at(lab, &point)?;
            and(engine)?;
            converges(lab, scenario).map(|()| died)
        };
        let died = passed().map_err(|error| {
            let error = format!("killed at {point}: {}", error.message().unwrap_or("?"));
            say(&error);
            error
        })?;
        killed.extend(died.then_some(point));
    }
    say(&format!(
        "{} {scenario:?}, {last} writes: killed at {} of {} points: {}",
        engine.name,
        killed.len(),
        points.len(),
        killed.join(" ")
    ));
    // Steps side by side do not write the same number of lines every time: the last points may not be reached.
    if killed.len() * 3 < points.len() {
        return Err(format!("only {} of {} points killed the daemon", killed.len(), points.len()).into());
    }
    Ok(())
}

/// A world where the scenario can begin.
pub(crate) fn prepared(engine: &Engine, scenario: Scenario) -> Result<Lab, Failed> {
    let lab = Lab::new(engine)?;
    if scenario != Scenario::FirstBringUp {
        write_five(&lab, 0, false)?;
        lab.commit("generation 0")?;
        lab.succeed(&["apply", &lab.env, "--yes"])?;
    }
    Ok(lab)
}

/// How often the journal is written in a whole run of the scenario: its lines, begin, commit and end.
fn journal_writes(engine: &Engine, scenario: Scenario) -> Result<u64, Failed> {
    let lab = prepared(engine, scenario)?;
    write_five(&lab, 1, scenario == Scenario::Rollback)?;
    lab.commit("counted")?;
    lab.exits(if scenario == Scenario::Rollback { 4 } else { 0 }, &["apply", &lab.env, "--yes"])?;
    let history: serde_json::Value =
        serde_json::from_str(&lab.succeed(&["history", &lab.env, "-o", "json"])?)?;
    let run = history["runs"][0]["id"].to_string();
    let log: serde_json::Value = serde_json::from_str(&lab.succeed(&["logs", &run, "-o", "json"])?)?;
    let lines = log["journal"].as_array().ok_or("a run has a journal")?.len();
    Ok(lines as u64 + 3)
}

/// Starts a daemon that kills itself at the point; returns whether it came to it.
fn dies_at(lab: &Lab, point: &str) -> Result<bool, Failed> {
    let mut daemon = lab.daemon_with(&[("TRUEUP_CRASH_AT", point)])?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if daemon.ended()? {
            return Ok(true);
        }
        if settled(lab)? {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("the daemon neither died at {point} nor came to an end").into())
}

/// Whether the newest commit was applied, or rolled back and held.
fn settled(lab: &Lab) -> Result<bool, Failed> {
    let head = lab.git(&["rev-parse", "HEAD"])?;
    let status = lab.status_if_known()?;
    Ok(match status["sync"].as_str() {
        Some("Synced") => status["revision"]["commit"] == head.as_str(),
        Some("Held") => status["hold"]["revision"]["commit"] == head.as_str(),
        _ => false,
    })
}

/// A daemon without a crash point brings the world to its end, and nothing is left over.
pub(crate) fn converges(lab: &Lab, scenario: Scenario) -> Result<(), Failed> {
    // What was seen before the crash may not be true any more: a new look is waited for.
    let seen = lab.status_if_known()?["observed"].clone();
    let daemon = lab.daemon()?;
    let start = Instant::now();
    let is_healthy = |status: &serde_json::Value| status["observed"] != seen && status["health"] == "Healthy";
    while !is_healthy(&lab.status_if_known()?) || !settled(lab)? {
        if start.elapsed() > PATIENCE {
            return Err(
                format!("it does not converge: {}\n{}", lab.status_if_known()?, lab.daemon_log()).into()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    daemon.stop()?;
    nothing_is_left(lab).map_err(|error| {
        let what = error.message().unwrap_or("?");
        format!("{what}\n{}\n{}", lab.status_if_known().unwrap_or_default(), lab.daemon_log())
    })?;
    let status = lab.status()?;
    let sync = if scenario == Scenario::Rollback { "Held" } else { "Synced" };
    if status["sync"] != sync || status["health"] != "Healthy" {
        return Err(format!("it should be {sync} and Healthy: {status}").into());
    }
    Ok(())
}

/// Five running containers under their own names, one network, and a history in which every run has an end.
pub(crate) fn nothing_is_left(lab: &Lab) -> Result<(), Failed> {
    let containers = lab.containers()?;
    let expected: Vec<_> = (1..=5).map(|n| format!("/{}-web{n}", lab.env)).collect();
    let found: Vec<_> = containers.keys().cloned().collect();
    if found != expected {
        return Err(format!("containers: {found:?}").into());
    }
    if let Some((name, _)) = containers.iter().find(|(_, container)| container["State"]["Running"] != true) {
        return Err(format!("{name} does not run").into());
    }
    let history: serde_json::Value =
        serde_json::from_str(&lab.succeed(&["history", &lab.env, "-o", "json"])?)?;
    let runs = history["runs"].as_array().ok_or("history lists runs")?;
    match runs.iter().find(|run| run["ended"].is_null() || run["outcome"].is_null()) {
        Some(run) => Err(format!("a run has no end: {run}").into()),
        None => Ok(()),
    }
}

/// The engine does what it was told and the daemon dies before it hears of it.
fn at_answers(engine: &Engine) -> Result<(), Failed> {
    let mut random = Random::printed(&format!("{} answers", engine.name));
    let lab = prepared(engine, Scenario::Update)?;
    let proxy = Proxy::start(&engine.docker, &lab.path("proxy.sock"))?;
    // A five-component update makes at least 20 calls that change something.
    let calls: Vec<u64> = tried(&mut random, (1..=20).collect(), SAMPLE);
    say(&format!("{} answers that never arrive: {calls:?} of 20", engine.name));
    for (n, call) in calls.into_iter().enumerate() {
        write_five(&lab, n + 1, false)?;
        lab.commit(&format!("generation {}", n + 1))?;
        proxy.hold_answer(call);
        let daemon = lab.daemon_at(&proxy.address())?;
        if proxy.wait_until_held(PATIENCE) {
            daemon.kill();
        } else {
            return Err(format!("the daemon made fewer than {call} calls that change something").into());
        }
        proxy.release();
        converges(&lab, Scenario::Update)
            .map_err(|error| format!("answer {call}: {}", error.message().unwrap_or("?")))?;
    }
    Ok(())
}
