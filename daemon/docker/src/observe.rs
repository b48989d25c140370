//! One look at everything that an environment has on an engine, and at what stands in its way.
//!
//! Containers, networks and volumes are one list each, of everything: also of what stands in the way. What
//! needs a closer look is inspected at once, and what is known already is not asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use bollard::{
    errors::Error,
    models::{ContainerInspectResponse, ContainerSummary, ImageInspect, Network, NetworkInspect, Volume},
    query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder},
};
use futures::future::{join, try_join, try_join_all, try_join3};
use jiff::Timestamp;
use trueup_engine::{Identity, TargetError, Wanted};
use trueup_plan::{Foreign, Kind, Live, Observed, ResourceId, State};
use trueup_schema::manifest::{self, Update, Workload};

use crate::{
    Docker,
    address::parse_subnet,
    compile::{Scene, container_ids},
    container_spec::container_spec,
    deliver::environment_folder,
    facts::{Facts, ImageFact, Occupied},
    failure::found,
    inspect::{self, Reading},
    mirror::{Look, Question},
    names::{
        COMPONENT, ENV_UID, ENVIRONMENT, container_resource, engine_name, network_name, owner_of,
        set_aside_by,
    },
    namespace,
    spec::{ContainerSpec, VolumeSpec, from_spec, to_spec},
    zones::{Addresses, network_specs},
};

/// What is known to keep an engine from answering about one container while it answers about others: seen with 20.10.
const STUCK: &str =
    "one that was paused while a command began in it keeps the engine waiting until its cgroup is thawed";

/// Everything that an engine was asked for.
pub(crate) struct Sight {
    /// Containers with the environment's label.
    own: Vec<Arc<ContainerInspectResponse>>,
    /// Every other container.
    others: Vec<Listed>,
    /// Every network.
    networks: Arc<Vec<Network>>,
    /// A closer look at those of the environment that others may be in, by name.
    zones: BTreeMap<String, Arc<NetworkInspect>>,
    /// Every volume that has a name by a person.
    volumes: Arc<Vec<Volume>>,
    /// The images of the containers, by the engine's id.
    images: BTreeMap<String, Arc<ImageInspect>>,
    /// The wanted images, by reference.
    wanted_images: BTreeMap<String, ImageFact>,
}

