//! Checks what can be checked before anything is touched. All that is in the way is told at once.

use std::{
    collections::{BTreeSet, HashMap},
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

use bollard::models::{ContainerSummary, Network, PortSummaryTypeEnum};
use futures::future::try_join;
use trueup_engine::{Blame, Identity, RunContext, TargetError};
use trueup_plan::{Act, Kind, Plan, ResourceId, Spec};
use trueup_schema::manifest::Publish;

use crate::{
    Docker,
    address::{overlap, parse_subnet},
    names::{ENV_UID, engine_name},
    observe::occupied,
    sight::{is_own, summary_name},
    spec::{Check, ContainerSpec, NetworkSpec, VolumeSpec, from_spec},
};

/// What a plan creates and what it takes away.
struct Intents<'a> {
    created: Vec<(&'a ResourceId, &'a Spec)>,
    /// Containers and networks that make room.
    leaving: BTreeSet<&'a str>,
    /// Whether a container of a new name is created: one that takes another's place has its name already.
    names: bool,
}

impl<'a> Intents<'a> {
    fn of(plan: &'a Plan) -> Self {
        let created = plan.steps.iter().filter_map(|step| match &step.act {
            Act::Create { spec, .. } => Some((&step.resource, spec)),
            _ => None,
        });
        let leaving = plan.steps.iter().filter_map(|step| match &step.act {
            Act::Create { replaces, .. } => replaces.as_ref(),
            // What is retired stays until the commit, but its ports are free once it is stopped.
            Act::Retire { old } if step.resource.kind != Kind::Network => Some(old),
            _ => None,
        });
        let names = plan.steps.iter().any(|step| match &step.act {
            Act::Create { spec, replaces } if is_container(step.resource.kind) => {
                replaces.as_ref().is_none_or(|old| old.spec.get("name") != spec.get("name"))
            }
            _ => false,
        });
        Self { created: created.collect(), leaving: leaving.map(|old| old.handle.as_str()).collect(), names }
    }

    fn specs<T: serde::de::DeserializeOwned>(
        &self,
        of: fn(Kind) -> bool,
    ) -> impl Iterator<Item = (&'a ResourceId, T)> {
        let wanted = self.created.iter().filter(move |(resource, _)| of(resource.kind));
        wanted.filter_map(|(resource, spec)| Some((*resource, from_spec(spec).ok()?)))
    }
}

impl Intents<'_> {
    /// Returns whether another container can be in the way.
    fn concerns_containers(&self) -> bool {
        self.names || self.specs::<ContainerSpec>(is_container).any(|(_, spec)| publishes(&spec))
    }
}

fn publishes(spec: &ContainerSpec) -> bool {
    spec.ports.values().any(|port| !port.publish.is_empty())
}

fn is_container(kind: Kind) -> bool {
    !matches!(kind, Kind::Network | Kind::Volume)
}

impl Docker {
    /// Checks ports, subnets, names, drivers and probes of a plan.
    pub(crate) async fn check_before(&self, run: &RunContext, plan: &Plan) -> Result<(), TargetError> {
        let intents = Intents::of(plan);
        let containers = async {
            if intents.concerns_containers() {
                self.list_containers(HashMap::new()).await
            } else {
                Ok(Vec::new())
            }
        };
        let (containers, networks) = try_join(containers, self.list_networks()).await?;
        let same = self.same_network(&networks);
        let mut problems = Vec::new();
        problems.extend(subnets(&run.identity, &intents, &networks, same));
        problems.extend(names(&run.identity, &intents, &containers));
        problems.extend(ports(&intents, &containers, same));
        problems.extend(self.drivers(&intents).await?);
        if same == Some(false) {
            problems.extend(probes(plan));
        }
        problems.sort();
        problems.dedup();
        let mut problems = problems.into_iter();
        let Some(first) = problems.next() else { return Ok(()) };
        // All of it is the host's matter: tried again, it may be out of the way.
        Err(TargetError { causes: problems.collect(), ..TargetError::new(Blame::Target, first) })
    }

    async fn drivers(&self, intents: &Intents<'_>) -> Result<Vec<String>, TargetError> {
        let wanted: Vec<(&ResourceId, VolumeSpec)> = intents.specs(|kind| kind == Kind::Volume).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let info = self.api().info().await;
        let info = info.map_err(|error| self.failed("ask the engine for its drivers", &error))?;
        let known = info.plugins.and_then(|plugins| plugins.volume).unwrap_or_default();
        let missing = wanted.into_iter().filter(|(_, spec)| !known.contains(&spec.driver));
        Ok(missing
            .map(|(resource, spec)| {
                let known = known.join(", ");
                format!("{resource}: the engine has no volume driver `{}`, only {known}", spec.driver)
            })
            .collect())
    }
}

