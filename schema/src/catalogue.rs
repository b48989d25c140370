//! All manifests of a repository, read but not yet put together.
//!
//! A mistake belongs to the files that it stands in: one environment's mistakes never keep another
//! environment from being resolved.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;

use crate::{
    ComponentName, EnvironmentName, Limits, Place, Problem, RepoPath, Report, Resolved, Severity, Snapshot,
    document::{self, Document, Kind, Parsed, Shapes},
    manifest::RepositorySpec,
    resolve,
    shelf::{Components, Environments},
    snapshot::{Entry, Folder},
};

/// What manifests were parsed to, by path and blob id, so that a commit costs only what it touched.
///
/// A cache belongs to one repository and one set of limits.
#[derive(Default)]
pub struct Cache {
    shapes: Option<Arc<Shapes>>,
    repository: Option<(Arc<str>, Arc<Parsed>)>,
    components: Arc<Components>,
    environments: Arc<Environments>,
    parsed: u64,
}

impl Cache {
    /// Returns how many files have been parsed since the cache was made.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }
}

/// All manifests of a repository at one commit. What it has in common with the one before is shared.
pub struct Catalogue {
    pub(crate) snapshot: Snapshot,
    pub(crate) limits: Limits,
    pub(crate) shapes: Arc<Shapes>,
    name: String,
    repository: RepositorySpec,
    components: Arc<Components>,
    environments: Arc<Environments>,
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
    /// Returns whether there is a document or a mistake: a file that declares others is named like one that it does not.
    pub(crate) fn says_something(&self) -> bool {
        self.document.is_some() || self.all_problems().next().is_some()
    }

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
    let mut reader = Reader { snapshot, limits, shapes, parsed: 0, files: 0, bytes: 0 };
    let read = reader.all(cache);
    cache.parsed += reader.parsed;
    let (name, repository) = read?;
    Ok(Catalogue {
        snapshot: snapshot.clone(),
        limits: limits.clone(),
        shapes: reader.shapes,
        name,
        repository,
        components: Arc::clone(&cache.components),
        environments: Arc::clone(&cache.environments),
    })
}

/// Reads the files of one snapshot, within the limits of the repository.
pub(crate) struct Reader<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    shapes: Arc<Shapes>,
    parsed: u64,
    files: usize,
    bytes: u64,
}

impl Reader<'_> {
    /// Brings the cache to the snapshot. Returns what the repository calls itself, and its settings.
    fn all(&mut self, cache: &mut Cache) -> Result<(String, RepositorySpec), Report> {
        let (name, repository) = self.repository(cache)?;
        let root = Arc::clone(self.snapshot.files.root());
        cache.components = Components::read(self, &root, &repository.components, &cache.components)?;
        cache.environments = Environments::read(self, &root, &repository.environments, &cache.environments)?;
        Ok((name, repository))
    }

    /// Returns what the repository calls itself, and its settings.
    fn repository(&mut self, cache: &mut Cache) -> Result<(String, RepositorySpec), Report> {
        let path: RepoPath = "trueup.yaml".parse().expect("it is a valid path");
        let files = Arc::clone(&self.snapshot.files);
        let Some(entry) = files.root().get(&path) else {
            let help = "write `apiVersion: trueup.dev/v1`, `kind: Repository`, `metadata: {name: ...}` and \
                        `spec: {}` into it at the repository's root";
            return Err(Report::of_file(path, "the repository has no `trueup.yaml`", help));
        };
        self.count(entry, || path.clone())?;
        let known = cache.repository.take().filter(|(id, _)| *id == entry.id);
        let parsed = match known {
            Some((_, parsed)) => parsed,
            None => self.parse(&path, entry, Kind::Repository),
        };
        cache.repository = Some((Arc::clone(&entry.id), Arc::clone(&parsed)));
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

    /// Counts a manifest, or says which one is over the limits of the repository.
    pub(crate) fn count(&mut self, entry: &Entry, path: impl FnOnce() -> RepoPath) -> Result<(), Report> {
        if self.fits(1, self.counted(entry)) {
            return Ok(());
        }
        let message = format!(
            "the repository has more than {} manifests or {} bytes of them",
            self.limits.manifests, self.limits.total_bytes
        );
        Err(Report::of_file(path(), message, "split the repository"))
    }

    /// Counts so many manifests with so many bytes, unless that is over the limits. Returns whether it is not.
    pub(crate) fn fits(&mut self, files: usize, bytes: u64) -> bool {
        let (files, bytes) = (self.files + files, self.bytes.saturating_add(bytes));
        let within = files <= self.limits.manifests && bytes <= self.limits.total_bytes;
        if within {
            (self.files, self.bytes) = (files, bytes);
        }
        within
    }

    /// Returns how many bytes a manifest counts for: one that is too large is not read.
    pub(crate) fn counted(&self, entry: &Entry) -> u64 {
        entry.size.min(self.limits.manifest_bytes)
    }

    /// Reads and parses a manifest.
    pub(crate) fn parse(&mut self, path: &RepoPath, entry: &Entry, kind: Kind) -> Arc<Parsed> {
        self.parsed += 1;
        let unread = |message: String, help: &str| {
            let problems = Report::of_file(path.clone(), message, help).problems;
            Parsed { path: path.clone(), documents: Vec::new(), problems }
        };
        if entry.size > self.limits.manifest_bytes {
            let message =
                format!("the file has {} bytes, {} are allowed", entry.size, self.limits.manifest_bytes);
            return Arc::new(unread(message, "split it into several files"));
        }
        Arc::new(match self.snapshot.files.read(path) {
            Ok(bytes) => document::parse(path, &bytes, kind, &self.shapes, self.limits),
            Err(error) => unread(error.reason, "a manifest has to be a regular file"),
        })
    }
}

