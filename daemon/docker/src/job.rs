//! Containers that run to their end: jobs, and one run of what runs by schedule.

use bollard::{models::ContainerInspectResponse, query_parameters::WaitContainerOptions};
use futures::StreamExt;
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Kind, ResourceId};

use crate::{
    Docker,
    container::{id_of, is_running},
    failure::moved,
    names::engine_name,
};

/// A run of what runs by schedule.
#[derive(Debug)]
pub struct CronRun(ContainerInspectResponse);

impl Docker {
    /// Runs a job to its end, which must be a success.
    pub(crate) async fn run_job(&self, run: &RunContext, resource: &ResourceId) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        let Some(found) = self.container(&name).await? else {
            return Err(moved(format!("the container `{name}` is gone")));
        };
        if !is_running(&found) {
            self.start(run, resource, &found).await?;
        }
        run.progress.tell(resource, "running");
        self.wait_for_end(run, resource, &found).await
    }

    async fn wait_for_end(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        found: &ContainerInspectResponse,
    ) -> Result<(), TargetError> {
        let mut ends = std::pin::pin!(self.api().wait_container(id_of(found), None::<WaitContainerOptions>));
        let end = tokio::select! {
            end = ends.next() => end,
            () = run.cancel.cancelled() => {
                return Err(TargetError::new(Blame::Cancelled, format!("{resource} was cancelled")));
            }
        };
        let code = match end {
            Some(Ok(end)) => end.status_code,
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
            Some(Err(error)) => return Err(self.failed(format!("wait for `{resource}`"), &error)),
            None => {
                return Err(TargetError::new(
                    Blame::Target,
                    format!("the engine left the wait for `{resource}`"),
                ));
            }
        };
        match code {
            0 => Ok(()),
            code => Err(self.unwell(run, found, format!("{resource} exited with {code}")).await),
        }
    }

    /// Stops a job of this run that still runs.
    pub(crate) async fn stop_job(&self, run: &RunContext, resource: &ResourceId) -> Result<(), TargetError> {
        match self.container(&engine_name(&run.identity, resource)).await? {
            Some(found) if is_running(&found) => self.stop(&found).await,
            _ => Ok(()),
        }
    }

    /// Returns what is started for a run by schedule; none while the run before goes on.
    pub async fn idle_cron(
        &self,
        run: &RunContext,
        resource: &ResourceId,
    ) -> Result<Option<CronRun>, TargetError> {
        if resource.kind != Kind::Cron {
            return Err(moved(format!("`{resource}` does not run by schedule")));
        }
        let name = engine_name(&run.identity, resource);
        let Some(found) = self.container(&name).await? else {
            return Err(moved(format!("the container `{name}` is gone")));
        };
        Ok((!is_running(&found)).then_some(CronRun(found)))
    }

    /// Starts a run by schedule.
    pub async fn start_cron(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        idle: &CronRun,
    ) -> Result<(), TargetError> {
        let _acting = self.mirror().act(run.identity.key());
        self.start(run, resource, &idle.0).await
    }

    /// Returns whether a run by schedule has begun although its start failed, as far as the engine can tell.
    pub async fn has_begun(&self, idle: &CronRun) -> bool {
        match self.container(id_of(&idle.0)).await {
            Ok(Some(found)) => started_at(&found) != started_at(&idle.0),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Waits for the end of a run, which must be a success.
    pub async fn end_of_cron(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        started: &CronRun,
    ) -> Result<(), TargetError> {
        self.wait_for_end(run, resource, &started.0).await
    }
}

fn started_at(found: &ContainerInspectResponse) -> Option<&str> {
    found.state.as_ref()?.started_at.as_deref()
}
