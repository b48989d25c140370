//! The manifests of one folder, by the name of what they describe. From one commit to the next only those that
//! differ are taken out and put in.

use std::{collections::BTreeSet, sync::Arc};

use imbl::OrdMap;

use crate::{
    ComponentName, EnvironmentName, Problem, RepoPath, Report,
    catalogue::{Item, Reader},
    document::{Kind, Parsed},
    folder::differing,
    snapshot::{ByName, Entry, Folder},
};

/// The manifests of one folder.
pub(crate) struct Shelf<N> {
    pub(crate) items: OrdMap<N, Item>,
    /// Problems of files that belong to nothing that has a name.
    pub(crate) stray: Vec<Problem>,
    place: Option<RepoPath>,
    /// What was read.
    folder: Arc<Folder>,
    /// What each manifest was parsed to, by the name of the file, or of the folder that it is in.
    parsed: ByName<Arc<Parsed>>,
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
            items: OrdMap::new(),
            stray: Vec::new(),
            place: None,
            folder: Arc::default(),
            parsed: ByName::new(),
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

    /// Returns a manifest by the name of its file, or of the folder that it is in.
    fn manifest<'a>(folder: &'a Folder, name: &str) -> Option<&'a Entry>;

    /// Returns what manifests are only in one of two folders, or differ: the name, and what it is in each.
    fn differing<'a>(
        before: &'a Folder,
        now: &'a Folder,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Entry>, Option<&'a Entry>)>;

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
        let folder = root.folder(place).cloned().unwrap_or_default();
        let bytes = known.count_manifests(reader, place, &folder)?;
        if folder == known.folder && known.place.is_some() {
            return Ok(Arc::clone(known));
        }
        let mut shelf = Self::default();
        if !known.is_contested {
            (shelf.items, shelf.stray) = (known.items.clone(), known.stray.clone());
            shelf.parsed = known.parsed.clone();
            shelf.bring(reader, place, (&known.folder, &folder), known);
        }
        if known.is_contested || shelf.is_contested {
            shelf = Self::default();
            shelf.bring(reader, place, (&Folder::default(), &folder), known);
        }
        (shelf.place, shelf.folder, shelf.bytes) = (Some(place.clone()), folder, bytes);
        Ok(Arc::new(shelf))
    }

    /// Returns how many manifests there are.
    pub(crate) fn count(&self) -> usize {
        self.parsed.len()
    }

    /// Counts the manifests of a folder, from what was counted of the last one. Returns their bytes.
    fn count_manifests(
        &self,
        reader: &mut Reader<'_>,
        place: &RepoPath,
        folder: &Folder,
    ) -> Result<u64, Report> {
        let (mut count, mut bytes) = (self.count(), self.bytes);
        for (_, before, now) in N::differing(&self.folder, folder) {
            let counted = |entry: Option<&Entry>| entry.map_or(0, |entry| reader.counted(entry));
            count = count + usize::from(now.is_some()) - usize::from(before.is_some());
            bytes = bytes + counted(now) - counted(before);
        }
        if reader.fits(count, bytes) {
            return Ok(bytes);
        }
        for (name, _, entry) in N::differing(&Folder::default(), folder) {
            let Some(entry) = entry else { continue };
            reader.count(entry, || path::<N>(place, name))?;
        }
        Ok(bytes)
    }

    /// Takes out what differs between the folder before and now, and puts in what it says now.
    fn bring(
        &mut self,
        reader: &mut Reader<'_>,
        place: &RepoPath,
        (before, now): (&Folder, &Folder),
        known: &Self,
    ) {
        for (name, ..) in N::differing(before, now) {
            if let Some(file) = self.parsed.remove(name) {
                self.take_out(name, &file);
            }
        }
        for (name, _, entry) in N::differing(before, now) {
            let Some(entry) = entry else { continue };
            let same = N::manifest(&known.folder, name).filter(|known| known.id == entry.id);
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

    fn manifest<'a>(folder: &'a Folder, name: &str) -> Option<&'a Entry> {
        folder.files().get(name)
    }

    fn differing<'a>(
        before: &'a Folder,
        now: &'a Folder,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Entry>, Option<&'a Entry>)> {
        differing(before.files(), now.files()).filter(|(name, ..)| name.ends_with(".yaml"))
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
            if let Some(before) = shelf.items.insert(name, item) {
                shelf.is_contested = true;
                shelf.stray.extend(before.all_problems().cloned());
            }
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

    fn manifest<'a>(folder: &'a Folder, name: &str) -> Option<&'a Entry> {
        folder.folders().get(name)?.files().get("environment.yaml")
    }

    fn differing<'a>(
        before: &'a Folder,
        now: &'a Folder,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Entry>, Option<&'a Entry>)> {
        let manifest = |folder: Option<&'a Arc<Folder>>| folder?.files().get("environment.yaml");
        differing(before.folders(), now.folders())
            .map(move |(name, before, now)| (name, manifest(before), manifest(now)))
            .filter(|(_, before, now)| before != now)
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
