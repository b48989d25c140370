//! What a supervisor and an operator see of a daemon: probes, metrics, a configuration that is read again, and what
//! the service manager is told.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, in_sync_at, says, trials as app_trials},
    lab::{Daemon, Lab, text_of},
    rig::Engine,
};

/// What is installed beside the binary.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Returns the tests that need no engine: theirs is away.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        by_tool("ops::the_alerts_are_valid", "promtool", &["check", "rules", "prometheus/trueup.rules.yaml"]),
        // 3 of 10: what is left is the network, the engine's socket, and giving files to others as root.
        by_tool(
            "ops::the_unit_takes_away_what_is_not_needed",
            "systemd-analyze",
            &["security", "--no-pager", "--offline=true", "--threshold=30", "systemd/trueup.service"],
        ),
    ];
    trials.extend(app_trials(
        &Engine::away(),
        "ops",
        &[
            ("it_lives_at_once_and_is_ready_when_each_source_was_read", ready_when_read),
            ("an_address_in_use_is_told_at_the_start", address_in_use),
            ("every_metric_of_the_alerts_and_the_dashboard_is_exposed", metrics_exist),
            (
                "a_bad_configuration_is_refused_and_the_old_one_stays",
                a_bad_configuration_is_refused_and_the_old_one_stays,
            ),
            ("a_good_configuration_is_in_force_at_once", good_configuration),
            ("the_service_manager_is_told", service_manager),
        ],
    ));
    trials
}

