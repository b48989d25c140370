//! `trueup doctor`: what is wrong is told with its fix, whatever else is broken, and nothing is changed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{FileExt, PermissionsExt},
        net::UnixListener,
    },
};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::{
    app::{self, Test, in_sync_at, says},
    lab::Lab,
    rig::Engine,
};

pub(super) const TESTS: [Test; 9] = [
    ("a_world_that_is_well_is_told_so_and_left_as_it_is", a_world_that_is_well),
    ("a_world_that_was_never_used_stays_so", a_world_that_was_never_used),
    ("a_key_file_that_others_may_read_is_told_with_its_fix", a_key_file_that_others_may_read),
    ("an_engine_that_is_away_or_silent_holds_up_nothing_else", an_engine_that_is_away),
    ("who_is_in_the_pool_of_subnets_is_named", who_is_in_the_pool),
    ("a_broken_configuration_is_told_with_its_place_and_read_as_far_as_it_goes", a_broken_configuration),
    ("a_store_that_cannot_be_used_is_told_and_left_as_it_is", a_store_that_cannot_be_used),
    ("a_secret_that_no_key_opens_is_told_without_a_byte_of_it", a_secret_that_no_key_opens),
    ("a_source_that_cannot_be_read_is_told_and_leaves_nothing_behind", a_source_that_cannot_be_read),
];

/// What was found, for programs; the exit code must go with it.
fn examine(lab: &Lab, arguments: &[&str]) -> Result<Vec<Value>, Failed> {
    let output = lab.trueup(&[&["doctor", "-o", "json"], arguments].concat())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {output:?}"))?;
    let findings = value["findings"].as_array().cloned().unwrap_or_default();
    let is_bad = findings.iter().any(|finding| finding["state"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(is_bad)), "{text}");
    Ok(findings)
}

/// Returns the findings of a check that are in this state, as one text.
fn of(findings: &[Value], check: &str, state: &str) -> String {
    let wanted = findings.iter().filter(|finding| finding["check"] == check && finding["state"] == state);
    wanted.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Fails unless the check was made, and nothing is wrong with it.
fn is_good(findings: &[Value], checks: &[&str]) -> Result<(), Failed> {
    for check in checks {
        let states: Vec<_> =
            findings.iter().filter(|finding| finding["check"] == *check).map(|f| &f["state"]).collect();
        if states.is_empty() || states.iter().any(|state| *state != "good") {
            return Err(format!("`{check}` is not good: {findings:#?}").into());
        }
    }
    Ok(())
}

/// Returns every file of the state directory with its bytes; the log's index is no content.
fn state(lab: &Lab) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![lab.path("state")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("store.db-shm") {
                files.insert(path.display().to_string(), fs::read(path)?);
            }
        }
    }
    Ok(files)
}

fn a_world_that_is_well(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let (before, files) = (lab.picture()?, state(&lab)?);
    let version = lab.docker(&["version", "--format", "{{.Server.Version}} (API {{.Server.APIVersion}})"])?;
    let told = lab.exits(0, &["doctor"])?;
    says(
        &told,
        &["\u{2713} engine local", &version, &lab.engine.docker, "age1", "1 component on", " 0 bad"],
    )?;
    let every = [
        "configuration",
        "store",
        "disk",
        "keyFile",
        "source",
        "engine",
        "events",
        "clock",
        "network",
        "subnets",
        "environment",
    ];
    is_good(&examine(&lab, &[])?, &every)?;
    is_good(&examine(&lab, &[&lab.env])?, &every)?;
    says(&of(&examine(&lab, &["nobody"])?, "environment", "bad"), &["nobody"])?;
    assert!(state(&lab)? == files, "the state directory is another one");
    // Beside a daemon that has everything open, and the environment.
    let commit = lab.git(&["rev-parse", "HEAD"])?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the daemon", in_sync_at(&commit))?;
    is_good(&examine(&lab, &[])?, &every)?;
    assert!(!daemon.ended()?, "{}", lab.daemon_log());
    assert_eq!(lab.picture()?, before);
    Ok(())
}

