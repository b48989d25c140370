//! What a revision wants, in the engine's words. Pure: image ids, subnets and addresses come from what
//! was observed, so that the same manifests over the same live state always give the same configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use trueup_engine::{Identity, Wanted};
use trueup_plan::{Declared, Desired, Kind, Live, Manner, Needs, Probe, ResourceId};
use trueup_schema::{
    Problems, Report, ResolvedComponent,
    manifest::{Dependency, Health, PortRef, Until, Workload},
};

use crate::{
    Settings,
    container_spec::container_spec,
    facts::Facts,
    image::pull_spec,
    names::{replica_resource, zone_resource},
    places::container_places,
    rules::rules,
    spec::{Check, ContainerSpec, VolumeSpec, to_spec},
    zones::{Addresses, network_specs},
};

/// Everything that the compilation of one environment looks at.
pub(crate) struct Scene<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) wanted: &'a Wanted,
    pub(crate) live: &'a Live,
    pub(crate) facts: Facts,
    pub(crate) settings: &'a Settings,
}

/// Returns what is wanted in the engine's words, or every reason why it cannot be honoured.
pub(crate) fn compile(
    settings: &Settings,
    identity: &Identity,
    wanted: &Wanted,
    live: &Live,
) -> Result<Desired, Report> {
    let scene = Scene { identity, wanted, live, facts: Facts::of(live), settings };
    let mut problems = Problems::default();
    let networks = network_specs(&scene, &mut problems);
    let addresses = Addresses::plan(&scene, &networks, &mut problems);
    let mut resources = BTreeMap::new();
    for (zone, spec) in &networks {
        let declared = Declared::new(to_spec(spec), scene.zone_places(zone.as_str()));
        resources.insert(zone_resource(zone), declared);
    }
    let mut notes = BTreeSet::new();
    for component in wanted.resolved.components.values() {
        if component.spec.workload == Workload::External {
            continue;
        }
        crate::refuse::component(&scene, component, &mut problems);
        crate::notes::component(&scene, component, &mut notes);
        resources.extend(volumes(component));
        for (resource, declared) in containers(&scene, component, &addresses, &mut problems) {
            if let Some(other) = resources.keys().find(|other| clash(other, &resource)) {
                let of = other.component.as_ref().map(ToString::to_string).unwrap_or_default();
                problems.component(
                    component,
                    "replicas",
                    format!("`{resource}` is also a container of `{of}`"),
                    "rename one of the components",
                );
            }
            resources.insert(resource, declared);
        }
    }
    problems.into_result()?;
    let spec = &wanted.resolved.spec;
    Ok(Desired {
        environment: wanted.resolved.name.clone(),
        target: spec.target.id().to_string(),
        revision: wanted.resolved.revision.clone(),
        resources,
        rules: rules(),
        prune: spec.sync.prune,
        max_deletes: spec.sync.max_deletes,
        manner: Manner::Beside,
        notes: notes.into_iter().collect(),
    })
}

fn clash(one: &ResourceId, other: &ResourceId) -> bool {
    let is_container = |kind| matches!(kind, Kind::Workload | Kind::Job | Kind::Cron);
    one.name == other.name && is_container(one.kind) && is_container(other.kind)
}

/// Returns the kind of a component's containers.
pub(crate) fn kind_of(workload: Workload) -> Kind {
    match workload {
        Workload::Job => Kind::Job,
        Workload::Cron => Kind::Cron,
        _ => Kind::Workload,
    }
}

/// Returns how many containers a component has.
pub(crate) fn replicas(component: &ResolvedComponent) -> u16 {
    match component.spec.workload {
        Workload::Service | Workload::Stateful => component.spec.replicas,
        Workload::External => 0,
        Workload::Daemon | Workload::Job | Workload::Cron => 1,
    }
}

/// Returns the resources of a component's containers, first replica first.
pub(crate) fn container_ids(component: &ResolvedComponent) -> Vec<ResourceId> {
    let kind = kind_of(component.spec.workload);
    (1..=replicas(component)).map(|replica| replica_resource(kind, &component.name, replica)).collect()
}

/// Returns the resource of a component's volume.
pub(crate) fn volume_resource(component: &ResolvedComponent, volume: &str) -> ResourceId {
    ResourceId {
        kind: Kind::Volume,
        name: format!("{}-{volume}", component.name),
        component: Some(component.name.clone()),
    }
}

fn volumes(component: &ResolvedComponent) -> impl Iterator<Item = (ResourceId, Declared)> {
    component.spec.volumes.iter().map(move |volume| {
        let path = format!("volumes[{}]", volume.name);
        let mut places = trueup_schema::Places::default();
        for (field, source) in [("", path.clone()), ("driver", format!("{path}.driver"))] {
            if let Some(place) = component.places.find(&source) {
                places.0.insert(field.to_owned(), place.clone());
            }
        }
        let driver = volume.driver.clone().unwrap_or_else(|| "local".to_owned());
        let spec = VolumeSpec { driver, owner: volume.owner.clone() };
        (volume_resource(component, volume.name.as_str()), Declared::new(to_spec(&spec), places))
    })
}

