//! A container's configuration as the engine takes it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountType, NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy,
};
use trueup_engine::{Identity, TargetError};
use trueup_plan::{Kind, ResourceId};
use trueup_schema::Materials;

use crate::{
    Docker,
    image::secret_text,
    names::{
        COMPONENT, EXPOSED, FILES, KIND, Labels, MISSED_RUNS, REPLICA, SCHEDULE, network_name, owner_labels,
        replica_number,
    },
    spec::{ContainerSpec, EndpointSpec, EnvValue, PortSpec, to_spec, whole_seconds},
};

/// What is created: which resource of whom, with which configuration.
pub(crate) struct Blueprint<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) run: String,
    pub(crate) resource: &'a ResourceId,
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) materials: &'a Materials,
    /// Whether it takes the second address, because the one that it replaces still runs on the first.
    pub(crate) standby: bool,
}

impl Blueprint<'_> {
    /// Returns the labels of the container.
    fn labels(&self) -> Labels {
        let mut labels = owner_labels(self.identity, &self.run);
        labels.extend(self.spec.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        let component = self.resource.component.as_ref().map(ToString::to_string).unwrap_or_default();
        let exposed = self.spec.env.iter().filter(|(_, value)| matches!(value, EnvValue::Secret(_)));
        let exposed: Vec<&str> = exposed.map(|(name, _)| name.as_str()).collect();
        labels.extend([
            (COMPONENT.to_owned(), component),
            (REPLICA.to_owned(), replica_number(self.resource).to_string()),
            (KIND.to_owned(), kind(self.resource.kind).to_owned()),
        ]);
        if !self.spec.files.is_empty() {
            labels.insert(FILES.to_owned(), to_spec(&self.spec.files).to_string());
        }
        if let Some(schedule) = &self.spec.schedule {
            labels.insert(SCHEDULE.to_owned(), schedule.clone());
        }
        if let Some(missed_runs) = &self.spec.missed_runs {
            labels.insert(MISSED_RUNS.to_owned(), missed_runs.clone());
        }
        if !exposed.is_empty() {
            labels.insert(EXPOSED.to_owned(), exposed.join(","));
        }
        labels
    }

    /// Returns the endpoints by the engine's names of the networks.
    pub(crate) fn endpoints(&self) -> BTreeMap<String, EndpointSettings> {
        let named = |(key, endpoint): (&String, &EndpointSpec)| {
            (engine_network(self.identity, key), endpoint_settings(endpoint, self.standby))
        };
        self.spec.networks.iter().map(named).collect()
    }

    /// Returns the environment, with the values of exposed secrets.
    fn env(&self) -> Result<Vec<String>, TargetError> {
        let entry = |(name, value): (&String, &EnvValue)| {
            let value = match value {
                EnvValue::Plain(text) => text.clone(),
                EnvValue::Secret(digest) => secret_text(self.materials, digest)?,
            };
            Ok(format!("{name}={value}"))
        };
        self.spec.env.iter().map(entry).collect()
    }
}

/// Returns the engine's name of a network of a configuration: a zone's, or `other:<name>`.
pub(crate) fn engine_network(identity: &Identity, key: &str) -> String {
    key.strip_prefix("other:").map_or_else(|| network_name(identity, key), str::to_owned)
}

/// Returns an endpoint in full: what is left out is lost when a container is connected again.
pub(crate) fn endpoint_settings(endpoint: &EndpointSpec, standby: bool) -> EndpointSettings {
    let address = endpoint.standby.clone().filter(|_| standby).or_else(|| endpoint.address.clone());
    let ipam = address
        .map(|address| EndpointIpamConfig { ipv4_address: Some(address), ..EndpointIpamConfig::default() });
    EndpointSettings {
        ipam_config: ipam,
        aliases: Some(endpoint.aliases.clone()),
        ..EndpointSettings::default()
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Job => "job",
        Kind::Cron => "cron",
        _ => "workload",
    }
}

