//! The files of one commit, listed from its tree objects and read one by one. A folder that is as it was in the
//! commit before is not listed again.
//!
//! A listing holds plain files with portable names only: a symlink, a submodule, a name such as `..`
//! or a tree beyond the limits refuses the commit, with every path that is at fault.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    iter::Peekable,
    sync::{Arc, Mutex, PoisonError},
};

use gix::{
    ObjectId, Repository,
    bstr::{BStr, ByteSlice},
    object::tree::EntryRef,
    objs::tree::EntryKind,
};
use trueup_schema::{
    Files, RepoPath,
    snapshot::{ByName, Entry, Folder, ReadError},
};

use crate::{Error, Limits, error::Cause, error::Refusal, mirror::Generation};

/// How many refused paths an error names.
const SHOWN: usize = 20;

/// The files of one commit.
pub(crate) struct GitFiles {
    /// One for all reads, with what it needs for each.
    pub(crate) repository: Mutex<Repository>,
    pub(crate) root: Arc<Folder>,
    pub(crate) limits: Limits,
    /// Blobs that were read, and their bytes in all.
    pub(crate) spent: Mutex<(BTreeSet<ObjectId>, u64)>,
    /// Keeps the mirror's folder for as long as its objects may be read.
    pub(crate) _mirror: Option<Arc<Generation>>,
}

impl Files for GitFiles {
    fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    fn read(&self, path: &RepoPath) -> Result<Arc<[u8]>, ReadError> {
        let fail = |reason: String| ReadError { path: path.clone(), reason };
        let entry = self.root.get(path).ok_or_else(|| fail("no such file".into()))?;
        if entry.size > self.limits.file_bytes {
            return Err(fail(too_large(entry.size, self.limits.file_bytes)));
        }
        let id = ObjectId::from_hex(entry.id.as_bytes()).map_err(|e| fail(Cause::new(&e).to_string()))?;
        self.spend(id, entry.size).map_err(fail)?;
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = repository.find_blob(id).map_err(|e| fail(Cause::new(&e).to_string()))?;
        Ok(blob.data.as_slice().into())
    }
}

impl GitFiles {
    fn spend(&self, id: ObjectId, size: u64) -> Result<(), String> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.0.contains(&id) {
            return Ok(());
        }
        if spent.1 + size > self.limits.total_bytes {
            return Err(format!("more than {} bytes of this commit would be read", self.limits.total_bytes));
        }
        spent.0.insert(id);
        spent.1 += size;
        Ok(())
    }
}

/// Says that a file is too large.
pub(crate) fn too_large(size: u64, limit: u64) -> String {
    format!("it has {size} bytes, more than the {limit} that are allowed")
}

/// Lists a tree. Folders that stand at the same place in `known` are taken from there, with the sizes of their blobs.
pub(crate) fn list(
    repository: &Repository,
    commit: &str,
    tree: ObjectId,
    limits: &Limits,
    known: Option<&Arc<Folder>>,
) -> Result<Arc<Folder>, Error> {
    let refused = Refused::default();
    let mut walk =
        Walk { repository, commit, limits, last: None, refused, files: 0, folders: 1, over: false };
    let root = walk.folder("", tree, known)?;
    walk.refused.check(commit)?;
    Ok(root)
}

/// What is in one tree.
struct Tree {
    files: ByName<Entry>,
    /// The folders that are as they were; those in `unread` may be there as they were, too.
    folders: ByName<Arc<Folder>>,
    /// The name, path and id of each other folder.
    unread: Vec<(Arc<str>, RepoPath, ObjectId)>,
}

impl Tree {
    /// Takes out what was in the folder and is not in the tree any more.
    fn forget_gone(&mut self, known: &Folder, tree: &gix::Tree<'_>) -> gix::Result<()> {
        let entries = tree.iter().collect::<Result<Vec<_>, _>>()?;
        let there: BTreeSet<_> =
            entries.iter().map(|entry| (entry.mode().is_tree(), entry.filename())).collect();
        let is_gone = |is_tree, name: &&Arc<str>| !there.contains(&(is_tree, name.as_bytes().as_bstr()));
        for name in known.files().keys().filter(|name| is_gone(false, name)) {
            self.files.remove(name);
        }
        for name in known.folders().keys().filter(|name| is_gone(true, name)) {
            self.folders.remove(name);
        }
        Ok(())
    }
}