fn containers(
    scene: &Scene<'_>,
    component: &ResolvedComponent,
    addresses: &Addresses,
    problems: &mut Problems,
) -> Vec<(ResourceId, Declared)> {
    let deliveries = scene.wanted.deliveries.get(&component.name);
    let places = container_places(component, deliveries);
    let probe = probe(scene, component, problems);
    let workload = component.spec.workload;
    let image = component.spec.image.as_deref().and_then(|image| scene.facts.images.get(image));
    let fetch = image
        .filter(|image| !image.present)
        .and_then(|image| pull_spec(component, scene.wanted, &image.id))
        .map(|pull| to_spec(&pull));
    let declare = |resource: ResourceId| {
        let spec = container_spec(scene, component, &resource, addresses);
        let inputs = (workload == Workload::Job).then(|| job_inputs(&spec));
        let declared = Declared {
            done: inputs.as_ref().is_some_and(|inputs| scene.wanted.jobs_done.contains(inputs)),
            inputs,
            needs: needs(scene, component),
            probe: probe.clone().filter(|_| workload.is_long_running()),
            update: component.spec.update,
            serves: serves(component),
            fetch: fetch.clone(),
            irreversible: (workload == Workload::Job).then(|| "what the job does".to_owned()),
            ..Declared::new(to_spec(&spec), places.clone())
        };
        (resource, declared)
    };
    container_ids(component).into_iter().map(declare).collect()
}

fn serves(component: &ResolvedComponent) -> Vec<String> {
    component.spec.ports.iter().map(|port| format!("{}:{}", component.name, port.port)).collect()
}

/// Returns the digest of everything that the outcome of a job depends on; its place and limits do not matter.
fn job_inputs(spec: &ContainerSpec) -> String {
    let mut value = to_spec(spec);
    if let Some(fields) = value.as_object_mut() {
        for irrelevant in ["networks", "resources", "restart", "log", "labels", "stopGrace", "stopSignal"] {
            fields.remove(irrelevant);
        }
        if let Some(image) = fields.get_mut("image").and_then(serde_json::Value::as_object_mut) {
            image.remove("reference");
        }
    }
    crate::names::short_digest(&[&value.to_string()], 64)
}

fn needs(scene: &Scene<'_>, component: &ResolvedComponent) -> Vec<Needs> {
    let zones = component.zones.iter().map(|zone| Needs { on: zone_resource(zone), ready: false });
    let volumes = component
        .spec
        .volumes
        .iter()
        .map(|volume| Needs { on: volume_resource(component, volume.name.as_str()), ready: false });
    let others = component.spec.depends_on.iter().flat_map(|dependency| needs_of(scene, dependency));
    let mut needs: Vec<Needs> = zones.chain(volumes).chain(others).collect();
    needs.sort();
    needs.dedup();
    needs
}

fn needs_of(scene: &Scene<'_>, dependency: &Dependency) -> Vec<Needs> {
    let Some(other) = scene.wanted.resolved.components.get(&dependency.component) else { return Vec::new() };
    let ready = dependency.until != Some(Until::Started);
    container_ids(other).into_iter().map(|on| Needs { on, ready }).collect()
}

fn probe(scene: &Scene<'_>, component: &ResolvedComponent, problems: &mut Problems) -> Option<Probe> {
    let stable = scene.wanted.resolved.spec.sync.stable;
    let Some(health) = &component.spec.health else {
        let startup = stable.0 + Duration::from_secs(10);
        return Some(Probe {
            check: to_spec(&Check::Stable(stable)),
            interval: stable.0,
            timeout: stable.0,
            startup,
        });
    };
    Some(Probe {
        check: to_spec(&check(scene, component, health, problems)?),
        interval: health.interval.0,
        timeout: health.timeout.0,
        startup: health.startup.0,
    })
}

fn check(
    scene: &Scene<'_>,
    component: &ResolvedComponent,
    health: &Health,
    problems: &mut Problems,
) -> Option<Check> {
    if let Some(command) = &health.exec {
        return Some(Check::Exec(command.clone()));
    }
    let (field, port) = match (&health.http, &health.tcp) {
        (Some(http), _) => ("health.http", &http.port),
        (None, Some(tcp)) => ("health.tcp", &tcp.port),
        (None, None) => return None,
    };
    if scene.facts.engine.same_network == Some(false) {
        problems.component(component, field,
            "trueup cannot reach this engine's networks, because they are in another network namespace or host",
            "use `exec`, or run trueup in the engine's network namespace");
    }
    let Some(zone) = component.zones.first() else {
        problems.component(
            component,
            field,
            "a component without a zone has no address to ask",
            "use `exec`, or give it a zone",
        );
        return None;
    };
    let zone = zone.to_string();
    let number = match port {
        PortRef::Number(number) => Some(*number),
        PortRef::Name(name) => {
            component.spec.ports.iter().find(|port| port.name == *name).map(|port| port.port)
        }
    };
    let Some(port) = number else {
        problems.component(
            component,
            field,
            "it names a port that the component does not have",
            "add it to `ports`",
        );
        return None;
    };
    Some(match &health.http {
        Some(http) => Check::Http { zone, port, path: http.path.clone() },
        None => Check::Tcp { zone, port },
    })
}

impl Scene<'_> {
    /// Returns where a zone was written.
    fn zone_places(&self, zone: &str) -> trueup_schema::Places {
        let written = &self.wanted.resolved.places;
        let mut places = trueup_schema::Places::default();
        for field in ["", "subnet", "internal", "foreign"] {
            let source = format!("zones.{zone}{}{field}", if field.is_empty() { "" } else { "." });
            if let Some(place) = written.find(&source) {
                places.0.insert(field.to_owned(), place.clone());
            }
        }
        places
    }
}
