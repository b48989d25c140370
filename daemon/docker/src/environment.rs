//! What a person does with a whole environment: look for it, remove it.

use std::collections::{BTreeMap, HashMap};

use futures::future::try_join_all;
use serde::Serialize;
use trueup_engine::{Identity, TargetError};
use trueup_schema::EnvironmentName;

use crate::{
    Docker,
    deliver::{blocking, environment_folder, remove_folder},
    names::{ENV_UID, ENVIRONMENT, OWNER, RUN, SOURCE},
    sight::{filter, is_own, is_own_volume, owned, summary_name},
};

/// An environment that an engine has, as its labels tell it. A store that takes over its uid and owner
/// drives it from then on: labels of running containers cannot be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoptable {
    /// The store that drives it.
    pub owner: String,
    /// Its uid.
    pub uid: String,
    /// The operator's name of its source.
    pub source: String,
    /// Its containers, networks and volumes, by name.
    pub things: Vec<String>,
    /// The highest run that created something of it: the next one must be higher.
    pub last_run: i64,
}

impl Docker {
    /// Returns the environments of that name which the engine has, by uid.
    pub async fn adoptable(&self, environment: &EnvironmentName) -> Result<Vec<Adoptable>, TargetError> {
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

    /// Returns the names of an environment's volumes.
    pub async fn volumes(&self, identity: &Identity) -> Result<Vec<String>, TargetError> {
        let volumes = self.list_volumes(identity).await?.into_iter();
        Ok(volumes.filter(|volume| is_own_volume(identity, volume)).map(|volume| volume.name).collect())
    }

    /// Removes everything of an environment; its volumes only when that is said.
    pub async fn destroy(&self, identity: &Identity, with_volumes: bool) -> Result<(), TargetError> {
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
