//! The manifests of one folder, by the name of what they describe. From one commit to the next only those that
//! differ are taken out and put in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ComponentName, EnvironmentName, Problem, RepoPath, Report,
    catalogue::{Item, Reader},
    document::{Kind, Parsed},
    folder::differing,
    snapshot::{Entry, Folder},
};

/// The manifests of one folder.
pub(crate) struct Shelf<N> {
    pub(crate) items: BTreeMap<N, Item>,
    /// Problems of files that belong to nothing that has a name.
    pub(crate) stray: Vec<Problem>,
    place: Option<RepoPath>,
    /// The id of the folder.
    id: Box<str>,
    /// By the name of the file, or of the folder that it is in.
    manifests: BTreeMap<Arc<str>, Entry>,
    /// What the manifests were parsed to, by the same names.
    parsed: BTreeMap<Arc<str>, Arc<Parsed>>,
    /// The bytes of all manifests, as the limits count them.
    bytes: u64,
    /// Whether several files claim one name, so that their order decides.
    is_contested: bool,
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
            manifests: BTreeMap::new(),
            parsed: BTreeMap::new(),
            bytes: 0,
            is_contested: false,
        }
    }
}

/// What manifests describe: where they are, and what a file says.
pub(crate) trait Described: Ord + Clone {
    const KIND: Kind;
    /// What stands in a manifest's path after its name.
    const SUFFIX: &str;

    /// Returns the manifests of a folder by name.
    fn manifests(folder: &Folder) -> BTreeMap<Arc<str>, Entry>;

    /// Puts in what a file describes.
    fn add(shelf: &mut Shelf<Self>, name: &str, file: &Arc<Parsed>);

    /// Returns every name that a file may have a word in.
    fn claims(name: &str, file: &Parsed) -> BTreeSet<Self>;
}

impl<N: Described> Shelf<N> {
    /// Reads the manifests of a folder; nothing is done again that `known` has done.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        root: &Folder,
        place: &RepoPath,
        known: &Arc<Self>,
    ) -> Result<Arc<Self>, Report> {
        let nothing = Arc::new(Self::default());
        let known = if known.place.as_ref() == Some(place) { known } else { &nothing };
        let folder = root.folder(place);
        let id = folder.map_or("", |folder| folder.id());
        if *known.id == *id && known.place.is_some() && reader.fits(known.count(), known.bytes) {
            return Ok(Arc::clone(known));
        }
        let before = reader.counted_bytes();
        let manifests = folder.map(|folder| N::manifests(folder)).unwrap_or_default();
        for (name, entry) in &manifests {
            reader.count(entry, || path::<N>(place, name))?;
        }
        let mut shelf = Self::default();
        if !known.is_contested {
            (shelf.items, shelf.stray) = (known.items.clone(), known.stray.clone());
            shelf.parsed = known.parsed.clone();
            shelf.bring(reader, place, (&known.manifests, &manifests), known);
        }
        if known.is_contested || shelf.is_contested {
            shelf = Self::default();
            shelf.bring(reader, place, (&BTreeMap::new(), &manifests), known);
        }
        (shelf.place, shelf.id) = (Some(place.clone()), id.into());
        (shelf.bytes, shelf.manifests) = (reader.counted_bytes() - before, manifests);
        Ok(Arc::new(shelf))
    }

    /// Returns how many manifests there are.
    pub(crate) fn count(&self) -> usize {
        self.manifests.len()
    }

    /// Takes out what differs between the manifests before and now, and puts in what they say now.
    fn bring(
        &mut self,
        reader: &mut Reader<'_>,
        place: &RepoPath,
        (before, now): (&BTreeMap<Arc<str>, Entry>, &BTreeMap<Arc<str>, Entry>),
        known: &Self,
    ) {
        for (name, ..) in differing(before, now) {
            if let Some(file) = self.parsed.remove(name) {
                self.take_out(name, &file);
            }
        }
        for (name, _, entry) in differing(before, now) {
            let Some(entry) = entry else { continue };
            let same = known.manifests.get(name).filter(|known| known.id == entry.id);
            let file = match same.and_then(|_| known.parsed.get(name)) {
                Some(file) => Arc::clone(file),
                None => reader.parse(&path::<N>(place, name), entry, N::KIND),
            };
            N::add(self, name, &file);
            self.parsed.insert(Arc::clone(name), file);
        }
    }

    fn take_out(&mut self, name: &str, file: &Arc<Parsed>) {
        for claimed in N::claims(name, file) {
            if self.items.get(&claimed).is_some_and(|item| Arc::ptr_eq(&item.file, file)) {
                self.items.remove(&claimed);
            }
        }
        self.stray.retain(|problem| problem.place.file != file.path);
    }
}