/// What was in a folder under the name of an entry of its tree.
enum Before<'a> {
    File(&'a Entry),
    Folder(&'a Folder),
}

impl<'a> Before<'a> {
    /// Looks for it in `known`. A tree has the order of its files' names, so that `files`, which are those of `known`,
    /// are gone through beside it.
    fn of(
        known: &'a Folder,
        files: &mut Peekable<impl Iterator<Item = (&'a Arc<str>, &'a Entry)>>,
        entry: &EntryRef<'_, '_>,
    ) -> Option<Self> {
        let name = entry.filename();
        if entry.mode().is_tree() {
            return known.folders().get(name.to_str().ok()?).map(|folder| Self::Folder(folder));
        }
        while files.next_if(|(known, _)| known.as_bytes() < name.as_bytes()).is_some() {}
        files.next_if(|(known, _)| known.as_bytes() == name.as_bytes()).map(|(_, file)| Self::File(file))
    }
}

struct Walk<'a> {
    repository: &'a Repository,
    commit: &'a str,
    limits: &'a Limits,
    /// The last blob that was looked up; copies often lie side by side.
    last: Option<(String, u64)>,
    refused: Refused,
    files: usize,
    folders: usize,
    /// Whether there are more of them than allowed.
    over: bool,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        path: &str,
        id: ObjectId,
        known: Option<&Arc<Folder>>,
    ) -> Result<Arc<Folder>, Error> {
        let name = id.to_string();
        if let Some(known) = known.filter(|known| known.id() == name) {
            self.files += known.count_files();
            self.folders += known.count_folders();
            self.is_over(path);
            return Ok(Arc::clone(known));
        }
        let read = self.read(path, id, known).map_err(|source| Error::ReadObject {
            what: format!("folder `{path}` of commit {}", self.commit),
            location: self.repository.git_dir().display().to_string(),
            source: Cause::new(&source),
        });
        let Tree { files, mut folders, unread } = read?;
        for (name, path, id) in unread {
            self.folders += 1;
            if self.is_over(path.as_str()) {
                break;
            }
            let known = known.and_then(|known| known.folders().get(&*name));
            folders.insert(name, self.folder(path.as_str(), id, known)?);
        }
        Ok(Arc::new(Folder::new(&name, files, folders)))
    }

    /// Returns whether there are more files or folders than allowed, and notes where that was found first.
    fn is_over(&mut self, path: &str) -> bool {
        let is_over = self.files > self.limits.files || self.folders > self.limits.files;
        if is_over && !self.over {
            self.over = true;
            self.refused.too_many(path, self.limits);
        }
        is_over
    }

    /// Reads one tree: its files, and the folders in it.
    fn read(&mut self, folder: &str, id: ObjectId, known: Option<&Arc<Folder>>) -> gix::Result<Tree> {
        let object = self.repository.find_tree(id)?;
        let nothing = Arc::default();
        let known = known.unwrap_or(&nothing);
        let mut tree =
            Tree { files: known.files().clone(), folders: known.folders().clone(), unread: Vec::new() };
        let mut files = known.files().iter().peekable();
        let mut still_there = 0;
        let mut last = None;
        for entry in object.iter() {
            let entry = entry?;
            if last.is_some_and(|last| last >= entry.inner) {
                self.refused.out_of_order(folder);
            }
            last = Some(entry.inner);
            // Most of it is as it was: its name has been looked at.
            let before = Before::of(known, &mut files, &entry);
            still_there += usize::from(before.is_some());
            if before.is_some_and(|before| self.keep(&before, &entry)) {
                continue;
            }
            let Some(path) = self.refused.path(folder, entry.filename(), self.limits) else { continue };
            let name: Arc<str> = path.as_str().rsplit('/').next().unwrap_or_default().into();
            match entry.mode().kind() {
                EntryKind::Tree if path.as_str().split('/').count() > self.limits.depth => {
                    let reason = format!("it is deeper than {} folders", self.limits.depth);
                    self.refused.add(path.as_str(), reason, "use fewer levels of folders");
                }
                EntryKind::Tree => tree.unread.push((name, path, entry.object_id())),
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    let id = entry.object_id();
                    let text = id.to_string();
                    let size = self.size(&text, id)?;
                    tree.files.insert(name, Entry { id: text.into(), size });
                    self.files += 1;
                }
                EntryKind::Link => self.refused.link(path.as_str()),
                EntryKind::Commit => self.refused.submodule(path.as_str()),
            }
            if self.is_over(folder) {
                break;
            }
        }
        if still_there < known.files().len() + known.folders().len() {
            tree.forget_gone(known, &object)?;
        }
        Ok(tree)
    }

    /// Counts what an entry of a tree stands for, if that is as it was. Returns whether it is.
    fn keep(&mut self, before: &Before<'_>, entry: &EntryRef<'_, '_>) -> bool {
        let mut hex = gix::hash::Kind::hex_buf();
        let id = &*entry.oid().hex_to_buf(&mut hex);
        let (is_same, files, folders) = match before {
            Before::File(file) => (*file.id == *id && entry.mode().is_blob(), 1, 0),
            Before::Folder(folder) => (folder.id() == id, folder.count_files(), 1 + folder.count_folders()),
        };
        if is_same {
            self.files += files;
            self.folders += folders;
        }
        is_same
    }

    fn size(&mut self, name: &str, id: ObjectId) -> gix::Result<u64> {
        if let Some((last, size)) = &self.last
            && last == name
        {
            return Ok(*size);
        }
        let size = self.repository.find_header(id)?.size();
        self.last = Some((name.to_owned(), size));
        Ok(size)
    }
}

