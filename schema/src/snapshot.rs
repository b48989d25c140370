//! The files of a repository at one commit, read one by one.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RepoPath;
pub use crate::folder::{ByName, Folder};

/// Which commit, and what history shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The commit's id in full, or `worktree` for files that are not committed.
    pub commit: String,
    /// The branch or tag that was asked for.
    pub reference: String,
    /// The author's name.
    pub author: String,
    /// The first line of the message.
    pub subject: String,
    /// When it was committed.
    pub time: Timestamp,
}

impl Revision {
    /// Returns the first seven characters of the commit's id.
    pub fn short(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.short(), self.subject)
    }
}

/// One file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A name of the content: the Git blob id, or a digest. Equal ids mean equal bytes.
    pub id: Arc<str>,
    /// The length in bytes.
    pub size: u64,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`: {reason}")]
pub struct ReadError {
    /// The file.
    pub path: RepoPath,
    /// What went wrong.
    pub reason: String,
}

/// The files of one commit. Implementations refuse symlinks, submodules and what is over their limits.
pub trait Files: Send + Sync {
    /// Returns every file, folder by folder.
    fn root(&self) -> &Arc<Folder>;

    /// Returns the bytes of one file; the path must be in [`Files::root`].
    fn read(&self, path: &RepoPath) -> Result<Arc<[u8]>, ReadError>;
}

/// A repository at one commit.
#[derive(Clone)]
pub struct Snapshot {
    /// The commit.
    pub revision: Revision,
    /// Its files.
    pub files: Arc<dyn Files>,
}

/// Files that are kept in memory: for tests and for a revision that the store kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    root: Arc<Folder>,
    bytes: BTreeMap<RepoPath, Arc<[u8]>>,
}

impl FromIterator<(RepoPath, Arc<[u8]>)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (RepoPath, Arc<[u8]>)>>(files: I) -> Self {
        let bytes: BTreeMap<_, _> = files.into_iter().collect();
        let entry = |(path, bytes): (&RepoPath, &Arc<[u8]>)| {
            let id = crate::material::ContentDigest::of_plain(bytes).as_str().into();
            (path.clone(), Entry { id, size: bytes.len() as u64 })
        };
        Self { root: Arc::new(bytes.iter().map(entry).collect()), bytes }
    }
}

impl Files for MemoryFiles {
    fn root(&self) -> &Arc<Folder> {
        &self.root
    }

    fn read(&self, path: &RepoPath) -> Result<Arc<[u8]>, ReadError> {
        self.bytes
            .get(path)
            .cloned()
            .ok_or_else(|| ReadError { path: path.clone(), reason: "no such file".into() })
    }
}
