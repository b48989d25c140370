//! An environment of a test: manifests, what they need, and the acts that a plan would have.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::FutureExt;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trueup_docker::{Docker, Settings};
use trueup_engine::{Estate, Execute, Identity, Observe, Progress, RunContext, RunId, TargetError, Wanted};
use trueup_plan::{Act, Aside, Desired, Kind, Live, ResourceId};
use trueup_schema::{
    ComponentName, ContentDigest, DeliveredFile, Deliveries, DigestKey, Materials, Place, Places, Resolved,
    ResolvedComponent, Revision, Secret, Subnet,
};

use crate::rig::Rig;

/// The image of the rig: busybox, in two versions.
pub(crate) const IMAGE: &str = "trueup-test/busybox:1";

/// What is delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// Anybody may see it.
    Plain(&'static str),
    /// A secret.
    Hidden(&'static str),
}

static NEXT: AtomicU32 = AtomicU32::new(1);

/// One environment on one engine.
pub(crate) struct World {
    pub(crate) docker: Docker,
    pub(crate) settings: Settings,
    /// The engine's own address.
    engine: String,
    pub(crate) api: bollard::Docker,
    pub(crate) identity: Identity,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) environment: Value,
    pub(crate) components: BTreeMap<String, Value>,
    pub(crate) deliveries: BTreeMap<ComponentName, Deliveries>,
    pub(crate) contents: Vec<(bool, Vec<u8>)>,
    run: i64,
}

/// A step of a test's own small plan.
pub(crate) type Acts = Vec<(ResourceId, Act)>;

struct Quiet;

impl Progress for Quiet {
    fn tell(&self, _: &ResourceId, _: &str) {}
}

pub(crate) fn key() -> DigestKey {
    DigestKey::new([3; 32])
}

/// Runs an asynchronous test in a world of its own, and removes the world afterwards.
pub(crate) fn in_world<F>(rig: &Rig, test: impl FnOnce(World) -> F) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>>,
{
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::new(rig);
        let (docker, identity, folder) =
            (world.docker.clone(), world.identity.clone(), world.folder.path().to_owned());
        // What a test made goes away also when it panics.
        let outcome = AssertUnwindSafe(test(world)).catch_unwind().await;
        let cleaned = docker.destroy(&identity, true).await;
        // The folder of secrets may be a mount of its own.
        let _ = rustix::mount::unmount(folder.join("run"), rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir_all(&folder);
        let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match cleaned {
            // The engine's own trouble, which it had since the containers left: no fault of what was tried.
            Err(error) if error.help.as_ref().is_some_and(|help| help.contains("moby#42119")) => {
                eprintln!("  left behind: {error}");
                outcome
            }
            cleaned => outcome.and(cleaned.map_err(|error| failure(&error))),
        }
    })
}

pub(crate) fn failure(error: &TargetError) -> Failed {
    format!("{error:?}").into()
}

pub(crate) fn id(kind: Kind, name: &str, component: &str) -> ResourceId {
    let component = (!component.is_empty()).then(|| component.parse().unwrap());
    ResourceId { kind, name: name.to_owned(), component }
}

pub(crate) fn workload(name: &str) -> ResourceId {
    id(Kind::Workload, name, name)
}

