//! One environment: its components layered, computed and checked.
//!
//! Every problem of the environment and of the components that it uses is found in one pass; what depends
//! on something broken is not reported again.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Catalogue, ComponentName, Endpoint, EnvironmentName, Place, Places, Problem, RepoPath, Report, Resolved,
    ResolvedComponent, SecretRef, Severity, ZoneName,
    catalogue::Item,
    compute::{Computer, has_expressions},
    conform::{Stage, conform},
    context::{Connects, Surroundings, own_fields, scope},
    document::{Document, Kind},
    expression::Engine,
    located::{Findings, Located},
    manifest::{ComponentSpec, EnvironmentSpec, PortSpec, Restart, Workload},
    merge::merge,
    objects::{self, Objects},
    rules,
    shape::Shape,
    suggest,
    yaml::{Mark, Node},
};

/// What resolving an environment came to.
pub(crate) struct Outcome {
    /// None when there is an error among the problems.
    pub(crate) resolved: Option<Resolved>,
    pub(crate) problems: Vec<Problem>,
    /// The components of the catalogue that it uses.
    pub(crate) components: Vec<ComponentName>,
    /// How many manifests were looked at.
    pub(crate) files: usize,
}

/// One component on its way.
pub(crate) struct Part {
    pub(crate) name: ComponentName,
    pub(crate) node: Node,
    pub(crate) spec_mark: Mark,
    pub(crate) file: RepoPath,
    /// Where a value could not be computed.
    pub(crate) failed: BTreeSet<Place>,
}

/// One component that conforms to its type.
pub(crate) struct Typed {
    pub(crate) spec: ComponentSpec,
    pub(crate) located: Located,
    pub(crate) file: RepoPath,
    failed: BTreeSet<Place>,
}

/// The fields that endpoints are made of; they are computed before the others.
const EARLY: [&str; 4] = ["ports", "address", "connects", "workload"];

/// Resolves one environment as far as its mistakes allow.
pub(crate) fn resolve(catalogue: &Catalogue, name: &EnvironmentName) -> Outcome {
    let mut outcome = Outcome { resolved: None, problems: Vec::new(), components: Vec::new(), files: 1 };
    let Some(item) = catalogue.environment(name) else {
        outcome.problems = unknown_environment(catalogue, name);
        return outcome;
    };
    outcome.problems.extend(item.all_problems().cloned());
    let Some(document) = &item.document else { return outcome };
    let Some(spec) = environment_spec(document, &mut outcome.problems) else { return outcome };
    Resolving { catalogue, name, document, spec, outcome: &mut outcome }.run();
    outcome
}

/// Returns the recipients that an environment declares.
pub(crate) fn recipients(catalogue: &Catalogue, name: &EnvironmentName) -> Result<Vec<String>, Report> {
    let Some(item) = catalogue.environment(name) else {
        return Err(Report::sorted(unknown_environment(catalogue, name), 0));
    };
    let mut problems: Vec<Problem> = item.all_problems().cloned().collect();
    let spec = item.document.as_ref().and_then(|document| environment_spec(document, &mut problems));
    spec.map(|spec| spec.encryption.recipients).ok_or_else(|| Report::sorted(problems, 1))
}

fn unknown_environment(catalogue: &Catalogue, name: &EnvironmentName) -> Vec<Problem> {
    let file = format!("{}/environment.yaml", catalogue.environment_folder(name));
    let file: RepoPath = file.parse().expect("a folder and a name make a path");
    let help =
        suggest::choose(name.as_str(), "environments", catalogue.environments().map(EnvironmentName::as_str));
    Report::of_file(file, format!("the environment `{name}` does not exist"), help).problems
}

fn environment_spec(document: &Document, problems: &mut Vec<Problem>) -> Option<EnvironmentSpec> {
    match serde_json::from_value(document.spec.to_json()) {
        Ok(spec) => Some(spec),
        Err(error) => {
            // What the schema let through; everything else has been reported at its place.
            if problems.is_empty() {
                problems.push(document.spec_mark.error(error.to_string(), None));
            }
            None
        }
    }
}

struct Resolving<'a> {
    catalogue: &'a Catalogue,
    name: &'a EnvironmentName,
    document: &'a Document,
    spec: EnvironmentSpec,
    outcome: &'a mut Outcome,
}

