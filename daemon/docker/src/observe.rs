//! What an environment has on an engine, and what stands in its way, from what the engine was asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use bollard::models::{Network, Volume};
use futures::future::{try_join, try_join_all};
use jiff::Timestamp;
use trueup_engine::{Identity, TargetError, Wanted};
use trueup_plan::{Foreign, Kind, Live, Observed, ResourceId, State};
use trueup_schema::manifest::{self, Update, Workload};

use crate::{
    Docker,
    address::parse_subnet,
    compile::{Scene, container_ids},
    container_spec::container_spec,
    deliver::{Mounted, environment_folder},
    facts::{Facts, Occupied},
    inspect::{self, Reading},
    mirror::{Look, Question},
    names::{COMPONENT, ENVIRONMENT, engine_name, network_name, owner_of},
    namespace,
    sight::{Sight, is_own, is_own_volume},
    spec::{ContainerSpec, VolumeSpec, from_spec, to_spec},
    twins::tell_apart,
    zones::{Addresses, network_specs},
};

impl Docker {
    pub(crate) async fn look(&self, identity: &Identity, wanted: &Wanted) -> Result<Live, TargetError> {
        let look = self.mirror().look(identity);
        // An engine that is too old or does not answer is told to be so, whatever becomes of the rest.
        let see = async { Ok(self.see(&look, identity, wanted).await) };
        let (mut engine, sight) = try_join(self.engine(), see).await?;
        let sight = sight?;
        engine.same_network = self.same_network(&sight.networks);
        let mut facts = Facts {
            images: sight.wanted_images.clone(),
            subnets: occupied(identity, &sight.networks, engine.same_network),
            strangers: strangers(identity, &sight),
            inherited: inherited(identity, &sight),
            engine,
        };
        let mut live = Live::default();
        add_networks(identity, wanted, &sight, &mut live);
        let reserved = self.reserve(identity, wanted, &facts, &live);
        facts.subnets.extend(reserved);
        live.facts = to_spec(&facts);
        add_volumes(identity, wanted, &sight, &mut live);
        let hints = self.hints(identity, wanted, &facts, &live);
        add_containers(identity, wanted, &sight, (&facts, &hints), &mut live);
        self.add_standbys(identity, wanted, facts, &mut live);
        if self.is_local() {
            self.add_changed_files(identity, wanted, &sight, &mut live);
        } else {
            self.add_changed_uploads(&look, &mut live).await?;
        }
        live.foreign.sort();
        live.foreign.dedup();
        Ok(live)
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
        let mut ignored = trueup_schema::Problems::default();
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

    /// Puts what is really there in place of the delivered files, where they differ.
    fn add_changed_files(&self, identity: &Identity, wanted: &Wanted, sight: &Sight, live: &mut Live) {
        for secret in [false, true] {
            self.mirror().watch(&environment_folder(self.settings(), identity, secret));
        }
        for found in &sight.own {
            let has_id = |observed: &&mut Observed| found.id.as_ref() == Some(&observed.handle);
            let Some(observed) = live.resources.values_mut().find(has_id) else { continue };
            let Ok(spec) = from_spec::<ContainerSpec>(&observed.spec) else { continue };
            let files = self.read_back(&spec.files, &Mounted::of(found), &wanted.digest_key);
            if files != spec.files {
                observed.spec = to_spec(&ContainerSpec { files, ..spec });
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
    let state = State { running: true, ..State::default() };
    Observed::new(handle.unwrap_or_default(), spec, state, labels.map(owner_of).unwrap_or_default())
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

/// Returns the volumes that a destroyed environment of the same name left.
fn inherited(identity: &Identity, sight: &Sight) -> BTreeSet<String> {
    let is_inherited =
        |volume: &&Volume| is_own_volume(identity, volume) && !is_own(identity, Some(&volume.labels));
    sight.volumes.iter().filter(is_inherited).map(|volume| volume.name.clone()).collect()
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
        if !is_own_volume(identity, volume) {
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
        let mut observed = exists(Some(volume.name.clone()), to_spec(&spec), Some(&volume.labels));
        observed.owner.env_uid.clone_from(&identity.uid);
        live.resources.insert(id, observed);
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
    let told = tell_apart(identity, &sight.own);
    live.foreign.extend(told.foreign);
    for (id, found) in told.resources {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        let reading = Reading {
            engine: &facts.engine,
            image: found.image.as_ref().and_then(|image| sight.images.get(image)).map(Arc::as_ref),
            hint: hints.get(&id),
            zones: &zones,
            key: &wanted.digest_key,
        };
        let handle = found.id.clone().unwrap_or_default();
        let spec = to_spec(&inspect::container(found, &reading));
        let owner = labels.map(owner_of).unwrap_or_default();
        let observed = Observed::new(handle, spec, inspect::state(found), owner);
        live.resources.insert(id, observed);
    }
    let needed: Vec<String> = hints.keys().map(|id| engine_name(identity, id)).collect();
    let others = sight.containers.iter().filter(|listed| !listed.is_of(identity));
    for other in others.filter(|other| needed.contains(&other.name)) {
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
