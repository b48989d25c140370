//! What an engine is asked for, to see everything that an environment has on it.
//!
//! Containers, networks and volumes are one list each, of everything: also of what stands in the way. What
//! needs a closer look is inspected at once, and what is known already is not asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bollard::{
    errors::Error,
    models::{ContainerInspectResponse, ContainerSummary, ImageInspect, Network, NetworkInspect, Volume},
    query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder},
};
use futures::future::{try_join, try_join_all, try_join3};
use trueup_engine::{Identity, TargetError, Wanted};

use crate::{
    Docker,
    facts::ImageFact,
    failure::found,
    mirror::{Look, Question},
    names::{ENV_UID, ENVIRONMENT, OWNER, SOURCE},
};

/// What is known to keep an engine from answering about one container while it answers about others: seen with 20.10.
const STUCK: &str =
    "one that was paused while a command began in it keeps the engine waiting until its cgroup is thawed";

/// Everything that an engine was asked for.
pub(crate) struct Sight {
    /// Containers with the environment's label.
    pub(crate) own: Vec<Arc<ContainerInspectResponse>>,
    /// Every container, also those of others.
    pub(crate) containers: Arc<Vec<Listed>>,
    /// Every network.
    pub(crate) networks: Arc<Vec<Network>>,
    /// A closer look at those of the environment that others may be in, by name.
    pub(crate) zones: BTreeMap<String, Arc<NetworkInspect>>,
    /// Every volume that has a name by a person.
    pub(crate) volumes: Arc<Vec<Volume>>,
    /// The images of the containers, by the engine's id.
    pub(crate) images: BTreeMap<String, Arc<ImageInspect>>,
    /// The wanted images, by reference.
    pub(crate) wanted_images: BTreeMap<String, ImageFact>,
}

/// What counts of a listed container.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    /// The environment's uid and name, by the labels.
    pub(crate) uid: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) networks: Vec<String>,
}

impl Listed {
    /// Returns whether it has the environment's label.
    pub(crate) fn is_of(&self, identity: &Identity) -> bool {
        self.uid.as_ref() == Some(&identity.uid)
    }
}

impl From<ContainerSummary> for Listed {
    fn from(summary: ContainerSummary) -> Self {
        let label = |key: &str| summary.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        let networks = summary.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        Self {
            name: summary_name(&summary).to_owned(),
            uid: label(ENV_UID),
            environment: label(ENVIRONMENT),
            networks: networks.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            image: summary.image_id.unwrap_or_default(),
            id: summary.id.unwrap_or_default(),
        }
    }
}

/// Filters as the engine takes them.
pub(crate) fn filter(key: &str, value: String) -> HashMap<String, Vec<String>> {
    HashMap::from([(key.to_owned(), vec![value])])
}

/// Returns the filter for what carries the environment's label.
pub(crate) fn owned(identity: &Identity) -> HashMap<String, Vec<String>> {
    filter("label", format!("{ENV_UID}={}", identity.uid))
}

impl Look<'_> {
    /// Returns whether the members of a network have to be looked at. The engine's list of containers tells a
    /// little late who joined: that is enough for one look, but not for an answer that is remembered.
    fn must_see_members(&self, network: &Network, identity: &Identity, containers: &[Listed]) -> bool {
        let is_in = |one: &Listed| one.networks.iter().any(|name| network.name.as_ref() == Some(name));
        self.is_remembered() || containers.iter().any(|one| !one.is_of(identity) && is_in(one))
    }
}

/// Returns the name of a listed container, without the slash.
pub(crate) fn summary_name(summary: &ContainerSummary) -> &str {
    let mut names = summary.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    names.find(|name| !name.contains('/')).unwrap_or_default()
}

/// Returns the name of an inspected container, without the slash.
pub(crate) fn inspected_name(found: &ContainerInspectResponse) -> &str {
    found.name.as_deref().unwrap_or_default().trim_start_matches('/')
}

/// Returns whether labels are those of the environment.
pub(crate) fn is_own(identity: &Identity, labels: Option<&HashMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(ENV_UID)).is_some_and(|uid| *uid == identity.uid)
}

/// Returns whether a volume is the environment's: also one that a destroyed environment of its name left. The store
/// knows one of that name and source alone, so whoever had another uid is gone.
pub(crate) fn is_own_volume(identity: &Identity, volume: &Volume) -> bool {
    let has = |key: &str, value: &str| volume.labels.get(key).is_some_and(|label| label == value);
    let is_left = has(OWNER, &identity.store)
        && has(SOURCE, identity.source.as_str())
        && has(ENVIRONMENT, identity.environment.as_str());
    is_own(identity, Some(&volume.labels)) || is_left
}

