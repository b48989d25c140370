//! What a person does with a whole environment: look for it, remove it.

use std::collections::{BTreeMap, HashMap};

use futures::future::try_join_all;
use trueup_engine::{Adoptable, Estate, Identity, TargetError};
use trueup_schema::EnvironmentName;

use crate::{
    Docker,
    deliver::{blocking, environment_folder, remove_folder},
    names::{ENV_UID, ENVIRONMENT, OWNER, RUN, SOURCE},
    sight::{filter, is_own, is_own_volume, owned, summary_name},
};

impl Estate for Docker {
    async fn adoptable(&self, environment: &EnvironmentName) -> Result<Vec<Adoptable>, TargetError> {
        let labelled = filter("label", format!("{ENVIRONMENT}={environment}"));
        let containers = self.list_containers(labelled.clone()).await?;
        let networks = self.list_networks().await?;
        let volumes = self.volumes_of([labelled]).await?;
        let mut found: BTreeMap<String, Adoptable> = BTreeMap::new();
        let mut add = |name: String, labels: Option<&HashMap<String, String>>| {
            let Some(labels) = labels else { return };
            let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
            if get(ENVIRONMENT) != environment.as_str() || get(ENV_UID).is_empty() {
                return;
            }
            let entry = found.entry(get(ENV_UID)).or_default();
            entry.owner = get(OWNER);
            entry.uid = get(ENV_UID);
            entry.source = get(SOURCE);
            entry.last_run = entry.last_run.max(run_number(&get(RUN)));
            entry.things.push(name);
        };
        for container in &containers {
            add(format!("container {}", summary_name(container)), container.labels.as_ref());
        }
        for network in &networks {
            add(format!("network {}", network.name.as_deref().unwrap_or_default()), network.labels.as_ref());
        }
        for volume in &volumes {
            add(format!("volume {}", volume.name), Some(&volume.labels));
        }
        let mut found: Vec<Adoptable> = found.into_values().collect();
        for adoptable in &mut found {
            adoptable.things.sort();
        }
        Ok(found)
    }

    async fn volumes(&self, identity: &Identity) -> Result<Vec<String>, TargetError> {
        let volumes = self.list_volumes(identity).await?.into_iter();
        Ok(volumes.filter(|volume| is_own_volume(identity, volume)).map(|volume| volume.name).collect())
    }

    async fn destroy(&self, identity: &Identity, with_volumes: bool) -> Result<(), TargetError> {
        let _acting = self.mirror().act(identity.key());
        let containers = self.list_containers(owned(identity)).await?;
        let ids: Vec<String> = containers.into_iter().filter_map(|container| container.id).collect();
        try_join_all(ids.iter().map(|id| self.end(id))).await?;
        let networks = self.list_networks().await?;
        for network in networks.iter().filter(|network| is_own(identity, network.labels.as_ref())) {
            let name = network.name.as_deref().unwrap_or_default();
            self.remove_network(network.id.as_deref().unwrap_or_default(), name).await?;
        }
        if with_volumes {
            for volume in self.volumes(identity).await? {
                self.remove_volume(&volume).await?;
            }
        }
        if !self.is_local() {
            return Ok(());
        }
        let folders = [false, true].map(|secret| environment_folder(self.settings(), identity, secret));
        blocking(move || folders.iter().try_for_each(|folder| remove_folder(folder))).await
    }
}

impl Docker {
    async fn end(&self, id: &str) -> Result<(), TargetError> {
        if let Some(found) = self.container(id).await? {
            self.stop(&found).await?;
        }
        self.remove(id).await
    }
}

/// Returns the number of a run from its label, which may say that something was made again: `41-again`.
fn run_number(label: &str) -> i64 {
    label.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
