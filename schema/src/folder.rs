//! The files of a repository as a tree, so that what two commits have in common is one value.
//!
//! Looking up, and finding what differs between two commits, cost only what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::ordmap::DiffItem;

use crate::{ContentDigest, RepoPath, snapshot::Entry};

/// What lies in a folder, by name. A copy shares everything until it is changed, and then what was not.
pub type ByName<V> = imbl::OrdMap<Arc<str>, V>;

/// A folder with everything below it. Equal are those with equal ids.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    id: Box<str>,
    files: ByName<Entry>,
    folders: ByName<Arc<Self>>,
    /// Files, and folders, here and below.
    all: (usize, usize),
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Folder {}

impl Folder {
    /// Returns a folder; equal ids must mean equal content. Names are parts of a [`RepoPath`].
    pub fn new(id: &str, files: ByName<Entry>, folders: ByName<Arc<Self>>) -> Self {
        let below = folders.values().fold((0, 0), |sum, folder| (sum.0 + folder.all.0, sum.1 + folder.all.1));
        let all = (files.len() + below.0, folders.len() + below.1);
        Self { id: id.into(), files, folders, all }
    }

    /// Returns a name of the content: the Git tree id, or a digest. Equal ids mean equal content.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the files that are directly in it, by name.
    pub fn files(&self) -> &ByName<Entry> {
        &self.files
    }

    /// Returns the folders that are directly in it, by name.
    pub fn folders(&self) -> &ByName<Arc<Self>> {
        &self.folders
    }

    /// Returns how many files there are here and below.
    pub fn count_files(&self) -> usize {
        self.all.0
    }

    /// Returns how many folders there are below.
    pub fn count_folders(&self) -> usize {
        self.all.1
    }

    /// Returns a file here or below.
    pub fn get(&self, path: &RepoPath) -> Option<&Entry> {
        let (folder, name) = match path.as_str().rsplit_once('/') {
            Some((folder, name)) => (self.below(folder)?, name),
            None => (self, path.as_str()),
        };
        folder.files.get(name)
    }

    /// Returns a folder below.
    pub fn folder(&self, path: &RepoPath) -> Option<&Arc<Self>> {
        let (around, name) = match path.as_str().rsplit_once('/') {
            Some((around, name)) => (self.below(around)?, name),
            None => (self, path.as_str()),
        };
        around.folders.get(name)
    }

    fn below(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |folder, name| folder.folders.get(name).map(AsRef::as_ref))
    }

    /// Returns every file here and below by its path from here, in order.
    pub fn list(&self) -> BTreeMap<RepoPath, &Entry> {
        let mut listed = BTreeMap::new();
        self.collect("", &mut |path, entry| {
            listed.insert(path, entry);
        });
        listed
    }

    /// Returns the files, by their path from here, that are only in one of two folders or differ.
    pub fn differences(&self, other: &Self) -> BTreeSet<RepoPath> {
        let mut found = BTreeSet::new();
        self.compare(other, "", &mut found);
        found
    }

    fn compare(&self, other: &Self, around: &str, found: &mut BTreeSet<RepoPath>) {
        found.extend(differing(&self.files, &other.files).map(|(name, ..)| join(around, name)));
        let nothing = Arc::default();
        for (name, here, there) in differing(&self.folders, &other.folders) {
            let (here, there) = (here.unwrap_or(&nothing), there.unwrap_or(&nothing));
            here.compare(there, join(around, name).as_str(), found);
        }
    }

    fn collect<'a>(&'a self, around: &str, add: &mut impl FnMut(RepoPath, &'a Entry)) {
        for (name, entry) in &self.files {
            add(join(around, name), entry);
        }
        for (name, folder) in &self.folders {
            folder.collect(join(around, name).as_str(), add);
        }
    }
}

/// Returns what is only in one of two folders, or differs, with what it is in each.
pub(crate) fn differing<'a, V: Clone + PartialEq>(
    one: &'a ByName<V>,
    other: &'a ByName<V>,
) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a V>, Option<&'a V>)> {
    one.diff(other).map(|item| match item {
        DiffItem::Add(name, there) => (name, None, Some(there)),
        DiffItem::Remove(name, here) => (name, Some(here), None),
        DiffItem::Update { old: (name, here), new: (_, there) } => (name, Some(here), Some(there)),
    })
}