impl Docker {
    /// Asks for everything that counts for an environment.
    pub(crate) async fn see(
        &self,
        look: &Look<'_>,
        identity: &Identity,
        wanted: &Wanted,
    ) -> Result<Sight, TargetError> {
        let lists = try_join3(
            look.ask(Question::Containers, self.every_container()),
            look.ask(Question::Networks, async { Ok(Arc::new(self.list_networks().await?)) }),
            look.ask(Question::Volumes, self.every_volume()),
        );
        let ((containers, networks, volumes), resolved) =
            try_join(lists, self.resolve_images(look, wanted)).await?;
        let own = || containers.iter().filter(|listed| listed.is_of(identity));
        let mut images: BTreeMap<String, Arc<ImageInspect>> = resolved
            .iter()
            .filter_map(|(_, _, image)| Some((image.as_ref()?.id.clone()?, Arc::clone(image.as_ref()?))))
            .collect();
        let missing: BTreeSet<&String> =
            own().map(|listed| &listed.image).filter(|id| !images.contains_key(*id)).collect();
        let is_zone = |network: &&Network| is_own(identity, network.labels.as_ref());
        let must_see = |network: &&Network| look.must_see_members(network, identity, &containers);
        let zones = networks.iter().filter(is_zone).filter(must_see);
        let (own, zones, missing) = try_join3(
            try_join_all(own().map(|listed| self.known_container(look, &listed.id))),
            try_join_all(zones.map(|network| self.members(look, network))),
            try_join_all(
                missing
                    .into_iter()
                    .map(async |id| Ok(self.known_image(look, id).await?.map(|image| (id.clone(), image)))),
            ),
        )
        .await?;
        images.extend(missing.into_iter().flatten());
        Ok(Sight {
            own: own.into_iter().flatten().collect(),
            containers,
            zones: zones.into_iter().flatten().collect(),
            networks,
            volumes,
            images,
            wanted_images: resolved.into_iter().map(|(reference, fact, _)| (reference, fact)).collect(),
        })
    }

    async fn every_container(&self) -> Result<Arc<Vec<Listed>>, TargetError> {
        let containers = self.list_containers(HashMap::new()).await?;
        Ok(Arc::new(containers.into_iter().map(Listed::from).collect()))
    }

    async fn every_volume(&self) -> Result<Arc<Vec<Volume>>, TargetError> {
        let mut volumes = self.volumes_of([HashMap::new()]).await?;
        // Ours have one; a name that an engine made up, of which there may be thousands, has none.
        volumes.retain(|volume| volume.name.contains('-'));
        Ok(Arc::new(volumes))
    }

    async fn known_container(
        &self,
        look: &Look<'_>,
        id: &str,
    ) -> Result<Option<Arc<ContainerInspectResponse>>, TargetError> {
        let call = async { Ok(self.container(id).await?.map(Arc::new)) };
        look.ask(Question::Container(id.to_owned()), call).await
    }

    async fn members(
        &self,
        look: &Look<'_>,
        network: &Network,
    ) -> Result<Option<(String, Arc<NetworkInspect>)>, TargetError> {
        let id = network.id.as_deref().unwrap_or_default();
        let call = async { Ok(self.network(id).await?.map(Arc::new)) };
        let members = look.ask(Question::Members(id.to_owned()), call).await?;
        Ok(members.map(|members| (network.name.clone().unwrap_or_default(), members)))
    }

    pub(crate) async fn list_containers(
        &self,
        filters: HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, TargetError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let list = self.api().list_containers(Some(options)).await;
        list.map_err(|error| self.failed("list the containers", &error))
    }

    pub(crate) async fn list_networks(&self) -> Result<Vec<Network>, TargetError> {
        let none = None::<bollard::query_parameters::ListNetworksOptions>;
        self.api().list_networks(none).await.map_err(|error| self.failed("list the networks", &error))
    }

    pub(crate) async fn list_volumes(&self, identity: &Identity) -> Result<Vec<Volume>, TargetError> {
        self.volumes_of([owned(identity), filter("name", format!("{}-", identity.environment))]).await
    }

    /// Returns the volumes that meet one of the filters, by name.
    pub(crate) async fn volumes_of<const N: usize>(
        &self,
        filters: [HashMap<String, Vec<String>>; N],
    ) -> Result<Vec<Volume>, TargetError> {
        let lists = filters.iter().map(|filters| {
            let options = ListVolumesOptionsBuilder::new().filters(filters).build();
            self.api().list_volumes(Some(options))
        });
        let lists = try_join_all(lists).await.map_err(|error| self.failed("list the volumes", &error))?;
        let mut volumes: Vec<Volume> =
            lists.into_iter().flat_map(|list| list.volumes.unwrap_or_default()).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        volumes.dedup_by(|a, b| a.name == b.name);
        Ok(volumes)
    }

    /// Returns a container by name or id; none when there is none.
    pub(crate) async fn container(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, TargetError> {
        let none = None::<bollard::query_parameters::InspectContainerOptions>;
        found(self.api().inspect_container(name, none).await).map_err(|error| {
            let failure = self.failed(format!("look at the container `{name}`"), &error);
            match error {
                Error::RequestTimeoutError => failure.help(STUCK),
                _ => failure,
            }
        })
    }
}
