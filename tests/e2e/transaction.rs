//! A commit changes real containers as one transaction; a bad one leaves everything as it was.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, Test, in_sync_at},
    lab::{Daemon, Lab},
    rig::Engine,
};

const IMAGE: &str = "trueup-test/busybox:1";

/// A server that answers over TCP, with a delivered file as its page.
fn web(image: &str, page: &str, more: &str) -> String {
    format!(
        "  image: {image}\n  zone: data\n  command: [httpd, -f, -p, \"8080\", -h, /www]\n  stopGrace: 1s\n  \
         files:\n    - {{from: files/{page}, to: /www/index.html}}\n  \
         ports:\n    - {{name: http, port: 8080}}\n  \
         health: {{exec: [wget, -q, -O, /dev/null, \"http://localhost:8080/\"], startup: 2m}}\n{more}"
    )
}

/// Five servers, the last of which waits for the first, and a volume.
fn five(lab: &Lab) -> Result<(), Failed> {
    for n in 1..=5 {
        lab.write(&format!("files/page{n}.html"), &format!("page {n}, first\n"))?;
        let more = if n == 5 { "  dependsOn: [{component: web1}]\n" } else { "" };
        lab.component(&format!("web{n}"), &web(IMAGE, &format!("page{n}.html"), more))?;
    }
    lab.component(
        "keeper",
        &format!(
            "  image: {IMAGE}\n  zone: storage\n  workload: stateful\n  command: [sleep, infinity]\n  stopGrace: 1s\n  \
             docker: {{init: true}}\n  volumes:\n    - {{name: data, path: /data, owner: \"70:70\"}}\n  \
             health: {{exec: [test, -d, /data], startup: 2m}}\n"
        ),
    )?;
    lab.environment(
        "  zones:\n    data: {}\n    storage: {internal: true}\n  components: [web1, web2, web3, web4, web5, keeper]\n",
    )
}

const TESTS: [Test; 8] = [
    ("a_commit_brings_an_environment_up", a_commit_brings_an_environment_up),
    ("only_the_edited_component_changes", only_the_edited_component_changes),
    ("each_bad_commit_leaves_everything_as_it_was", each_bad_commit_leaves_everything_as_it_was),
    ("what_runs_is_kept_alive_while_a_commit_is_held", what_runs_is_kept_alive_while_a_commit_is_held),
    ("a_commit_that_cannot_be_read_lets_go_of_nothing", a_commit_that_cannot_be_read),
    ("schedules_go_on_while_a_commit_is_held", schedules_go_on_while_a_commit_is_held),
    ("what_becomes_healthy_again_is_soon_told_to_be", what_becomes_healthy_again),
    ("a_cli_apply_beside_the_daemon_waits_or_says_who", a_cli_apply_beside_the_daemon_waits_or_says_who),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(engine, "transaction", &TESTS)
}

fn a_commit_brings_an_environment_up(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    let commit = lab.commit("five servers")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first apply", |status| in_sync_at(&commit)(status) && status["health"] == "Healthy")?;
    let containers = lab.containers()?;
    assert_eq!(containers.len(), 6, "{:?}", containers.keys());
    assert!(containers.values().all(|c| c["State"]["Running"] == true));
    assert_eq!(lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?.lines().count(), 1);
    Ok(())
}

fn only_the_edited_component_changes(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    let commit = lab.commit("five servers")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&commit))?;
    let before = lab.containers()?;

    lab.write("files/page3.html", "page 3, second\n")?;
    let commit = lab.commit("another page")?;
    lab.wait_for("the second apply", in_sync_at(&commit))?;
    let after = lab.containers()?;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, old) in &before {
        let new = &after[name];
        let same = old["Id"] == new["Id"] && old["State"]["StartedAt"] == new["State"]["StartedAt"];
        assert_eq!(same, !name.ends_with("web3"), "{name}");
    }
    Ok(())
}

/// A name, what a commit breaks, and a word that the reason must hold.
type BadCommit = (&'static str, fn(&Lab) -> Result<(), Failed>, &'static str);

const BAD_COMMITS: [BadCommit; 8] = [
    ("never_healthy", never_healthy, "healthy"),
    ("no_such_image", no_such_image, "image"),
    ("wrong_password", wrong_password, "registry"),
    ("failing_job", failing_job, "exit"),
    ("third_of_five", third_of_five, "web3"),
    ("port_taken", port_taken, "port"),
    ("subnet_in_use", subnet_in_use, "subnet"),
    ("no_such_driver", no_such_driver, "driver"),
];

