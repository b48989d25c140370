//! Named volumes. What is in one is never touched; an undo removes only a volume that its run created.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use bollard::{
    models::{Volume, VolumeCreateRequest},
    query_parameters::RemoveVolumeOptions,
};
use trueup_engine::{RunContext, TargetError};
use trueup_plan::ResourceId;

use crate::{
    Docker,
    deliver::blocking,
    failure::{file_failure, found, gone, moved},
    names::{COMPONENT, RUN, VOLUME_OWNER, engine_name, owner_labels},
    sight::is_own,
    spec::{ContainerSpec, VolumeSpec, parse_owner},
};

impl Docker {
    async fn volume(&self, name: &str) -> Result<Option<Volume>, TargetError> {
        found(self.api().inspect_volume(name).await)
            .map_err(|error| self.failed(format!("look at the volume `{name}`"), &error))
    }

    /// Creates a volume; the engine returns the one that is there when there is one.
    pub(crate) async fn create_volume(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        spec: &VolumeSpec,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        if let Some(volume) = self.volume(&name).await? {
            let is_ours =
                is_own(&run.identity, Some(&volume.labels)) && run_of(&volume) == run.run.to_string();
            return if is_ours {
                Ok(())
            } else {
                Err(moved(format!("a volume `{name}` is there that the plan does not know")))
            };
        }
        let mut labels = owner_labels(&run.identity, &run.run.to_string());
        if let Some(component) = &resource.component {
            labels.insert(COMPONENT.to_owned(), component.to_string());
        }
        if let Some(owner) = &spec.owner {
            labels.insert(VOLUME_OWNER.to_owned(), owner.clone());
        }
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some(spec.driver.clone()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        let created = self.api().create_volume(request).await;
        created.map(drop).map_err(|error| self.failed(format!("create the volume `{name}`"), &error))
    }

    /// Gives the volumes that this run created their owner.
    ///
    /// It is done after the container was created: then the engine copies what the image has at that
    /// path into an empty volume, and the owner of the image's folder with it.
    pub(crate) async fn own_new_volumes(
        &self,
        run: &RunContext,
        spec: &ContainerSpec,
    ) -> Result<(), TargetError> {
        for name in spec.volumes.values() {
            let Some(volume) = self.volume(name).await? else { continue };
            if run_of(&volume) != run.run.to_string() {
                continue;
            }
            let Some((uid, gid)) = volume.labels.get(VOLUME_OWNER).and_then(|owner| parse_owner(owner))
            else {
                continue;
            };
            let path = PathBuf::from(&volume.mountpoint);
            blocking(move || own(&path, uid, gid)).await?;
        }
        Ok(())
    }

    /// Removes a volume.
    pub(crate) async fn remove_volume(&self, name: &str) -> Result<(), TargetError> {
        let removed = self.api().remove_volume(name, None::<RemoveVolumeOptions>).await;
        gone(removed).map_err(|error| self.failed(format!("remove the volume `{name}`"), &error))
    }

    /// Takes the creation of a volume back, if this run did it.
    pub(crate) async fn undo_create_volume(
        &self,
        run: &RunContext,
        resource: &ResourceId,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        match self.volume(&name).await? {
            Some(volume) if run_of(&volume) == run.run.to_string() => self.remove_volume(&name).await,
            _ => Ok(()),
        }
    }
}

fn run_of(volume: &Volume) -> &str {
    volume.labels.get(RUN).map(String::as_str).unwrap_or_default()
}

fn own(path: &Path, uid: u32, gid: u32) -> Result<(), TargetError> {
    let owned =
        chown(path, Some(uid), Some(gid)).map_err(|error| file_failure("set the owner of", path, &error));
    owned.map_err(|failure| failure.help("run trueup as root on the engine's host"))
}
