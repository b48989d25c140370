//! trueup's command line on a repository of its own, without a daemon.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{
    Way, run,
    services::{self, CHECK, COMMAND, Condition, IMAGE, INTERVAL, STOP_SIGNAL, Service},
};
use crate::measure::milliseconds;

/// The environment's name.
pub(crate) const ENVIRONMENT: &str = "bench-trueup";

pub(crate) struct Trueup {
    folder: TempDir,
    condition: Condition,
}

impl Trueup {
    pub(crate) fn new(condition: Condition) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let config = format!(
            "stateDir: {folder}/state\nruntimeDir: {folder}/run\nsources:\n  - {{name: bench, url: {folder}/repository}}\n\
             targets:\n  local: {{docker: \"{engine}\"}}\n",
            folder = folder.path().display(),
            engine = env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into()),
        );
        fs::write(folder.path().join("trueup-daemon.yaml"), config)?;
        let trueup = Self { folder, condition };
        for part in ["components", &format!("environments/{ENVIRONMENT}")] {
            fs::create_dir_all(trueup.repository().join(part))?;
        }
        trueup.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(trueup)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn repository(&self) -> std::path::PathBuf {
        self.folder.path().join("repository")
    }

    /// `TRUEUP_BINARY` names the program.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("TRUEUP_BINARY").unwrap_or_else(|| "trueup".into()));
        command.args(arguments).env("TRUEUP_CONFIG", self.folder.path().join("trueup-daemon.yaml"));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn git(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let identity = ["-c", "user.name=A Person", "-c", "user.email=a@example.org"];
        run(Command::new("git").arg("-C").arg(self.repository()).args(identity).args(arguments))
    }

    fn write(&self, path: &str, kind: &str, name: &str, spec: &str) -> Result<(), Box<dyn Error>> {
        let text =
            format!("apiVersion: trueup.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:{spec}");
        Ok(fs::write(self.repository().join(path), text)?)
    }

    /// Commits a generation; a commit that says nothing new is one all the same.
    pub(crate) fn commit(&self, generation: usize) -> Result<(), Box<dyn Error>> {
        self.write("trueup.yaml", "Repository", "bench", " {}\n")?;
        let services: Vec<_> = services::levels(generation).into_iter().flatten().collect();
        for service in &services {
            let path = format!("components/{}.yaml", service.name);
            self.write(&path, "Component", &service.name, &self.spec(service))?;
        }
        let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        // As Compose: what is only waited for to be started is not watched afterwards.
        let spec = format!(
            "\n  target: {{docker: local}}\n  sync: {{stable: 0s}}\n  zones:\n    data: {{}}\n  components: [{}]\n",
            names.join(", ")
        );
        let path = format!("environments/{ENVIRONMENT}/environment.yaml");
        self.write(&path, "Environment", ENVIRONMENT, &spec)?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", &format!("generation {generation}")])
    }

    fn spec(&self, service: &Service) -> String {
        let Service { after, generation, .. } = service;
        let dependency = |other: &String| format!("{{component: {other}, until: {}}}", self.condition);
        let after: Vec<_> = after.iter().map(dependency).collect();
        let health = match self.condition {
            Condition::Started => String::new(),
            Condition::Healthy => {
                format!("  health: {{exec: [{}], interval: {INTERVAL}}}\n", CHECK.join(", "))
            }
        };
        format!(
            "\n  image: {IMAGE}\n  zone: data\n  command: [{}]\n  stopSignal: {STOP_SIGNAL}\n  \
             env: {{GENERATION: \"{generation}\"}}\n  dependsOn: [{}]\n{health}",
            COMMAND.join(", "),
            after.join(", ")
        )
    }
}

impl Way for Trueup {
    fn name(&self) -> &'static str {
        "trueup"
    }

    fn up(&mut self, generation: usize) -> Result<f64, Box<dyn Error>> {
        self.commit(generation)?;
        let start = Instant::now();
        run(&mut self.command(&["apply", ENVIRONMENT, "--yes"]))?;
        Ok(milliseconds(start))
    }

    fn down(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.folder().join("state").exists() {
            return Ok(());
        }
        run(&mut self.command(&["env", "destroy", ENVIRONMENT, "--yes", "--reason", "measured"]))
    }
}