impl Components {
    /// Returns the names of the components that are declared in some files.
    pub(crate) fn declared_in(&self, files: &BTreeSet<RepoPath>) -> BTreeSet<ComponentName> {
        let inside = |path: &RepoPath| {
            let name = path.as_str().strip_prefix(self.place.as_ref()?.as_str())?.strip_prefix('/')?;
            Some(ComponentName::claims(name, self.parsed.get(name)?))
        };
        files.iter().filter_map(inside).flatten().collect()
    }
}

impl Described for ComponentName {
    const KIND: Kind = Kind::Component;
    const SUFFIX: &str = "";

    fn manifests(folder: &Folder) -> BTreeMap<Arc<str>, Entry> {
        let manifests = folder.files().iter().filter(|(name, _)| name.ends_with(".yaml"));
        manifests.map(|(name, entry)| (Arc::clone(name), entry.clone())).collect()
    }

    fn add(shelf: &mut Components, name: &str, file: &Arc<Parsed>) {
        let stem = name.trim_end_matches(".yaml");
        let mut extra = Vec::new();
        let alone = file.documents.len() == 1;
        for document in &file.documents {
            let name = document.name.parse::<Self>();
            if alone && document.name != stem && name.is_ok() {
                let message = format!("the component is called `{}`, its file `{stem}.yaml`", document.name);
                extra.push(document.name_mark.error(message, "give both the same name".to_owned()));
            }
            let Ok(name) = name else { continue };
            if let Some(first) = shelf.items.get(&name).and_then(|item| item.document.as_ref()) {
                let message = format!("the component `{name}` exists twice");
                let help = format!("the other one is at {}", first.name_mark.place());
                extra.push(document.name_mark.error(message, help));
                shelf.is_contested = true;
                continue;
            }
            let document = Some(Arc::clone(document));
            let item = Item { file: Arc::clone(file), document, problems: Vec::new() };
            let before = shelf.items.insert(name, item);
            shelf.is_contested |= before.is_some();
        }
        if let Ok(name) = stem.parse::<Self>() {
            let item = Item { file: Arc::clone(file), document: None, problems: Vec::new() };
            let item = shelf.items.entry(name).or_insert(item);
            if item.file.path == file.path {
                item.problems.extend(extra);
                return;
            }
            shelf.is_contested = true;
        }
        shelf.stray.extend(extra);
        shelf.stray.extend(file.problems.iter().cloned());
    }

    fn claims(name: &str, file: &Parsed) -> BTreeSet<Self> {
        let stem = name.trim_end_matches(".yaml");
        let declared = file.documents.iter().map(|document| document.name.as_str());
        declared.chain([stem]).filter_map(|name| name.parse().ok()).collect()
    }
}

impl Described for EnvironmentName {
    const KIND: Kind = Kind::Environment;
    const SUFFIX: &str = "/environment.yaml";

    fn manifests(folder: &Folder) -> BTreeMap<Arc<str>, Entry> {
        let manifest = |folder: &Folder| folder.files().get("environment.yaml").cloned();
        let inner = folder.folders().iter();
        inner.filter_map(|(name, folder)| Some((Arc::clone(name), manifest(folder)?))).collect()
    }

    fn add(shelf: &mut Environments, folder: &str, file: &Arc<Parsed>) {
        let name = match folder.parse::<Self>() {
            Ok(name) => name,
            Err(error) => {
                let report = Report::of_file(file.path.clone(), error.to_string(), "rename the folder");
                shelf.stray.extend(report.problems);
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
        shelf.items.insert(name, Item { file: Arc::clone(file), document, problems });
    }

    fn claims(name: &str, _: &Parsed) -> BTreeSet<Self> {
        name.parse().into_iter().collect()
    }
}

fn path<N: Described>(place: &RepoPath, name: &str) -> RepoPath {
    format!("{place}/{name}{}", N::SUFFIX).parse().expect("it is made of parts of paths")
}
