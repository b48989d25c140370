//! All manifests of a repository, read but not yet put together.
//!
//! A mistake belongs to the files that it stands in: one environment's mistakes never keep another
//! environment from being resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ComponentName, EnvironmentName, Limits, Place, Problem, RepoPath, Report, Resolved, Severity, Snapshot,
    document::{self, Document, Kind, Parsed, Shapes},
    manifest::RepositorySpec,
    resolve,
    snapshot::Entry,
};

/// What manifests were parsed to, by path and blob id, so that a commit costs only what it touched.
///
/// A cache belongs to one repository and one set of limits.
#[derive(Default)]
pub struct Cache {
    files: BTreeMap<RepoPath, (String, Arc<Parsed>)>,
    shapes: Option<Arc<Shapes>>,
    parsed: u64,
}

impl Cache {
    /// Returns how many files have been parsed since the cache was made.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }
}

/// All manifests of a repository at one commit.
pub struct Catalogue {
    pub(crate) snapshot: Snapshot,
    pub(crate) limits: Limits,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) name: String,
    pub(crate) folder: RepoPath,
    pub(crate) components: BTreeMap<ComponentName, Item>,
    environments: BTreeMap<EnvironmentName, Item>,
    /// Problems of files that belong to no environment and no component.
    stray: Vec<Problem>,
    files: usize,
}

/// A component or an environment and the file that it is in.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) file: Arc<Parsed>,
    /// The document; none when the file holds no readable one.
    pub(crate) document: Option<Arc<Document>>,
    /// What is wrong beyond the file itself.
    pub(crate) problems: Vec<Problem>,
}

impl Item {
    pub(crate) fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        self.file.problems.iter().chain(&self.problems)
    }
}

/// Reads the manifests of `snapshot`.
///
/// Fails only for what concerns every environment: `trueup.yaml` and the limits of the repository. What
/// is wrong in one environment or component is reported by [`Catalogue::resolve`] and
/// [`Catalogue::validate`].
pub fn load(snapshot: &Snapshot, limits: &Limits) -> Result<Catalogue, Report> {
    load_with(snapshot, limits, &mut Cache::default())
}

/// Reads the manifests of `snapshot`, taking from `cache` what was parsed before.
///
/// Files that the snapshot does not hold any more are dropped from the cache.
pub fn load_with(snapshot: &Snapshot, limits: &Limits, cache: &mut Cache) -> Result<Catalogue, Report> {
    let shapes = Arc::clone(cache.shapes.get_or_insert_with(|| Arc::new(Shapes::new())));
    let mut reader = Reader { snapshot, limits, shapes, cache, kept: BTreeMap::new(), bytes: 0 };
    let (name, repository) = reader.repository()?;
    let components = reader.components(&repository)?;
    let environments = reader.environments(&repository)?;
    let mut catalogue = Catalogue {
        snapshot: snapshot.clone(),
        limits: limits.clone(),
        shapes: Arc::clone(&reader.shapes),
        name,
        folder: repository.environments.clone(),
        components: BTreeMap::new(),
        environments: BTreeMap::new(),
        stray: misplaced(snapshot, &repository),
        files: reader.kept.len(),
    };
    reader.cache.files = reader.kept;
    for file in &components {
        catalogue.add_components(file);
    }
    for file in &environments {
        catalogue.add_environment(file);
    }
    Ok(catalogue)
}

struct Reader<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    shapes: Arc<Shapes>,
    cache: &'a mut Cache,
    kept: BTreeMap<RepoPath, (String, Arc<Parsed>)>,
    bytes: u64,
}

