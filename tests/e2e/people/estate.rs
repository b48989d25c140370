//! What belongs to an environment: it is destroyed, adopted, and stands beside others.

use std::fs;

use libtest_mimic::Failed;

use crate::{
    app::{self, Test, json, says},
    lab::Lab,
    rig::Engine,
};

pub(super) const TESTS: [Test; 6] = [
    ("destroy_removes_everything_but_the_volumes", destroy_removes_everything),
    ("what_vanished_from_git_is_orphaned_and_left_alone", what_vanished_from_git),
    ("trouble_with_the_source_is_told_until_it_can_be_read", trouble_with_the_source),
    ("an_adoption_that_fails_is_none", an_adoption_that_fails),
    ("a_lost_store_is_replaced_without_a_restart", a_lost_store),
    ("a_broken_environment_does_not_keep_another_from_being_applied", beside_a_broken_one),
];

fn destroy_removes_everything(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let destroy = ["env", "destroy", &lab.env, "--reason", "over"];
    says(&lab.exits(1, &destroy)?, &["--yes"])?;
    let left = |what: &str| Ok::<_, Failed>(lab.picture()?[what].to_string());
    let volume = format!("{}-app-data", lab.env);
    let made = || lab.docker(&["volume", "inspect", &volume, "--format", "{{.CreatedAt}} {{.Labels}}"]);
    let before = made()?;
    says(&lab.exits(0, &[&destroy[..], &["--yes"]].concat())?, &["`--volumes` would have removed", &volume])?;
    assert_eq!(left("containers")?, "{}");
    assert_eq!(left("networks")?, "[]");
    says(&left("volumes")?, &["data"])?;
    says(&lab.exits(1, &["status", &lab.env])?, &["nothing is known"])?;

    // What is in the volume is of an earlier life of the same environment, which goes on.
    says(&lab.exits(0, &["plan", &lab.env])?, &[&format!("volume `{volume}` is taken over")])?;
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    assert_eq!(made()?, before);
    assert_eq!(lab.status()?["sync"], "Synced");
    lab.exits(0, &[&destroy[..], &["--yes", "--volumes"]].concat())?;
    assert_eq!(left("containers")?, "{}");
    assert_eq!(left("volumes")?, "[]");
    Ok(())
}

/// Waits until the daemon has looked at an environment three times more.
fn three_looks_at(lab: &Lab, env: &str) -> Result<(), Failed> {
    for _ in 0..3 {
        let observed =
            || Ok::<_, Failed>(json(lab, &["status", env])?["environments"][0]["observed"].clone());
        let before = observed()?;
        lab.wait_until("another look", || Ok(observed()? != before))?;
    }
    Ok(())
}

fn what_vanished_from_git(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.replace_in_environment("  components:", "  sync: {interval: 1s}\n  components:")?;
    // One that waits for a person makes nothing, and is looked at as often.
    let beside = format!("{}-b", lab.env);
    let text = fs::read_to_string(lab.path(format!("repo/environments/{}/environment.yaml", lab.env)))?;
    let text = text.replace(&lab.env, &beside).replace("interval: 1s", "interval: 1s, mode: manual");
    lab.write(&format!("environments/{beside}/environment.yaml"), &text)?;
    let first = lab.commit("first")?;
    let _daemon = lab.daemon()?;
    let status = |env: &str| Ok::<_, Failed>(json(&lab, &["status", env])?["environments"][0].clone());
    lab.wait_until("both environments", || {
        let known = lab.succeed(&["status"])?;
        let is_known = |env: &str| known.lines().any(|line| line.split_whitespace().next() == Some(env));
        Ok(is_known(&lab.env) && is_known(&beside) && app::in_sync_at(&first)(&status(&lab.env)?))
    })?;

    let before = lab.picture()?;
    fs::remove_dir_all(lab.path(format!("repo/environments/{}", lab.env)))?;
    lab.commit("without it")?;
    let is_orphaned = || Ok(status(&lab.env)?["why"].as_str().is_some_and(|why| why.contains("orphaned")));
    lab.wait_until("the orphan", is_orphaned)?;
    three_looks_at(&lab, &beside)?;
    assert!(is_orphaned()?, "{}", status(&lab.env)?);
    assert_eq!(lab.picture()?, before);
    Ok(())
}