/// Returns a test of what is deployed by a tool, which has to be there in CI.
fn by_tool(name: &str, tool: &'static str, arguments: &'static [&'static str]) -> Trial {
    let is_there = Command::new(tool).arg("--version").output().is_ok();
    let may_be_missing = std::env::var_os("CI").is_none();
    let test = move || text_of(Command::new(tool).args(arguments).current_dir(DEPLOY)).map(drop);
    Trial::test(name, test).with_ignored_flag(!is_there && may_be_missing)
}

/// Returns the tests of one engine.
pub(crate) fn engine_trials(engine: &Engine) -> Vec<Trial> {
    app_trials(
        engine,
        "ops",
        &[
            ("a_run_shows_in_the_metrics_and_goes_with_its_environment", run_in_metrics),
            ("a_reload_disturbs_no_run", reload_during_a_run),
        ],
    )
}

/// Where a daemon of a lab listens.
struct Operated {
    lab: Lab,
    address: String,
}

impl Operated {
    /// Makes a lab with one commit, whose daemon listens.
    fn new(engine: &Engine) -> Result<Self, Failed> {
        let lab = Lab::new(engine)?;
        app::write(&lab, "first")?;
        lab.commit("first")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let operated = Self { lab, address };
        operated.configure(|text| format!("{text}listen: {}\n", operated.address))?;
        Ok(operated)
    }

    /// Writes the configuration anew.
    fn configure(&self, change: impl FnOnce(String) -> String) -> Result<(), Failed> {
        let file = self.lab.path("trueup-daemon.yaml");
        let before = fs::read_to_string(&file)?;
        let after = change(before.clone());
        if after == before {
            return Err("the configuration did not change".into());
        }
        Ok(fs::write(file, after)?)
    }

    /// Asks the daemon; returns the status, 0 when nobody answers, and the body.
    fn get(&self, path: &str) -> Result<(u16, String), Failed> {
        let url = format!("http://{}{path}", self.address);
        let mut command = self.lab.inside("curl");
        let output = command.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", &url]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').ok_or("curl prints the status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    fn wait_for(&self, path: &str, status: u16, words: &[&str]) -> Result<(), Failed> {
        self.lab.wait_until(&format!("{status} and {words:?} from {path}"), || {
            let (got, body) = self.get(path)?;
            Ok(got == status && words.iter().all(|word| body.contains(word)))
        })
    }

    fn metrics(&self) -> Result<String, Failed> {
        match self.get("/metrics")? {
            (200, body) if body.ends_with("# EOF\n") => Ok(body),
            other => Err(format!("it answered {other:?}").into()),
        }
    }

    /// Asks the daemon to read its configuration again, and waits until it has.
    fn reload(&self, daemon: &mut Daemon, word: &str) -> Result<(), Failed> {
        let told = |log: &str| log.matches("the configuration was ").count();
        let before = told(&self.lab.daemon_log());
        hang_up(daemon)?;
        self.lab.wait_until("the reload", || Ok(told(&self.lab.daemon_log()) > before))?;
        let log = self.lab.daemon_log();
        let at = log.rfind("the configuration was ").ok_or("it was just found")?;
        says(&log[at..], &[word])
    }
}

fn hang_up(daemon: &mut Daemon) -> Result<(), Failed> {
    text_of(Command::new("kill").args(["-HUP", &daemon.process().id().to_string()]))?;
    Ok(())
}

fn ready_when_read(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let lab = &operated.lab;
    fs::rename(lab.path("repo"), lab.path("away"))?;
    let _daemon = lab.daemon()?;
    operated.wait_for("/livez", 200, &["ok"])?;
    operated.wait_for("/readyz", 503, &["source `lab` was not read yet: ", "repo"])?;
    says(&operated.metrics()?, &["trueup_source_trouble{source=\"lab\"} 1.0"])?;
    fs::rename(lab.path("away"), lab.path("repo"))?;
    operated.wait_for("/readyz", 200, &["ok"])?;
    let metrics = operated.metrics()?;
    says(
        &metrics,
        &["trueup_source_trouble{source=\"lab\"} 0.0", "trueup_source_last_read_timestamp_seconds"],
    )?;
    assert_eq!(operated.get("/")?.0, 404);
    Ok(())
}

fn address_in_use(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let _taken = TcpListener::bind(&operated.address)?;
    let mut daemon = operated.lab.daemon()?;
    operated.lab.wait_until("the end of the daemon", || Ok(operated.lab.daemon_log().contains("help:")))?;
    assert_eq!(daemon.process().wait()?.code(), Some(1));
    says(
        &operated.lab.daemon_log(),
        &["error: listen: ", &operated.address, "in use", "choose another address"],
    )
}

fn metrics_exist(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let _daemon = operated.lab.daemon()?;
    operated.lab.wait_for("a look", |status| status["sync"] == "Unknown")?;
    let metrics = operated.metrics()?;
    let exposed: BTreeSet<_> = names(&metrics).collect();
    for file in ["prometheus/trueup.rules.yaml", "grafana/trueup.json"] {
        let text = fs::read_to_string(Path::new(DEPLOY).join(file))?;
        let used: BTreeSet<_> = names(&text).collect();
        assert!(used.len() > 3, "{file} uses {used:?}");
        let unknown: Vec<_> = used.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}, which is not in:\n{metrics}");
    }
    let env = &operated.lab.env;
    says(
        &metrics,
        &[
            &format!(
                "trueup_environment_sync_status{{source=\"lab\",environment=\"{env}\",status=\"Unknown\"}} 1.0"
            ),
            &format!(
                "trueup_environment_sync_status{{source=\"lab\",environment=\"{env}\",status=\"Synced\"}} 0.0"
            ),
            "trueup_engine_events_heard{target=\"local\"} 0.0",
            &format!("trueup_runs_total{{source=\"lab\",environment=\"{env}\",outcome=\"applied\"}} 0"),
        ],
    )
}

/// Returns every name of a metric in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("trueup_"))
}