fn subnets(
    identity: &Identity,
    intents: &Intents<'_>,
    networks: &[Network],
    same: Option<bool>,
) -> Vec<String> {
    let staying = networks
        .iter()
        .filter(|network| !network.id.as_deref().is_some_and(|id| intents.leaving.contains(id)));
    let staying: Vec<Network> = staying.cloned().collect();
    let mut taken = occupied(identity, &staying, same);
    for own in staying.iter().filter(|network| is_own(identity, network.labels.as_ref())) {
        let subnet = crate::inspect::network(own).subnet;
        let by = format!("network `{}`", own.name.as_deref().unwrap_or_default());
        taken.push(crate::facts::Occupied { subnet, by });
    }
    // A network that leaves has no route of its own any more.
    let leaving = networks
        .iter()
        .filter(|network| network.id.as_deref().is_some_and(|id| intents.leaving.contains(id)));
    let freed: Vec<String> = leaving.map(|network| crate::inspect::network(network).subnet).collect();
    taken.retain(|occupied| !(freed.contains(&occupied.subnet) && occupied.by.starts_with("interface")));
    let mut found = Vec::new();
    for (resource, spec) in intents.specs::<NetworkSpec>(|kind| kind == Kind::Network) {
        let Some(subnet) = parse_subnet(&spec.subnet) else { continue };
        let in_the_way = taken
            .iter()
            .filter(|other| parse_subnet(&other.subnet).is_some_and(|other| overlap(subnet, other)));
        found.extend(in_the_way.map(|other| {
            format!("{resource}: subnet {subnet} overlaps with {} of {}", other.subnet, other.by)
        }));
    }
    found
}

fn names(identity: &Identity, intents: &Intents<'_>, containers: &[ContainerSummary]) -> Vec<String> {
    let is_ours = |summary: &ContainerSummary| {
        let labels = summary.labels.as_ref();
        labels.and_then(|labels| labels.get(ENV_UID)).is_some_and(|uid| *uid == identity.uid)
    };
    let wanted = intents.created.iter().filter(|(resource, _)| is_container(resource.kind));
    wanted
        .map(|(resource, _)| engine_name(identity, resource))
        .filter(|name| containers.iter().any(|other| summary_name(other) == name && !is_ours(other)))
        .map(|name| format!("a container `{name}` is there that trueup did not create"))
        .collect()
}

fn ports(intents: &Intents<'_>, containers: &[ContainerSummary], same: Option<bool>) -> Vec<String> {
    let leaves = |container: &&ContainerSummary| {
        container.id.as_deref().is_some_and(|id| intents.leaving.contains(id))
    };
    let (leaving, staying): (Vec<_>, Vec<_>) = containers.iter().partition(leaves);
    let holder = |publish: Publish, udp: bool| {
        let container = staying.iter().find(|container| holds(container, publish, udp));
        let is_freed = || leaving.iter().any(|container| holds(container, publish, udp));
        match container {
            Some(container) => Some(format!("by container `{}`", summary_name(container))),
            None if same != Some(true) || is_freed() || is_free(publish, udp) => None,
            None => Some("by a process of the host".to_owned()),
        }
    };
    let mut found = Vec::new();
    for (resource, spec) in intents.specs::<ContainerSpec>(is_container) {
        for port in spec.ports.values() {
            let udp = port.port.ends_with("/udp");
            let published = port.publish.split(',').filter_map(|text| text.parse::<Publish>().ok());
            found.extend(published.filter_map(|publish| {
                let by = holder(publish, udp)?;
                Some(format!("{resource}: port {publish} is already taken {by}"))
            }));
        }
    }
    found
}

fn holds(container: &ContainerSummary, publish: Publish, udp: bool) -> bool {
    container.ports.iter().flatten().any(|port| {
        let is_udp = port.typ == Some(PortSummaryTypeEnum::UDP);
        let address = port.ip.as_deref().and_then(|text| text.parse::<Ipv4Addr>().ok());
        let any = |address: Option<Ipv4Addr>| address.is_none_or(|address| address.is_unspecified());
        let meets = any(address) || any(publish.address) || address == publish.address;
        port.public_port == Some(publish.port) && is_udp == udp && meets
    })
}

/// Returns whether a port can be bound now; an address that is not this host's is for the engine to judge.
fn is_free(publish: Publish, udp: bool) -> bool {
    let address = (publish.address.unwrap_or(Ipv4Addr::UNSPECIFIED), publish.port);
    let bound = if udp { UdpSocket::bind(address).map(drop) } else { TcpListener::bind(address).map(drop) };
    !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

fn probes(plan: &Plan) -> Vec<String> {
    let needs_network = |step: &&trueup_plan::Step| {
        let Act::Verify { probe } = &step.act else { return false };
        matches!(from_spec(&probe.check), Ok(Check::Http { .. } | Check::Tcp { .. }))
    };
    let steps = plan.steps.iter().filter(needs_network);
    steps
        .map(|step| {
            format!(
                "{}: http and tcp checks need an engine in trueup's own network namespace; use `exec`",
                step.resource
            )
        })
        .collect()
}
