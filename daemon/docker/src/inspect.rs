//! Reads a configuration back from what an engine says about a container, network or volume.
//!
//! What the image brings is taken out, and what means the same is read as the manifest writes it: so a
//! container that was created from a spec reads back as that spec.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, EndpointSettings, HostConfig, ImageConfig, ImageInspect,
    MountType, Network,
};
use jiff::Timestamp;
use trueup_plan::State;
use trueup_schema::{
    ContentDigest, DigestKey,
    manifest::{Bytes, Cpu, Span},
};

use crate::{
    container_spec::{DEFAULT_SHM, capabilities},
    facts::Engine,
    image::{identity, is_same},
    names::{EXPOSED, FILES, Labels, MISSED_RUNS, SCHEDULE, foreign_labels},
    sight::inspected_name,
    spec::{
        ContainerSpec, EndpointSpec, EnvValue, FileSpec, ImageSpec, LogSpec, NetworkSpec, PortSpec,
        ResourcesSpec,
    },
};

/// What reading a container takes beside it.
pub(crate) struct Reading<'a> {
    pub(crate) engine: &'a Engine,
    /// The image that it runs, when the engine still has it.
    pub(crate) image: Option<&'a ImageInspect>,
    /// What is wanted in its place; addresses do not matter.
    pub(crate) hint: Option<&'a ContainerSpec>,
    /// The zones by the engine's names of their networks.
    pub(crate) zones: &'a BTreeMap<String, String>,
    pub(crate) key: &'a DigestKey,
}

/// Reads the configuration of a container.
pub(crate) fn container(found: &ContainerInspectResponse, reading: &Reading<'_>) -> ContainerSpec {
    let no_config = ContainerConfig::default();
    let no_host = HostConfig::default();
    let no_image = ImageConfig::default();
    let config = found.config.as_ref().unwrap_or(&no_config);
    let host = found.host_config.as_ref().unwrap_or(&no_host);
    let image = reading.image.and_then(|image| image.config.as_ref()).unwrap_or(&no_image);
    let hint = reading.hint;
    let (command, args) = command(config, image, hint);
    let hinted = |read: fn(&ContainerSpec) -> &Option<String>| hint.and_then(|hint| read(hint).as_deref());
    ContainerSpec {
        name: inspected_name(found).to_owned(),
        image: image_spec(found, config, reading),
        command,
        args,
        user: unless_default(config.user.as_deref(), image.user.as_deref(), hinted(|h| &h.user)),
        working_dir: unless_default(
            config.working_dir.as_deref().filter(|path| *path != "/"),
            image.working_dir.as_deref().filter(|path| *path != "/"),
            hinted(|h| &h.working_dir),
        ),
        env: env(config, image, reading),
        files: files(config.labels.as_ref()),
        volumes: volumes(host),
        tmpfs: host.tmpfs.iter().flatten().map(|(path, options)| (path.clone(), options.clone())).collect(),
        networks: networks(found, reading.zones),
        ports: ports(host, hint),
        resources: resources(host, reading),
        restart: restart(host),
        stop_signal: unless_default(
            config.stop_signal.as_deref(),
            image.stop_signal.as_deref(),
            hinted(|h| &h.stop_signal),
        ),
        stop_grace: Span(std::time::Duration::from_secs(
            config.stop_timeout.and_then(|seconds| seconds.try_into().ok()).unwrap_or(10),
        )),
        cap_add: capabilities(host.cap_add.as_deref().unwrap_or_default()),
        cap_drop: capabilities(host.cap_drop.as_deref().unwrap_or_default()),
        ulimits: ulimits(host),
        sysctls: host.sysctls.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
        shm_size: host.shm_size.and_then(positive).map_or(DEFAULT_SHM, Bytes),
        read_only: host.readonly_rootfs.unwrap_or(false),
        init: host.init.unwrap_or(false),
        log: log(host, reading),
        labels: labels(config, image, hint),
        schedule: own_label(config, SCHEDULE),
        missed_runs: own_label(config, MISSED_RUNS),
    }
}

fn own_label(config: &ContainerConfig, key: &str) -> Option<String> {
    config.labels.as_ref()?.get(key).cloned()
}

fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn image_spec(
    found: &ContainerInspectResponse,
    config: &ContainerConfig,
    reading: &Reading<'_>,
) -> ImageSpec {
    let reference = config.image.clone().unwrap_or_default();
    if let (Some(image), Some(hint)) = (reading.image, reading.hint)
        && is_same(image, &hint.image.id)
    {
        return hint.image.clone();
    }
    let id = match reading.image {
        Some(image) => identity(image, &reference),
        None => found.image.clone().unwrap_or_default(),
    };
    ImageSpec { reference, id }
}

/// Returns `live` unless it is what the image brings and the manifest does not say it.
fn unless_default(live: Option<&str>, image: Option<&str>, hint: Option<&str>) -> Option<String> {
    let live = live.unwrap_or_default();
    if hint == Some(live) {
        return Some(live.to_owned());
    }
    (live != image.unwrap_or_default()).then(|| live.to_owned())
}

type Words = Option<Vec<String>>;

fn command(config: &ContainerConfig, image: &ImageConfig, hint: Option<&ContainerSpec>) -> (Words, Words) {
    let words = |list: &Words| list.clone().unwrap_or_default();
    let live = (words(&config.entrypoint), words(&config.cmd));
    let brought = (words(&image.entrypoint), words(&image.cmd));
    if let Some(hint) = hint {
        let wanted = match &hint.command {
            Some(command) => (command.clone(), words(&hint.args)),
            None => (brought.0.clone(), hint.args.clone().unwrap_or_else(|| brought.1.clone())),
        };
        if wanted == live {
            return (hint.command.clone(), hint.args.clone());
        }
    }
    let command = (live.0 != brought.0).then_some(live.0);
    let same_args = command.is_none() && live.1 == brought.1;
    (command, (!same_args && !live.1.is_empty()).then_some(live.1))
}

fn pairs(list: Option<&Vec<String>>) -> BTreeMap<&str, &str> {
    list.into_iter().flatten().map(|entry| entry.split_once('=').unwrap_or((entry, ""))).collect()
}

/// Reads the environment. A value that was exposed, or that nobody declares, is shown by its digest.
fn env(config: &ContainerConfig, image: &ImageConfig, reading: &Reading<'_>) -> BTreeMap<String, EnvValue> {
    let brought = pairs(image.env.as_ref());
    let exposed = config.labels.as_ref().and_then(|labels| labels.get(EXPOSED));
    let was_exposed = |name: &str| exposed.is_some_and(|names| names.split(',').any(|one| one == name));
    let read = |(name, value): (&str, &str)| {
        let declared = reading.hint.and_then(|hint| hint.env.get(name));
        if declared.is_none() && brought.get(name) == Some(&value) {
            return None;
        }
        let shown = match declared {
            Some(EnvValue::Plain(_)) if !was_exposed(name) => EnvValue::Plain(value.to_owned()),
            _ => EnvValue::Secret(ContentDigest::of_secret(reading.key, value.as_bytes())),
        };
        Some((name.to_owned(), shown))
    };
    pairs(config.env.as_ref()).into_iter().filter_map(read).collect()
}

/// Reads the delivered files from their label: a file changes only with its container.
pub(crate) fn files(labels: Option<&Labels>) -> BTreeMap<String, FileSpec> {
    labels
        .and_then(|labels| labels.get(FILES))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn volumes(host: &HostConfig) -> BTreeMap<String, String> {
    let mounts = host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::VOLUME));
    mounts.filter_map(|mount| Some((mount.target.clone()?, mount.source.clone()?))).collect()
}

/// Reads the endpoints, zones by their names and other networks as `other:<name>`.
pub(crate) fn networks(
    found: &ContainerInspectResponse,
    zones: &BTreeMap<String, String>,
) -> BTreeMap<String, EndpointSpec> {
    let id = found.id.as_deref().unwrap_or_default();
    let endpoints = found.network_settings.iter().flat_map(|settings| settings.networks.iter().flatten());
    endpoints
        .filter(|(name, _)| name.as_str() != "none")
        .map(|(name, settings)| {
            let found = endpoint(settings, id);
            if let Some(zone) = zones.get(name) {
                return (zone.clone(), found);
            }
            // An engine lets an address be chosen only where the subnet was: another one is as good here.
            let address = chosen_address(settings);
            (format!("other:{name}"), EndpointSpec { address, undeclared: true, ..found })
        })
        .collect()
}