fn a_bad_configuration_is_refused_and_the_old_one_stays(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let mut daemon = operated.lab.daemon()?;
    operated.wait_for("/readyz", 200, &[])?;
    let good = fs::read_to_string(operated.lab.path("trueup-daemon.yaml"))?;
    for (bad, words) in [
        (format!("{good}paralel: 3\n"), &["trueup-daemon.yaml:10:1", "did you mean `parallel`"][..]),
        (format!("{good}targets: {{}}\n"), &["trueup-daemon.yaml:"]),
        (good.replace("state\n", "elsewhere\n"), &["stateDir cannot be changed", "restart"]),
        (good.replace(&operated.address, "127.0.0.1:1"), &["listen cannot be changed"]),
        (good.replace("age.key", "no.key"), &["no.key"]),
        (good.replace(&engine.docker, "ssh://nowhere"), &["targets.local.docker: "]),
    ] {
        operated.configure(|_| bad.clone())?;
        operated.reload(&mut daemon, "refused")?;
        let log = operated.lab.daemon_log();
        let at = log.rfind("the configuration was refused").ok_or("it was just found")?;
        says(&log[at..], words)?;
        says(&operated.metrics()?, &["trueup_config_last_reload_successful 0.0"])?;
        operated.wait_for("/readyz", 200, &[])?;
    }
    operated.configure(|_| format!("{good}parallel: 3\n"))?;
    operated.reload(&mut daemon, "in force")?;
    says(&operated.metrics()?, &["trueup_config_last_reload_successful 1.0"])?;
    daemon.stop()
}

fn good_configuration(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let lab = &operated.lab;
    lab.component(
        "app",
        "  image: trueup-test/busybox:1\n  zone: data\n  command: [sleep, infinity]\n  \
         secrets:\n    - {name: word, from: \"secrets/app.age#word\", file: /run/secrets/word}\n",
    )?;
    lab.secret("secrets/app.age", "word: open\n")?;
    let commit = lab.commit("with a secret")?;
    operated.configure(|text| text.replace("keys: [", "keys: []\n#"))?;
    let mut daemon = lab.daemon()?;
    let by_key = |status: &Value| status["why"].as_str().unwrap_or_default().contains("key");
    lab.wait_for("what cannot be opened", by_key)?;

    // A key: what could not be opened is.
    operated.configure(|text| text.replace("keys: []\n#", "keys: ["))?;
    operated.reload(&mut daemon, "in force")?;
    let by_engine = |status: &Value| status["why"].as_str().unwrap_or_default().contains("engine");
    lab.wait_for("the engine that is away", by_engine)?;

    // A log level.
    operated.configure(|text| format!("{text}log: {{level: debug}}\n"))?;
    operated.reload(&mut daemon, "in force")?;
    lab.wait_until("a line of the new level", || Ok(lab.daemon_log().contains("DEBUG")))?;

    // Another source in place of the first, which is left alone from then on.
    operated.configure(|text| text.replace("name: lab", "name: other"))?;
    operated.reload(&mut daemon, "in force")?;
    operated.wait_for("/readyz", 200, &[])?;
    operated.wait_for("/metrics", 200, &["trueup_source_last_read_timestamp_seconds{source=\"other\"}"])?;
    assert!(!operated.metrics()?.contains("trueup_source_trouble{source=\"lab\"}"));
    let of_source = |source: &str| {
        let all = app::json(lab, &["status"])?["environments"].clone();
        let found = all.as_array().into_iter().flatten().find(|env| env["source"] == source).cloned();
        Ok::<_, Failed>(found.unwrap_or_default())
    };
    lab.wait_until("the new source's environment", || Ok(of_source("other")?["compared"].is_null()))?;
    lab.wait_until("the old source's environment", || {
        Ok(of_source("lab")?["why"]
            .as_str()
            .is_some_and(|why| why.contains("no longer in the daemon's config")))
    })?;
    assert_eq!(lab.git(&["rev-parse", "HEAD"])?, commit);
    daemon.stop()
}

/// A socket that a service manager would listen at.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(path: PathBuf) -> Result<Self, Failed> {
        let socket = UnixDatagram::bind(&path)?;
        // A message that never comes is a failure, not a hang.
        socket.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self { socket, path })
    }

    /// Returns the next message that is no sign of life.
    fn next(&self) -> Result<Vec<String>, Failed> {
        loop {
            let message = self.any()?;
            if message != ["WATCHDOG=1"] {
                return Ok(message);
            }
        }
    }

    fn any(&self) -> Result<Vec<String>, Failed> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect())
    }
}