fn never_healthy(lab: &Lab) -> Result<(), Failed> {
    let spec = web(IMAGE, "page2.html", "")
        .replace("localhost:8080", "localhost:1")
        .replace("startup: 2m", "startup: 2s");
    lab.component("web2", &spec)
}

fn no_such_image(lab: &Lab) -> Result<(), Failed> {
    lab.component("web2", &web("127.0.0.1:1/no/such-image:1", "page2.html", ""))
}

fn wrong_password(lab: &Lab) -> Result<(), Failed> {
    let registry = lab.engine.registry.clone().ok_or("the rig has no registry")?;
    lab.secret("secrets/registry.age", "token: not-the-password\n")?;
    let pull = format!("  pull: {{secret: \"secrets/registry.age#token\", user: {}}}\n", registry.user);
    lab.component("web2", &web(&format!("{}/test/busybox:1", registry.host), "page2.html", &pull))
}

fn failing_job(lab: &Lab) -> Result<(), Failed> {
    lab.component(
        "setup",
        &format!(
            "  image: {IMAGE}\n  zone: data\n  workload: job\n  command: [sh, -c, \"echo no luck; exit 3\"]\n"
        ),
    )?;
    lab.add_component("setup")
}

fn third_of_five(lab: &Lab) -> Result<(), Failed> {
    for n in 1..=5 {
        lab.write(&format!("files/page{n}.html"), &format!("page {n}, second\n"))?;
    }
    let spec = web(IMAGE, "page3.html", "").replace("[httpd, -f,", "[\"false\",");
    lab.component("web3", &spec)
}

fn port_taken(lab: &Lab) -> Result<(), Failed> {
    let taken =
        lab.docker(&["run", "-d", "--rm", "--label", &lab.label(), "-p", "0:80", IMAGE, "sleep", "600"])?;
    let ports = lab.docker(&["port", &taken, "80/tcp"])?;
    let port = ports.lines().next().and_then(|line| line.rsplit(':').next()).ok_or("a port is published")?;
    let spec = web(IMAGE, "page2.html", "").replace("port: 8080}", &format!("port: 8080, publish: {port}}}"));
    lab.component("web2", &spec)
}

fn subnet_in_use(lab: &Lab) -> Result<(), Failed> {
    let subnet = format!("10.250.{}.0/24", lab.number());
    lab.docker(&[
        "network",
        "create",
        "--label",
        &lab.label(),
        "--subnet",
        &subnet,
        &format!("{}-other", lab.env),
    ])?;
    lab.replace_in_environment(
        "storage: {internal: true}",
        &format!("storage: {{internal: true}}\n    control: {{subnet: {subnet}}}"),
    )?;
    lab.component("web2", &web(IMAGE, "page2.html", "").replace("zone: data", "zone: control"))
}

fn no_such_driver(lab: &Lab) -> Result<(), Failed> {
    lab.component(
        "store2",
        &format!(
            "  image: {IMAGE}\n  zone: data\n  workload: stateful\n  command: [sleep, infinity]\n  \
             volumes:\n    - {{name: data, path: /data, driver: no-such-driver}}\n"
        ),
    )?;
    lab.add_component("store2")
}

fn each_bad_commit_leaves_everything_as_it_was(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    let good = lab.commit("five servers")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&good))?;

    for (name, break_it, word) in BAD_COMMITS {
        let tag = format!("before-{name}");
        lab.git(&["tag", &tag])?;
        break_it(&lab)?;
        let before = lab.picture()?;
        let bad = lab.commit(name)?;
        let status = lab.wait_for(&format!("the end of `{name}`"), |status| {
            ["Held", "Blocked"].iter().any(|state| status["sync"] == *state)
                && status["why"].as_str().is_some_and(|why| why.contains(&bad[..7]))
        })?;
        let why = status["why"].as_str().unwrap_or_default();
        assert!(why.contains(word) && !why.contains('\n'), "{name}: {why}");
        assert_eq!(lab.picture()?, before, "{name} left something changed");
        assert!(lab.succeed(&["history", &lab.env])?.contains(word), "{name} is in the history");

        lab.git(&["reset", "-q", "--hard", &tag])?;
        lab.remove_neighbours()?;
        lab.write("files/page1.html", &format!("page 1, after {name}\n"))?;
        let next = lab.commit(&format!("good again after {name}"))?;
        lab.wait_for(&format!("the good commit after `{name}`"), in_sync_at(&next))?;
    }
    Ok(())
}

