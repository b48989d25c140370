//! Docker Compose, from the folder of its file.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{
    Way, run,
    services::{self, CHECK, COMMAND, Condition, IMAGE, INTERVAL, STOP_SIGNAL, Service},
};
use crate::measure::milliseconds;

pub(crate) struct Compose {
    folder: TempDir,
    condition: Condition,
}

impl Compose {
    pub(crate) fn new(condition: Condition) -> Result<Self, Box<dyn Error>> {
        Ok(Self { folder: tempfile::tempdir()?, condition })
    }

    /// `TRUEUP_BENCH_COMPOSE` names the program.
    fn command(&self, arguments: &[&str]) -> Command {
        let program = env::var_os("TRUEUP_BENCH_COMPOSE").unwrap_or_else(|| "docker-compose".into());
        let mut command = Command::new(program);
        command.args(["--project-name", "bench-compose"]).args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn write(&self, generation: usize) -> Result<(), Box<dyn Error>> {
        let mut text = "services:\n".to_owned();
        for service in services::levels(generation).iter().flatten() {
            self.service(service, &mut text)?;
        }
        Ok(fs::write(self.folder.path().join("compose.yaml"), text)?)
    }

    fn service(&self, service: &Service, text: &mut String) -> Result<(), Box<dyn Error>> {
        let Service { name, after, generation } = service;
        writeln!(text, "  {name}:\n    image: {IMAGE}\n    command: {COMMAND:?}")?;
        writeln!(text, "    stop_signal: {STOP_SIGNAL}\n    environment: {{GENERATION: \"{generation}\"}}")?;
        if self.condition == Condition::Healthy {
            writeln!(text, "    healthcheck: {{test: [CMD, {}], interval: {INTERVAL}}}", CHECK.join(", "))?;
        }
        if !after.is_empty() {
            writeln!(text, "    depends_on:")?;
        }
        for other in after {
            writeln!(text, "      {other}: {{condition: service_{}}}", self.condition)?;
        }
        Ok(())
    }
}

impl Way for Compose {
    fn name(&self) -> &'static str {
        "Compose"
    }

    fn up(&mut self, generation: usize) -> Result<f64, Box<dyn Error>> {
        self.write(generation)?;
        let start = Instant::now();
        run(&mut self.command(&["up", "--detach"]))?;
        Ok(milliseconds(start))
    }

    fn down(&mut self) -> Result<(), Box<dyn Error>> {
        self.write(0)?;
        run(&mut self.command(&["down", "--timeout", "0"]))
    }
}
