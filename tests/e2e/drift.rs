//! What somebody changes by hand: it is noticed, shown field by field with its declared line, and repaired where
//! `selfHeal` is on.
//!
//! `TRUEUP_ROUNDS` says how often each change is made; how long each took to be noticed is printed.

use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, in_sync_at, json, says, trials as app_trials},
    lab::Lab,
    random::say,
    rig::Engine,
};

const IMAGE: &str = "trueup-test/busybox:1";

/// One way to change what runs, by its name, and what `drift` then shows.
type Change = (&'static str, fn(&Lab) -> Result<(), Failed>, &'static [&'static str]);

const CHANGES: [Change; 13] = [
    ("stop", |lab| client(lab, &["stop", "-t", "0", &web(lab)]), &["state", "exited", "running"]),
    ("kill", |lab| client(lab, &["kill", &web(lab)]), &["state", "exited (137)", "running"]),
    ("rm", |lab| client(lab, &["rm", "-f", &web(lab)]), &["exists", "components/web.yaml"]),
    ("pause", pause, &["state", "paused", "running"]),
    (
        "update --memory",
        |lab| client(lab, &["update", "--memory", "96m", "--memory-swap", "96m", &web(lab)]),
        &["resources.memory", "64Mi", "96Mi", "components/web.yaml"],
    ),
    (
        "network disconnect",
        |lab| client(lab, &["network", "disconnect", &zone(lab), &web(lab)]),
        &["networks.data", "components/web.yaml"],
    ),
    (
        "rename",
        |lab| client(lab, &["rename", &web(lab), &format!("{}-mine", lab.env)]),
        &["name", "-mine", "-web", "components/web.yaml"],
    ),
    ("another environment variable", with_another_variable, &["env.MINE", "components/web.yaml"]),
    ("a removed alias", without_alias, &["networks.data.aliases", "components/web.yaml"]),
    ("a deleted network", without_network, &["network data", "exists"]),
    ("a network more", |lab| client(lab, &["network", "connect", "bridge", &web(lab)]), &["networks"]),
    ("a container more in a zone", guest, &["guest", "zone"]),
    ("a file that is written over", write_over, &["files[/www/index.html]", "files/page.html"]),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app_trials(
        engine,
        "drift",
        &[
            ("what_anybody_changes_is_shown_and_only_reported_without_self_heal", only_reported),
            ("what_anybody_changes_is_repaired_with_self_heal", repaired),
            ("a_repair_that_is_undone_each_time_waits", contested),
            ("what_is_removed_while_it_is_repaired_is_made_again", raced),
            ("names_that_others_have_are_left_before_they_are_taken", renamed),
            ("a_repair_that_fails_is_tried_again", failing),
        ],
    )
}

fn client(lab: &Lab, arguments: &[&str]) -> Result<(), Failed> {
    lab.docker(arguments).map(drop)
}

fn web(lab: &Lab) -> String {
    format!("{}-web", lab.env)
}

fn zone(lab: &Lab) -> String {
    format!("{}-data", lab.env)
}

/// Pauses it while no check of the daemon begins in it: one that does would be frozen half-way, and Engine 20.10 waits
/// for that for ever.
fn pause(lab: &Lab) -> Result<(), Failed> {
    lab.settle()?;
    client(lab, &["pause", &web(lab)])
}

/// Makes the container again with one variable more, and with the labels that it had. The repair of its absence may have
/// taken the name before that: then it is removed once more.
fn with_another_variable(lab: &Lab) -> Result<(), Failed> {
    let name = web(lab);
    let found: Value = serde_json::from_str(&lab.docker(&["inspect", &name])?)?;
    let labels = found[0]["Config"]["Labels"].as_object().ok_or("it has labels")?;
    let mut arguments = vec!["run".to_owned(), "-d".into(), "--name".into(), name.clone()];
    for (label, value) in labels {
        arguments.extend(["--label".to_owned(), format!("{label}={}", value.as_str().unwrap_or_default())]);
    }
    arguments.extend(["--network".into(), zone(lab), "-e".into(), "MINE=1".into(), IMAGE.into()]);
    arguments.extend(["sleep", "600"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    again(|| {
        client(lab, &["rm", "-f", &name])?;
        client(lab, &arguments)
    })
}

/// Tries what a repair can be quicker than.
fn again(mut change: impl FnMut() -> Result<(), Failed>) -> Result<(), Failed> {
    let mut changed = Err("it was not tried".into());
    for _ in 0..20 {
        changed = change();
        if changed.is_ok() {
            break;
        }
    }
    changed
}

fn without_alias(lab: &Lab) -> Result<(), Failed> {
    client(lab, &["network", "disconnect", &zone(lab), &web(lab)])?;
    client(lab, &["network", "connect", &zone(lab), &web(lab)])
}

/// Removes the network. The container, which has to leave it first, may be back before that: then it leaves once more.
fn without_network(lab: &Lab) -> Result<(), Failed> {
    again(|| {
        client(lab, &["network", "disconnect", "-f", &zone(lab), &web(lab)]).ok();
        client(lab, &["network", "rm", &zone(lab)])
    })
}

fn guest(lab: &Lab) -> Result<(), Failed> {
    let name = format!("{}.guest", lab.env);
    let label = lab.label();
    client(
        lab,
        &["run", "-d", "--name", &name, "--label", &label, "--network", &zone(lab), IMAGE, "sleep", "600"],
    )
}

/// Writes over a delivered file on the host: the engine itself refuses to copy over one that is read-only.
fn write_over(lab: &Lab) -> Result<(), Failed> {
    let found: Value = serde_json::from_str(&lab.docker(&["inspect", &web(lab)])?)?;
    let mounts = found[0]["Mounts"].as_array().ok_or("it has mounts")?;
    let page = mounts.iter().find(|mount| mount["Destination"] == "/www/index.html");
    let source = page.and_then(|mount| mount["Source"].as_str()).ok_or("the page is a mount")?;
    let other = lab.path("other.html");
    std::fs::write(&other, "mine\n")?;
    let into = format!("{}:/www/index.html", web(lab));
    if lab.docker(&["cp", &other.display().to_string(), &into]).is_ok() {
        return Err("the engine copied over a read-only file".into());
    }
    Ok(std::fs::write(source, "mine\n")?)
}

/// A server with a limit and a file, in one zone where nobody else may be.
fn world(engine: &Engine, sync: &str, foreign: &str) -> Result<(Lab, String), Failed> {
    let lab = Lab::new(engine)?;
    lab.write("files/page.html", "hello\n")?;
    lab.component(
        "web",
        &format!(
            "  image: {IMAGE}\n  zone: data\n  command: [httpd, -f, -p, \"8080\", -h, /www]\n  stopGrace: 1s\n  \
             stopSignal: SIGKILL\n  resources: {{memory: 64Mi}}\n  \
             files:\n    - {{from: files/page.html, to: /www/index.html}}\n  \
             health: {{exec: [test, -f, /www/index.html], interval: 200ms, startup: 2m}}\n"
        ),
    )?;
    lab.environment(&format!(
        "  zones:\n    data: {{foreign: {foreign}}}\n  sync: {sync}\n  components: [web]\n"
    ))?;
    let commit = lab.commit("one server")?;
    Ok((lab, commit))
}

fn rounds() -> usize {
    std::env::var("TRUEUP_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Prints how long it took until changes were noticed, in milliseconds.
fn print(engine: &Engine, what: &str, mut took: Vec<(u128, &'static str)>) {
    took.sort_unstable();
    let slowest = took.last().copied().unwrap_or_default();
    let median = took.get(took.len() / 2).copied().unwrap_or_default().0;
    let tries = took.len();
    say(&format!(
        "{} {what}: {tries} tries, median {median} ms, slowest {} ms ({})",
        engine.name, slowest.0, slowest.1
    ));
}

/// Returns what `drift` shows of the environment.
fn drift(lab: &Lab) -> Result<Value, Failed> {
    Ok(json(lab, &["drift", &lab.env])?["environments"][0].clone())
}

fn is_any(drift: &Value) -> bool {
    ["drifted", "foreign"].iter().any(|key| drift[key].as_array().is_some_and(|all| !all.is_empty()))
}

fn only_reported(engine: &Engine) -> Result<(), Failed> {
    let (lab, commit) = world(engine, "{selfHeal: false, interval: 10m}", "report")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    says(&lab.exits(0, &["drift", &lab.env, "--detailed-exitcode"])?, &["no drift"])?;
    let mut took = Vec::new();
    for (what, change, shows) in CHANGES.into_iter().cycle().take(CHANGES.len() * rounds()) {
        let is_guest = what == "a container more in a zone";
        let before = lab.status()?["observed"].clone();
        change(&lab)?;
        let began = Instant::now();
        lab.wait_until(&format!("the drift after {what}"), || Ok(is_any(&drift(&lab)?)))?;
        took.push((began.elapsed().as_millis(), what));
        let changed = lab.picture()?;
        let told = lab.exits(if is_guest { 0 } else { 2 }, &["drift", &lab.env, "--detailed-exitcode"])?;
        says(&told, shows).map_err(|error| format!("{what}: {}", error.message().unwrap_or("?")))?;
        // The daemon hears of it, too, and changes nothing.
        lab.wait_for(&format!("the daemon after {what}"), |status| {
            let is_told =
                if is_guest { status["foreign"][0].is_object() } else { status["sync"] == "OutOfSync" };
            status["observed"] != before && is_told
        })?;
        if is_guest {
            says(&lab.succeed(&["status", &lab.env])?, &["Synced", "guest is in zone `data`"])?;
        } else {
            says(&told, &["by `trueup apply`: sync.selfHeal is off"])?;
            says(&lab.status()?.to_string(), &["sync.selfHeal is off"])?;
        }
        assert_eq!(lab.picture()?, changed, "{what}: it was only to be reported");
        lab.remove_neighbours()?;
        lab.succeed(&["apply", &lab.env, "--yes", "--wait", "5m"])?;
        lab.wait_for(&format!("the status after {what}"), in_sync_at(&commit))?;
        lab.wait_until("no drift", || Ok(!is_any(&drift(&lab)?)))?;
    }
    print(engine, "drift shown", took);
    Ok(())
}

fn repaired(engine: &Engine) -> Result<(), Failed> {
    let (lab, commit) = world(engine, "{maxRepairs: 1000, interval: 10m}", "disconnect")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let runs = || Ok::<_, Failed>(json(&lab, &["history", &lab.env])?["runs"].clone());
    let mut took = Vec::new();
    for (what, change, _) in CHANGES.into_iter().cycle().take(CHANGES.len() * rounds()) {
        let last = runs()?[0]["id"].clone();
        change(&lab)?;
        let began = Instant::now();
        lab.wait_until(&format!("the repair after {what}"), || {
            let newest = runs()?[0].clone();
            Ok(newest["id"] != last && newest["trigger"]["by"] == "drift")
        })?;
        took.push((began.elapsed().as_millis(), what));
        lab.wait_for(&format!("the status after {what}"), in_sync_at(&commit))?;
        lab.wait_until(&format!("no drift after {what}"), || {
            let drift = drift(&lab)?;
            Ok(!is_any(&drift) && drift["repairs"].as_array().is_some_and(|repairs| !repairs.is_empty()))
        })?;
        lab.remove_neighbours()?;
    }
    says(&lab.exits(0, &["drift", &lab.env])?, &["no drift", "repaired web state"])?;
    print(engine, "repair begun", took);
    Ok(())
}

fn contested(engine: &Engine) -> Result<(), Failed> {
    let (lab, commit) = world(engine, "{maxRepairs: 2, interval: 10m}", "report")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    for _ in 0..2 {
        client(&lab, &["kill", &web(&lab)])?;
        lab.wait_until("the repair", || Ok(!is_any(&drift(&lab)?)))?;
        lab.wait_for("the status after the repair", in_sync_at(&commit))?;
    }
    client(&lab, &["kill", &web(&lab)])?;
    let waits = |status: &Value| {
        let why = status["why"].as_str().unwrap_or_default();
        status["sync"] == "OutOfSync" && why.contains("repaired 2 times in 10 min, now waiting until")
    };
    lab.wait_for("the wait", waits)?;
    says(&lab.exits(0, &["drift", &lab.env])?, &["start: repaired 2 times in 10 min, now waiting until"])?;
    // Something else is repaired all the same.
    client(&lab, &["rm", "-f", &web(&lab)])?;
    lab.wait_for("the repair of something else", in_sync_at(&commit))?;
    client(&lab, &["kill", &web(&lab)])?;
    lab.wait_for("the wait for the same again", waits)?;
    // A person's own wish does not wait.
    lab.succeed(&["apply", &lab.env, "--yes", "--wait", "5m"])?;
    lab.wait_for("the status after the apply", in_sync_at(&commit)).map(drop)
}

/// Waits until everything is as declared, by itself.
fn is_repaired(lab: &Lab, commit: &str, what: &str) -> Result<(), Failed> {
    lab.wait_until(what, || Ok(!is_any(&drift(lab)?)))?;
    lab.wait_for(what, in_sync_at(commit)).map(drop)
}

fn raced(engine: &Engine) -> Result<(), Failed> {
    let (lab, commit) = world(engine, "{maxRepairs: 1000, interval: 10m}", "report")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    for _ in 0..rounds().max(5) {
        client(&lab, &["update", "--memory", "71m", "--memory-swap", "71m", &web(&lab)])?;
        client(&lab, &["rm", "-f", &web(&lab)])?;
        is_repaired(&lab, &commit, "the repair of what was changed and removed")?;
    }
    Ok(())
}

fn renamed(engine: &Engine) -> Result<(), Failed> {
    let (lab, _) = world(engine, "{maxRepairs: 1000, interval: 10m}", "report")?;
    let other = format!("  image: {IMAGE}\n  zone: data\n  command: [sleep, \"600\"]\n  stopGrace: 0s\n");
    lab.component("other", &other)?;
    lab.add_component("other")?;
    let commit = lab.commit("two servers")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let (web, other, between) = (web(&lab), format!("{}-other", lab.env), format!("{}.between", lab.env));
    let changed = |changes: &[&[&str]]| {
        lab.succeed(&["env", "suspend", &lab.env, "--reason", "names"])?;
        changes.iter().try_for_each(|change| client(&lab, change))?;
        lab.succeed(&["env", "resume", &lab.env, "--reason", "done"])?;
        is_repaired(&lab, &commit, "the repair of the names")
    };
    changed(&[&["rm", "-f", &web], &["rename", &other, &web]])?;
    changed(&[&["rename", &web, &between], &["rename", &other, &web], &["rename", &between, &other]])
}

fn failing(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write_checked(&lab, "first", "[sh, -c, \"! test -e /data/ill\"]", "1s")?;
    lab.replace_in_environment("spec:\n", "spec:\n  sync: {maxRepairs: 2, interval: 10m}\n")?;
    let commit = lab.commit("first")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let app = format!("{}-app", lab.env);
    client(&lab, &["exec", &app, "touch", "/data/ill"])?;
    client(&lab, &["kill", &app])?;
    lab.wait_for("the rest after more than two failures", |status| {
        let failures = json(&lab, &["history", &lab.env]).map(|history| history["runs"].clone());
        let is_failure = |run: &&Value| run["outcome"]["outcome"] == "rolledBack";
        let count = failures.ok().and_then(|runs| Some(runs.as_array()?.iter().filter(is_failure).count()));
        let why = status["why"].as_str().unwrap_or_default();
        count > Some(2) && status["sync"] == "OutOfSync" && why.contains("failed, tried again at")
    })?;
    let volume = format!("{}-app-data:/data", lab.env);
    client(&lab, &["run", "--rm", "-v", &volume, IMAGE, "rm", "/data/ill"])?;
    is_repaired(&lab, &commit, "the repair once it can succeed")
}