impl Reader<'_> {
    /// Returns what the repository calls itself, and its settings.
    fn repository(&mut self) -> Result<(String, RepositorySpec), Report> {
        let path: RepoPath = "trueup.yaml".parse().expect("it is a valid path");
        let files = Arc::clone(&self.snapshot.files);
        let Some(entry) = files.list().get(&path) else {
            let help = "write `apiVersion: trueup.dev/v1`, `kind: Repository`, `metadata: {name: ...}` and \
                        `spec: {}` into it at the repository's root";
            return Err(Report::of_file(path, "the repository has no `trueup.yaml`", help));
        };
        let parsed = self.file(&path, entry, Kind::Repository)?;
        let document = parsed.documents.first();
        let name = document.map(|document| document.name.clone()).unwrap_or_default();
        let spec = document.map(|document| document.spec.to_json());
        match spec.map(serde_json::from_value) {
            Some(Ok(spec)) if parsed.problems.is_empty() => Ok((name, spec)),
            Some(Err(error)) if parsed.problems.is_empty() => {
                Err(Report::of_file(path, error.to_string(), "see `trueup schema`"))
            }
            _ => Err(Report::sorted(parsed.problems.clone(), 1)),
        }
    }

    fn components(&mut self, repository: &RepositorySpec) -> Result<Vec<Arc<Parsed>>, Report> {
        let files = Arc::clone(&self.snapshot.files);
        let manifests = within(files.list(), &repository.components);
        let manifests = manifests
            .filter(|(rest, ..)| !rest.contains('/'))
            .filter(|(_, path, _)| path.has_extension("yaml"));
        manifests.map(|(_, path, entry)| self.file(path, entry, Kind::Component)).collect()
    }

    fn environments(&mut self, repository: &RepositorySpec) -> Result<Vec<Arc<Parsed>>, Report> {
        let files = Arc::clone(&self.snapshot.files);
        let manifests = within(files.list(), &repository.environments);
        let manifests = manifests
            .filter(|(rest, ..)| rest.split_once('/').is_some_and(|(_, file)| file == "environment.yaml"));
        manifests.map(|(_, path, entry)| self.file(path, entry, Kind::Environment)).collect()
    }

    fn file(&mut self, path: &RepoPath, entry: &Entry, kind: Kind) -> Result<Arc<Parsed>, Report> {
        self.bytes = self.bytes.saturating_add(entry.size.min(self.limits.manifest_bytes));
        if self.kept.len() >= self.limits.manifests || self.bytes > self.limits.total_bytes {
            let message = format!(
                "the repository has more than {} manifests or {} bytes of them",
                self.limits.manifests, self.limits.total_bytes
            );
            return Err(Report::of_file(path.clone(), message, "split the repository"));
        }
        let parsed = match self.cache.files.get(path) {
            Some((id, parsed)) if *id == entry.id => Arc::clone(parsed),
            _ => {
                self.cache.parsed += 1;
                Arc::new(self.parse(path, entry, kind))
            }
        };
        self.kept.insert(path.clone(), (entry.id.clone(), Arc::clone(&parsed)));
        Ok(parsed)
    }

    fn parse(&self, path: &RepoPath, entry: &Entry, kind: Kind) -> Parsed {
        let unread = |message: String, help: &str| {
            let problems = Report::of_file(path.clone(), message, help).problems;
            Parsed { path: path.clone(), documents: Vec::new(), problems }
        };
        if entry.size > self.limits.manifest_bytes {
            let message =
                format!("the file has {} bytes, {} are allowed", entry.size, self.limits.manifest_bytes);
            return unread(message, "split it into several files");
        }
        match self.snapshot.files.read(path) {
            Ok(bytes) => document::parse(path, &bytes, kind, &self.shapes, self.limits),
            Err(error) => unread(error.reason, "a manifest has to be a regular file"),
        }
    }
}

/// Returns the files inside of a folder with their path from there on.
fn within<'a>(
    files: &'a BTreeMap<RepoPath, Entry>,
    folder: &'a RepoPath,
) -> impl Iterator<Item = (&'a str, &'a RepoPath, &'a Entry)> {
    let inside = move |path: &'a RepoPath| path.as_str().strip_prefix(folder.as_str())?.strip_prefix('/');
    files.iter().filter_map(move |(path, entry)| inside(path).map(|rest| (rest, path, entry)))
}

/// Returns problems of files that look like manifests and are not read.
fn misplaced(snapshot: &Snapshot, repository: &RepositorySpec) -> Vec<Problem> {
    let files = snapshot.files.list();
    let at = |path: &RepoPath, severity, message: String, help: &str| Problem {
        place: Place { file: path.clone(), line: 1, column: 1 },
        severity,
        message,
        help: Some(help.to_owned()),
        source_line: None,
        width: 1,
    };
    let mut problems = Vec::new();
    for (rest, path, _) in within(files, &repository.components) {
        if rest.contains('/') {
            let message = "a file in a folder below is not read".to_owned();
            problems.push(at(path, Severity::Warning, message, "move it next to the other components"));
        } else if !path.has_extension("yaml") {
            let message = format!("`{rest}` is not read, its name does not end with `.yaml`");
            problems.push(at(path, Severity::Warning, message, "rename it to `<component>.yaml`"));
        }
    }
    let mut folders: BTreeMap<&str, (&RepoPath, bool)> = BTreeMap::new();
    for (rest, path, _) in within(files, &repository.environments) {
        let Some((folder, file)) = rest.split_once('/') else { continue };
        folders.entry(folder).or_insert((path, false)).1 |= file == "environment.yaml";
    }
    for (folder, (path, _)) in folders.into_iter().filter(|(_, (_, found))| !found) {
        let message = format!("the environment `{folder}` has no `environment.yaml`");
        problems.push(at(path, Severity::Warning, message, "write one next to this file"));
    }
    problems
}

