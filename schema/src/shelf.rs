//! The manifests of one folder, put in order once for as long as the folder stays the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ComponentName, EnvironmentName, Problem, RepoPath, Report,
    catalogue::{Item, Reader},
    document::{Kind, Parsed},
    snapshot::{Entry, Folder},
};

/// The manifests of one folder, by the name of what they describe.
pub(crate) struct Shelf<N> {
    pub(crate) items: BTreeMap<N, Item>,
    /// Problems of files that belong to nothing that has a name.
    pub(crate) stray: Vec<Problem>,
    place: Option<RepoPath>,
    /// The id of the folder.
    id: Box<str>,
    /// Blob ids and what they were parsed to, by the name of the file, or of the folder that it is in.
    files: BTreeMap<Box<str>, (Box<str>, Arc<Parsed>)>,
    /// The bytes of all files, as the limits count them.
    bytes: u64,
}

/// The manifests of all components.
pub(crate) type Components = Shelf<ComponentName>;

/// The manifests of all environments.
pub(crate) type Environments = Shelf<EnvironmentName>;

impl<N> Default for Shelf<N> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            stray: Vec::new(),
            place: None,
            id: "".into(),
            files: BTreeMap::new(),
            bytes: 0,
        }
    }
}

/// The manifests in a folder: the name of each there, its path from there, and the file.
type Found<'a> = Vec<(&'a str, String, &'a Entry)>;

impl<N> Shelf<N> {
    /// Returns how many manifests there are.
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    /// Returns an empty shelf with the files of a folder. Nothing when `known` is what is there.
    fn files(
        reader: &mut Reader<'_>,
        (root, place): (&Folder, &RepoPath),
        kind: Kind,
        known: &Self,
        manifests: fn(&Folder) -> Found<'_>,
    ) -> Result<Option<Self>, Report> {
        let folder = root.folder(place);
        let id = folder.map_or("", |folder| folder.id());
        let is_known = known.place.as_ref() == Some(place) && *known.id == *id;
        if is_known && reader.fits(known.count(), known.bytes) {
            return Ok(None);
        }
        let before = reader.counted().1;
        let mut shelf = Self { place: Some(place.clone()), id: id.into(), ..Self::default() };
        for (name, rest, entry) in folder.map(|folder| manifests(folder)).unwrap_or_default() {
            let path: RepoPath = format!("{place}/{rest}").parse().expect("it is made of parts of paths");
            let same = |(id, parsed): &&(Box<str>, Arc<Parsed>)| **id == *entry.id && parsed.path == path;
            let known = known.files.get(name).filter(same).map(|(_, parsed)| parsed);
            let parsed = reader.file(&path, entry, kind, known)?;
            shelf.files.insert(name.into(), (entry.id.as_str().into(), parsed));
        }
        shelf.bytes = reader.counted().1 - before;
        Ok(Some(shelf))
    }
}

impl Components {
    /// Reads the components of a folder; nothing is done again that `known` has done.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Folder,
        place: &RepoPath,
        known: &Arc<Self>,
    ) -> Result<Arc<Self>, Report> {
        let files = Self::files(reader, (root, place), Kind::Component, known, component_files)?;
        let Some(mut shelf) = files else { return Ok(Arc::clone(known)) };
        let files: Vec<_> = shelf.files.values().map(|(_, file)| Arc::clone(file)).collect();
        files.iter().for_each(|file| shelf.add(file));
        Ok(Arc::new(shelf))
    }

    /// Returns the names of the components that are declared in some files.
    pub(crate) fn declared_in(&self, files: &BTreeSet<RepoPath>) -> Vec<ComponentName> {
        let Some(place) = &self.place else { return Vec::new() };
        let inside = |path: &RepoPath| {
            let name = path.as_str().strip_prefix(place.as_str())?.strip_prefix('/')?;
            self.files.get(name).map(|(_, parsed)| &parsed.documents)
        };
        let documents = files.iter().filter_map(inside).flatten();
        documents.filter_map(|document| document.name.parse().ok()).collect()
    }

    fn add(&mut self, file: &Arc<Parsed>) {
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
            if let Some(first) = self.items.get(&name).and_then(|item| item.document.as_ref()) {
                let message = format!("the component `{name}` exists twice");
                let help = format!("the other one is at {}", first.name_mark.place());
                extra.push(document.name_mark.error(message, help));
                continue;
            }
            let document = Some(Arc::clone(document));
            self.items.insert(name, Item { file: Arc::clone(file), document, problems: Vec::new() });
        }
        if let Ok(name) = stem.parse::<ComponentName>() {
            let item = Item { file: Arc::clone(file), document: None, problems: Vec::new() };
            let item = self.items.entry(name).or_insert(item);
            if item.file.path == file.path {
                item.problems.extend(extra);
                return;
            }
        }
        self.stray.extend(extra);
        self.stray.extend(file.problems.iter().cloned());
    }
}

impl Environments {
    /// Reads the environments of a folder; nothing is done again that `known` has done.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Folder,
        place: &RepoPath,
        known: &Arc<Self>,
    ) -> Result<Arc<Self>, Report> {
        let files = Self::files(reader, (root, place), Kind::Environment, known, environment_files)?;
        let Some(mut shelf) = files else { return Ok(Arc::clone(known)) };
        let files: Vec<_> =
            shelf.files.iter().map(|(name, (_, file))| (name.clone(), Arc::clone(file))).collect();
        files.iter().for_each(|(folder, file)| shelf.add(folder, file));
        Ok(Arc::new(shelf))
    }

    fn add(&mut self, folder: &str, file: &Arc<Parsed>) {
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
        self.items.insert(name, Item { file: Arc::clone(file), document, problems });
    }
}

fn component_files(folder: &Folder) -> Found<'_> {
    let manifests = folder.files().iter().filter(|(name, _)| name.ends_with(".yaml"));
    manifests.map(|(name, entry)| (&**name, name.to_string(), entry)).collect()
}

fn environment_files(folder: &Folder) -> Found<'_> {
    const MANIFEST: &str = "environment.yaml";
    let inner = folder.folders().iter();
    let found = inner.filter_map(|(name, inner)| Some((&**name, inner.files().get(MANIFEST)?)));
    found.map(|(name, entry)| (name, format!("{name}/{MANIFEST}"), entry)).collect()
}
