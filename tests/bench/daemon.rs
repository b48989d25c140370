//! The shipped daemon on a real engine: how long its start takes, and a commit, and how much memory it needs.
//!
//! The components are endpoints that others run, so that the engine has nothing to do but to be asked.

use std::{
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    measure::{Measured, commits, milliseconds, peak},
    repository::{Catalogue, Repository, Size, Workload, environment_name},
};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// A daemon that is killed when it is dropped.
struct Daemon {
    child: Child,
    folder: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Measures the daemon with so many environments. `TRUEUP_BINARY` names the program, `DOCKER_HOST` the engine.
pub(crate) fn measure(environments: usize, catalogue: Catalogue) -> Result<Measured, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let size = Size { environments, components: 10, catalogue, workload: Workload::External, seed: 1 };
    let bare = folder.path().join("repository.git");
    let mut repository = Repository::create(&bare, size)?;
    let (start, began) = (Instant::now(), Timestamp::now());
    let daemon = Daemon::start(folder.path(), &bare)?;
    daemon.wait(|| Ok(fs::read_to_string(daemon.folder.join("log"))?.contains("commit is read")))?;
    let load = milliseconds(start);
    daemon.wait(|| daemon.are_in_sync(environments, began))?;
    let plan = milliseconds(start) - load;
    let commits = commits(&mut repository, environments, |commit| {
        let committed = Timestamp::now();
        let name = environment_name(commit.number);
        // Who asks too early takes the processor away from what is measured.
        sleep(Duration::from_millis(300));
        daemon.wait(|| Ok(daemon.status(Some(&name))?[0]["compared"]["commit"] == commit.id.as_str()))?;
        let observed = daemon.status(Some(&name))?[0]["observed"].as_str().unwrap_or_default().to_owned();
        Ok(observed.parse::<Timestamp>()?.duration_since(committed).as_secs_f64() * 1000.0)
    })?;
    let peak = peak(daemon.child.id())?;
    drop(daemon);
    let start = Instant::now();
    let again = Timestamp::now();
    let daemon = Daemon::start(folder.path(), &bare)?;
    daemon.wait(|| daemon.are_in_sync(environments, again))?;
    Ok(Measured { environments, load, plan, commits, peak, restart: Some(milliseconds(start)) })
}

impl Daemon {
    fn start(folder: &Path, repository: &Path) -> Result<Self, Box<dyn Error>> {
        let config = format!(
            "stateDir: {folder}/state\nruntimeDir: {folder}/run\nsources:\n  - {{name: bench, url: {repository}}}\n",
            folder = folder.display(),
            repository = repository.display(),
        );
        fs::write(folder.join("trueup-daemon.yaml"), config)?;
        let log = File::create(folder.join("log"))?;
        let child = trueup(folder).arg("daemon").stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self { child, folder: folder.to_owned() })
    }

    fn wait(&self, mut so: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        while !so()? {
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log"))?;
                return Err(format!("waited in vain\n{log}").into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn status(&self, environment: Option<&str>) -> Result<Value, Box<dyn Error>> {
        let output = trueup(&self.folder).arg("status").args(environment).args(["-o", "json"]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        Ok(status["environments"].clone())
    }

    /// Returns whether each of so many environments was looked at since then, and is as declared.
    fn are_in_sync(&self, environments: usize, since: Timestamp) -> Result<bool, Box<dyn Error>> {
        let status = self.status(None)?;
        let all = status.as_array().ok_or("it is a list")?;
        let is_seen = |environment: &Value| {
            let observed = environment["observed"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            observed > Some(since) && environment["sync"] == "Synced"
        };
        Ok(all.len() == environments && all.iter().all(is_seen))
    }
}

fn trueup(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var("TRUEUP_BINARY").unwrap_or_else(|_| "trueup".into()));
    command.env("TRUEUP_CONFIG", folder.join("trueup-daemon.yaml")).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}
