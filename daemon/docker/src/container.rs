//! Containers: created beside the one that they replace, which is renamed and kept.

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RestartContainerOptions,
        StartContainerOptions, StopContainerOptions, StopContainerOptionsBuilder,
    },
};
use std::{collections::HashMap, time::Duration};
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Aside, Kind, ResourceId};
use trueup_schema::ComponentName;

use crate::{
    ANSWER, Docker,
    body::Blueprint,
    connect::lost_a_network,
    failure::{already, gone, moved},
    image::is_same,
    inspect,
    names::{ENV_UID, Labels, RUN, aside_name, container_resource, engine_name, is_mode_of},
    sight::inspected_name,
    spec::{ContainerSpec, from_spec},
};

/// Returns the id of an inspected container.
pub(crate) fn id_of(found: &ContainerInspectResponse) -> &str {
    found.id.as_deref().unwrap_or_default()
}

/// Returns the run that created an inspected container.
pub(crate) fn run_of(found: &ContainerInspectResponse) -> &str {
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.and_then(|labels| labels.get(RUN)).map(String::as_str).unwrap_or_default()
}

/// Returns whether an inspected container runs, or would if it did not fail.
pub(crate) fn is_running(found: &ContainerInspectResponse) -> bool {
    let state = found.state.as_ref();
    state.is_some_and(|state| state.running == Some(true) || state.restarting == Some(true))
}

fn component(resource: &ResourceId) -> Result<&ComponentName, TargetError> {
    let missing = || moved(format!("the plan does not say whose container `{resource}` is"));
    resource.component.as_ref().ok_or_else(missing)
}

impl Docker {
    /// Creates a container, not started; the one that it replaces is set aside first.
    pub(crate) async fn create_container(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        spec: &ContainerSpec,
        replaces: Option<&Aside>,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        if let Some(found) = self.container(&name).await? {
            let is_replaced = replaces.is_some_and(|old| old.handle == id_of(&found));
            let is_ours = !is_replaced && run_of(&found) == run.run.to_string();
            match (is_replaced, is_ours) {
                (true, _) => {}
                (false, true) if is_running(&found) => return Ok(()),
                // It was begun before a crash, and may lack a network: it is made anew.
                (false, true) => self.remove(id_of(&found)).await?,
                (false, false) => {
                    return Err(moved(format!("`{name}` is not the container that the plan was made for")));
                }
            }
        }
        let standby = match replaces {
            Some(old) => self.set_aside(run, &name, &old.handle).await?,
            None => false,
        };
        self.deliver(run, component(resource)?, &spec.files).await?;
        let blueprint = Blueprint {
            identity: &run.identity,
            run: run.run.to_string(),
            resource,
            spec,
            materials: &run.materials,
            standby,
        };
        let id = self.create_from(&name, &blueprint).await?;
        self.check_image(&id, spec).await?;
        self.own_new_volumes(run, spec).await
    }

