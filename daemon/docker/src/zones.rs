//! The zones' networks, and who has which address in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use trueup_plan::ResourceId;
use trueup_schema::{Problems, Subnet, ZoneName, manifest::Update};

use crate::{
    address::{Claim, Claims, LONGEST_PREFIX, assign, dynamic_range, free_subnets, gateway, parse_subnet},
    compile::{Scene, container_ids},
    names::{bridge_name, zone_resource},
    spec::{ContainerSpec, EndpointSpec, NetworkSpec, from_spec},
};

/// Returns the network of every zone.
pub(crate) fn network_specs(scene: &Scene<'_>, problems: &mut Problems) -> BTreeMap<ZoneName, NetworkSpec> {
    let resolved = &scene.wanted.resolved;
    let mut specs = BTreeMap::new();
    let mut taken: Vec<Subnet> =
        scene.facts.subnets.iter().filter_map(|occupied| parse_subnet(&occupied.subnet)).collect();
    taken.extend(resolved.spec.zones.values().filter_map(|zone| parse_subnet(zone.subnet.as_deref()?)));
    taken.extend(resolved.spec.zones.keys().filter_map(|zone| kept_subnet(scene, zone)));
    for (name, zone) in &resolved.spec.zones {
        let path = format!("zones.{name}.subnet");
        let subnet = match &zone.subnet {
            Some(text) => parse_subnet(text),
            None => {
                kept_subnet(scene, name).or_else(|| free_subnets(&scene.settings.subnet_pool, &taken).next())
            }
        };
        let Some(subnet) = subnet else {
            let (message, help) = match &zone.subnet {
                Some(text) => (format!("`{text}` is no IPv4 network"), "write one such as `172.22.0.0/16`"),
                None => (
                    format!("the operator's pool has no free subnet for zone `{name}`"),
                    "give the zone a `subnet`, or the operator's pool another network",
                ),
            };
            problems.environment(resolved, &path, message, help);
            continue;
        };
        if subnet.prefix > LONGEST_PREFIX {
            problems.environment(resolved, &path, format!("`{subnet}` is too small"), "use a /29 or larger");
            continue;
        }
        taken.push(subnet);
        let spec = NetworkSpec {
            subnet: subnet.to_string(),
            gateway: gateway(subnet).to_string(),
            dynamic: dynamic_range(subnet).to_string(),
            internal: zone.internal,
            driver: "bridge".to_owned(),
            bridge: bridge_name(scene.identity, name.as_str()),
            foreign: BTreeMap::new(),
        };
        specs.insert(name.clone(), spec);
    }
    specs
}

/// Returns the subnet that a zone's network has now.
fn kept_subnet(scene: &Scene<'_>, zone: &ZoneName) -> Option<Subnet> {
    let live = scene.live.resources.get(&zone_resource(zone))?;
    parse_subnet(&from_spec::<NetworkSpec>(&live.spec).ok()?.subnet)
}

/// The planned addresses of an environment.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<(String, ResourceId), Planned>);

#[derive(Debug, Clone)]
struct Planned {
    address: Option<Ipv4Addr>,
    standby: Option<Ipv4Addr>,
}

impl Addresses {
    /// Plans the addresses of every zone. What runs keeps its own; what is going away still has its own.
    pub(crate) fn plan(
        scene: &Scene<'_>,
        networks: &BTreeMap<ZoneName, NetworkSpec>,
        problems: &mut Problems,
    ) -> Self {
        let mut all = Self::default();
        for (zone, network) in networks {
            let Some(subnet) = parse_subnet(&network.subnet) else { continue };
            all.plan_zone(scene, zone, subnet, problems);
        }
        all
    }

    fn plan_zone(&mut self, scene: &Scene<'_>, zone: &ZoneName, subnet: Subnet, problems: &mut Problems) {
        let mut claims = Claims::default();
        let mut standbys = Vec::new();
        let mut members = Vec::new();
        for component in scene.wanted.resolved.components.values().filter(|c| c.zones.contains(zone)) {
            for resource in container_ids(component) {
                let (name, seed) = (claim(&resource), claim(&resource));
                claims.wanted.push(Claim { name, seed, has: live_address(scene, &resource, zone) });
                let starts_first = component.spec.update == Update::StartFirst;
                let (name, seed) = (standby_claim(&resource), claim(&resource));
                standbys.extend(starts_first.then_some(Claim { name, seed, has: None }));
                members.push((resource, component));
            }
        }
        claims.wanted.extend(standbys);
        claims.taken = scene.facts.strangers.get(zone.as_str()).cloned().unwrap_or_default();
        let declared: BTreeSet<&ResourceId> = members.iter().map(|(resource, _)| resource).collect();
        let leaving = scene.live.resources.keys().filter(|resource| !declared.contains(resource));
        claims.taken.extend(leaving.filter_map(|resource| live_address(scene, resource, zone)));
        let assigned = assign(subnet, &claims);
        for (resource, component) in members {
            let address = assigned.get(&claim(&resource)).copied();
            let standby = assigned.get(&standby_claim(&resource)).copied();
            if address.is_none() || (component.spec.update == Update::StartFirst && standby.is_none()) {
                let message = format!("zone `{zone}` ({subnet}) has no address left for `{resource}`");
                problems.component(component, "zone", message, "give the zone a larger `subnet`");
            }
            self.0.insert((zone.to_string(), resource), Planned { address, standby });
        }
    }

    /// Returns how a container is in a zone.
    pub(crate) fn endpoint(
        &self,
        zone: &ZoneName,
        resource: &ResourceId,
        aliases: Vec<String>,
    ) -> EndpointSpec {
        let planned = self.0.get(&(zone.to_string(), resource.clone()));
        let text = |address: Option<Ipv4Addr>| address.map(|address| address.to_string());
        EndpointSpec {
            aliases,
            address: planned.and_then(|planned| text(planned.address)),
            standby: planned.and_then(|planned| text(planned.standby)),
            undeclared: false,
        }
    }
}

impl Addresses {
    /// Returns the second address of a container in a zone.
    pub(crate) fn standby(&self, zone: &str, resource: &ResourceId) -> Option<String> {
        let planned = self.0.get(&(zone.to_owned(), resource.clone()))?;
        planned.standby.map(|address| address.to_string())
    }
}

fn claim(resource: &ResourceId) -> String {
    resource.name.clone()
}

fn standby_claim(resource: &ResourceId) -> String {
    format!("{}/standby", resource.name)
}

fn live_address(scene: &Scene<'_>, resource: &ResourceId, zone: &ZoneName) -> Option<Ipv4Addr> {
    let live = scene.live.resources.get(resource)?;
    let spec: ContainerSpec = from_spec(&live.spec).ok()?;
    spec.networks.get(zone.as_str())?.address.as_deref()?.parse().ok()
}
