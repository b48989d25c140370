//! The wanted configuration of one container.

use std::collections::BTreeMap;

use trueup_plan::ResourceId;
use trueup_schema::{
    Deliveries, ResolvedComponent,
    manifest::{Bytes, Protocol, Restart, Span, Workload},
};

use crate::{
    compile::{Scene, volume_resource},
    facts::Engine,
    names::engine_name,
    spec::{ContainerSpec, EnvValue, FileSpec, ImageSpec, LogSpec, PortSpec, ResourcesSpec, whole_seconds},
    zones::Addresses,
};

/// The size of `/dev/shm` that an engine gives when nobody asks.
pub(crate) const DEFAULT_SHM: Bytes = Bytes(64 << 20);

/// Returns the wanted configuration of one replica.
pub(crate) fn container_spec(
    scene: &Scene<'_>,
    component: &ResolvedComponent,
    resource: &ResourceId,
    addresses: &Addresses,
) -> ContainerSpec {
    let spec = &component.spec;
    let none = Deliveries::default();
    let deliveries = scene.wanted.deliveries.get(&component.name).unwrap_or(&none);
    let reference = spec.image.clone().unwrap_or_default();
    let id = scene.facts.images.get(&reference).map(|image| image.id.clone()).unwrap_or_default();
    let endpoints = component.zones.iter().map(|zone| {
        let endpoint = addresses.endpoint(zone, resource, aliases(scene, component));
        (zone.to_string(), endpoint)
    });
    ContainerSpec {
        name: engine_name(scene.identity, resource),
        image: ImageSpec { reference, id },
        command: spec.command.clone(),
        args: spec.args.clone(),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        env: env(component, deliveries),
        files: files(deliveries),
        volumes: volumes(scene, component),
        tmpfs: spec.docker.tmpfs.iter().map(|entry| tmpfs(entry)).collect(),
        networks: endpoints.collect(),
        ports: ports(component),
        resources: resources(component, &scene.facts.engine),
        restart: restart(component).to_owned(),
        stop_signal: spec.stop_signal.clone(),
        stop_grace: seconds(spec.stop_grace),
        cap_add: capabilities(&spec.docker.cap_add),
        cap_drop: capabilities(&spec.docker.cap_drop),
        ulimits: ulimits(component),
        sysctls: spec.docker.sysctls.clone(),
        shm_size: spec.docker.shm_size.unwrap_or(DEFAULT_SHM),
        read_only: spec.read_only,
        init: spec.docker.init,
        log: spec
            .docker
            .logging
            .as_ref()
            .map(|log| LogSpec { driver: log.driver.clone(), options: log.options.clone() }),
        labels: spec.labels.clone(),
        schedule: spec.schedule.clone(),
        missed_runs: spec.missed_runs.map(|missed_runs| missed_runs.to_string()),
    }
}

fn aliases(scene: &Scene<'_>, component: &ResolvedComponent) -> Vec<String> {
    let environment = &scene.wanted.resolved;
    let domain = environment.spec.domain.clone().unwrap_or_else(|| format!("{}.internal", environment.name));
    let mut aliases = vec![component.name.to_string(), format!("{}.{domain}", component.name)];
    aliases.sort();
    aliases
}

fn env(component: &ResolvedComponent, deliveries: &Deliveries) -> BTreeMap<String, EnvValue> {
    let plain = |(name, value): (&String, &String)| (name.clone(), EnvValue::Plain(value.clone()));
    let mut env: BTreeMap<_, _> = component.spec.env.iter().map(plain).collect();
    env.extend(deliveries.path_env.iter().map(plain));
    let exposed = deliveries.exposed.iter();
    env.extend(exposed.map(|(name, digest)| (name.clone(), EnvValue::Secret(digest.clone()))));
    env
}

fn files(deliveries: &Deliveries) -> BTreeMap<String, FileSpec> {
    let spec = |file: &trueup_schema::DeliveredFile| FileSpec {
        digest: file.digest.clone(),
        mode: format!("{:04o}", file.mode),
        owner: format!("{}:{}", file.uid, file.gid),
    };
    deliveries.files.iter().map(|(path, file)| (path.clone(), spec(file))).collect()
}

fn volumes(scene: &Scene<'_>, component: &ResolvedComponent) -> BTreeMap<String, String> {
    let entry = |volume: &trueup_schema::manifest::VolumeSpec| {
        let resource = volume_resource(component, volume.name.as_str());
        (volume.path.clone(), engine_name(scene.identity, &resource))
    };
    component.spec.volumes.iter().map(entry).collect()
}

/// Splits `/run:size=64m` into the path and the engine's options.
fn tmpfs(entry: &str) -> (String, String) {
    let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
    (path.to_owned(), options.to_owned())
}

fn ports(component: &ResolvedComponent) -> BTreeMap<String, PortSpec> {
    let published = component.spec.ports.iter().filter_map(|port| {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let spec = PortSpec { port: format!("{}/{protocol}", port.port), publish: port.publish?.to_string() };
        Some((port.name.to_string(), spec))
    });
    published.collect()
}

fn resources(component: &ResolvedComponent, engine: &Engine) -> ResourcesSpec {
    let limits = &component.spec.resources;
    let swap = |memory: Bytes| if engine.swap_limit { memory.to_string() } else { "-1".to_owned() };
    let swap = limits.memory.map(swap);
    ResourcesSpec { cpu: limits.cpu, memory: limits.memory, swap, pids: limits.pids }
}

/// Returns the engine's name of the restart policy.
fn restart(component: &ResolvedComponent) -> &'static str {
    if matches!(component.spec.workload, Workload::Job | Workload::Cron) {
        return "no";
    }
    match component.spec.restart {
        Some(Restart::No) => "no",
        Some(Restart::UnlessStopped) | None => "unless-stopped",
    }
}

/// Returns a span of whole seconds: the engine knows no less.
pub(crate) fn seconds(span: Span) -> Span {
    let seconds = u64::try_from(whole_seconds(span)).unwrap_or_default();
    Span(std::time::Duration::from_secs(seconds))
}

/// Returns capabilities in the form in which they are compared.
pub(crate) fn capabilities(names: &[String]) -> Vec<String> {
    let plain = |name: &String| {
        let upper = name.to_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    let mut names: Vec<String> = names.iter().map(plain).collect();
    names.sort();
    names.dedup();
    names
}

fn ulimits(component: &ResolvedComponent) -> BTreeMap<String, String> {
    let limits = component.spec.docker.ulimits.iter();
    limits.map(|(name, limit)| (name.clone(), format!("{}:{}", limit.soft, limit.hard))).collect()
}
