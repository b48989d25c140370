//! Does an act of a plan, takes it back, and cleans up after it.

use bollard::models::ContainerInspectResponse;
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Act, Aside, Kind, ResourceId};

use crate::{
    Docker,
    container::{id_of, is_again, is_lost_to_engine, is_running, run_of},
    failure::moved,
    names::{aside_name, engine_name},
    sight::inspected_name,
    spec::{ContainerSpec, NetworkSpec, PullSpec, from_spec},
};

impl Docker {
    /// Does one act.
    pub(crate) async fn act(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        match act {
            Act::Fetch { what } => self.fetch(run, resource, &from_spec::<PullSpec>(what)?).await,
            Act::Create { spec, replaces } => match resource.kind {
                Kind::Network => {
                    self.create_network(run, resource, &from_spec(spec)?, replaces.as_ref()).await
                }
                Kind::Volume => self.create_volume(run, resource, &from_spec(spec)?).await,
                _ => self.create_container(run, resource, &from_spec(spec)?, replaces.as_ref()).await,
            },
            Act::Update { before, after, fields } => {
                self.change(run, resource, before, (after, fields)).await
            }
            Act::Stop { old } => match self.container(&old.handle).await? {
                Some(found) => self.stop(&found).await,
                None => Err(moved(format!("the container of `{resource}` is gone"))),
            },
            Act::Start { old } => {
                let found = self.current(run, resource, old.as_ref()).await?;
                match (self.start(run, resource, &found).await, old) {
                    (Err(error), Some(old)) if is_lost_to_engine(&error) => {
                        self.replace_lost(run, resource, &Aside { running: true, ..old.clone() }).await
                    }
                    (started, _) => started,
                }
            }
            Act::Restart { old } => {
                let found = self.current(run, resource, Some(old)).await?;
                self.restart(run, resource, &found).await
            }
            Act::Run { .. } => self.run_job(run, resource).await,
            Act::Verify { probe } => self.verify(run, resource, probe).await,
            Act::Retire { old } => self.retire(run, resource, old).await,
        }
    }

    /// Takes one act back that was done, or only begun.
    ///
    /// A restart needs nothing: it is how a paused container is repaired, and the one that runs afterwards is the
    /// same with the same files, because a changed file always makes a new container (see [`crate::rules`]).
    pub(crate) async fn take_back(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        match act {
            Act::Fetch { .. } | Act::Restart { .. } | Act::Verify { .. } => Ok(()),
            Act::Create { replaces, .. } => match resource.kind {
                Kind::Network => self.undo_create_network(run, resource, replaces.as_ref()).await,
                Kind::Volume => self.undo_create_volume(run, resource).await,
                _ => self.undo_create_container(run, resource, replaces.as_ref()).await,
            },
            Act::Update { before, fields, .. } => self.undo_change(run, resource, before, fields).await,
            Act::Stop { old } => self.run_again(run, resource, old).await,
            Act::Start { old } => self.undo_start(run, resource, old.as_ref()).await,
            Act::Run { .. } => self.stop_job(run, resource).await,
            Act::Retire { old } => match resource.kind {
                Kind::Network | Kind::Volume => Ok(()),
                _ => {
                    self.put_back(run, resource, old).await?;
                    self.run_again(run, resource, old).await
                }
            },
        }
    }

    /// Removes what an act kept, once the whole run is committed.
    pub(crate) async fn clean_up(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        let is_container = !matches!(resource.kind, Kind::Network | Kind::Volume);
        match act {
            Act::Create { replaces: Some(old), .. } if is_container => {
                self.drop_aside(run, resource, old).await
            }
            Act::Retire { old } => match resource.kind {
                Kind::Network => {
                    self.remove_network(&old.handle, &engine_name(&run.identity, resource)).await
                }
                Kind::Volume => self.remove_volume(&old.handle).await,
                _ => self.drop_aside(run, resource, old).await,
            },
            _ => Ok(()),
        }
    }

    /// Returns the container of a resource, which must be `expected` where that is given.
    async fn current(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        expected: Option<&Aside>,
    ) -> Result<ContainerInspectResponse, TargetError> {
        let name = engine_name(&run.identity, resource);
        let is_expected = |found: &ContainerInspectResponse| match expected {
            Some(old) => old.handle == id_of(found),
            None => run_of(found) == run.run.to_string(),
        };
        match (self.container(&name).await?, expected) {
            (Some(found), _) if is_expected(&found) => Ok(found),
            (Some(_), _) => Err(moved(format!("`{name}` is not the container that the plan was made for"))),
            // Somebody may have renamed it.
            (None, Some(old)) => self.container(&old.handle).await?.ok_or_else(|| gone(&name)),
            (None, None) => Err(gone(&name)),
        }
    }