impl Docker {
    /// Returns the request that creates a container in the first of its networks.
    pub(crate) fn body(&self, blueprint: &Blueprint<'_>) -> Result<ContainerCreateBody, TargetError> {
        let spec = blueprint.spec;
        let endpoints = blueprint.endpoints();
        let first = endpoints.into_iter().next();
        let mode = first.as_ref().map_or_else(|| "none".to_owned(), |(name, _)| name.clone());
        let networking = first.map(|(name, settings)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(name, settings)])),
        });
        Ok(ContainerCreateBody {
            image: Some(spec.image.reference.clone()),
            entrypoint: spec.command.clone(),
            cmd: spec.args.clone(),
            user: spec.user.clone(),
            working_dir: spec.working_dir.clone(),
            env: Some(blueprint.env()?),
            labels: Some(blueprint.labels()),
            exposed_ports: Some(spec.ports.values().map(|port| port.port.clone()).collect()),
            stop_signal: spec.stop_signal.clone(),
            stop_timeout: Some(whole_seconds(spec.stop_grace)),
            host_config: Some(self.host_config(blueprint, mode)),
            networking_config: networking,
            ..ContainerCreateBody::default()
        })
    }

    fn host_config(&self, blueprint: &Blueprint<'_>, network_mode: String) -> HostConfig {
        let spec = blueprint.spec;
        let limits = Limits::of(spec);
        let texts = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<HashMap<_, _>>()
        };
        HostConfig {
            network_mode: Some(network_mode),
            mounts: Some(self.mounts(blueprint)),
            tmpfs: Some(texts(&spec.tmpfs)),
            port_bindings: Some(spec.ports.values().map(port_binding).collect()),
            restart_policy: Some(restart_policy(&spec.restart)),
            memory: limits.memory,
            memory_swap: limits.swap,
            nano_cpus: limits.nano_cpus,
            pids_limit: limits.pids,
            cap_add: Some(spec.cap_add.clone()),
            cap_drop: Some(spec.cap_drop.clone()),
            ulimits: Some(spec.ulimits.iter().filter_map(ulimit).collect()),
            sysctls: Some(texts(&spec.sysctls)),
            shm_size: i64::try_from(spec.shm_size.0).ok(),
            readonly_rootfs: Some(spec.read_only),
            init: spec.init.then_some(true),
            log_config: spec.log.as_ref().map(|log| HostConfigLogConfig {
                typ: Some(log.driver.clone()),
                config: Some(texts(&log.options)),
            }),
            ..HostConfig::default()
        }
    }

    fn mounts(&self, blueprint: &Blueprint<'_>) -> Vec<Mount> {
        let volumes = blueprint.spec.volumes.iter().map(|(path, volume)| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.clone()),
            target: Some(path.clone()),
            ..Mount::default()
        });
        let sources = match &blueprint.resource.component {
            Some(component) if self.is_local() => {
                crate::deliver::sources(self.settings(), blueprint.identity, component, &blueprint.spec.files)
            }
            _ => BTreeMap::new(),
        };
        let files = sources.into_iter().map(|(path, source)| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.to_string_lossy().into_owned()),
            target: Some(path),
            read_only: Some(true),
            ..Mount::default()
        });
        volumes.chain(files).collect()
    }
}

/// The limits of a container in the engine's numbers.
pub(crate) struct Limits {
    pub(crate) memory: Option<i64>,
    pub(crate) swap: Option<i64>,
    pub(crate) nano_cpus: Option<i64>,
    pub(crate) pids: Option<i64>,
}

impl Limits {
    /// Returns the limits of a configuration; none where there is none.
    pub(crate) fn of(spec: &ContainerSpec) -> Self {
        let resources = &spec.resources;
        let memory = resources.memory.and_then(|bytes| i64::try_from(bytes.0).ok());
        let swap = match resources.swap.as_deref() {
            Some("-1") => Some(-1),
            Some(text) => {
                text.parse::<trueup_schema::manifest::Bytes>().ok().and_then(|b| i64::try_from(b.0).ok())
            }
            None => None,
        };
        let nano_cpus =
            resources.cpu.and_then(|cpu| i64::try_from(cpu.millis.saturating_mul(1_000_000)).ok());
        Self { memory, swap, nano_cpus, pids: resources.pids.map(i64::from) }
    }
}

/// Returns the engine's form of `on-failure:3`.
pub(crate) fn restart_policy(text: &str) -> RestartPolicy {
    let (name, count) = text.split_once(':').unwrap_or((text, "0"));
    RestartPolicy { name: name.parse().ok(), maximum_retry_count: count.parse().ok() }
}

fn ulimit((name, text): (&String, &String)) -> Option<ResourcesUlimits> {
    let (soft, hard) = text.split_once(':')?;
    Some(ResourcesUlimits { name: Some(name.clone()), soft: soft.parse().ok(), hard: hard.parse().ok() })
}

fn port_binding(port: &PortSpec) -> (String, Option<Vec<PortBinding>>) {
    let binding = |publish: &str| {
        let (address, number) = publish.rsplit_once(':').unwrap_or(("", publish));
        PortBinding { host_ip: Some(address.to_owned()), host_port: Some(number.to_owned()) }
    };
    (port.port.clone(), Some(port.publish.split(',').map(binding).collect()))
}