/// What counts of a listed container.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    id: String,
    name: String,
    image: String,
    /// The environment's uid and name, by the labels.
    uid: Option<String>,
    environment: Option<String>,
    networks: Vec<String>,
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
    fn must_see_members(&self, network: &Network, others: &[Listed]) -> bool {
        let name = network.name.as_ref();
        self.is_remembered() || others.iter().any(|other| other.networks.iter().any(|one| Some(one) == name))
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

impl Docker {
    pub(crate) async fn look(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        let look = self.mirror().look(identity);
        let (engine, sight) = join(self.engine(), self.see(&look, identity, wanted)).await;
        // An engine that is too old is told to be, whatever else it cannot answer.
        let (mut engine, sight) = (engine?.clone(), sight?);
        engine.same_network = self.same_network(&sight.networks);
        let facts = Facts {
            images: sight.wanted_images.clone(),
            subnets: occupied(identity, &sight.networks, engine.same_network),
            strangers: strangers(identity, &sight),
            engine,
        };
        let mut live = Live { facts: to_spec(&facts), ..Live::default() };
        add_networks(identity, wanted, &sight, &mut live);
        add_volumes(identity, wanted, &sight, &mut live);
        let hints = self.hints(identity, wanted, &facts, &live);
        add_containers(identity, wanted, &sight, (&facts, &hints), &mut live);
        self.add_standbys(identity, wanted, facts, &mut live);
        if self.is_local() {
            self.add_changed_files(identity, wanted, &mut live);
        } else {
            self.add_changed_uploads(&look, &mut live).await?;
        }
        live.foreign.sort();
        live.foreign.dedup();
        Ok(live)
    }

    async fn see(&self, look: &Look<'_>, identity: &Identity, wanted: &Wanted) -> Result<Sight, TargetError> {
        let lists = try_join3(
            look.ask(Question::Containers, self.every_container()),
            look.ask(Question::Networks, async { Ok(Arc::new(self.list_networks().await?)) }),
            look.ask(Question::Volumes, self.every_volume()),
        );
        let ((containers, networks, volumes), resolved) =
            try_join(lists, self.resolve_images(look, wanted)).await?;
        let (own, others): (Vec<Listed>, Vec<Listed>) =
            containers.iter().cloned().partition(|listed| listed.uid.as_ref() == Some(&identity.uid));
        let mut images: BTreeMap<String, Arc<ImageInspect>> = resolved
            .iter()
            .filter_map(|(_, _, image)| Some((image.as_ref()?.id.clone()?, Arc::clone(image.as_ref()?))))
            .collect();
        let missing: BTreeSet<&String> =
            own.iter().map(|listed| &listed.image).filter(|id| !images.contains_key(*id)).collect();
        let is_zone = |network: &&Network| is_own(identity, network.labels.as_ref());
        let zones = networks.iter().filter(is_zone).filter(|network| look.must_see_members(network, &others));
        let (own, zones, missing) = try_join3(
            try_join_all(own.iter().map(|listed| self.known_container(look, &listed.id))),
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
            others,
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

    /// Returns whether the engine's bridges are in our network namespace.
    pub(crate) fn same_network(&self, networks: &[Network]) -> Option<bool> {
        if !self.is_local() {
            return Some(false);
        }
        let bridges = networks.iter().filter(|network| network.driver.as_deref() == Some("bridge"));
        let gateways: Vec<Ipv4Addr> =
            bridges.filter_map(|network| inspect::network(network).gateway.parse().ok()).collect();
        namespace::is_same(&gateways)
    }

    /// Returns what is wanted of each container, as far as it can be said before its addresses are.
    fn hints(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        facts: &Facts,
        live: &Live,
    ) -> BTreeMap<ResourceId, ContainerSpec> {
        let scene = Scene { identity, wanted, live, facts: facts.clone(), settings: self.settings() };
        let nowhere = Addresses::default();
        let components = wanted.resolved.components.values();
        components
            .filter(|component| component.spec.workload != Workload::External)
            .flat_map(|component| container_ids(component).into_iter().map(move |id| (id, component)))
            .map(|(id, component)| {
                let spec = container_spec(&scene, component, &id, &nowhere);
                (id, spec)
            })
            .collect()
    }

    /// Adds the reserved second addresses, which nothing on the engine tells, to what runs.
    fn add_standbys(&self, identity: &Identity, wanted: &Wanted, facts: Facts, live: &mut Live) {
        let starts_first =
            |component: &&trueup_schema::ResolvedComponent| component.spec.update == Update::StartFirst;
        let components: Vec<_> = wanted.resolved.components.values().filter(starts_first).collect();
        if components.is_empty() {
            return;
        }
        let scene = Scene { identity, wanted, live, facts, settings: self.settings() };
        let mut ignored = crate::problems::Problems::default();
        let networks = network_specs(&scene, &mut ignored);
        let addresses = Addresses::plan(&scene, &networks, &mut ignored);
        let ids = components.iter().flat_map(|component| container_ids(component));
        for resource in ids.collect::<Vec<_>>() {
            let Some(observed) = live.resources.get_mut(&resource) else { continue };
            let Ok(mut spec) = from_spec::<ContainerSpec>(&observed.spec) else { continue };
            for (zone, endpoint) in &mut spec.networks {
                endpoint.standby = addresses.standby(zone, &resource);
            }
            observed.spec = to_spec(&spec);
        }
    }

    /// Puts the digest of what is really there in place of a delivered file's own, where they differ.
    fn add_changed_files(&self, identity: &Identity, wanted: &Wanted, live: &mut Live) {
        for secret in [false, true] {
            self.mirror().watch(&environment_folder(self.settings(), identity, secret));
        }
        for (id, observed) in &mut live.resources {
            let Some(component) = &id.component else { continue };
            let Ok(mut spec) = from_spec::<ContainerSpec>(&observed.spec) else { continue };
            if self.read_back(identity, component, &mut spec.files, &wanted.digest_key) {
                observed.spec = to_spec(&spec);
            }
        }
    }

    /// Puts what is really in the containers in place of the files that were put into them.
    async fn add_changed_uploads(&self, look: &Look<'_>, live: &mut Live) -> Result<(), TargetError> {
        let reads = live.resources.values_mut().map(|observed| self.add_uploads_of(look, observed));
        live.as_of = try_join_all(reads).await?.into_iter().flatten().min();
        Ok(())
    }

    /// Does so for one resource; returns when its files were read, if it has any.
    async fn add_uploads_of(
        &self,
        look: &Look<'_>,
        observed: &mut Observed,
    ) -> Result<Option<Timestamp>, TargetError> {
        let Ok(spec) = from_spec::<ContainerSpec>(&observed.spec) else { return Ok(None) };
        if spec.files.is_empty() {
            return Ok(None);
        }
        let call = async { Ok(Arc::new(self.uploaded(&observed.handle, &spec.files).await?)) };
        let uploaded = look.ask(Question::Files(observed.handle.clone()), call).await?;
        let files = uploaded.instead_of(&spec.files);
        if files != spec.files {
            observed.spec = to_spec(&ContainerSpec { files, ..spec });
        }
        Ok(Some(uploaded.at))
    }
}

/// Returns whether labels are those of the environment.
pub(crate) fn is_own(identity: &Identity, labels: Option<&HashMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(ENV_UID)).is_some_and(|uid| *uid == identity.uid)
}

fn taken(what: String, environment: Option<&String>) -> Foreign {
    let why = match environment {
        Some(environment) => {
            format!(
                "has a name that is needed, and was made for an environment `{environment}` that this store does \
                 not know"
            )
        }
        None => "has a name that is needed, and trueup did not create it".to_owned(),
    };
    Foreign { what, why, blocks: true }
}

fn add_networks(identity: &Identity, wanted: &Wanted, sight: &Sight, live: &mut Live) {
    let prefix = format!("{}-", identity.environment);
    for network in sight.networks.iter() {
        let name = network.name.clone().unwrap_or_default();
        let Some(zone) = name.strip_prefix(&prefix) else { continue };
        if !is_own(identity, network.labels.as_ref()) {
            if wanted.resolved.spec.zones.contains_key(zone) {
                let environment = network.labels.as_ref().and_then(|labels| labels.get(ENVIRONMENT));
                live.foreign.push(taken(format!("network {name}"), environment));
            }
            continue;
        }
        let mut spec = inspect::network(network);
        let detach = wanted
            .resolved
            .spec
            .zones
            .get(zone)
            .is_some_and(|zone| zone.foreign == manifest::Foreign::Disconnect);
        for (container, address) in guests(sight, &name) {
            if detach {
                let endpoint = crate::spec::EndpointSpec { address, ..Default::default() };
                spec.foreign.insert(container, endpoint);
            } else {
                let why = format!("is in zone `{zone}`, and nobody declared it");
                live.foreign.push(Foreign { what: format!("container {container}"), why, blocks: false });
            }
        }
        let id = ResourceId { kind: Kind::Network, name: zone.to_owned(), component: None };
        live.resources.insert(id, exists(network.id.clone(), to_spec(&spec), network.labels.as_ref()));
    }
}

fn exists(
    handle: Option<String>,
    spec: trueup_plan::Spec,
    labels: Option<&HashMap<String, String>>,
) -> Observed {
    Observed {
        handle: handle.unwrap_or_default(),
        spec,
        state: State { running: true, ..State::default() },
        owner: labels.map(owner_of).unwrap_or_default(),
    }
}

/// Returns the containers in a network that are not the environment's, with their addresses.
fn guests(sight: &Sight, network: &str) -> Vec<(String, Option<String>)> {
    let own = |id: &str| sight.own.iter().any(|container| container.id.as_deref() == Some(id));
    let members = sight.zones.get(network).and_then(|closer| closer.containers.as_ref());
    let mut guests: Vec<_> = members
        .into_iter()
        .flatten()
        .filter(|(id, _)| !own(id))
        .map(|(id, member)| {
            let address = member.ipv4_address.as_deref().and_then(|text| text.split('/').next());
            let address = address.filter(|text| !text.is_empty()).map(str::to_owned);
            (member.name.clone().unwrap_or_else(|| id.clone()), address)
        })
        .collect();
    guests.sort();
    guests
}

fn strangers(identity: &Identity, sight: &Sight) -> BTreeMap<String, Vec<Ipv4Addr>> {
    let prefix = format!("{}-", identity.environment);
    let own = sight.networks.iter().filter(|network| is_own(identity, network.labels.as_ref()));
    let zones = own.filter_map(|network| {
        let name = network.name.as_ref()?;
        Some((name, name.strip_prefix(&prefix)?))
    });
    zones
        .map(|(name, zone)| {
            let guests = guests(sight, name);
            (
                zone.to_owned(),
                guests.iter().filter_map(|(_, address)| address.as_deref()?.parse().ok()).collect(),
            )
        })
        .collect()
}

fn add_volumes(identity: &Identity, wanted: &Wanted, sight: &Sight, live: &mut Live) {
    let prefix = format!("{}-", identity.environment);
    let declared: BTreeMap<String, Option<String>> = wanted
        .resolved
        .components
        .values()
        .flat_map(|component| {
            let volumes = component.spec.volumes.iter();
            volumes.map(|volume| (format!("{}-{}", component.name, volume.name), volume.owner.clone()))
        })
        .collect();
    for volume in sight.volumes.iter() {
        let Some(name) = volume.name.strip_prefix(&prefix) else { continue };
        if !is_own(identity, Some(&volume.labels)) {
            if declared.contains_key(name) {
                live.foreign.push(taken(format!("volume {}", volume.name), volume.labels.get(ENVIRONMENT)));
            }
            continue;
        }
        let component = volume.labels.get(COMPONENT).and_then(|component| component.parse().ok());
        let id = ResourceId { kind: Kind::Volume, name: name.to_owned(), component };
        // The owner is set once, when the volume is new: what is there is never a difference.
        let owner = declared.get(name).cloned().flatten();
        let spec = VolumeSpec { driver: volume.driver.clone(), owner };
        live.resources.insert(id, exists(Some(volume.name.clone()), to_spec(&spec), Some(&volume.labels)));
    }
}

fn add_containers(
    identity: &Identity,
    wanted: &Wanted,
    sight: &Sight,
    (facts, hints): (&Facts, &BTreeMap<ResourceId, ContainerSpec>),
    live: &mut Live,
) {
    let own = sight.networks.iter().filter(|network| is_own(identity, network.labels.as_ref()));
    let zones = zone_names(identity, own.filter_map(|network| network.name.as_ref()));
    for found in &sight.own {
        let name = inspected_name(found);
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        if let Some(run) = set_aside_by(name) {
            let why = format!("run {run} kept it and did not remove it");
            live.foreign.push(Foreign { what: format!("container {name}"), why, blocks: false });
            continue;
        }
        let Some(id) = labels.and_then(container_resource) else {
            let why = "carries the environment's label without the rest of them".to_owned();
            live.foreign.push(Foreign { what: format!("container {name}"), why, blocks: false });
            continue;
        };
        let reading = Reading {
            engine: &facts.engine,
            image: found.image.as_ref().and_then(|image| sight.images.get(image)).map(Arc::as_ref),
            hint: hints.get(&id),
            zones: &zones,
            key: &wanted.digest_key,
        };
        let observed = Observed {
            handle: found.id.clone().unwrap_or_default(),
            spec: to_spec(&inspect::container(found, &reading)),
            state: inspect::state(found),
            owner: labels.map(owner_of).unwrap_or_default(),
        };
        live.resources.insert(id, observed);
    }
    let needed: Vec<String> = hints.keys().map(|id| engine_name(identity, id)).collect();
    for other in sight.others.iter().filter(|other| needed.contains(&other.name)) {
        live.foreign.push(taken(format!("container {}", other.name), other.environment.as_ref()));
    }
}

/// Returns the zones by the engine's names of their networks.
pub(crate) fn zone_names<'a>(
    identity: &Identity,
    networks: impl Iterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    let prefix = network_name(identity, "");
    networks.filter_map(|name| Some((name.clone(), name.strip_prefix(&prefix)?.to_owned()))).collect()
}

/// Returns the subnets that are in use by others, with who uses them.
pub(crate) fn occupied(identity: &Identity, networks: &[Network], same: Option<bool>) -> Vec<Occupied> {
    let others: Vec<&Network> =
        networks.iter().filter(|network| !is_own(identity, network.labels.as_ref())).collect();
    in_use(&others, networks, same)
}

/// Returns the subnets of `wanted`, some of all the networks, and those that the host itself reaches where that is `same`.
pub(crate) fn in_use(wanted: &[&Network], networks: &[Network], same: Option<bool>) -> Vec<Occupied> {
    let mut occupied: Vec<Occupied> = wanted
        .iter()
        .flat_map(|network| {
            let name = network.name.as_deref().unwrap_or_default();
            let by = match network.labels.as_ref().and_then(|labels| labels.get(ENVIRONMENT)) {
                Some(environment) => format!("network `{name}` of environment `{environment}`"),
                None => format!("network `{name}`"),
            };
            let pools = network.ipam.iter().flat_map(|ipam| ipam.config.iter().flatten());
            pools
                .filter_map(|pool| pool.subnet.clone())
                .map(move |subnet| Occupied { subnet, by: by.clone() })
        })
        .filter(|occupied| parse_subnet(&occupied.subnet).is_some())
        .collect();
    if same == Some(true) {
        let known: Vec<String> = networks.iter().map(|network| inspect::network(network).subnet).collect();
        let routes =
            namespace::host_routes().into_iter().filter(|(subnet, _)| !known.contains(&subnet.to_string()));
        occupied.extend(routes.map(|(subnet, interface)| Occupied {
            subnet: subnet.to_string(),
            by: format!("interface `{interface}` of the host"),
        }));
    }
    occupied.sort();
    occupied.dedup();
    occupied
}