fn a_world_that_was_never_used(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    let findings = examine(&lab, &[])?;
    says(&of(&findings, "store", "attention"), &["there is none yet"])?;
    is_good(&findings, &["configuration", "keyFile", "source", "engine", "environment"])?;
    assert!(!lab.path("state").exists(), "a store was made");
    assert!(!std::path::Path::new("/run/trueup-tests").join(&lab.env).exists(), "a folder was made");
    Ok(())
}

fn a_key_file_that_others_may_read(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    let key = lab.path("age.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let told = lab.exits(1, &["doctor"])?;
    let fix = format!("fix: chmod 600 {}", key.display());
    says(&told, &["\u{2717} key file", "readable by others (mode 0644)", &fix])?;
    is_good(&examine(&lab, &[])?, &["engine", "source", "environment"])?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640))?;
    says(&of(&examine(&lab, &[])?, "keyFile", "attention"), &["its group (mode 0640)"])?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    is_good(&examine(&lab, &[])?, &["keyFile"])
}

fn an_engine_that_is_away(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    let silent = UnixListener::bind(lab.path("silent.sock"))?;
    let path = |name: &str| lab.path(name).display().to_string();
    let targets = format!(
        "  local: {{docker: \"{}\"}}\n  away: {{docker: \"unix://{}\"}}\n  silent: {{docker: \"unix://{}\"}}\n",
        lab.engine.docker,
        path("none.sock"),
        path("silent.sock"),
    );
    lab.configure(&format!("  local: {{docker: \"{}\"}}\n", lab.engine.docker), &targets)?;
    let findings = examine(&lab, &[])?;
    drop(silent);
    let bad = of(&findings, "engine", "bad");
    says(&bad, &["none.sock", "start the engine", "\"silent\"", "no answer within"])?;
    says(&of(&findings, "engine", "good"), &["\"local\""])?;
    is_good(&findings, &["source", "environment", "subnets"])
}

fn who_is_in_the_pool(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let subnet = format!("{}.77.0/24", lab.pool());
    let name = format!("{}-vpn", lab.env);
    lab.docker(&["network", "create", "--label", &lab.label(), "--subnet", &subnet, &name])?;
    let findings = examine(&lab, &[])?;
    // What trueup itself has taken from the pool is in nobody's way.
    let overlaps = of(&findings, "subnets", "attention");
    says(&overlaps, &[&subnet, &format!("network `{name}`"), "subnetPool"])?;
    assert!(!overlaps.contains(&format!("{}-data", lab.env)), "{overlaps}");
    says(&of(&findings, "subnets", "good"), &["254 are free"])?;
    lab.configure(&format!("[{}.0.0/16]", lab.pool()), &format!("[{subnet}]"))?;
    says(&of(&examine(&lab, &[])?, "subnets", "bad"), &["nothing is free", &name])?;
    lab.configure(&subnet, "10.1.2.3.4/5")?;
    let findings = examine(&lab, &[])?;
    says(&of(&findings, "subnets", "bad"), &["10.1.2.3.4/5"])?;
    is_good(&findings, &["engine", "network"])
}

fn a_broken_configuration(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let file = lab.path("trueup-daemon.yaml");
    let good = fs::read_to_string(&file)?;
    fs::write(&file, format!("{good}stateDr: /nowhere\n"))?;
    let place = format!("{}:{}:1", file.display(), good.lines().count() + 1);
    let told = lab.exits(1, &["doctor"])?;
    says(&told, &["\u{2717} configuration", &place, "did you mean `stateDir`"])?;
    let others = ["store", "keyFile", "source", "engine", "environment"];
    is_good(&examine(&lab, &[])?, &others)?;
    fs::write(&file, format!("{good}parallel: many\n"))?;
    is_good(&examine(&lab, &[])?, &others)?;
    fs::write(&file, "{ not: [yaml\n")?;
    says(&of(&examine(&lab, &[])?, "configuration", "bad"), &["trueup-daemon.yaml:"])?;
    fs::remove_file(&file)?;
    let named = ["--config", file.to_str().ok_or("the path is UTF-8")?];
    says(&of(&examine(&lab, &named)?, "configuration", "bad"), &["trueup-daemon.yaml"])
}