fn join(around: &str, name: &str) -> RepoPath {
    let path = if around.is_empty() { name.to_owned() } else { format!("{around}/{name}") };
    RepoPath::try_from(path).expect("it is made of parts of paths")
}

impl FromIterator<(RepoPath, Entry)> for Folder {
    fn from_iter<I: IntoIterator<Item = (RepoPath, Entry)>>(files: I) -> Self {
        let mut root = Draft::default();
        for (path, entry) in files {
            root.add(path.as_str(), entry);
        }
        root.finish()
    }
}

/// A folder that is being filled.
#[derive(Default)]
struct Draft {
    files: ByName<Entry>,
    folders: BTreeMap<Arc<str>, Self>,
}

impl Draft {
    fn add(&mut self, path: &str, entry: Entry) {
        match path.split_once('/') {
            Some((folder, rest)) => self.folders.entry(folder.into()).or_default().add(rest, entry),
            None => drop(self.files.insert(path.into(), entry)),
        }
    }

    fn finish(self) -> Folder {
        let folders: ByName<Arc<Folder>> =
            self.folders.into_iter().map(|(name, folder)| (name, Arc::new(folder.finish()))).collect();
        let files = self.files.iter().map(|(name, entry)| format!("file {} {name}\n", entry.id));
        let inner = folders.iter().map(|(name, folder)| format!("folder {} {name}\n", folder.id));
        let text: String = files.chain(inner).collect();
        Folder::new(ContentDigest::of_plain(text.as_bytes()).as_str(), self.files, folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let entry = |(path, id): &(&str, &str)| (path.parse().unwrap(), Entry { id: (*id).into(), size: 1 });
        files.iter().map(entry).collect()
    }

    fn paths(found: impl IntoIterator<Item = RepoPath>) -> Vec<String> {
        found.into_iter().map(|path| path.to_string()).collect()
    }

    #[test]
    fn files_and_folders_are_found_by_their_path() {
        let root = folder(&[("a", "1"), ("b/c/d", "2"), ("b/e", "3")]);
        let find = |path: &str| root.get(&path.parse().unwrap()).map(|entry| &*entry.id);
        assert_eq!((find("a"), find("b/c/d"), find("b/e")), (Some("1"), Some("2"), Some("3")));
        assert_eq!((find("b"), find("b/c"), find("b/c/x"), find("x/y")), (None, None, None, None));
        assert_eq!((root.count_files(), root.count_folders()), (3, 2));
        let inner = root.folder(&"b/c".parse().unwrap()).unwrap();
        assert_eq!(paths(inner.list().into_keys()), ["d"]);
        assert_eq!(paths(root.list().into_keys()), ["a", "b/c/d", "b/e"]);
        assert!(root.folder(&"a".parse().unwrap()).is_none());
    }

    #[test]
    fn what_differs_is_found_in_both_directions() {
        let before = folder(&[("a", "1"), ("b/c", "2"), ("b/d", "3"), ("old/x/y", "4"), ("same/z", "5")]);
        let after = folder(&[("a", "1"), ("b/c", "9"), ("b/e", "3"), ("new/x", "4"), ("same/z", "5")]);
        let differ = ["b/c", "b/d", "b/e", "new/x", "old/x/y"];
        assert_eq!(paths(before.differences(&after)), differ);
        assert_eq!(paths(after.differences(&before)), differ);
        assert!(before.differences(&before.clone()).is_empty());
    }

    #[test]
    fn a_file_that_becomes_a_folder_differs() {
        let (before, after) = (folder(&[("a", "1")]), folder(&[("a/b", "1")]));
        assert_eq!(paths(before.differences(&after)), ["a", "a/b"]);
    }

    #[test]
    fn equal_content_has_an_equal_id_and_other_content_another_one() {
        let id = |files: &[(&str, &str)]| folder(files).id().to_owned();
        assert_eq!(id(&[("a", "1"), ("b/c", "2")]), id(&[("b/c", "2"), ("a", "1")]));
        assert_ne!(id(&[("a/b", "1")]), id(&[("a/c", "1")]));
        assert_ne!(id(&[("a/b", "1")]), id(&[("a/b", "2")]));
    }
}