/// Returns problems of files that look like manifests and are not read.
fn misplaced(root: &Folder, repository: &RepositorySpec) -> Vec<Problem> {
    let at = |path: String, message: String, help: &str| Problem {
        place: Place { file: path.parse().expect("it is made of parts of paths"), line: 1, column: 1 },
        severity: Severity::Warning,
        message,
        help: Some(help.to_owned()),
        source_line: None,
        width: 1,
    };
    let mut problems = Vec::new();
    let (components, environments) = (&repository.components, &repository.environments);
    for rest in root.folder(components).into_iter().flat_map(|folder| folder.list().into_keys()) {
        let path = format!("{components}/{rest}");
        if rest.folder().is_some() {
            let message = "a file in a folder below is not read".to_owned();
            problems.push(at(path, message, "move it next to the other components"));
        } else if !rest.has_extension("yaml") {
            let message = format!("`{rest}` is not read, its name does not end with `.yaml`");
            problems.push(at(path, message, "rename it to `<component>.yaml`"));
        }
    }
    let folders = root.folder(environments).into_iter().flat_map(|folder| folder.folders());
    for (name, folder) in folders.filter(|(_, folder)| !folder.files().contains_key("environment.yaml")) {
        let Some(first) = folder.list().into_keys().next() else { continue };
        let message = format!("the environment `{name}` has no `environment.yaml`");
        problems.push(at(format!("{environments}/{name}/{first}"), message, "write one next to this file"));
    }
    problems
}

impl Catalogue {
    /// Returns what the repository calls itself in `trueup.yaml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the folder of an environment; its secret files are named from there.
    pub fn environment_folder(&self, name: &EnvironmentName) -> RepoPath {
        format!("{}/{name}", self.repository.environments).parse().expect("a folder and a name make a path")
    }

    /// Returns who may read the secrets of an environment, whatever else is wrong with it.
    pub fn recipients(&self, name: &EnvironmentName) -> Result<Vec<String>, Report> {
        resolve::recipients(self, name)
    }

    /// Returns the names of the environments, in order. One whose manifest is wrong is among them.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.items.keys()
    }

    /// Returns whether there is an environment of that name; its manifest may be wrong.
    pub fn has_environment(&self, name: &EnvironmentName) -> bool {
        self.environments.items.contains_key(name)
    }

    pub(crate) fn environment(&self, name: &EnvironmentName) -> Option<&Item> {
        self.environments.items.get(name)
    }

    pub(crate) fn components(&self) -> &OrdMap<ComponentName, Item> {
        &self.components.items
    }

    /// Returns the files of which an environment can have become another one since an earlier commit of the
    /// repository: one that resolved then, and whose [`Resolved::inputs`] hold none of them, resolves to the same.
    pub fn changes_since(&self, before: &Self) -> BTreeSet<RepoPath> {
        let mut changed = self.snapshot.files.root().differences(before.snapshot.files.root());
        // A component may come from another file than before: that file is as good as changed.
        let declared = [self, before].map(|catalogue| catalogue.components.declared_in(&changed));
        for name in declared.into_iter().flatten() {
            let items = [self, before].map(|catalogue| catalogue.components.items.get(&name));
            changed.extend(items.into_iter().flatten().map(|item| item.file.path.clone()));
        }
        changed
    }

    /// Returns all problems of the repository, those between files included; empty when there are none.
    pub fn validate(&self) -> Report {
        let mut problems = misplaced(self.snapshot.files.root(), &self.repository);
        problems.extend(self.components.stray.iter().chain(&self.environments.stray).cloned());
        problems.extend(self.components().values().flat_map(Item::all_problems).cloned());
        let mut used = BTreeSet::new();
        for name in self.environments() {
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
        for (name, item) in self.components().iter().filter(|(name, _)| !used.contains(*name)) {
            problems.extend(resolve::check_unused(self, name, item));
        }
        Report::sorted(problems, 1 + self.components.count() + self.environments.count())
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