/// The paths that are at fault.
#[derive(Default)]
pub(crate) struct Refused {
    first: BTreeSet<Refusal>,
    more: usize,
}

impl Refused {
    pub(crate) fn link(&mut self, path: &str) {
        self.add(path, "it is a symbolic link", "commit the file itself; links are never followed");
    }

    pub(crate) fn submodule(&mut self, path: &str) {
        self.add(path, "it is a submodule", "commit the files themselves; other repositories are never read");
    }

    fn out_of_order(&mut self, folder: &str) {
        let folder = if folder.is_empty() { "(root)" } else { folder };
        self.add(
            folder,
            "its names are not in Git's order, or one is there twice",
            "make the commit with Git",
        );
    }

    pub(crate) fn too_many(&mut self, folder: &str, limits: &Limits) {
        let reason = format!("with it there are more than {} files or folders", limits.files);
        let folder = if folder.is_empty() { "(root)" } else { folder };
        self.add(folder, reason, "keep configuration in a repository of its own");
    }

    pub(crate) fn add(&mut self, path: &str, reason: impl Into<String>, help: &str) {
        let path = RepoPath::try_from(path.to_owned()).unwrap_or_else(|_| escaped(path.into()));
        self.first.insert(Refusal { path, reason: reason.into(), help: help.into() });
        if self.first.len() > SHOWN {
            self.first.pop_last();
            self.more += 1;
        }
    }

    /// Returns the path of an entry of `folder`, or refuses its name.
    pub(crate) fn path(&mut self, folder: &str, name: &BStr, limits: &Limits) -> Option<RepoPath> {
        let joined = |name: &str| match folder {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let help = "rename it: letters, digits, `.`, `-` and `_` are safe";
        let reason = match name.to_str() {
            Err(_) => "its name is not UTF-8".to_owned(),
            Ok(text) if text.contains(|c: char| c.is_control()) => {
                "its name holds a control character".to_owned()
            }
            Ok(text) if text.eq_ignore_ascii_case(".git") => "its name is reserved by Git".to_owned(),
            Ok(text) if text.contains('/') => "its name holds a `/`".to_owned(),
            Ok(text) if joined(text).len() > limits.path_bytes => {
                format!("its path is longer than {} bytes", limits.path_bytes)
            }
            Ok(text) => match RepoPath::try_from(joined(text)) {
                Ok(path) => return Some(path),
                Err(error) => error.rule,
            },
        };
        let shown: String = escaped(name).as_str().chars().take(200).collect();
        self.add(&joined(&shown), reason, help);
        None
    }

    /// Fails when something was refused.
    pub(crate) fn check(self, commit: &str) -> Result<(), Error> {
        if self.first.is_empty() {
            return Ok(());
        }
        let commit = commit.get(..7).filter(|_| commit.len() >= 40).unwrap_or(commit).to_owned();
        Err(Error::RefuseTree { commit, refusals: self.first.into_iter().collect(), more: self.more })
    }
}

/// Returns a name that is no valid path as one that can be shown: `..` is `%2E%2E`.
fn escaped(name: &BStr) -> RepoPath {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b' ' | b'/');
    let dots = name.iter().all(|b| *b == b'.');
    let mut text = String::new();
    for byte in name.iter().copied() {
        if plain(byte) || (byte == b'.' && !dots) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text.truncate(1024);
    RepoPath::try_from(text).unwrap_or_else(|_| ".".repeat(3).try_into().expect("three dots are a name"))
}