impl Resolving<'_> {
    fn run(mut self) {
        let shape = self.catalogue.shapes.spec(Kind::Environment);
        let located = Located::of(&self.document.spec, shape, &self.document.spec_mark);
        self.spec.domain.get_or_insert_with(|| format!("{}.internal", self.name));
        let mut findings = Findings { located: &located, problems: &mut self.outcome.problems };
        rules::environment::check(&self.spec, &mut findings);
        let mut parts = self.parts(&located);
        let endpoints = self.compute(&mut parts);
        let typed = self.typed(parts);
        self.check(&typed);
        let objects = self.objects(&located);
        self.outcome.problems.sort();
        if !self.outcome.problems.iter().any(|problem| problem.severity == Severity::Error) {
            let resolved = self.finish(typed, endpoints, located.places(), objects);
            self.outcome.resolved = Some(resolved);
        }
    }

    /// Takes the components from the catalogue and lays the patches over them.
    fn parts(&mut self, located: &Located) -> Vec<Part> {
        let shape = self.catalogue.shapes.spec(Kind::Component);
        let patches = self.document.spec.get("patches");
        let mut parts = Vec::new();
        for (number, name) in self.spec.components.iter().enumerate() {
            let declared = self.catalogue.components().get(name).filter(|item| item.says_something());
            let Some(item) = declared else {
                let known = self.catalogue.components().keys().map(ComponentName::as_str);
                let help = suggest::choose(name.as_str(), "components", known);
                let mark = located.at(&format!("components[{number}]"));
                self.outcome
                    .problems
                    .push(mark.error(format!("the component `{name}` does not exist"), help));
                continue;
            };
            if self.outcome.components.contains(name) {
                continue;
            }
            self.outcome.components.push(name.clone());
            self.outcome.files += 1;
            self.outcome.problems.extend(item.all_problems().cloned());
            let usable = !item.all_problems().any(|problem| problem.severity == Severity::Error);
            let Some(document) = item.document.as_ref().filter(|_| usable) else { continue };
            let patch = patches.and_then(|patches| patches.get(name.as_str()));
            let node = match patch {
                Some(patch) => merge(&document.spec, patch, shape, &mut self.outcome.problems),
                None => document.spec.clone(),
            };
            let spec_mark = document.spec_mark.clone();
            let file = item.file.path.clone();
            parts.push(Part { name: name.clone(), node, spec_mark, file, failed: BTreeSet::new() });
        }
        parts
    }

    /// Computes every value; returns the endpoints of each component.
    fn compute(&mut self, parts: &mut [Part]) -> BTreeMap<ComponentName, Vec<Endpoint>> {
        let shape = self.catalogue.shapes.spec(Kind::Component);
        let engine = Engine::new(self.catalogue.limits.fuel);
        let surroundings = surroundings(self.name, &self.spec);
        let mut pass = Pass { engine, shape, surroundings, problems: &mut self.outcome.problems };
        for part in parts.iter_mut() {
            pass.early(part);
        }
        let offers: BTreeMap<ComponentName, Offer> =
            parts.iter().filter_map(|part| Some((part.name.clone(), offer(part)?))).collect();
        let mut endpoints = BTreeMap::new();
        for part in parts {
            let (declared, broken) = endpoints_of(&part.node, &offers);
            pass.late(part, &Connects::Declared(&declared, &broken));
            endpoints.insert(part.name.clone(), declared);
        }
        endpoints
    }

    /// Checks the computed components against their type.
    fn typed(&mut self, parts: Vec<Part>) -> BTreeMap<ComponentName, Typed> {
        let shape = self.catalogue.shapes.spec(Kind::Component);
        let mut typed = BTreeMap::new();
        for part in parts {
            let stage = if part.failed.is_empty() { Stage::Complete } else { Stage::Incomplete };
            let problems = conform(&part.node, shape, stage, &part.spec_mark);
            let broken = !problems.is_empty();
            self.outcome.problems.extend(problems);
            if broken {
                continue;
            }
            match serde_json::from_value::<ComponentSpec>(part.node.to_json()) {
                Ok(spec) => {
                    let located = Located::of(&part.node, shape, &part.spec_mark);
                    typed.insert(part.name, Typed { spec, located, file: part.file, failed: part.failed });
                }
                Err(error) if part.failed.is_empty() => {
                    self.outcome.problems.push(part.spec_mark.error(error.to_string(), None));
                }
                Err(_) => {}
            }
        }
        typed
    }

    fn check(&mut self, typed: &BTreeMap<ComponentName, Typed>) {
        let mut found = Vec::new();
        let problems = &mut found;
        let files = self.catalogue.snapshot.files.root();
        let folder = self.catalogue.environment_folder(self.name);
        let file_bytes = self.catalogue.limits.file_bytes;
        let sources = rules::delivery::Sources { files, folder: &folder, file_bytes };
        for component in typed.values() {
            let mut findings = Findings { located: &component.located, problems };
            rules::component::check(&component.spec, &mut findings);
            rules::delivery::check(&component.spec, &sources, &mut findings);
        }
        rules::links::check(&self.spec, typed, problems);
        let failed: BTreeSet<&Place> = typed.values().flat_map(|part| &part.failed).collect();
        found.retain(|problem| !failed.contains(&problem.place));
        self.outcome.problems.extend(found);
    }

    fn objects(&mut self, located: &Located) -> Objects {
        let snapshot = &self.catalogue.snapshot;
        let mut findings = Findings { located, problems: &mut self.outcome.problems };
        objects::read(&self.spec.manifests, snapshot.files.as_ref(), &self.catalogue.limits, &mut findings)
    }

    fn finish(
        &self,
        typed: BTreeMap<ComponentName, Typed>,
        mut endpoints: BTreeMap<ComponentName, Vec<Endpoint>>,
        places: Places,
        objects: Objects,
    ) -> Resolved {
        let folder = self.catalogue.environment_folder(self.name);
        let zones: BTreeMap<ComponentName, Option<ZoneName>> =
            typed.iter().map(|(name, part)| (name.clone(), part.spec.zone.clone())).collect();
        let mut inputs = vec!["trueup.yaml".parse().expect("it is a valid path"), self.file()];
        inputs.extend(objects.files);
        let mut components = BTreeMap::new();
        for (name, mut part) in typed {
            fill_defaults(&mut part.spec);
            let secret_refs = rules::delivery::secret_refs(&part.spec, folder.as_str(), &part.located);
            inputs.push(part.file);
            inputs.extend(part.spec.files.iter().map(|file| file.from.clone()));
            inputs.extend(secret_refs.iter().map(|secret| secret.file.clone()));
            let endpoints = endpoints.remove(&name).unwrap_or_default();
            let component = ResolvedComponent {
                zones: joined_zones(&part.spec, &endpoints, &zones),
                name: name.clone(),
                places: part.located.places(),
                spec: part.spec,
                endpoints,
                secret_refs,
            };
            components.insert(name, component);
        }
        let files = self.catalogue.snapshot.files.root();
        let inputs = inputs
            .into_iter()
            .filter_map(|path| files.get(&path).map(|entry| (path, entry.id.to_string())))
            .collect();
        Resolved {
            revision: self.catalogue.snapshot.revision.clone(),
            name: self.name.clone(),
            spec: self.spec.clone(),
            places,
            components,
            objects: objects.objects,
            inputs,
        }
    }

    fn file(&self) -> RepoPath {
        self.document.spec_mark.source.path.clone()
    }
}

