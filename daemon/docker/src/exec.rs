//! A check by a command in the container.
//!
//! The engine has no call that ends a command: one that hangs goes on when nobody waits for it any more. So
//! what did not end is remembered, and no second one is started beside it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::{
    errors::Error,
    exec::{StartExecOptions, StartExecResults},
    models::{ContainerInspectResponse, ExecConfig},
};
use futures::StreamExt;
use tokio::time::{Instant, timeout};
use trueup_engine::{Redactor, RunContext};
use trueup_schema::manifest::Span;

use crate::{
    Docker,
    container::id_of,
    failure::{found, one_line},
    probe::{ANSWER, text_of},
    sight::inspected_name,
};

/// The commands that were started and have not been seen to end, by the name of their container: one each.
pub(crate) type Unfinished = Mutex<BTreeMap<String, Started>>;

/// A command that was started.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    container: String,
    command: Vec<String>,
    exec: String,
    at: Instant,
}

impl Docker {
    /// Runs a command in a container and waits for its end; says why that is no success.
    pub(crate) async fn try_exec(
        &self,
        run: &RunContext,
        found: &ContainerInspectResponse,
        command: &[String],
        patience: Duration,
    ) -> Result<(), String> {
        let shown = command.join(" ");
        let could_not =
            |error: Error| format!("`{shown}` could not be run: {}", one_line(&error.to_string()));
        let ran = async {
            match self.still_runs(found, command).await? {
                Some(started) => Ok(Err(started.at.elapsed())),
                None => self.exec(found, command).await.map(Ok),
            }
        };
        match timeout(patience, ran).await {
            Err(_) => Err(format!("`{shown}` did not end within {}", Span(patience))),
            Ok(Err(error)) => Err(could_not(error)),
            Ok(Ok(Err(runs))) => Err(format!("`{shown}` still runs after {} s", runs.as_secs())),
            Ok(Ok(Ok((0, _)))) => Ok(()),
            Ok(Ok(Ok((code, output)))) => {
                let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let said = Redactor::new(&run.materials).line(last.trim());
                Err(format!("`{shown}` exited with {code}{}{said}", if said.is_empty() { "" } else { ": " }))
            }
        }
    }

    /// Returns the same command of an earlier try that has not ended. The engine forgets a command with its
    /// container, or when it starts again.
    async fn still_runs(
        &self,
        container: &ContainerInspectResponse,
        command: &[String],
    ) -> Result<Option<Started>, Error> {
        let name = inspected_name(container);
        let Some(started) = self.unfinished().get(name).cloned() else { return Ok(None) };
        let is_same = started.container == id_of(container) && started.command == command;
        if is_same
            && let Some(now) = found(self.api().inspect_exec(&started.exec).await)?
            && now.running == Some(true)
        {
            return Ok(Some(started));
        }
        self.forget_exec(name, &started.exec);
        Ok(None)
    }

    /// Runs a command in a container; returns its exit code and the end of its output.
    async fn exec(
        &self,
        container: &ContainerInspectResponse,
        command: &[String],
    ) -> Result<(i64, String), Error> {
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.api().create_exec(id_of(container), config).await?.id;
        let name = inspected_name(container);
        // Remembered before it is started: whoever waits may be gone at any moment.
        let started = Started {
            container: id_of(container).to_owned(),
            command: command.to_vec(),
            exec: exec.clone(),
            at: Instant::now(),
        };
        self.unfinished().insert(name.to_owned(), started);
        let mut said = String::new();
        if let StartExecResults::Attached { mut output, .. } =
            self.api().start_exec(&exec, None::<StartExecOptions>).await?
        {
            while let Some(part) = output.next().await {
                said.push_str(&text_of(&part?));
                let surplus = said.len().saturating_sub(ANSWER);
                said = said.chars().skip(surplus).collect();
            }
        }
        let ended = self.api().inspect_exec(&exec).await?;
        if ended.running != Some(true) {
            self.forget_exec(name, &exec);
        }
        Ok((ended.exit_code.unwrap_or(-1), said))
    }

    fn unfinished(&self) -> MutexGuard<'_, BTreeMap<String, Started>> {
        self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_exec(&self, name: &str, exec: &str) {
        let mut unfinished = self.unfinished();
        if unfinished.get(name).is_some_and(|started| started.exec == exec) {
            unfinished.remove(name);
        }
    }
}
