//! One test's own world: a repository, a configuration, a store and names of its own on a shared engine.

mod process;

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::Engine;
use process::both;
pub(crate) use process::{Daemon, Started, text_of};

/// The longest that anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_mins(6);

static NEXT: AtomicU16 = AtomicU16::new(0);

/// One test's own world. What it made on the engine is removed when it is dropped.
pub(crate) struct Lab {
    dir: TempDir,
    pub(crate) engine: Engine,
    /// The environment's name, unique on the engine.
    pub(crate) env: String,
    number: u16,
}

impl Lab {
    /// Makes a world on an engine: an age key, an empty repository, and subnets that nobody else uses.
    pub(crate) fn new(engine: &Engine) -> Result<Self, Failed> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let env = format!("t{}-{number}", std::process::id());
        let lab = Self { dir: tempfile::tempdir()?, engine: engine.clone(), env, number: number % 250 };
        fs::create_dir_all(lab.path("repo/components"))?;
        lab.git(&["init", "-q", "-b", "main"])?;
        let key = lab.path("age.key");
        let recipient = lab.succeed(&["secret", "init", key.to_str().ok_or("the path is UTF-8")?])?;
        fs::write(lab.path("recipient"), recipient)?;
        let config = format!(
            "stateDir: {root}/state\nruntimeDir: /run/trueup-tests/{env}\nkeys: [{root}/age.key]\n\
             sources:\n  - {{name: lab, url: {root}/repo}}\n\
             targets:\n  local: {{docker: \"{docker}\"}}\n\
             subnetPool: [{pool}.0.0/16]\n",
            root = lab.dir.path().display(),
            env = lab.env,
            docker = lab.engine.docker,
            pool = lab.pool(),
        );
        fs::write(lab.path("trueup-daemon.yaml"), config)?;
        lab.write(
            "trueup.yaml",
            "apiVersion: trueup.dev/v1\nkind: Repository\nmetadata: {name: lab}\nspec: {}\n",
        )?;
        Ok(lab)
    }

    /// Returns a path inside of the world.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file of the repository.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        let path = self.path("repo").join(path);
        fs::create_dir_all(path.parent().ok_or("a file has a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Writes a Component with this `spec`, as YAML that is indented by two.
    pub(crate) fn component(&self, name: &str, spec: &str) -> Result<(), Failed> {
        let text =
            format!("apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n{spec}");
        self.write(&format!("components/{name}.yaml"), &text)
    }

    /// Writes the Environment with this `spec`, beside its target.
    pub(crate) fn environment(&self, spec: &str) -> Result<(), Failed> {
        let env = &self.env;
        let recipient = fs::read_to_string(self.path("recipient"))?;
        let text = format!(
            "apiVersion: trueup.dev/v1\nkind: Environment\nmetadata: {{name: {env}}}\n\
             spec:\n  target: {{docker: local}}\n  encryption: {{recipients: [{}]}}\n{spec}",
            recipient.trim()
        );
        self.write(&format!("environments/{env}/environment.yaml"), &text)
    }

    /// Encrypts a secret file of the environment.
    pub(crate) fn secret(&self, file: &str, plaintext: &str) -> Result<(), Failed> {
        let mut child = self
            .command()
            .args(["-C", "repo", "secret", "encrypt", "--replace", &self.env, file])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("standard input is a pipe")?.write_all(plaintext.as_bytes())?;
        let output = child.wait_with_output()?;
        if output.status.success() { Ok(()) } else { Err(both(&output).into()) }
    }

    /// Adds a component to the environment.
    pub(crate) fn add_component(&self, name: &str) -> Result<(), Failed> {
        self.replace_in_environment("components: [", &format!("components: [{name}, "))
    }

    /// Replaces a text in the environment's manifest.
    pub(crate) fn replace_in_environment(&self, from: &str, to: &str) -> Result<(), Failed> {
        self.replace_in(&format!("environments/{}/environment.yaml", self.env), from, to)
    }

    /// Replaces a text, which must be there, in a file of the repository.
    pub(crate) fn replace_in(&self, path: &str, from: &str, to: &str) -> Result<(), Failed> {
        let text = fs::read_to_string(self.path("repo").join(path))?;
        if !text.contains(from) {
            return Err(format!("`{from}` is not in {path}").into());
        }
        self.write(path, &text.replacen(from, to, 1))
    }

    /// The label of things that stand in the environment's way; they are removed with the lab.
    pub(crate) fn label(&self) -> String {
        format!("trueup-tests.neighbour={}", self.env)
    }

    /// Removes what stood in the way.
    pub(crate) fn remove_neighbours(&self) -> Result<(), Failed> {
        let filter = format!("label={}", self.label());
        for (list, remove) in
            [(&["ps", "-aq"][..], &["rm", "-f"][..]), (&["network", "ls", "-q"], &["network", "rm"])]
        {
            let mut all = list.to_vec();
            all.extend(["--filter", &filter]);
            for id in self.docker(&all)?.lines() {
                let mut arguments = remove.to_vec();
                arguments.push(id);
                self.docker(&arguments)?;
            }
        }
        Ok(())
    }

    /// Returns the first two numbers of the pool that the zones take their subnets from: `10.100`.
    pub(crate) fn pool(&self) -> String {
        format!("10.{}", 100 + self.number % 100)
    }

    /// Replaces a text, which must be there, in the operator's configuration.
    pub(crate) fn configure(&self, from: &str, to: &str) -> Result<(), Failed> {
        let file = self.path("trueup-daemon.yaml");
        let text = fs::read_to_string(&file)?;
        if !text.contains(from) {
            return Err(format!("`{from}` is not in the configuration").into());
        }
        Ok(fs::write(file, text.replacen(from, to, 1))?)
    }

    /// Returns a number below 250 that no other lab of this run has.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Commits everything and returns the commit's id.
    pub(crate) fn commit(&self, subject: &str) -> Result<String, Failed> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", subject])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs Git in the repository.
    pub(crate) fn git(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new("git");
        command.current_dir(self.path("repo")).args([
            "-c",
            "user.name=A Person",
            "-c",
            "user.email=a@example.org",
        ]);
        text_of(command.args(arguments))
    }

    /// The shipped binary, in the engine's network namespace.
    fn command(&self) -> Command {
        let binary = std::env::var("TRUEUP_BINARY").unwrap_or_else(|_| default_binary());
        let mut command = self.inside(&binary);
        command.env("NO_COLOR", "1").current_dir(self.dir.path()).stdin(Stdio::null());
        if self.path("trueup-daemon.yaml").exists() {
            command.env("TRUEUP_CONFIG", self.path("trueup-daemon.yaml"));
        }
        command
    }

    /// Returns a program in the engine's network namespace.
    pub(crate) fn inside(&self, program: &str) -> Command {
        match &self.engine.netns {
            Some(netns) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{netns}")).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Runs `trueup` and returns what it did, whatever that is.
    pub(crate) fn trueup(&self, arguments: &[&str]) -> Result<Output, Failed> {
        Ok(self.command().args(arguments).output()?)
    }

    /// Runs `trueup`, which must exit with 0, and returns its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Result<String, Failed> {
        text_of(self.command().args(arguments))
    }

    /// Runs `trueup`, which must exit with this code, and returns both of its outputs.
    pub(crate) fn exits(&self, code: i32, arguments: &[&str]) -> Result<String, Failed> {
        let output = self.trueup(arguments)?;
        let text = both(&output);
        if output.status.code() == Some(code) {
            return Ok(text);
        }
        Err(format!("`trueup {}` ended with {}, not {code}:\n{text}", arguments.join(" "), output.status)
            .into())
    }

    /// Starts `trueup` and does not wait for its end.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Started, Failed> {
        let mut command = self.command();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Started(Some(command.spawn()?)))
    }

    /// Starts `trueup` on a terminal of its own, on which can be typed.
    pub(crate) fn start_on_terminal(&self, arguments: &[&str]) -> Result<Started, Failed> {
        let mut inner = self.command();
        inner.args(arguments);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let line: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut command = Command::new("script");
        command
            .args(["-qec", &line.join(" "), "/dev/null"])
            .current_dir(self.dir.path())
            .env("TERM", "xterm");
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Started(Some(command.spawn()?)))
    }

    /// Starts the daemon; its log goes to `daemon.log`.
    pub(crate) fn daemon(&self) -> Result<Daemon, Failed> {
        self.daemon_with(&[])
    }

    /// Starts the daemon with variables in its environment.
    pub(crate) fn daemon_with(&self, variables: &[(&str, &str)]) -> Result<Daemon, Failed> {
        let log = fs::File::options().create(true).append(true).open(self.path("daemon.log"))?;
        let mut command = self.command();
        command.arg("daemon").envs(variables.iter().copied()).stdout(log.try_clone()?).stderr(log);
        Ok(Daemon(command.spawn()?))
    }

    /// Starts the daemon on the same engine at another address.
    pub(crate) fn daemon_at(&self, docker: &str) -> Result<Daemon, Failed> {
        let text = fs::read_to_string(self.path("trueup-daemon.yaml"))?;
        let elsewhere = self.path("elsewhere.yaml");
        fs::write(&elsewhere, text.replace(&self.engine.docker, docker))?;
        self.daemon_with(&[("TRUEUP_CONFIG", elsewhere.to_str().ok_or("the path is UTF-8")?)])
    }

    /// Returns everything that daemons of this world logged.
    pub(crate) fn daemon_log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Returns the environment's status, or null before anything is known of it.
    pub(crate) fn status_if_known(&self) -> Result<Value, Failed> {
        let status: Value = serde_json::from_str(&self.succeed(&["status", "-o", "json"])?)?;
        Ok(status["environments"][0].clone())
    }

    /// Returns the environment as `trueup status -o json` shows it.
    pub(crate) fn status(&self) -> Result<Value, Failed> {
        let text = self.succeed(&["status", &self.env, "-o", "json"])?;
        let status: Value = serde_json::from_str(&text)?;
        Ok(status["environments"][0].clone())
    }

    /// Waits until the daemon has no more reason to look at the environment.
    pub(crate) fn settle(&self) -> Result<(), Failed> {
        let last = Cell::new(Value::Null);
        self.wait_until("the daemon to come to rest", || {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.status_if_known()?;
            let is_same = now["holder"].is_null() && now["observed"] == last.take();
            last.set(now["observed"].clone());
            Ok(is_same)
        })
    }

    /// Waits until something is so; fails with the daemon's log.
    pub(crate) fn wait_until(&self, what: &str, so: impl Fn() -> Result<bool, Failed>) -> Result<(), Failed> {
        let start = Instant::now();
        while !so()? {
            if start.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {what}\n{}", self.daemon_log()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until a container runs that is not in an earlier picture.
    pub(crate) fn wait_for_new_container(&self, before: &Value) -> Result<(), Failed> {
        let old = before["containers"].to_string();
        self.wait_until("a new container", || {
            let is_new = |c: &Value| !old.contains(c["Id"].as_str().unwrap_or_default());
            // One that is removed between the list and the look makes the look fail.
            let containers = self.containers().unwrap_or_default();
            Ok(containers.values().any(|c| is_new(c) && c["State"]["Running"] == true))
        })
    }

    /// Waits until the environment's status is as wanted; fails with the daemon's log.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        let start = Instant::now();
        loop {
            let status = self.status_if_known()?;
            if wanted(&status) {
                return Ok(status);
            }
            if start.elapsed() > PATIENCE {
                let log = self.daemon_log();
                return Err(format!("waited in vain for {what}; status: {status}\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs the engine's own client, which would wait for ever for an engine that is stuck.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String, Failed> {
        text_of(Command::new("timeout").args(["300", "docker", "-H", &self.engine.docker]).args(arguments))
    }

    fn ids(&self, arguments: &[&str]) -> Result<Vec<String>, Failed> {
        let label = format!("label=dev.trueup.environment={}", self.env);
        let mut all = arguments.to_vec();
        all.extend(["--filter", &label, "-q"]);
        Ok(self.docker(&all)?.lines().map(str::to_owned).collect())
    }

    fn inspect(&self, kind: &str, ids: &[String]) -> Result<Vec<Value>, Failed> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec![kind, "inspect"];
        arguments.extend(ids.iter().map(String::as_str));
        Ok(serde_json::from_str(&self.docker(&arguments)?)?)
    }

    /// Returns the containers of the environment by name, as the engine describes them.
    pub(crate) fn containers(&self) -> Result<BTreeMap<String, Value>, Failed> {
        let containers = self.inspect("container", &self.ids(&["ps", "-a", "--no-trunc"])?)?;
        Ok(containers.into_iter().map(|c| (c["Name"].as_str().unwrap_or_default().to_owned(), c)).collect())
    }

    /// Returns everything that "as it was" is about: containers, networks and volumes, without what
    /// differs from one start to the next.
    pub(crate) fn picture(&self) -> Result<Value, Failed> {
        let containers: BTreeMap<_, _> =
            self.containers()?.into_iter().map(|(k, v)| (k, as_it_was(&v))).collect();
        let mut networks = self.inspect("network", &self.ids(&["network", "ls"])?)?;
        for network in &mut networks {
            network["Containers"] = Value::Null;
            network["Status"] = Value::Null;
        }
        let volumes = self.inspect("volume", &self.ids(&["volume", "ls"])?)?;
        Ok(serde_json::json!({ "containers": containers, "networks": networks, "volumes": volumes }))
    }
}

/// Keeps of a container what a rollback must restore.
fn as_it_was(container: &Value) -> Value {
    let mut endpoints = container["NetworkSettings"]["Networks"].clone();
    for endpoint in endpoints.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
        for volatile in ["EndpointID", "NetworkID", "MacAddress", "DNSNames"] {
            endpoint[volatile] = Value::Null;
        }
    }
    // The engine lists mounts in any order.
    let mut mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    serde_json::json!({
        "id": container["Id"],
        "name": container["Name"],
        "image": container["Image"],
        "config": container["Config"],
        "host": container["HostConfig"],
        "mounts": mounts,
        "endpoints": endpoints,
        "running": container["State"]["Running"],
        "health": container["State"]["Health"]["Status"],
    })
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.remove_neighbours().ok();
        for (list, remove) in [
            (&["ps", "-a"][..], &["rm", "-f", "-v"][..]),
            (&["network", "ls"], &["network", "rm"]),
            (&["volume", "ls"], &["volume", "rm"]),
        ] {
            let Ok(ids) = self.ids(list) else { continue };
            for id in ids {
                let mut arguments = remove.to_vec();
                arguments.push(&id);
                self.docker(&arguments).ok();
            }
        }
        fs::remove_dir_all(Path::new("/run/trueup-tests").join(&self.env)).ok();
    }
}

fn default_binary() -> String {
    let here = std::env::current_exe().expect("a running program has a path");
    let target = here.ancestors().nth(2).expect("a test binary is in target/<profile>/deps");
    target.join("trueup").display().to_string()
}