pub(crate) fn surroundings<'a>(name: &'a EnvironmentName, spec: &'a EnvironmentSpec) -> Surroundings<'a> {
    Surroundings {
        name,
        class: spec.class,
        domain: spec.domain.as_deref().unwrap_or_default(),
        variables: &spec.variables,
    }
}

struct Pass<'a> {
    engine: Engine,
    shape: &'a Shape,
    surroundings: Surroundings<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Pass<'_> {
    fn early(&mut self, part: &mut Part) {
        let open = EARLY.iter().any(|field| part.node.get(field).is_some_and(has_expressions));
        if open {
            self.fields(part, &Connects::NotYet, |field| EARLY.contains(&field));
        }
    }

    fn late(&mut self, part: &mut Part, connects: &Connects<'_>) {
        let open = part.node.entries().iter().any(|e| !EARLY.contains(&&*e.key) && has_expressions(&e.node));
        if open {
            self.fields(part, connects, |field| !EARLY.contains(&field));
        }
    }

    fn fields(&mut self, part: &mut Part, connects: &Connects<'_>, wanted: impl Fn(&str) -> bool) {
        let names = part.node.get("secrets").map(Node::items).unwrap_or_default().iter();
        let secrets =
            names.filter_map(|secret| secret.get("name")?.as_text().map(|name| (name.to_owned(), None)));
        let own = own_fields(&part.node, self.shape, true);
        let scope = scope(&self.surroundings, own, connects, secrets.collect());
        let (engine, problems) = (&self.engine, &mut *self.problems);
        let mut computer = Computer { engine, scope: &scope, problems, failed: &mut part.failed };
        let crate::yaml::Value::Map(entries) = &mut part.node.value else { return };
        for entry in entries.iter_mut().filter(|entry| wanted(&entry.key)) {
            computer.entry(entry, self.shape, "");
        }
    }
}

