//! The files of a checkout that are not committed, for `validate`, `render` and `explain`.
//!
//! The same rules as for a commit: links are never followed, names are portable, and everything is
//! bounded. Folders whose name starts with a dot, `.git` above all, are left out.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use gix::bstr::ByteSlice;
use jiff::Timestamp;
use trueup_schema::{
    Files, RepoPath, Revision, Snapshot,
    snapshot::{Entry, Folder, ReadError},
};

use crate::{
    Error, Limits,
    files::{Refused, too_large},
};

/// Every file by its path.
type Listing = BTreeMap<RepoPath, Entry>;

/// Returns the files below `folder` as they are now.
pub fn worktree(folder: &Path, limits: &Limits) -> Result<Snapshot, Error> {
    let mut walk =
        Walk { root: folder, limits, refused: Refused::default(), listing: Listing::new(), bytes: 0 };
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(path) = folders.pop() {
        seen += 1;
        walk.folder(&path, &mut folders)?;
        if seen > limits.files || walk.listing.len() > limits.files {
            walk.refused.too_many(&path, limits);
            break;
        }
    }
    let Walk { refused, listing, .. } = walk;
    refused.check("worktree")?;
    let listed = Arc::new(listing.into_iter().collect());
    let files =
        WorktreeFiles { place: folder.into(), root: listed, limits: limits.clone(), spent: Mutex::new(0) };
    let revision = Revision {
        commit: "worktree".into(),
        reference: "worktree".into(),
        author: String::new(),
        subject: "files that are not committed".into(),
        time: Timestamp::now(),
    };
    Ok(Snapshot { revision, files: Arc::new(files) })
}

struct Walk<'a> {
    root: &'a Path,
    limits: &'a Limits,
    refused: Refused,
    listing: Listing,
    bytes: u64,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str, next: &mut Vec<String>) -> Result<(), Error> {
        let path = self.root.join(folder);
        let fail = |source| Error::ReadFolder { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let kind = entry.file_type().map_err(fail)?;
            let hidden = name.as_bytes().starts_with(b".");
            if hidden && (kind.is_dir() || name == ".git") {
                continue;
            }
            let Some(found) = self.refused.path(folder, name.as_bytes().as_bstr(), self.limits) else {
                continue;
            };
            if kind.is_symlink() {
                self.refused.link(found.as_str());
            } else if kind.is_dir() {
                self.subfolder(found.as_str(), next);
            } else if kind.is_file() {
                let entry = self.entry(&found).map_err(fail)?;
                self.listing.insert(found, entry);
            }
            if self.listing.len() > self.limits.files {
                break;
            }
        }
        Ok(())
    }

    /// Names a file by its Git blob id; one that is too large to be read is not read for its name either.
    fn entry(&mut self, path: &RepoPath) -> io::Result<Entry> {
        let metadata = fs::symlink_metadata(self.root.join(path.as_str()))?;
        let size = metadata.len();
        if size > self.limits.file_bytes {
            let id =
                format!("large:{}:{}:{}.{}", metadata.ino(), size, metadata.ctime(), metadata.ctime_nsec());
            return Ok(Entry { id: id.into(), size });
        }
        self.bytes += size;
        if self.bytes > self.limits.total_bytes {
            return Err(io::Error::other(format!("it holds more than {} bytes", self.limits.total_bytes)));
        }
        let bytes = read_plain(self.root, path, self.limits.file_bytes)?;
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Blob, &bytes)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Entry { id: id.to_string().into(), size: bytes.len() as u64 })
    }

    fn subfolder(&mut self, path: &str, next: &mut Vec<String>) {
        if self.root.join(path).join(".git").exists() {
            self.refused.submodule(path);
        } else if path.split('/').count() > self.limits.depth {
            let reason = format!("it is deeper than {} folders", self.limits.depth);
            self.refused.add(path, reason, "use fewer levels of folders");
        } else {
            next.push(path.into());
        }
    }
}

struct WorktreeFiles {
    place: PathBuf,
    root: Arc<Folder>,
    limits: Limits,
    spent: Mutex<u64>,
}

impl Files for WorktreeFiles {
    fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    fn read(&self, path: &RepoPath) -> Result<Arc<[u8]>, ReadError> {
        let fail = |reason: String| ReadError { path: path.clone(), reason };
        let entry = self.root.get(path).ok_or_else(|| fail("no such file".into()))?;
        let limit = self.limits.file_bytes;
        let bytes = read_plain(&self.place, path, limit).map_err(|error| fail(error.to_string()))?;
        if bytes.len() as u64 > limit {
            return Err(fail(too_large(entry.size.max(bytes.len() as u64), limit)));
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent += bytes.len() as u64;
        if *spent > self.limits.total_bytes {
            return Err(fail(format!("more than {} bytes would be read", self.limits.total_bytes)));
        }
        Ok(bytes.into())
    }
}

/// Reads at most one byte more than `limit`, and only a plain file below real folders.
fn read_plain(root: &Path, path: &RepoPath, limit: u64) -> io::Result<Vec<u8>> {
    let mut full = root.to_owned();
    for part in path.as_str().split('/') {
        full.push(part);
        if full.symlink_metadata()?.is_symlink() {
            return Err(io::Error::other("it became a symbolic link"));
        }
    }
    let mut bytes = Vec::new();
    fs::File::open(&full)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
