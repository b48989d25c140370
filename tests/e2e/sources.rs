//! The daemon follows a repository over HTTP and HTTPS; what keeps it from reading changes nothing.

use std::{fs, path::PathBuf, process::Command, sync::atomic::Ordering};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, in_sync_at},
    lab::{Lab, text_of},
    relay::Relay,
    rig::{Engine, Git},
};

type Test = (&'static str, fn(&Engine, &Git) -> Result<(), Failed>);

const TESTS: [Test; 7] = [
    ("a_push_over_https_is_applied", a_push_over_https_is_applied),
    ("a_refused_token_changes_nothing_until_it_is_corrected", a_refused_token_changes_nothing),
    ("an_unreachable_server_changes_nothing_until_it_is_back", an_unreachable_server_changes_nothing),
    ("what_a_person_applied_is_not_taken_back_by_an_older_commit", applied_by_a_person),
    ("what_a_person_applied_is_not_taken_back_while_git_is_away", applied_while_git_is_away),
    ("what_runs_is_looked_after_before_git_can_be_read", started_without_git),
    ("a_server_that_talks_nonsense_or_nothing_is_lived_through", nonsense_and_silence),
];

pub(crate) fn trials(engine: &Engine, git: &Git) -> Vec<Trial> {
    let trial = |(name, test): Test| {
        let (engine, git) = (engine.clone(), git.clone());
        Trial::test(format!("{}::sources::{name}", engine.name), move || test(&engine, &git))
    };
    TESTS.into_iter().map(trial).collect()
}

/// A world whose repository is followed over the network.
struct Remote {
    lab: Lab,
    bare: PathBuf,
}

impl Drop for Remote {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.bare).ok();
    }
}

impl Remote {
    /// Makes a bare repository on the rig's server; the daemon asks at `server` for it, ten times a second.
    fn new(engine: &Engine, git: &Git, server: &str, authority: Option<&str>) -> Result<Self, Failed> {
        let lab = Lab::new(engine)?;
        let bare = git.root.join(format!("{}.git", lab.env));
        text_of(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&bare))?;
        let remote = Self { lab, bare };
        text_of(Command::new("git").arg("-C").arg(&remote.bare).args([
            "config",
            "http.receivepack",
            "true",
        ]))?;
        let lab = &remote.lab;
        lab.git(&["remote", "add", "origin", &git.push_url(&lab.env)])?;
        fs::write(lab.path("token"), &git.token)?;
        let source = format!(
            "url: \"{server}/{}.git\", user: {}, tokenFile: {}, interval: 100ms{}",
            lab.env,
            git.user,
            lab.path("token").display(),
            authority.map(|file| format!(", caFile: {file}")).unwrap_or_default(),
        );
        let file = lab.path("trueup-daemon.yaml");
        let config = fs::read_to_string(&file)?;
        let local = format!("url: {}", lab.path("repo").display());
        fs::write(file, config.replace(&local, &source))?;
        Ok(remote)
    }

    /// Commits a world with that word and pushes it.
    fn push(&self, word: &str) -> Result<String, Failed> {
        app::write(&self.lab, word)?;
        self.lab.replace_in_environment("  components:", "  sync: {interval: 1s}\n  components:")?;
        let commit = self.lab.commit(word)?;
        self.lab.git(&["push", "-q", "origin", "main"])?;
        Ok(commit)
    }
}

fn a_push_over_https_is_applied(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let remote = Remote::new(engine, git, &git.tls_url, Some(&git.ca))?;
    let first = remote.push("first")?;
    let _daemon = remote.lab.daemon()?;
    remote.lab.wait_for("the first commit", in_sync_at(&first))?;
    let second = remote.push("second")?;
    remote.lab.wait_for("the second commit", in_sync_at(&second))?;
    Ok(())
}

fn a_refused_token_changes_nothing(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let remote = Remote::new(engine, git, &git.url, None)?;
    let lab = &remote.lab;
    let first = remote.push("first")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    let before = lab.picture()?;

    fs::write(lab.path("token"), "not-the-token")?;
    let status = lab.wait_for("the refusal", |status| status["sync"] == "Unknown")?;
    let why = status["why"].as_str().unwrap_or_default();
    app::says(why, &["authenticate", "127.0.0.1"])?;
    assert!(!why.contains('\n') && !why.contains("not-the-token"), "{why}");
    assert_eq!(lab.picture()?, before);
    assert!(!daemon.ended()?);

    // What was read is kept up, and that does not hide that nothing new can be read.
    lab.docker(&["stop", &format!("{}-app", lab.env)])?;
    let runs = || Ok::<_, Failed>(app::json(lab, &["history", &lab.env])?["runs"].clone());
    lab.wait_until("the repair", || Ok(runs()?[1].is_object() && runs()?[0]["ended"].is_string()))?;
    let status = lab.wait_for("the end of the turn", |status| status["holder"].is_null())?;
    assert_eq!((&status["sync"], status["why"].as_str()), (&"Unknown".into(), Some(why)));

    fs::write(lab.path("token"), &git.token)?;
    lab.wait_for("the same commit, read again", in_sync_at(&first))?;
    let second = remote.push("second")?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    assert!(!lab.daemon_log().contains(git.token.trim()), "the token is in the log");
    Ok(())
}

