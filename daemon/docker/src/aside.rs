//! What is replaced or no longer declared is renamed and kept, so that going back is starting it again.

use bollard::query_parameters::RenameContainerOptionsBuilder;
use trueup_engine::{RunContext, TargetError};
use trueup_plan::{Aside, ResourceId};

use crate::{
    Docker,
    body::engine_network,
    container::{is_again, is_running, starts_again},
    failure::moved,
    names::{RUN, aside_name, engine_name},
    sight::inspected_name,
    spec::{ContainerSpec, from_spec},
};

/// How often a container may start and end again while it is renamed.
const RENAMES: usize = 5;

impl Docker {
    /// Renames a container to the name under which this run keeps it; returns whether it runs.
    pub(crate) async fn set_aside(
        &self,
        run: &RunContext,
        name: &str,
        handle: &str,
    ) -> Result<bool, TargetError> {
        let Some(found) = self.container(handle).await? else {
            return Err(moved(format!("the container `{name}` is gone")));
        };
        let kept = aside_name(name, run.run);
        if inspected_name(&found) != kept {
            self.rename(handle, &kept).await?;
        }
        Ok(is_running(&found))
    }

    /// Gives a kept container its name back, or makes it again when somebody removed it: then it runs if it
    /// did, because the undo of its stop may have been before.
    pub(crate) async fn put_back(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        // Somebody may have given it another one than its own.
        let had = from_spec::<ContainerSpec>(&old.spec)?.name;
        match self.container(&old.handle).await? {
            Some(found) if inspected_name(&found) == had => return Ok(()),
            Some(_) => return self.rename(&old.handle, &had).await,
            None => {}
        }
        let name = engine_name(&run.identity, resource);
        match self.container(&name).await? {
            Some(found) if starts_again(resource, old) && is_again(run, &found) => {
                self.start(run, resource, &found).await
            }
            Some(_) => Ok(()),
            None if old.running && self.is_on_new_network(run, old).await? => Ok(()),
            None => self.make_again(run, resource, old).await,
        }
    }

    /// Returns whether a network that it was on is one of this run. The old one is made again later, and the
    /// undo of the stop, which comes after that, brings the container back.
    async fn is_on_new_network(&self, run: &RunContext, old: &Aside) -> Result<bool, TargetError> {
        let spec: ContainerSpec = from_spec(&old.spec)?;
        for key in spec.networks.keys() {
            let network = self.network(&engine_network(&run.identity, key)).await?;
            let labels = network.and_then(|network| network.labels).unwrap_or_default();
            if labels.get(RUN).is_some_and(|by| *by == run.run.to_string()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renames a container. One that waits to be restarted has no sandbox, which Engine 20.10 wants to rename,
    /// too: such a one is stopped for it, and started again. It may have started by itself and ended again
    /// before it is looked at, so that is done more than once.
    pub(crate) async fn rename(&self, handle: &str, name: &str) -> Result<(), TargetError> {
        let mut stopped = None;
        let mut renamed = self.rename_at_once(handle, name).await;
        for _ in 0..RENAMES {
            if !matches!(&renamed, Err(error) if lacks_sandbox(error)) {
                break;
            }
            let Some(found) = self.container(handle).await? else {
                return Err(moved(format!("the container that shall be `{name}` is gone")));
            };
            let has_name = inspected_name(&found) == name;
            if found.state.as_ref().is_some_and(|state| state.restarting == Some(true)) {
                self.stop_now(&found).await?;
                stopped = Some(found);
            }
            renamed = if has_name { Ok(()) } else { self.rename_at_once(handle, name).await };
        }
        if let Some(found) = stopped
            && let Err(error) = self.start_as_it_is(&found, name).await
        {
            // It failed before, too; what it should be is told as drift, or by the undo of what comes next.
            tracing::warn!(container = name, ?error, "does not start again after its new name");
        }
        renamed.map_err(|error| self.failed(format!("rename a container to `{name}`"), &error))
    }

    async fn rename_at_once(&self, handle: &str, name: &str) -> Result<(), bollard::errors::Error> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        self.api().rename_container(handle, options).await
    }
}

fn lacks_sandbox(error: &bollard::errors::Error) -> bool {
    let text = error.to_string();
    text.contains("sandbox") && text.contains("not found")
}