    /// Creates a container and connects it to all of its networks; returns its id.
    pub(crate) async fn create_from(
        &self,
        name: &str,
        blueprint: &Blueprint<'_>,
    ) -> Result<String, TargetError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body = self.body(blueprint)?;
        let created = self.api().create_container(Some(options), body).await;
        let created =
            created.map_err(|error| self.failed(format!("create the container `{name}`"), &error))?;
        if let Some(warning) = created.warnings.first() {
            return Err(TargetError {
                causes: vec![warning.clone()],
                ..TargetError::new(
                    Blame::Manifest,
                    format!("the engine would not honour all of `{}`", blueprint.resource),
                )
            });
        }
        // The first network came with the creation: engines before 25.0 take one there.
        for (network, settings) in blueprint.endpoints().into_iter().skip(1) {
            self.join(&network, &created.id, settings).await?;
        }
        if !self.is_local() && !blueprint.spec.files.is_empty() {
            self.upload(&created.id, blueprint).await?;
        }
        Ok(created.id)
    }

    async fn check_image(&self, id: &str, spec: &ContainerSpec) -> Result<(), TargetError> {
        let found = self.container(id).await?;
        let image = found.and_then(|found| found.image);
        let Some(image) = image else { return Ok(()) };
        match self.image(&image).await? {
            // What no registry could tell before is whatever was pulled.
            Some(image) if !spec.image.id.starts_with("unresolved:") && !is_same(&image, &spec.image.id) => {
                Err(moved(format!("`{}` is another image than when the plan was made", spec.image.reference)))
            }
            _ => Ok(()),
        }
    }

    /// Starts a container by name or id, with its files in place.
    pub(crate) async fn start(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        found: &ContainerInspectResponse,
    ) -> Result<(), TargetError> {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        self.deliver(run, component(resource)?, &inspect::files(labels)).await?;
        self.start_as_it_is(found, resource).await
    }

    /// Starts a container whose files are in place.
    pub(crate) async fn start_as_it_is(
        &self,
        found: &ContainerInspectResponse,
        shown: impl std::fmt::Display,
    ) -> Result<(), TargetError> {
        let _joins = self.may_join(found).await?;
        let mut started = self.api().start_container(id_of(found), None::<StartContainerOptions>).await;
        if matches!(&started, Err(error) if lost_a_network(error)) {
            self.rejoin(found).await?;
            started = self.api().start_container(id_of(found), None::<StartContainerOptions>).await;
        }
        already(started).map_err(|error| self.failed(format!("start `{shown}`"), &error))
    }

    /// Stops a container within its own grace.
    pub(crate) async fn stop(&self, found: &ContainerInspectResponse) -> Result<(), TargetError> {
        let api = self.patient(found);
        let _leaves = self.may_leave(found).await?;
        let stopped = api.stop_container(id_of(found), None::<StopContainerOptions>).await;
        gone(stopped).map_err(|error| self.failed(format!("stop `{}`", inspected_name(found)), &error))
    }

    /// Stops a container of which nothing runs.
    pub(crate) async fn stop_now(&self, found: &ContainerInspectResponse) -> Result<(), TargetError> {
        let _leaves = self.may_leave(found).await?;
        let at_once = StopContainerOptionsBuilder::new().t(0).build();
        let stopped = self.api().stop_container(id_of(found), Some(at_once)).await;
        gone(stopped).map_err(|error| self.failed(format!("stop `{}`", inspected_name(found)), &error))
    }

    /// Stops and starts a container.
    pub(crate) async fn restart(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        found: &ContainerInspectResponse,
    ) -> Result<(), TargetError> {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        self.deliver(run, component(resource)?, &inspect::files(labels)).await?;
        let api = self.patient(found);
        let _leaves = self.may_leave(found).await?;
        let restarted = api.restart_container(id_of(found), None::<RestartContainerOptions>).await;
        restarted.map_err(|error| self.failed(format!("restart `{resource}`"), &error))
    }

    /// Returns a client that waits as long as a container may take to stop.
    fn patient(&self, found: &ContainerInspectResponse) -> bollard::Docker {
        let grace = found.config.as_ref().and_then(|config| config.stop_timeout).unwrap_or(10);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        self.api().clone().with_timeout(ANSWER + grace)
    }

    /// Removes a container with the volumes that only it knows.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), TargetError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let mut removed = self.api().remove_container(id, Some(options.clone())).await;
        if matches!(&removed, Err(error) if crate::failure::status(error) == Some(409)) {
            // "removal is already in progress": the next answer tells whether it is gone.
            removed = self.api().remove_container(id, Some(options)).await;
        }
        gone(removed).map_err(|error| self.failed(format!("remove the container `{id}`"), &error))
    }

    /// Removes a container and leaves the volumes that it made for itself.
    pub(crate) async fn discard(&self, id: &str) -> Result<(), TargetError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        let removed = self.api().remove_container(id, Some(options)).await;
        gone(removed).map_err(|error| self.failed(format!("remove the container `{id}`"), &error))
    }

    /// Returns the container that this run created for a resource, under whichever name it has now, or what the undo
    /// of a later run made again in its place.
    pub(crate) async fn created(
        &self,
        run: &RunContext,
        resource: &ResourceId,
    ) -> Result<Option<ContainerInspectResponse>, TargetError> {
        let by = run.run.to_string();
        let named = self.container(&engine_name(&run.identity, resource)).await?;
        if named.as_ref().is_some_and(|found| run_of(found) == by || is_again_after(run, found)) {
            return Ok(named);
        }
        let labels = vec![format!("{ENV_UID}={}", run.identity.uid), format!("{RUN}={by}")];
        let listed = self.list_containers(HashMap::from([("label".to_owned(), labels)])).await?;
        let is_of_resource =
            |labels: &Labels| container_resource(labels).is_some_and(|listed| listed == *resource);
        // Somebody may have copied the labels.
        let is_ours = |listed: &&ContainerSummary| {
            let mode = listed.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
            listed.labels.as_ref().is_some_and(is_of_resource) && is_mode_of(&run.identity, mode)
        };
        let renamed = listed.iter().find(is_ours);
        match renamed.and_then(|listed| listed.id.as_deref()) {
            Some(id) => self.container(id).await,
            None => Ok(None),
        }
    }

    /// Removes the container that this run created for a resource, if there is one.
    async fn remove_created(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        except: Option<&str>,
    ) -> Result<(), TargetError> {
        let created = self.created(run, resource).await?;
        let Some(found) = created.filter(|found| except != Some(id_of(found))) else { return Ok(()) };
        if is_running(&found) {
            self.stop(&found).await?;
        }
        self.remove(id_of(&found)).await
    }

    /// Takes the creation of a container back.
    pub(crate) async fn undo_create_container(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        replaces: Option<&Aside>,
    ) -> Result<(), TargetError> {
        self.remove_created(run, resource, replaces.map(|old| old.handle.as_str())).await?;
        if let Some(old) = replaces {
            self.put_back(run, resource, old).await?;
        }
        self.sweep_files(&run.identity, component(resource)?).await
    }

    /// Removes a container that was set aside, once its replacement is there to stay.
    pub(crate) async fn drop_aside(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        let kept = aside_name(&engine_name(&run.identity, resource), run.run);
        if let Some(found) = self.container(&old.handle).await?
            && inspected_name(&found) == kept
        {
            self.remove(&old.handle).await?;
        }
        self.sweep_files(&run.identity, component(resource)?).await
    }

    /// Makes a container again that somebody removed, and starts it if it was running; a job never runs
    /// again for an undo. It has another id.
    pub(crate) async fn make_again(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        old: &Aside,
    ) -> Result<(), TargetError> {
        let spec: ContainerSpec = from_spec(&old.spec)?;
        self.deliver(run, component(resource)?, &spec.files).await?;
        let blueprint = Blueprint {
            identity: &run.identity,
            run: run_again(run),
            resource,
            spec: &spec,
            materials: &run.materials,
            standby: false,
        };
        let id = self.create_from(&engine_name(&run.identity, resource), &blueprint).await?;
        match self.container(&id).await? {
            Some(found) if starts_again(resource, old) => self.start(run, resource, &found).await,
            Some(_) => Ok(()),
            None => Err(moved(format!("the container of `{resource}` is gone"))),
        }
    }
}