impl Catalogue {
    fn add_components(&mut self, file: &Arc<Parsed>) {
        let stem = file.path.as_str().rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml");
        let mut extra = Vec::new();
        let alone = file.documents.len() == 1;
        for document in &file.documents {
            let name = document.name.parse::<ComponentName>();
            if alone && document.name != stem && name.is_ok() {
                let message = format!("the component is called `{}`, its file `{stem}.yaml`", document.name);
                extra.push(document.name_mark.error(message, "give both the same name".to_owned()));
            }
            let Ok(name) = name else { continue };
            if let Some(first) = self.components.get(&name).and_then(|item| item.document.as_ref()) {
                let message = format!("the component `{name}` exists twice");
                let help = format!("the other one is at {}", first.name_mark.place());
                extra.push(document.name_mark.error(message, help));
                continue;
            }
            let document = Some(Arc::clone(document));
            self.components.insert(name, Item { file: Arc::clone(file), document, problems: Vec::new() });
        }
        if let Ok(name) = stem.parse::<ComponentName>() {
            let item = Item { file: Arc::clone(file), document: None, problems: Vec::new() };
            let item = self.components.entry(name).or_insert(item);
            if item.file.path == file.path {
                item.problems.extend(extra);
                return;
            }
        }
        self.stray.extend(extra);
        self.stray.extend(file.problems.iter().cloned());
    }

    fn add_environment(&mut self, file: &Arc<Parsed>) {
        let path = file.path.as_str();
        let folder = path.rsplit('/').nth(1).unwrap_or_default();
        let name = match folder.parse::<EnvironmentName>() {
            Ok(name) => name,
            Err(error) => {
                let report = Report::of_file(file.path.clone(), error.to_string(), "rename the folder");
                self.stray.extend(report.problems);
                return;
            }
        };
        let mut problems = Vec::new();
        let document = file.documents.first().cloned();
        for document in &file.documents {
            if document.name != folder {
                let message = format!("the environment is called `{}`, its folder `{folder}`", document.name);
                problems.push(document.name_mark.error(message, "give both the same name".to_owned()));
            }
        }
        if let Some(second) = file.documents.get(1) {
            let help = "move it to a folder of its own".to_owned();
            problems.push(second.name_mark.error("a file holds one environment", help));
        }
        self.environments.insert(name, Item { file: Arc::clone(file), document, problems });
    }

    /// Returns what the repository calls itself in `trueup.yaml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the folder of an environment; its secret files are named from there.
    pub fn environment_folder(&self, name: &EnvironmentName) -> RepoPath {
        format!("{}/{name}", self.folder).parse().expect("a folder and a name make a path")
    }

    /// Returns who may read the secrets of an environment, whatever else is wrong with it.
    pub fn recipients(&self, name: &EnvironmentName) -> Result<Vec<String>, Report> {
        resolve::recipients(self, name)
    }

    /// Returns the names of the environments, in order. One whose manifest is wrong is among them.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.keys()
    }

    pub(crate) fn environment(&self, name: &EnvironmentName) -> Option<&Item> {
        self.environments.get(name)
    }

    /// Returns all problems of the repository, those between files included; empty when there are none.
    pub fn validate(&self) -> Report {
        let mut problems: Vec<Problem> = self.stray.clone();
        problems.extend(self.components.values().flat_map(Item::all_problems).cloned());
        let mut used = BTreeSet::new();
        for name in self.environments.keys() {
            let checked = resolve::resolve(self, name);
            problems.extend(checked.problems);
            if let Some(resolved) = checked.resolved {
                let files = self.snapshot.files.as_ref();
                problems.extend(
                    resolved.check_templates_with(files, &self.limits, Arc::clone(&self.shapes)).problems,
                );
            }
            used.extend(checked.components);
        }
        for (name, item) in self.components.iter().filter(|(name, _)| !used.contains(*name)) {
            problems.extend(resolve::check_unused(self, name, item));
        }
        Report::sorted(problems, self.files)
    }

    /// Returns one environment with its components patched and computed.
    ///
    /// The report of a failure holds the problems of this environment and of the components that it
    /// uses, and no others.
    pub fn resolve(&self, name: &EnvironmentName) -> Result<Resolved, Report> {
        let outcome = resolve::resolve(self, name);
        match outcome.resolved {
            Some(resolved) => Ok(resolved),
            None => Err(Report::sorted(outcome.problems, outcome.files)),
        }
    }
}
