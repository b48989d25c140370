//! A commit that nobody can follow leaves everything as it was, says where it is wrong, and is got over.

use std::{fmt::Write as _, fs, os::unix::fs::symlink};

use libtest_mimic::{Failed, Trial};

use crate::{
    app::{self, Test, in_sync_at},
    lab::Lab,
    rig::Engine,
};

const TESTS: [Test; 1] = [("each_hostile_commit_changes_nothing_and_says_where", each_hostile_commit)];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(engine, "hostile", &TESTS)
}

/// A name, what the commit does, and what the one line about it must hold.
type Hostile = (&'static str, fn(&Lab) -> Result<(), Failed>, &'static [&'static str]);

const COMMITS: [Hostile; 11] = [
    ("symlink", a_symlink, &["components/other.yaml", "symbolic link"]),
    ("submodule", a_submodule, &["vendor", "submodule"]),
    ("yaml bomb", a_yaml_bomb, &["components/app.yaml:", "more than 50000"]),
    ("20 MB line", a_huge_line, &["components/app.yaml", "bytes"]),
    ("unknown field", an_unknown_field, &["components/app.yaml:10:", "imagine"]),
    ("cycle", a_cycle, &["components/app.yaml:14:", "app -> other -> app"]),
    ("other recipient", another_recipient, &["secrets/app.age", "key"]),
    ("truncated age file", a_truncated_file, &["secrets/app.age"]),
    ("missing secret key", a_missing_key, &["secrets/app.age", "nothing"]),
    ("no file", a_missing_file, &["components/app.yaml:", "files/none.conf"]),
    ("many files", many_files, &["files"]),
];

fn app_with(lab: &Lab, more: &str) -> Result<(), Failed> {
    let path = "components/app.yaml";
    let text = fs::read_to_string(lab.path("repo").join(path))?;
    lab.write(path, &(text + more))
}

fn a_symlink(lab: &Lab) -> Result<(), Failed> {
    Ok(symlink("/etc/passwd", lab.path("repo/components/other.yaml"))?)
}

fn a_submodule(lab: &Lab) -> Result<(), Failed> {
    let head = lab.git(&["rev-parse", "HEAD"])?;
    lab.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor")])?;
    // Without its folder it would be taken for removed.
    Ok(fs::create_dir_all(lab.path("repo/vendor"))?)
}

fn a_yaml_bomb(lab: &Lab) -> Result<(), Failed> {
    let mut text = String::from("  labels:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..=12 {
        let before = n - 1;
        let nine = format!("*a{before}, ").repeat(9);
        writeln!(text, "    a{n}: &a{n} [{nine}*a{before}]")?;
    }
    app_with(lab, &text)
}

fn a_huge_line(lab: &Lab) -> Result<(), Failed> {
    app_with(lab, &format!("  user: \"{}\"\n", "x".repeat(20 << 20)))
}

fn an_unknown_field(lab: &Lab) -> Result<(), Failed> {
    let path = "components/app.yaml";
    let text = fs::read_to_string(lab.path("repo").join(path))?;
    lab.write(path, &text.replace("  stopGrace:", "  imagine: 1\n  stopGrace:"))
}

fn a_cycle(lab: &Lab) -> Result<(), Failed> {
    app_with(lab, "  dependsOn: [{component: other}]\n")?;
    let spec = "  image: trueup-test/busybox:1\n  zone: data\n  command: [sleep, infinity]\n  \
                dependsOn: [{component: app}]\n";
    lab.component("other", spec)?;
    lab.add_component("other")
}

/// Makes `app` want a secret, of this entry.
fn with_secret(lab: &Lab, entry: &str) -> Result<(), Failed> {
    lab.secret("secrets/app.age", "password: not-for-everybody\n")?;
    app_with(
        lab,
        &format!(
            "  secrets:\n    - {{name: password, from: \"secrets/app.age#{entry}\", file: /run/secrets/password}}\n"
        ),
    )
}

fn another_recipient(lab: &Lab) -> Result<(), Failed> {
    let own = fs::read_to_string(lab.path("recipient"))?;
    fs::remove_file(lab.path("other.key")).ok();
    let other = lab.succeed(&["secret", "init", "other.key"])?;
    lab.replace_in_environment(own.trim(), &other)?;
    with_secret(lab, "password")?;
    lab.replace_in_environment(&other, own.trim())
}

fn a_truncated_file(lab: &Lab) -> Result<(), Failed> {
    with_secret(lab, "password")?;
    let path = lab.path(format!("repo/environments/{}/secrets/app.age", lab.env));
    let bytes = fs::read(&path)?;
    Ok(fs::write(path, &bytes[..bytes.len() - 60])?)
}

fn a_missing_key(lab: &Lab) -> Result<(), Failed> {
    with_secret(lab, "nothing")
}

fn a_missing_file(lab: &Lab) -> Result<(), Failed> {
    app_with(lab, "  files:\n    - {from: files/none.conf, to: /etc/none.conf}\n")
}

fn many_files(lab: &Lab) -> Result<(), Failed> {
    fs::create_dir_all(lab.path("repo/files/many"))?;
    for n in 0..30_000 {
        fs::write(lab.path(format!("repo/files/many/{n}")), "")?;
    }
    Ok(())
}

fn each_hostile_commit(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    let config = fs::read_to_string(lab.path("trueup-daemon.yaml"))?;
    fs::write(lab.path("trueup-daemon.yaml"), config + "limits: {files: 20000}\n")?;
    let first = lab.commit("first")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first apply", in_sync_at(&first))?;

    for (name, make, words) in COMMITS {
        lab.git(&["tag", "-f", "good"])?;
        let before = lab.picture()?;
        make(&lab)?;
        lab.commit(name)?;
        let status =
            lab.wait_for(name, |status| ["Unknown", "Blocked"].iter().any(|state| status["sync"] == *state))?;
        let why = status["why"].as_str().unwrap_or_default();
        app::says(why, words).map_err(|error| format!("{name}: {}", error.message().unwrap_or("?")))?;
        assert!(!why.contains('\n') && why.len() < 400, "{name}: {why}");
        assert_eq!(lab.picture()?, before, "{name} changed something");
        assert!(!daemon.ended()?, "{name} ended the daemon");

        lab.git(&["reset", "-q", "--hard", "good"])?;
        lab.git(&["clean", "-qfdx"])?;
        app::write(&lab, &format!("after {name}"))?;
        let next = lab.commit(&format!("after {name}"))?;
        lab.wait_for(&format!("the good commit after `{name}`"), in_sync_at(&next))?;
    }
    Ok(())
}