fn trouble_with_the_source(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.replace_in_environment("  components:", "  sync: {interval: 1s}\n  components:")?;
    let config = lab.path("trueup-daemon.yaml");
    fs::write(&config, fs::read_to_string(&config)?.replace("/repo}", "/repo, interval: 1s}"))?;
    let first = lab.commit("first")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", app::in_sync_at(&first))?;
    lab.exits(0, &["env", "hold", &lab.env, "--reason", "demo today"])?;
    app::write(&lab, "second")?;
    lab.replace_in_environment("  components:", "  sync: {interval: 1s}\n  components:")?;
    lab.commit("second")?;
    let why = |status: &serde_json::Value| status["why"].as_str().unwrap_or_default().to_owned();
    lab.wait_for("the hold", |status| why(status).ends_with("demo today"))?;

    fs::rename(lab.path("repo"), lab.path("elsewhere"))?;
    let troubled = |status: &serde_json::Value| why(status).contains("demo today; ");
    lab.wait_for("the trouble", troubled)?;
    lab.wait_until("three looks", || three_looks_at(&lab, &lab.env).map(|()| true))?;
    assert!(troubled(&lab.status()?), "{}", lab.status()?);
    fs::rename(lab.path("elsewhere"), lab.path("repo"))?;
    lab.wait_for("its end", |status| why(status).ends_with("demo today")).map(drop)
}

fn a_lost_store(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let before = lab.picture()?;
    fs::remove_dir_all(lab.path("state"))?;
    let refused = lab.exits(3, &["apply", &lab.env, "--yes"])?;
    says(&refused, &["env adopt"])?;
    assert_eq!(lab.picture()?, before);
    says(&lab.exits(0, &["env", "adopt", &lab.env, "--reason", "the disk died"])?, &["adopted", "app"])?;
    assert_eq!(lab.picture()?, before, "adopting changes nothing");
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    let (old, new) = (before["containers"].as_object(), lab.containers()?);
    let ids = |name: &str| (old.and_then(|old| old[name]["id"].as_str()), new[name]["Id"].as_str());
    for name in new.keys() {
        assert_eq!(ids(name).0, ids(name).1, "{name} was made again");
    }
    // The new store counts its runs from 1, as the one that is lost did: what that one made is no mistake of these.
    app::write_broken(&lab)?;
    lab.commit("broken")?;
    let before = lab.picture()?;
    lab.exits(4, &["apply", &lab.env, "--yes"])?;
    assert_eq!(lab.picture()?, before);
    app::write(&lab, "second")?;
    lab.commit("second")?;
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    Ok(())
}

fn an_adoption_that_fails(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let before = lab.picture()?;
    fs::remove_dir_all(lab.path("state"))?;
    let manifest = format!("environments/{}/environment.yaml", lab.env);
    let good = fs::read_to_string(lab.path("repo").join(&manifest))?;
    lab.write(&manifest, "{ not: [yaml\n")?;
    lab.commit("not yaml")?;
    // Which jobs have run is not known, so nothing is taken over: they would run again.
    says(&lab.exits(1, &["env", "adopt", &lab.env, "--reason", "the disk died"])?, &["environment.yaml:"])?;
    lab.write(&manifest, &good)?;
    lab.commit("yaml again")?;
    says(&lab.exits(3, &["apply", &lab.env, "--yes"])?, &["env adopt"])?;
    assert_eq!(lab.picture()?, before);
    Ok(())
}

fn beside_a_broken_one(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    let good = format!("environments/{}/environment.yaml", lab.env);
    let text = fs::read_to_string(lab.path("repo").join(&good))?;
    let no_component = text.replace(&lab.env, "bad-a").replace("[app]", "[app, nobody]");
    lab.write("environments/bad-a/environment.yaml", &no_component)?;
    lab.write("environments/bad-b/environment.yaml", "{ not: [yaml\n")?;
    let commit = lab.commit("three environments")?;
    let _daemon = lab.daemon()?;
    lab.wait_until("the good environment", || {
        let all = json(&lab, &["status"])?;
        let known = all["environments"].as_array().cloned().unwrap_or_default();
        let of = |name: &str| known.iter().find(|env| env["name"] == name).cloned().unwrap_or_default();
        let why = |name: &str| of(name)["why"].as_str().unwrap_or_default().to_owned();
        Ok(app::in_sync_at(&commit)(&of(&lab.env))
            && why("bad-a").contains("environments/bad-a/environment.yaml:")
            && why("bad-b").contains("environments/bad-b/environment.yaml:"))
    })
}
