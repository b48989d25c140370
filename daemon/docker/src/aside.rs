//! What is replaced or no longer declared is renamed and kept, so that going back is starting it again.

use bollard::query_parameters::RenameContainerOptionsBuilder;
use trueup_engine::{RunContext, TargetError};
use trueup_plan::{Aside, ResourceId};

use crate::{
    Docker,
    container::is_running,
    failure::moved,
    names::{aside_name, engine_name},
    observe::inspected_name,
};

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

    /// Gives a kept container its name back, or makes it again when somebody removed it.
    pub(crate) async fn put_back(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        match self.container(&old.handle).await? {
            Some(found) if inspected_name(&found) == name => Ok(()),
            Some(_) => self.rename(&old.handle, &name).await,
            None if self.container(&name).await?.is_some() => Ok(()),
            None => self.make_again(run, resource, old).await,
        }
    }

    async fn rename(&self, handle: &str, name: &str) -> Result<(), TargetError> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        let renamed = self.api().rename_container(handle, options).await;
        renamed.map_err(|error| self.failed(format!("rename a container to `{name}`"), &error))
    }
}