fn a_store_that_cannot_be_used(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    lab.succeed(&["status"])?;
    let path = lab.path("state/store.db");
    let file = fs::File::options().write(true).open(&path)?;
    // `user_version` is a big-endian number at offset 60 (SQLite file format, 1.3).
    file.write_all_at(&99_u32.to_be_bytes(), 60)?;
    let before = state(&lab)?;
    let findings = examine(&lab, &[])?;
    says(&of(&findings, "store", "bad"), &["layout 99", "install the version of trueup that wrote it"])?;
    is_good(&findings, &["engine", "source", "keyFile", "environment"])?;
    file.write_all_at(b"no database at all", 0)?;
    says(&of(&examine(&lab, &[])?, "store", "bad"), &["is damaged", "env adopt"])?;
    file.write_all_at(&before[&path.display().to_string()][..18], 0)?;
    assert!(state(&lab)? == before, "the state directory is another one");
    fs::set_permissions(lab.path("state"), fs::Permissions::from_mode(0o755))?;
    says(&of(&examine(&lab, &[])?, "store", "attention"), &["mode 0755", "chmod 700"])
}

fn a_secret_that_no_key_opens(engine: &Engine) -> Result<(), Failed> {
    const SECRET: &str = "correct-horse-battery";
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.replace_in(
        "components/app.yaml",
        "  stopSignal",
        "  secrets:\n    - {name: password, from: secrets/app.age, file: /run/password}\n  stopSignal",
    )?;
    lab.secret("secrets/app.age", SECRET)?;
    lab.commit("a secret")?;
    let findings = examine(&lab, &[])?;
    is_good(&findings, &["secrets"])?;
    says(&of(&findings, "secrets", "good"), &["1 can be opened"])?;
    let key = fs::read_to_string(lab.path("age.key"))?;
    fs::remove_file(lab.path("age.key"))?;
    lab.succeed(&["secret", "init", lab.path("age.key").to_str().ok_or("the path is UTF-8")?])?;
    let told = lab.exits(1, &["doctor"])?;
    let secrets = format!("\u{2717} secrets {}", lab.env);
    says(&told, &[&secrets, "components/app.yaml:", "secrets/app.age"])?;
    let private = key.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).ok_or("there is a key")?;
    assert!(
        !told.contains(SECRET) && !told.contains(&private[..30]) && !told.contains("AGE-SECRET"),
        "{told}"
    );
    Ok(())
}

fn a_source_that_cannot_be_read(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    let token = lab.path("token");
    fs::write(&token, "a-token-of-nobody")?;
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644))?;
    let local = format!("url: {}", lab.path("repo").display());
    let remote = format!("url: \"http://127.0.0.1:1/x.git\", tokenFile: {}", token.display());
    lab.configure(&local, &remote)?;
    lab.configure("targets:\n  local: {", "targets:\n  local: {allow: [other], ")?;
    let findings = examine(&lab, &[])?;
    says(&of(&findings, "source", "bad"), &["127.0.0.1:1"])?;
    says(&of(&findings, "tokenFile", "bad"), &["mode 0644", "chmod 600"])?;
    assert!(!format!("{findings:?}").contains("a-token-of-nobody"));
    assert!(!lab.path("state").exists(), "a mirror was made");
    lab.configure(&remote, &local)?;
    app::write(&lab, "first")?;
    lab.commit("first")?;
    let findings = examine(&lab, &[])?;
    is_good(&findings, &["source"])?;
    says(&of(&findings, "environment", "bad"), &["may not use the target `local`", "targets.local.allow"])
}