fn service_manager(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let lab = &operated.lab;
    let manager = Manager::new(lab.path("notify"))?;
    let socket = manager.path.to_str().ok_or("the path is UTF-8")?;
    let mut daemon = lab.daemon_with(&[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "200000")])?;
    assert_eq!(manager.next()?, ["READY=1"]);
    operated.wait_for("/readyz", 200, &[])?;
    while manager.any()? != ["WATCHDOG=1"] {}

    hang_up(&mut daemon)?;
    let reloading = manager.next()?;
    assert_eq!(reloading[0], "RELOADING=1");
    let at = reloading.get(1).and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(at.is_some_and(|at| at.parse::<u64>().is_ok()), "{reloading:?}");
    assert_eq!(manager.next()?, ["READY=1", "STATUS="]);

    operated.configure(|text| format!("{text}paralel: 3\n"))?;
    hang_up(&mut daemon)?;
    assert_eq!(manager.next()?[0], "RELOADING=1");
    let refused = manager.next()?;
    assert_eq!(refused[0], "READY=1");
    says(&refused[1], &["STATUS=configuration refused: ", "trueup-daemon.yaml:10:1"])?;

    text_of(Command::new("kill").arg(daemon.process().id().to_string()))?;
    assert_eq!(manager.next()?, ["STOPPING=1"]);
    daemon.process().wait()?;
    Ok(())
}

fn run_in_metrics(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let lab = &operated.lab;
    let commit = lab.git(&["rev-parse", "HEAD"])?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let of = format!("source=\"lab\",environment=\"{}\"", lab.env);
    operated.wait_for("/metrics", 200, &["trueup_engine_events_heard{target=\"local\"} 1.0"])?;
    let metrics = operated.metrics()?;
    says(
        &metrics,
        &[
            &format!("trueup_runs_total{{{of},outcome=\"applied\"}} 1"),
            &format!("trueup_runs_total{{{of},outcome=\"rolled_back\"}} 0"),
            &format!("trueup_run_duration_seconds_count{{{of}}} 1"),
            &format!("trueup_environment_sync_status{{{of},status=\"Synced\"}} 1.0"),
            &format!("trueup_environment_health_status{{{of},status=\"Healthy\"}} 1.0"),
            &format!("trueup_environment_held{{{of}}} 0.0"),
            &format!("trueup_environment_last_success_timestamp_seconds{{{of}}}"),
            "trueup_phase_duration_seconds_count{phase=\"fetch\"} 1",
            "trueup_phase_duration_seconds_count{phase=\"apply\"} 1",
            "trueup_phase_duration_seconds_count{phase=\"rollback\"} 0",
        ],
    )?;
    assert!(!metrics.contains("trueup_engine_requests_total{target=\"local\"} 0"), "{metrics}");

    app::write_broken(lab)?;
    lab.commit("broken")?;
    lab.wait_for("the hold", |status| status["sync"] == "Held")?;
    let rolled_back = format!("trueup_runs_total{{{of},outcome=\"rolled_back\"}} 1");
    operated.wait_for("/metrics", 200, &[&rolled_back, &format!("trueup_environment_held{{{of}}} 1.0")])?;

    fs::remove_dir_all(lab.path("repo/environments"))?;
    lab.commit("no environment any more")?;
    lab.wait_for("the orphan", |status| status["why"].as_str().is_some_and(|why| why.contains("orphaned")))?;
    lab.succeed(&["env", "destroy", &lab.env, "--volumes", "--reason", "over", "--yes"])?;
    assert!(!operated.metrics()?.contains(&of), "{}", operated.metrics()?);
    daemon.stop()
}

fn reload_during_a_run(engine: &Engine) -> Result<(), Failed> {
    let operated = Operated::new(engine)?;
    let lab = &operated.lab;
    app::write_slow(lab)?;
    let commit = lab.commit("slow")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for_new_container(&serde_json::json!({"containers": {}}))?;
    operated.configure(|text| format!("{text}parallel: 2\n"))?;
    operated.reload(&mut daemon, "in force")?;
    lab.docker(&["exec", &format!("{}-app", lab.env), "touch", "/nowhere"])?;
    lab.wait_for("the commit", in_sync_at(&commit))?;
    let runs = app::json(lab, &["history", &lab.env])?["runs"].clone();
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!(runs[0]["outcome"]["outcome"], "applied", "{runs}");
    daemon.stop()
}