    /// Changes a live resource in place to `wanted`.
    async fn change(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        before: &Aside,
        (wanted, fields): (&trueup_plan::Spec, &[String]),
    ) -> Result<(), TargetError> {
        if resource.kind == Kind::Network {
            return match self.network(&before.handle).await? {
                Some(found) => self.set_foreign(&found, before, &from_spec::<NetworkSpec>(wanted)?).await,
                None => Err(moved("a network of the plan is gone")),
            };
        }
        // Another one may have its name: then this one gets it back later.
        let found = self.container(&before.handle).await?;
        let found = found.ok_or_else(|| gone(&engine_name(&run.identity, resource)))?;
        self.update(run, &found, &from_spec::<ContainerSpec>(wanted)?, fields).await
    }

    /// Changes a live resource back, under whichever name it has now. A network that somebody removed has
    /// nothing to change back, and a container is made again.
    async fn undo_change(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        before: &Aside,
        fields: &[String],
    ) -> Result<(), TargetError> {
        if resource.kind == Kind::Network {
            return match self.network(&before.handle).await? {
                Some(found) => {
                    self.set_foreign(&found, before, &from_spec::<NetworkSpec>(&before.spec)?).await
                }
                None => Ok(()),
            };
        }
        match self.container(&before.handle).await? {
            Some(found) => self.update(run, &found, &from_spec::<ContainerSpec>(&before.spec)?, fields).await,
            None => self.restore(run, resource, before).await,
        }
    }

    /// Makes a container again that somebody removed before this run could change it: as it was is that it
    /// was there. This run did not take it away, so what keeps it from being made (its image is gone, too)
    /// is no reason to leave the run unfinished for ever: the next plan creates what is declared.
    async fn restore(&self, run: &RunContext, resource: &ResourceId, old: &Aside) -> Result<(), TargetError> {
        if resource.kind == Kind::Job {
            // A missing job is no drift, and an undo never runs one again.
            return Ok(());
        }
        let restored = async {
            self.put_back(run, resource, old).await?;
            self.run_again(run, resource, old).await
        };
        match restored.await {
            Err(error) if matches!(error.blame, Blame::Manifest | Blame::Moved) => {
                tracing::warn!(run = %run.run, %resource, ?error, "removed by somebody, and cannot be made again");
                Ok(())
            }
            other => other,
        }
    }

    /// Starts again what was running, under whichever id it has now.
    async fn run_again(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        if !old.running {
            return Ok(());
        }
        let name = engine_name(&run.identity, resource);
        let found = match self.container(&old.handle).await? {
            Some(found) => Some(found),
            None => self.container(&name).await?,
        };
        match found {
            Some(found) if is_running(&found) => Ok(()),
            // The new one still has the name: the undo of its creation brings the old one back.
            Some(found) if id_of(&found) != old.handle && run_of(&found) == run.run.to_string() => Ok(()),
            Some(found) => match self.start(run, resource, &found).await {
                Err(error) if is_lost_to_engine(&error) => self.replace_lost(run, resource, old).await,
                started => started,
            },
            None => self.make_again(run, resource, old).await,
        }
    }

    /// Makes a container again that the engine will never start. Its volumes without a name stay.
    async fn replace_lost(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        tracing::warn!(run = %run.run, %resource, "the engine has lost hold of the container: it is made again");
        self.discard(&old.handle).await?;
        match self.container(&engine_name(&run.identity, resource)).await? {
            // The new one still has the name: the undo of its creation makes the old one again.
            Some(_) => Ok(()),
            None => self.make_again(run, resource, old).await,
        }
    }

    /// Stops what this run started.
    async fn undo_start(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: Option<&Aside>,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        let found = match old {
            Some(old) => match self.container(&old.handle).await? {
                None => self.container(&name).await?.filter(|found| is_again(run, found)),
                found => found,
            },
            None => self.created(run, resource).await?,
        };
        match found {
            Some(found) => self.stop(&found).await,
            None => Ok(()),
        }
    }

    /// Takes out of service what is no longer declared. Networks and volumes stay until the commit: what
    /// is kept needs them.
    async fn retire(&self, run: &RunContext, resource: &ResourceId, old: &Aside) -> Result<(), TargetError> {
        if matches!(resource.kind, Kind::Network | Kind::Volume) {
            return Ok(());
        }
        let name = engine_name(&run.identity, resource);
        let Some(found) = self.container(&old.handle).await? else {
            return Err(moved(format!("the container of `{resource}` is gone")));
        };
        if inspected_name(&found) != aside_name(&name, run.run) {
            self.set_aside(run, &name, &old.handle).await?;
        }
        self.stop(&found).await
    }
}

fn gone(name: &str) -> TargetError {
    moved(format!("the container `{name}` is gone"))
}