fn an_unreachable_server_changes_nothing(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let mut relay = Relay::start(git.address())?;
    let base = git.url.replace(git.address(), &relay.address());
    let remote = Remote::new(engine, git, &base, None)?;
    let lab = &remote.lab;
    let first = remote.push("first")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    let before = lab.picture()?;

    relay.stop()?;
    let second = remote.push("second")?;
    let status = lab.wait_for("the failed fetch", |status| status["sync"] == "Unknown")?;
    let why = status["why"].as_str().unwrap_or_default();
    app::says(why, &["fetch", "127.0.0.1"])?;
    assert!(!why.contains('\n'), "{why}");
    assert_eq!(lab.picture()?, before);
    assert!(!daemon.ended()?);

    relay.resume()?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    Ok(())
}

fn nonsense_and_silence(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let mut relay = Relay::start(git.address())?;
    let base = git.url.replace(git.address(), &relay.address());
    let remote = Remote::new(engine, git, &base, None)?;
    let lab = &remote.lab;
    lab.configure("sources:", "limits: {fetchTimeout: 2s}\nsources:")?;
    let mut commit = remote.push("first")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let answers: [(&str, &[u8]); 4] = [
        ("nonsense", b"%PDF-1.7 \x00\xff\xfe nonsense\r\n\r\n"),
        ("a page", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"),
        ("half an answer", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-adv"),
        ("nothing", b""),
    ];
    for (name, answer) in answers {
        let before = lab.picture()?;
        relay.stop()?;
        let answered = relay.answer(answer)?;
        commit = remote.push(name)?;
        // One that was answered is over when the next one comes.
        lab.wait_until("two questions", || Ok(answered.load(Ordering::SeqCst) >= 2))?;
        let status =
            lab.wait_for(&format!("the trouble with {name}"), |status| status["sync"] == "Unknown")?;
        let why = status["why"].as_str().unwrap_or_default();
        app::says(why, &["127.0.0.1"])?;
        assert!(!why.contains(['\n', '\0']), "{name}: {why}");
        assert_eq!(lab.picture()?, before, "{name}");
        assert!(!daemon.ended()?);
        relay.stop()?;
        relay.resume()?;
        lab.wait_for(&format!("the commit after {name}"), in_sync_at(&commit))?;
    }
    Ok(())
}

/// The daemon asks once an hour, a person's command at once.
fn applied_by_a_person(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let remote = Remote::new(engine, git, &git.url, None)?;
    let lab = &remote.lab;
    lab.configure("interval: 100ms", "interval: 1h")?;
    let first = remote.push("first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    let second = remote.push("second")?;
    lab.succeed(&["apply", &lab.env, "--yes", "--wait", "5m"])?;
    // Its own events tell the daemon of it.
    lab.wait_until("the daemon's own look", || Ok(lab.daemon_log().matches("commit is read").count() == 2))?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    let history = app::json(lab, &["history", &lab.env])?;
    let commits: Vec<_> = history["runs"].as_array().into_iter().flatten().collect();
    assert_eq!(commits.len(), 2, "it was taken back: {history}");
    daemon.stop()
}

/// The daemon's way to the server is cut, a person's is not.
fn applied_while_git_is_away(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let mut relay = Relay::start(git.address())?;
    let base = git.url.replace(git.address(), &relay.address());
    let remote = Remote::new(engine, git, &base, None)?;
    let lab = &remote.lab;
    let direct = lab.path("direct.yaml");
    let config = fs::read_to_string(lab.path("trueup-daemon.yaml"))?;
    fs::write(&direct, config.replace(&relay.address(), git.address()))?;
    lab.configure("interval: 100ms", "interval: 1h")?;
    let first = remote.push("first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    relay.stop()?;
    let second = remote.push("second")?;
    let direct = direct.to_str().ok_or("the path is UTF-8")?;
    lab.succeed(&["--config", direct, "apply", &lab.env, "--yes", "--wait", "5m"])?;
    kill(lab)?;
    wait_for_runs(lab, 3)?;
    kill(lab)?;
    wait_for_runs(lab, 4)?;
    lab.wait_for("the trouble", |status| status["sync"] == "Unknown")?;
    let history = app::json(lab, &["history", &lab.env])?;
    let commits = history["runs"].as_array().into_iter().flatten().map(|run| &run["revision"]["commit"]);
    let commits: Vec<_> = commits.filter_map(|commit| commit.as_str()).collect();
    assert_eq!(commits.iter().filter(|commit| **commit == first).count(), 1, "it was taken back: {history}");
    relay.resume()?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    daemon.stop()
}

fn started_without_git(engine: &Engine, git: &Git) -> Result<(), Failed> {
    let mut relay = Relay::start(git.address())?;
    let base = git.url.replace(git.address(), &relay.address());
    let remote = Remote::new(engine, git, &base, None)?;
    let lab = &remote.lab;
    let first = remote.push("first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    daemon.stop()?;
    relay.stop()?;
    kill(lab)?;
    let daemon = lab.daemon()?;
    wait_for_runs(lab, 2)?;
    kill(lab)?;
    wait_for_runs(lab, 3)?;
    let status = lab.wait_for("the trouble", |status| status["sync"] == "Unknown")?;
    app::says(status["why"].as_str().unwrap_or_default(), &["fetch", &relay.address()])?;
    relay.resume()?;
    lab.wait_for("the same commit", in_sync_at(&first))?;
    daemon.stop()
}

fn kill(lab: &Lab) -> Result<(), Failed> {
    lab.docker(&["kill", &format!("{}-app", lab.env)]).map(drop)
}

/// Waits until so many runs have ended well.
fn wait_for_runs(lab: &Lab, count: usize) -> Result<(), Failed> {
    lab.wait_until(&format!("run {count}"), || {
        let history = app::json(lab, &["history", &lab.env])?;
        let ended = |run: &&Value| run["outcome"]["outcome"] == "applied";
        Ok(history["runs"].as_array().into_iter().flatten().filter(ended).count() == count)
    })
}