/// What the label of a run ends with on what its undo made again: it is not what the run created.
const AGAIN: &str = "-again";

fn run_again(run: &RunContext) -> String {
    format!("{}{AGAIN}", run.run)
}

/// Returns whether the undo of a later run made an inspected container again.
fn is_again_after(run: &RunContext, found: &ContainerInspectResponse) -> bool {
    let later = run_of(found).strip_suffix(AGAIN).and_then(|later| later.parse().ok());
    later.is_some_and(|later: i64| later > run.run.0)
}

/// Returns whether a start failed because the engine was killed in the middle of an earlier one: containerd still
/// has the task (seen on 20.10, in two wordings) or its folder (seen on both), and the engine never gets rid of it,
/// in no later start.
pub(crate) fn is_lost_to_engine(error: &TargetError) -> bool {
    let has_task = |text: &String| {
        (text.contains("task ") && text.contains("already exists")) || text.contains("id already in use")
    };
    let has_folder = |text: &String| text.contains("io.containerd.runtime") && text.contains(": file exists");
    let says_so = |text: &String| has_task(text) || has_folder(text);
    says_so(&error.message) || error.causes.iter().any(says_so)
}

/// Returns whether what is made again is started.
pub(crate) fn starts_again(resource: &ResourceId, old: &Aside) -> bool {
    old.running && resource.kind == Kind::Workload
}

/// Returns whether the undo of a run made an inspected container again.
pub(crate) fn is_again(run: &RunContext, found: &ContainerInspectResponse) -> bool {
    run_of(found) == run_again(run)
}