/// Reads one endpoint. Engines before 25.0 add the short id to the aliases.
pub(crate) fn endpoint(settings: &EndpointSettings, id: &str) -> EndpointSpec {
    let address =
        chosen_address(settings).or_else(|| settings.ip_address.clone()).filter(|text| !text.is_empty());
    let given = settings.aliases.iter().flatten();
    let mut aliases: Vec<String> =
        given.filter(|alias| id.is_empty() || !id.starts_with(alias.as_str())).cloned().collect();
    aliases.sort();
    aliases.dedup();
    EndpointSpec { aliases, address, ..EndpointSpec::default() }
}

/// Returns the address that was asked for.
fn chosen_address(settings: &EndpointSettings) -> Option<String> {
    let address = settings.ipam_config.as_ref().and_then(|ipam| ipam.ipv4_address.clone());
    address.filter(|text| !text.is_empty())
}

fn ports(host: &HostConfig, hint: Option<&ContainerSpec>) -> BTreeMap<String, PortSpec> {
    let mut ports = BTreeMap::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let mut publish: Vec<String> = bindings.iter().flatten().map(binding).collect();
        publish.sort();
        let named = hint.and_then(|hint| hint.ports.iter().find(|(_, spec)| spec.port == *port));
        let name = named.map_or_else(|| port.clone(), |(name, _)| name.clone());
        ports.insert(name, PortSpec { port: port.clone(), publish: publish.join(",") });
    }
    ports
}

fn binding(binding: &bollard::models::PortBinding) -> String {
    let port = binding.host_port.as_deref().unwrap_or_default();
    match binding.host_ip.as_deref().unwrap_or_default() {
        "" | "0.0.0.0" => port.to_owned(),
        address => format!("{address}:{port}"),
    }
}

/// Reads the limits. A limit that was taken away in place reads as all that the host has.
fn resources(host: &HostConfig, reading: &Reading<'_>) -> ResourcesSpec {
    let engine = reading.engine;
    let hint = reading.hint.map(|hint| &hint.resources);
    let millis = host.nano_cpus.and_then(positive).map(|nanos| nanos / 1_000_000);
    let all_cpus = |millis: u64| engine.cpus > 0 && millis >= engine.cpus * 1000;
    let wants_cpu = hint.is_some_and(|hint| hint.cpu.is_some());
    let cpu = millis.filter(|millis| wants_cpu || !all_cpus(*millis)).map(|millis| Cpu { millis });
    let bytes = host.memory.and_then(positive);
    let all_memory = |bytes: u64| engine.memory > 0 && bytes >= engine.memory;
    let wants_memory = hint.is_some_and(|hint| hint.memory.is_some());
    let memory = bytes.filter(|bytes| wants_memory || !all_memory(*bytes)).map(Bytes);
    let swap = memory.map(|_| match host.memory_swap.and_then(positive) {
        Some(bytes) => Bytes(bytes).to_string(),
        None => "-1".to_owned(),
    });
    let pids = host.pids_limit.and_then(positive).and_then(|limit| limit.try_into().ok());
    ResourcesSpec { cpu, memory, swap, pids }
}

fn restart(host: &HostConfig) -> String {
    let Some(policy) = &host.restart_policy else { return "no".to_owned() };
    let name = policy.name.as_ref().map(ToString::to_string).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "no".to_owned());
    match policy.maximum_retry_count {
        Some(count) if count > 0 => format!("{name}:{count}"),
        _ => name,
    }
}

fn ulimits(host: &HostConfig) -> BTreeMap<String, String> {
    let limits = host.ulimits.iter().flatten();
    limits
        .filter_map(|limit| {
            let text = format!("{}:{}", limit.soft.unwrap_or(-1), limit.hard.unwrap_or(-1));
            Some((limit.name.clone()?, text))
        })
        .collect()
}

