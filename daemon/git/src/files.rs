//! The files of one commit, listed from its tree objects and read one by one.
//!
//! A listing holds plain files with portable names only: a symlink, a submodule, a name such as `..`
//! or a tree beyond the limits refuses the commit, with every path that is at fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use gix::{
    ObjectId, Repository, ThreadSafeRepository,
    bstr::{BStr, ByteSlice},
    objs::tree::EntryKind,
};
use trueup_schema::{
    Files, RepoPath,
    snapshot::{Entry, ReadError},
};

use crate::{Error, Limits, error::Cause, error::Refusal, mirror::Generation};

/// How many refused paths an error names.
const SHOWN: usize = 20;

/// Every file of a tree by its path.
pub(crate) type Listing = BTreeMap<RepoPath, Entry>;

/// The files of one commit.
pub(crate) struct GitFiles {
    pub(crate) repository: ThreadSafeRepository,
    pub(crate) listing: Arc<Listing>,
    pub(crate) limits: Limits,
    /// Blobs that were read, and their bytes in all.
    pub(crate) spent: Mutex<(BTreeSet<ObjectId>, u64)>,
    /// Keeps the mirror's folder for as long as its objects may be read.
    pub(crate) _mirror: Option<Arc<Generation>>,
}

impl Files for GitFiles {
    fn list(&self) -> &Listing {
        &self.listing
    }

    fn read(&self, path: &RepoPath) -> Result<Arc<[u8]>, ReadError> {
        let fail = |reason: String| ReadError { path: path.clone(), reason };
        let entry = self.listing.get(path).ok_or_else(|| fail("no such file".into()))?;
        if entry.size > self.limits.file_bytes {
            return Err(fail(too_large(entry.size, self.limits.file_bytes)));
        }
        let id = ObjectId::from_hex(entry.id.as_bytes()).map_err(|e| fail(Cause::new(&e).to_string()))?;
        self.spend(id, entry.size).map_err(fail)?;
        let repository = self.repository.to_thread_local();
        let mut blob = repository.find_blob(id).map_err(|e| fail(Cause::new(&e).to_string()))?;
        Ok(blob.take_data().into())
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

/// Lists a tree. Sizes of blobs that `known` has are not looked up again.
pub(crate) fn list(
    repository: &Repository,
    commit: &str,
    tree: ObjectId,
    limits: &Limits,
    known: &BTreeMap<String, u64>,
) -> Result<Listing, Error> {
    let mut walk =
        Walk { repository, limits, known, last: None, refused: Refused::default(), listing: Listing::new() };
    let mut folders = vec![(String::new(), tree)];
    let mut seen = 0;
    while let Some((folder, id)) = folders.pop() {
        seen += 1;
        walk.folder(&folder, id, &mut folders).map_err(|source| Error::ReadObject {
            what: format!("folder `{folder}` of commit {commit}"),
            location: repository.git_dir().display().to_string(),
            source: Cause::new(&source),
        })?;
        if seen > limits.files || walk.listing.len() > limits.files {
            walk.refused.too_many(&folder, limits);
            break;
        }
    }
    let Walk { refused, listing, .. } = walk;
    refused.check(commit)?;
    Ok(listing)
}

struct Walk<'a> {
    repository: &'a Repository,
    limits: &'a Limits,
    known: &'a BTreeMap<String, u64>,
    /// The last blob that was looked up; copies often lie side by side.
    last: Option<(String, u64)>,
    refused: Refused,
    listing: Listing,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, id: ObjectId, next: &mut Vec<(String, ObjectId)>) -> gix::Result<()> {
        let tree = self.repository.find_tree(id)?;
        for entry in tree.iter() {
            let entry = entry?;
            let Some(path) = self.refused.path(folder, entry.filename(), self.limits) else { continue };
            match entry.mode().kind() {
                EntryKind::Tree if path.as_str().split('/').count() > self.limits.depth => {
                    let reason = format!("it is deeper than {} folders", self.limits.depth);
                    self.refused.add(path.as_str(), reason, "use fewer levels of folders");
                }
                EntryKind::Tree => next.push((path.into(), entry.object_id())),
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    let id = entry.object_id();
                    let name = id.to_string();
                    let size = self.size(&name, id)?;
                    self.listing.insert(path, Entry { id: name, size });
                }
                EntryKind::Link => self.refused.link(path.as_str()),
                EntryKind::Commit => self.refused.submodule(path.as_str()),
            }
            if self.listing.len() > self.limits.files {
                break;
            }
        }
        Ok(())
    }

    fn size(&mut self, name: &str, id: ObjectId) -> gix::Result<u64> {
        if let Some(size) = self.known.get(name) {
            return Ok(*size);
        }
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