impl World {
    fn new(rig: &Rig) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let folder = tempfile::TempDir::with_prefix("trueup-docker-").unwrap();
        let piece = u8::try_from(number % 250).unwrap();
        let settings = Settings {
            runtime_dir: folder.path().join("run"),
            state_dir: folder.path().join("state"),
            subnet_pool: vec![Subnet { address: [10, 214, piece, 0].into(), prefix: 24 }],
            ..Settings::default()
        };
        let environment = format!("dk{process:x}-{number}");
        let path = rig.engine.trim_start_matches("unix://");
        Self {
            docker: Docker::connect(&rig.engine.parse().unwrap(), settings.clone()).unwrap(),
            settings,
            engine: rig.engine.clone(),
            api: bollard::Docker::connect_with_unix(path, 60, bollard::API_DEFAULT_VERSION).unwrap(),
            identity: Identity {
                store: "test".into(),
                source: "local".parse().unwrap(),
                environment: environment.parse().unwrap(),
                uid: format!("{process:08x}{number:08x}"),
            },
            folder,
            environment: json!({
                "target": {"docker": "local"},
                "zones": {"data": {}, "inside": {"subnet": format!("10.215.{piece}.0/24"), "internal": true}},
                "components": [],
                "sync": {"stable": "500ms"},
            }),
            components: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            contents: Vec::new(),
            run: 1,
        }
    }

    /// Declares a component that listens on port 80, unless its `spec` says other.
    pub(crate) fn declare(&mut self, name: &str, spec: Value) {
        let mut whole = json!({
            "image": IMAGE,
            "zone": "data",
            "command": ["/bin/httpd", "-f", "-p", "80"],
            "stopSignal": "SIGKILL",
            "ports": [{"name": "web", "port": 80}],
            "health": {"tcp": {"port": 80}, "startup": "2m"},
        });
        merge(&mut whole, spec);
        self.components.insert(name.to_owned(), whole);
    }

    /// Changes a declared component.
    pub(crate) fn patch(&mut self, name: &str, patch: Value) {
        merge(self.components.get_mut(name).unwrap(), patch);
    }

    /// Delivers a file into a component, owned by `uid`.
    pub(crate) fn deliver(&mut self, component: &str, path: &str, content: Content, uid: u32) {
        let (text, secret) = match content {
            Content::Plain(text) => (text, false),
            Content::Hidden(text) => (text, true),
        };
        let digest = self.content(text, secret);
        let origin = Place { file: "files/x".parse().unwrap(), line: 1, column: 1 };
        let mode = if secret { 0o400 } else { 0o444 };
        let file = DeliveredFile { digest, mode, uid, gid: uid, origin };
        let deliveries = self.deliveries.entry(component.parse().unwrap()).or_default();
        deliveries.files.insert(path.to_owned(), file);
    }

    /// Adds a content that is at hand.
    pub(crate) fn content(&mut self, content: &str, secret: bool) -> ContentDigest {
        self.contents.push((secret, content.as_bytes().to_vec()));
        if secret {
            ContentDigest::of_secret(&key(), content.as_bytes())
        } else {
            ContentDigest::of_plain(content.as_bytes())
        }
    }

    fn materials(&self) -> Materials {
        let mut materials = Materials::default();
        for (secret, bytes) in &self.contents {
            let content = if *secret {
                trueup_schema::Content::Secret(Secret::new(bytes.clone()))
            } else {
                trueup_schema::Content::Plain(bytes.clone().into())
            };
            materials.insert(&key(), content);
        }
        materials
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let mut environment = self.environment.clone();
        environment["components"] = json!(self.components.keys().collect::<Vec<_>>());
        let components = self.components.iter().map(|(name, spec)| {
            let name: ComponentName = name.parse().unwrap();
            let spec: trueup_schema::manifest::ComponentSpec = serde_json::from_value(spec.clone()).unwrap();
            let component = ResolvedComponent {
                name: name.clone(),
                zones: spec.zone.iter().cloned().chain(["inside".parse().unwrap()]).collect(),
                spec,
                places: Places::default(),
                endpoints: Vec::new(),
                secret_refs: Vec::new(),
            };
            (name, component)
        });
        let revision = Revision {
            commit: "worktree".into(),
            reference: "main".into(),
            author: "a".into(),
            subject: "s".into(),
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
        };
        let resolved = Resolved {
            revision,
            name: self.identity.environment.clone(),
            spec: serde_json::from_value(environment).unwrap(),
            places: Places::default(),
            components: components.collect(),
            objects: Vec::new(),
            inputs: BTreeMap::new(),
        };
        Wanted {
            resolved,
            deliveries: self.deliveries.clone(),
            materials: self.materials(),
            digest_key: key(),
            jobs_done: BTreeSet::new(),
            before: None,
        }
    }

    /// Observes and compiles.
    pub(crate) async fn look(&self) -> Result<(Live, Desired), Failed> {
        let wanted = self.wanted();
        let live = self.docker.observe(&self.identity, &wanted).await.map_err(|error| failure(&error))?;
        let desired =
            self.docker.compile(&self.identity, &wanted, &live).map_err(|report| report.to_string())?;
        Ok((live, desired))
    }

    /// Reaches the engine at another address, as somebody who knows nothing of it yet.
    pub(crate) fn reach_by(&mut self, address: &str) {
        self.docker = Docker::connect(&address.parse().unwrap(), self.settings.clone()).unwrap();
    }

    /// Observes like somebody who knows nothing of the engine yet.
    pub(crate) async fn look_anew(&self) -> Result<Live, Failed> {
        let docker = Docker::connect(&self.engine.parse().unwrap(), self.settings.clone()).unwrap();
        docker.observe(&self.identity, &self.wanted()).await.map_err(|error| failure(&error))
    }

    /// Returns a run with the next number.
    pub(crate) fn next_run(&mut self) -> RunContext {
        self.run += 1;
        self.run()
    }

    /// Returns the run that goes on.
    pub(crate) fn run(&self) -> RunContext {
        RunContext {
            identity: self.identity.clone(),
            run: RunId(self.run),
            materials: Arc::new(self.materials()),
            cancel: CancellationToken::new(),
            progress: Arc::new(Quiet),
        }
    }

    /// Does every act in order.
    pub(crate) async fn execute(&self, run: &RunContext, acts: &Acts) -> Result<(), TargetError> {
        for (resource, act) in acts {
            self.docker.execute(run, resource, act).await?;
        }
        Ok(())
    }

    /// Takes every act back, last first, twice: it must not matter how often.
    pub(crate) async fn undo(&self, run: &RunContext, acts: &Acts) -> Result<(), Failed> {
        self.undo_once(run, acts).await?;
        self.undo_once(run, acts).await
    }

    /// Takes every act back, last first.
    pub(crate) async fn undo_once(&self, run: &RunContext, acts: &Acts) -> Result<(), Failed> {
        for (resource, act) in acts.iter().rev() {
            self.docker.undo(run, resource, act).await.map_err(|error| failure(&error))?;
        }
        Ok(())
    }

    /// Removes a container as somebody else would.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), Failed> {
        let options = bollard::query_parameters::RemoveContainerOptionsBuilder::new().force(true).build();
        Ok(self.api.remove_container(container, Some(options)).await?)
    }

    /// Cleans up after every act, twice.
    pub(crate) async fn finish(&self, run: &RunContext, acts: &Acts) -> Result<(), Failed> {
        for _ in 0..2 {
            for (resource, act) in acts {
                self.docker.finish(run, resource, act).await.map_err(|error| failure(&error))?;
            }
        }
        Ok(())
    }

    /// Brings everything up that is declared and missing.
    pub(crate) async fn up(&mut self) -> Result<(), Failed> {
        let acts = self.creation().await?;
        let run = self.next_run();
        self.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        self.finish(&run, &acts).await
    }

    /// Returns the acts that create what is missing.
    pub(crate) async fn creation(&self) -> Result<Acts, Failed> {
        let (live, desired) = self.look().await?;
        let mut acts = Acts::new();
        for (resource, declared) in
            desired.resources.iter().filter(|(id, _)| !live.resources.contains_key(id))
        {
            if let Some(what) = &declared.fetch {
                acts.push((resource.clone(), Act::Fetch { what: what.clone() }));
            }
            acts.push((resource.clone(), Act::Create { spec: declared.spec.clone(), replaces: None }));
            if resource.kind == Kind::Workload {
                acts.push((resource.clone(), Act::Start { old: None }));
            }
            if let Some(inputs) = declared.inputs.clone() {
                acts.push((resource.clone(), Act::Run { inputs }));
            }
            if let Some(probe) = declared.probe.clone() {
                acts.push((resource.clone(), Act::Verify { probe }));
            }
        }
        Ok(acts)
    }

    /// Returns a live resource as an act holds it.
    pub(crate) async fn aside(&self, resource: &ResourceId) -> Result<Aside, Failed> {
        let (live, _) = self.look().await?;
        let observed = live.resources.get(resource).ok_or_else(|| format!("{resource} does not exist"))?;
        Ok(Aside {
            handle: observed.handle.clone(),
            spec: observed.spec.clone(),
            running: observed.state.running,
        })
    }

    /// Returns the acts that replace a running container, the old one stopped first.
    pub(crate) async fn replacement(&self, resource: &ResourceId) -> Result<Acts, Failed> {
        let (_, desired) = self.look().await?;
        let old = self.aside(resource).await?;
        let declared = &desired.resources[resource];
        let spec = declared.spec.clone();
        let acts = [
            Act::Create { spec, replaces: Some(old.clone()) },
            Act::Stop { old },
            Act::Start { old: None },
            Act::Verify { probe: declared.probe.clone().unwrap() },
        ];
        Ok(acts.into_iter().map(|act| (resource.clone(), act)).collect())
    }

    /// Returns everything of the environment as the engine tells it, without times and process ids.
    pub(crate) async fn picture(&self) -> Result<Value, Failed> {
        let filters = BTreeMap::from([("label", vec![format!("dev.trueup.env-uid={}", self.identity.uid)])]);
        let filters = filters.into_iter().collect();
        let options =
            bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).filters(&filters);
        let mut containers = Vec::new();
        for container in self.api.list_containers(Some(options.build())).await? {
            containers.push(picture_of(&self.inspect(&container.id.unwrap()).await?));
        }
        containers.sort_by_key(|container| container["Name"].to_string());
        let mut networks = Vec::new();
        let all = self.api.list_networks(None::<bollard::query_parameters::ListNetworksOptions>).await?;
        for network in all {
            if network
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with(self.identity.environment.as_str()))
            {
                networks.push(serde_json::to_value(network)?);
            }
        }
        networks.sort_by_key(|network| network["Name"].to_string());
        let volumes = self.api.list_volumes(None::<bollard::query_parameters::ListVolumesOptions>).await?;
        let mut volumes: Vec<String> =
            volumes.volumes.unwrap_or_default().into_iter().map(|v| v.name).collect();
        volumes.retain(|name| name.starts_with(self.identity.environment.as_str()));
        volumes.sort();
        Ok(json!({"containers": containers, "networks": networks, "volumes": volumes}))
    }

    pub(crate) async fn inspect(&self, name: &str) -> Result<Value, Failed> {
        let none = None::<bollard::query_parameters::InspectContainerOptions>;
        Ok(serde_json::to_value(self.api.inspect_container(name, none).await?)?)
    }

    pub(crate) fn engine_name(&self, name: &str) -> String {
        format!("{}-{name}", self.identity.environment)
    }
}