/// Reads the log options. The operator's own defaults come on top of what the manifest says.
fn log(host: &HostConfig, reading: &Reading<'_>) -> Option<LogSpec> {
    let config = host.log_config.as_ref()?;
    let driver = config.typ.clone().unwrap_or_default();
    let options: BTreeMap<String, String> =
        config.config.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    match reading.hint.map(|hint| &hint.log) {
        None | Some(None) if driver == reading.engine.log_driver => None,
        Some(Some(wanted))
            if wanted.driver == driver
                && wanted.options.iter().all(|(key, value)| options.get(key) == Some(value)) =>
        {
            Some(wanted.clone())
        }
        _ => Some(LogSpec { driver, options }),
    }
}

fn labels(
    config: &ContainerConfig,
    image: &ImageConfig,
    hint: Option<&ContainerSpec>,
) -> BTreeMap<String, String> {
    let live = config.labels.as_ref().map(foreign_labels).unwrap_or_default();
    let brought = |key: &str, value: &str| {
        image.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|label| label == value)
    };
    let declared = |key: &str| hint.is_some_and(|hint| hint.labels.contains_key(key));
    live.into_iter().filter(|(key, value)| declared(key) || !brought(key, value)).collect()
}

/// Reads the configuration of a network.
pub(crate) fn network(found: &Network) -> NetworkSpec {
    let ipam =
        found.ipam.as_ref().and_then(|ipam| ipam.config.as_ref()?.first()).cloned().unwrap_or_default();
    let bridge = found.options.as_ref().and_then(|options| options.get(BRIDGE_OPTION));
    NetworkSpec {
        subnet: ipam.subnet.unwrap_or_default(),
        gateway: ipam.gateway.unwrap_or_default(),
        dynamic: ipam.ip_range.unwrap_or_default(),
        internal: found.internal.unwrap_or(false),
        driver: found.driver.clone().unwrap_or_default(),
        bridge: bridge.cloned().unwrap_or_default(),
        foreign: BTreeMap::new(),
    }
}

/// The engine's option for the name of a bridge.
pub(crate) const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";

/// Reads the condition of a container.
pub(crate) fn state(found: &ContainerInspectResponse) -> State {
    let Some(state) = &found.state else { return State::default() };
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    let restarting = is(state.restarting);
    // One that the engine starts again and again is up: it holds its volumes, ports and addresses.
    let running = is(state.running) || restarting;
    let since = if running { state.started_at.as_deref() } else { state.finished_at.as_deref() };
    let since = since.and_then(|text| text.parse::<Timestamp>().ok()).filter(|time| time.as_second() > 0);
    let detail = if restarting {
        Some("restarting".to_owned())
    } else if is(state.oom_killed) {
        Some("out of memory".to_owned())
    } else if is(state.dead) {
        Some("dead".to_owned())
    } else {
        state.error.clone().filter(|text| !text.is_empty())
    };
    let exit_code = state.exit_code.filter(|_| !running && since.is_some());
    State { running, paused: is(state.paused), exit_code, since, detail }
}

#[cfg(test)]
pub(crate) mod tests {
    use bollard::models::NetworkInspect;

    use super::*;
    use crate::spec::to_spec;

    /// A container that says nothing.
    pub(crate) fn plain_spec() -> ContainerSpec {
        let engine = Engine { log_driver: "json-file".into(), ..Engine::default() };
        let key = DigestKey::new([0; 32]);
        let reading =
            Reading { engine: &engine, image: None, hint: None, zones: &BTreeMap::new(), key: &key };
        container(&ContainerInspectResponse::default(), &reading)
    }

    /// What Engine 20.10 and Engine 29 said about the same container, its image and its network.
    const CAPTURES: [(&str, &str, &str); 2] = [
        (
            include_str!("../tests/inspects/container-20.json"),
            include_str!("../tests/inspects/image-20.json"),
            include_str!("../tests/inspects/network-20.json"),
        ),
        (
            include_str!("../tests/inspects/container-29.json"),
            include_str!("../tests/inspects/image-29.json"),
            include_str!("../tests/inspects/network-29.json"),
        ),
    ];

