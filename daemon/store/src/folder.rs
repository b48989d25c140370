//! The state directory: its modes, its key and its reserve.
//!
//! Nobody but its owner reads it, and nothing in it that exists is ever written over.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use trueup_engine::StoreError;
use trueup_schema::DigestKey;

/// The size of the reserve in bytes: enough for the way back of a run of thousands of steps.
const RESERVE: u64 = 4 << 20;

/// Below this many free bytes the reserve is not made again.
pub const COMFORT: u64 = 64 << 20;

/// The state directory.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Returns the directory as it is, which may be not at all.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Opens the directory and makes it where it is missing, for its owner alone.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = Self(path.to_owned());
        for made in [folder.0.clone(), folder.leases()] {
            let result = DirBuilder::new().recursive(true).mode(0o700).create(&made);
            result.map_err(|error| cannot_open(&made, error))?;
        }
        if let Err(error) = std::fs::set_permissions(&folder.0, Permissions::from_mode(0o700)) {
            return Err(cannot_open(&folder.0, error));
        }
        Ok(folder)
    }

    /// Returns the right to make what is missing, which one process has at a time, until it is dropped.
    pub(crate) fn alone(&self) -> Result<File, StoreError> {
        let locked = File::open(&self.0).and_then(|folder| folder.lock().map(|()| folder));
        locked.map_err(|error| cannot_open(&self.0, error))
    }

    /// Says that this process has the store open, for as long as the file is. Returns also whether no other
    /// one has. The caller is [alone](Self::alone).
    pub(crate) fn enter(&self) -> Result<(File, bool), StoreError> {
        use rustix::fs::{FlockOperation, flock};
        let path = self.0.join("in-use");
        let cannot = |error: io::Error| cannot_open(&path, error);
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(cannot)?;
        let is_first = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        flock(&file, FlockOperation::LockShared).map_err(|error| cannot(error.into()))?;
        Ok((file, is_first))
    }

    /// Returns the path of the database, and makes sure that nobody else can read it.
    pub(crate) fn database(&self) -> Result<PathBuf, StoreError> {
        let path = self.database_path();
        let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        opened.map_err(|error| cannot_open(&path, error))?;
        Ok(path)
    }

    /// Returns the path of the database.
    pub(crate) fn database_path(&self) -> PathBuf {
        self.0.join("store.db")
    }

    /// Returns the file that is written when a person has decided something; it is made where it is missing.
    pub(crate) fn bell(&self) -> Result<PathBuf, StoreError> {
        let path = self.0.join("decisions");
        let mut options = OpenOptions::new();
        let opened = options.append(true).create(true).mode(0o600).open(&path);
        opened.map_err(|error| cannot_open(&path, error))?;
        Ok(path)
    }

    /// Returns the folder of the leases.
    pub(crate) fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    /// Returns the key of the digests; `None` where there is none yet.
    pub(crate) fn key(&self) -> Result<Option<DigestKey>, StoreError> {
        let path = self.key_path();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot_open(&path, error)),
        }
        let detail = format!("it has {} bytes instead of 32", bytes.len());
        let bytes = <[u8; 32]>::try_from(bytes);
        bytes.map(|bytes| Some(DigestKey::new(bytes))).map_err(|_| StoreError::FindDamaged { path, detail })
    }

    /// Makes a random key where there is none, and returns the one that is there then.
    pub(crate) fn make_key(&self) -> Result<DigestKey, StoreError> {
        let path = self.key_path();
        let fresh = self.0.join(format!("digest.key.{}", std::process::id()));
        let written = (|| {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes)?;
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // A link fails where a key is there already: another process was faster, and its key counts.
            let linked = std::fs::hard_link(&fresh, &path);
            std::fs::remove_file(&fresh)?;
            File::open(&self.0)?.sync_all()?;
            linked.or_else(
                |error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) },
            )
        })();
        written.map_err(|error: io::Error| cannot_open(&path, error))?;
        self.key()?.ok_or_else(|| cannot_open(&path, io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Returns the path of the key.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.0.join("digest.key")
    }

    fn reserve_path(&self) -> PathBuf {
        self.0.join("reserve")
    }

    /// Gives the reserve up. Returns whether there was one.
    pub(crate) fn give_up_reserve(&self) -> bool {
        let given = std::fs::remove_file(self.reserve_path()).is_ok();
        if given {
            tracing::warn!(folder = %self.0.display(), "the disk is full: gave up the reserve");
        }
        given
    }

    /// Returns whether the reserve is there.
    pub(crate) fn has_reserve(&self) -> bool {
        self.reserve_path().metadata().is_ok_and(|found| found.len() == RESERVE)
    }

    /// Makes the reserve where it is missing and the disk has room. Returns whether it is there.
    pub(crate) fn make_reserve(&self) -> bool {
        if self.has_reserve() {
            return true;
        }
        let path = self.reserve_path();
        let free = rustix::fs::statvfs(&self.0).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        free >= COMFORT && allocate(&path).is_ok()
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE)?;
    file.sync_all()
}

/// Returns the failure to open `path`.
pub(crate) fn cannot_open(path: &Path, error: impl Into<trueup_engine::store::Cause>) -> StoreError {
    let (path, source) = (path.to_owned(), error.into());
    let io = source.downcast_ref::<io::Error>();
    if io.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) {
        return StoreError::FindFull { path };
    }
    StoreError::Open { path, source }
}