/// What others can connect to.
struct Offer {
    host: String,
    ports: Vec<PortSpec>,
}

fn offer(part: &Part) -> Option<Offer> {
    let external = part.node.get("workload").and_then(Node::as_text) == Some("external");
    let address = part.node.get("address").and_then(Node::as_text);
    let host = if external { address?.to_owned() } else { part.name.to_string() };
    let ports = part.node.get("ports").map(Node::items).unwrap_or_default().iter();
    let ports = ports.filter_map(|port| serde_json::from_value(port.to_json()).ok()).collect();
    Some(Offer { host, ports })
}

/// Returns the endpoints that a component declares, and those of them that nobody offers.
fn endpoints_of(
    node: &Node,
    offers: &BTreeMap<ComponentName, Offer>,
) -> (Vec<Endpoint>, Vec<(String, String)>) {
    let mut endpoints = Vec::new();
    let mut broken = Vec::new();
    for connect in node.get("connects").map(Node::items).unwrap_or_default() {
        let text = |field| connect.get(field).and_then(Node::as_text).map(str::to_owned);
        match endpoint(connect, offers) {
            Some(endpoint) => endpoints.push(endpoint),
            None => broken.extend(text("to").zip(text("port"))),
        }
    }
    (endpoints, broken)
}

fn endpoint(connect: &Node, offers: &BTreeMap<ComponentName, Offer>) -> Option<Endpoint> {
    let component: ComponentName = connect.get("to")?.as_text()?.parse().ok()?;
    let name = connect.get("port")?.as_text()?;
    let offer = offers.get(&component)?;
    let port = offer.ports.iter().find(|port| port.name.as_str() == name)?;
    let scheme = port.scheme.as_deref().unwrap_or("http");
    Some(Endpoint {
        url: format!("{scheme}://{}:{}", offer.host, port.port),
        port_name: port.name.clone(),
        host: offer.host.clone(),
        port: port.port,
        protocol: port.protocol,
        component,
    })
}

/// Returns a component's zones: its own, then those of the components that it connects to.
fn joined_zones(
    spec: &ComponentSpec,
    endpoints: &[Endpoint],
    zones: &BTreeMap<ComponentName, Option<ZoneName>>,
) -> Vec<ZoneName> {
    let others = endpoints.iter().filter_map(|endpoint| zones.get(&endpoint.component)?.as_ref());
    let mut joined: Vec<ZoneName> = Vec::new();
    for zone in spec.zone.iter().chain(others) {
        if spec.workload != Workload::External && !joined.contains(zone) {
            joined.push(zone.clone());
        }
    }
    joined
}

fn fill_defaults(spec: &mut ComponentSpec) {
    let restart = if spec.workload.is_long_running() { Restart::UnlessStopped } else { Restart::No };
    spec.restart.get_or_insert(restart);
}

/// Checks a component that no environment uses, as far as that can be done without one.
pub(crate) fn check_unused(catalogue: &Catalogue, name: &ComponentName, item: &Item) -> Vec<Problem> {
    let Some(document) = item.document.as_ref().filter(|_| item.all_problems().next().is_none()) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if has_expressions(&document.spec) {
        return problems;
    }
    if let Ok(spec) = serde_json::from_value::<ComponentSpec>(document.spec.to_json()) {
        let shape = catalogue.shapes.spec(Kind::Component);
        let located = Located::of(&document.spec, shape, &document.spec_mark);
        let mut findings = Findings { located: &located, problems: &mut problems };
        rules::component::check(&spec, &mut findings);
    }
    let _ = name;
    problems
}

/// A secret reference in two parts.
pub(crate) fn secret_ref(text: &str, folder: &str) -> Option<(RepoPath, Option<String>)> {
    let (file, key) = match text.split_once('#') {
        Some((file, key)) => (file, Some(key.to_owned())),
        None => (text, None),
    };
    let file: RepoPath = file.parse().ok()?;
    let key = key.filter(|key| !key.is_empty());
    Some((format!("{folder}/{file}").parse().ok()?, key))
}

impl SecretRef {
    pub(crate) fn new(name: &str, from: &str, folder: &str, mark: &Mark) -> Option<Self> {
        let (file, key) = secret_ref(from, folder)?;
        Some(Self { name: name.to_owned(), file, key, place: mark.place() })
    }
}