/// Five servers that run, and a daemon that looks at them each second.
fn looked_at_each_second(engine: &Engine) -> Result<(Lab, Daemon), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    lab.replace_in_environment("spec:\n", "spec:\n  sync: {interval: 1s}\n")?;
    let good = lab.commit("five servers")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&good))?;
    Ok((lab, daemon))
}

fn what_runs_is_kept_alive_while_a_commit_is_held(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = looked_at_each_second(engine)?;
    never_healthy(&lab)?;
    lab.commit("never healthy")?;
    let held = |status: &Value| ["Held", "Blocked"].iter().any(|state| status["sync"] == *state);
    lab.wait_for("the hold", held)?;

    let before = lab.picture()?;
    lab.docker(&["kill", &format!("{}-web3", lab.env)])?;
    lab.wait_for("the repair", |status| {
        held(status) && status["health"] == "Healthy" && lab.picture().is_ok_and(|now| now == before)
    })?;
    Ok(())
}

fn a_commit_that_cannot_be_read(engine: &Engine) -> Result<(), Failed> {
    let (lab, _daemon) = looked_at_each_second(engine)?;
    let before = lab.picture()?;
    lab.component("web2", "  image: [not, an, image]\n")?;
    lab.commit("no manifest")?;
    lab.wait_for("the report", |status| {
        status["why"].as_str().is_some_and(|why| why.contains("web2.yaml:"))
    })?;
    lab.docker(&["kill", &format!("{}-web3", lab.env)])?;
    lab.wait_until("the repair", || Ok(lab.picture()? == before))
}

fn schedules_go_on_while_a_commit_is_held(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    lab.component(
        "backup",
        &format!(
            "  image: {IMAGE}\n  zone: data\n  workload: cron\n  schedule: \"* * * * *\"\n  command: [\"true\"]\n"
        ),
    )?;
    lab.add_component("backup")?;
    lab.commit("five servers and a schedule")?;
    lab.succeed(&["apply", &lab.env, "--yes"])?;
    never_healthy(&lab)?;
    lab.commit("never healthy")?;
    // It has never seen the good commit, and the one that it sees is held.
    let _daemon = lab.daemon()?;
    lab.wait_for("the hold", |status| ["Held", "Blocked"].iter().any(|state| status["sync"] == *state))?;
    let name = format!("/{}-backup", lab.env);
    lab.wait_until("the minute's run", || {
        Ok(lab.containers()?.get(&name).is_some_and(|backup| {
            backup["State"]["StartedAt"].as_str().is_some_and(|at| !at.starts_with("0001"))
        }))
    })
}

fn what_becomes_healthy_again(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write_checked(&lab, "first", "[sh, -c, \"! test -e /tmp/ill\"]", "2m")?;
    lab.replace_in_environment("spec:\n", "spec:\n  sync: {interval: 10m}\n")?;
    let first = lab.commit("first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&first))?;
    daemon.stop()?;
    let name = format!("{}-app", lab.env);
    lab.docker(&["exec", &name, "touch", "/tmp/ill"])?;
    // It looks as it starts, and has nothing to do.
    let _daemon = lab.daemon()?;
    lab.wait_for("the illness", |status| in_sync_at(&first)(status) && status["health"] == "Degraded")?;
    lab.docker(&["exec", &name, "rm", "/tmp/ill"])?;
    lab.wait_for("the recovery", |status| status["health"] == "Healthy").map(drop)
}

fn a_cli_apply_beside_the_daemon_waits_or_says_who(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    five(&lab)?;
    let commit = lab.commit("five servers")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&commit))?;
    never_healthy(&lab)?;
    lab.commit("slow to fail")?;
    lab.wait_for("the run", |status| status["sync"] == "Progressing")?;
    let refused = lab.exits(3, &["apply", &lab.env, "--yes", "--wait", "0s"])?;
    assert!(refused.contains("daemon"), "{refused}");
    Ok(())
}