/// What must be as it was: id, name, image, configuration, mounts, endpoints and whether it runs.
fn picture_of(whole: &Value) -> Value {
    let networks = whole["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let endpoints: BTreeMap<String, Value> = networks
        .into_iter()
        .map(|(name, endpoint)| {
            let mut aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
            aliases.sort_by_key(ToString::to_string);
            let address = endpoint["IPAMConfig"]["IPv4Address"].clone();
            (name, json!({"aliases": aliases, "planned": address, "has": endpoint["IPAddress"]}))
        })
        .collect();
    let mut mounts = whole["Mounts"].as_array().cloned().unwrap_or_default();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    json!({
        "Id": whole["Id"], "Name": whole["Name"], "Image": whole["Image"], "Config": whole["Config"],
        "HostConfig": whole["HostConfig"], "Mounts": mounts, "Endpoints": endpoints,
        "Running": whole["State"]["Running"],
    })
}

/// Merges a patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut target[&key], value);
        }
    }
}

/// Fails with both values when they differ, the difference first.
pub(crate) fn same(what: &str, before: &Value, after: &Value) -> Result<(), Failed> {
    if before == after {
        return Ok(());
    }
    let mut lines = Vec::new();
    differences("", before, after, &mut lines);
    Err(format!("{what}:\n{}", lines.join("\n")).into())
}

fn differences(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(&format!("{path}.{key}"), &before[key], &after[key], lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{at}]"), a, b, lines);
            }
        }
        _ if before != after => lines.push(format!("  {path}: {before} -> {after}")),
        _ => {}
    }
}