    fn read(found: &str, image: &str) -> ContainerSpec {
        let found: ContainerInspectResponse = serde_json::from_str(found).unwrap();
        let image: ImageInspect = serde_json::from_str(image).unwrap();
        let engine = Engine { log_driver: "json-file".into(), ..Engine::default() };
        let zones = BTreeMap::from([("dkc-data".to_owned(), "data".to_owned())]);
        let key = DigestKey::new([0; 32]);
        let reading = Reading { engine: &engine, image: Some(&image), hint: None, zones: &zones, key: &key };
        container(&found, &reading)
    }

    #[test]
    fn both_engines_read_back_as_the_same() {
        let [old, new] = CAPTURES.map(|(found, image, _)| {
            let mut spec = read(found, image);
            spec.image.id.clear();
            to_spec(&spec)
        });
        assert_eq!(old, new);
    }

    #[test]
    fn every_field_is_read_as_a_person_writes_it() {
        for (found, image, _) in CAPTURES {
            let spec = read(found, image);
            assert_eq!(spec.command.as_deref(), Some(&["/bin/httpd".to_owned()][..]));
            assert_eq!(spec.args.as_deref(), Some(&["-f", "-p", "80"].map(str::to_owned)[..]));
            assert!(!spec.env.contains_key("PATH"), "the image brings it");
            assert!(
                spec.env.values().all(|value| matches!(value, EnvValue::Secret(_))),
                "nobody declares it"
            );
            let endpoint = &spec.networks["data"];
            assert_eq!(endpoint.address.as_deref(), Some("10.219.7.9"));
            assert_eq!(endpoint.aliases, ["web", "web.dkc.internal"]);
            assert_eq!(spec.ports["80/tcp"].publish, "127.0.0.1:18999");
            let resources = &spec.resources;
            assert_eq!(resources.memory.unwrap().to_string(), "64Mi");
            assert_eq!(resources.swap.as_deref(), Some("64Mi"));
            assert_eq!((resources.cpu.unwrap().to_string().as_str(), resources.pids), ("500m", Some(50)));
            assert_eq!(spec.restart, "unless-stopped");
            assert_eq!(spec.stop_signal.as_deref(), Some("SIGINT"));
            assert_eq!(spec.stop_grace.to_string(), "2s");
            assert_eq!(
                (spec.cap_add.join(","), spec.cap_drop.join(",")),
                ("NET_ADMIN".into(), "MKNOD".into())
            );
            assert_eq!(spec.ulimits["nofile"], "1000:2000");
            assert_eq!(spec.volumes["/data"], "dkc-web-data");
            assert_eq!(spec.tmpfs["/tmp"], "size=1m");
            assert_eq!(spec.shm_size.to_string(), "32Mi");
            assert_eq!(spec.labels, BTreeMap::from([("team".to_owned(), "a.b".to_owned())]));
            assert!(spec.read_only && spec.init);
        }
    }

    #[test]
    fn a_network_is_read_with_its_halves() {
        for (_, _, found) in CAPTURES {
            let found: NetworkInspect = serde_json::from_str(found).unwrap();
            let listed: Network = serde_json::from_value(serde_json::to_value(found).unwrap()).unwrap();
            let spec = network(&listed);
            assert_eq!((spec.subnet.as_str(), spec.dynamic.as_str()), ("10.219.7.0/24", "10.219.7.128/25"));
            assert_eq!(spec.driver, "bridge");
        }
    }

    #[test]
    fn an_odd_answer_is_no_panic() {
        let odd = r#"{"Config": {"Env": ["NOVALUE", ""], "StopTimeout": -1, "Labels": {"dev.trueup.files": "x"}},
            "HostConfig": {"Memory": -5, "NanoCpus": -1, "PidsLimit": 99999999999, "ShmSize": -1,
            "RestartPolicy": {}, "Ulimits": [{}], "Mounts": [{}], "PortBindings": {"80/tcp": null}},
            "NetworkSettings": {"Networks": {"x": {}}}, "State": {"StartedAt": "never"}}"#;
        let spec = read(odd, "{}");
        assert!(spec.files.is_empty() && spec.volumes.is_empty());
        assert!(!state(&serde_json::from_str(odd).unwrap()).running);
    }
}
