//! The digests of delivered files on this machine, read again only when a file may have been written since.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use trueup_schema::ContentDigest;

/// How long a file must have been left alone before its times are believed: two writes within one tick of the
/// kernel's clock leave the same time.
const SETTLED: Duration = Duration::from_secs(1);

/// What every write changes: only the kernel sets the time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), size: file.size(), changed }
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(u64::MAX));
        now.checked_sub(changed).is_some_and(|age| age > SETTLED)
    }
}

/// The digests of files, by path.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeMap<PathBuf, (Stamp, ContentDigest)>>);

impl Readings {
    /// Returns the digest of a file, which `read` makes of its bytes; none when there is no such file. A
    /// device or a pipe is none: reading it may never end.
    pub(crate) fn digest(
        &self,
        path: &Path,
        read: impl FnOnce(Vec<u8>) -> ContentDigest,
    ) -> Option<ContentDigest> {
        let stamp = Stamp::of(&fs::metadata(path).ok().filter(fs::Metadata::is_file)?);
        if let Some((_, digest)) = self.known().get(path).filter(|(known, _)| *known == stamp) {
            return Some(digest.clone());
        }
        let digest = read(fs::read(path).ok()?);
        if stamp.is_settled() {
            self.known().insert(path.to_owned(), (stamp, digest.clone()));
        }
        Some(digest)
    }

    /// Forgets the files that are gone.
    pub(crate) fn forget_removed(&self) {
        self.known().retain(|path, _| path.exists());
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<PathBuf, (Stamp, ContentDigest)>> {
        // An insertion cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> ContentDigest {
        ContentDigest::of_plain(text.as_bytes())
    }

    fn never(_: Vec<u8>) -> ContentDigest {
        panic!("it was read again")
    }

    #[test]
    fn a_file_is_read_again_when_it_was_written_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let (path, readings) = (folder.path().join("file"), Readings::default());
        let again = |bytes: Vec<u8>| ContentDigest::of_plain(&bytes);
        fs::write(&path, "one").unwrap();
        // What was written just now is read each time.
        assert_eq!(readings.digest(&path, again), Some(plain("one")));
        fs::write(&path, "two").unwrap();
        assert_eq!(readings.digest(&path, again), Some(plain("two")));
        let known = (Stamp::of(&fs::metadata(&path).unwrap()), plain("two"));
        readings.known().insert(path.clone(), known);
        assert_eq!(readings.digest(&path, never), Some(plain("two")));
        // The same length, and the time of writing set back: the time of change still tells.
        let before = fs::metadata(&path).unwrap();
        while Stamp::of(&fs::metadata(&path).unwrap()) == Stamp::of(&before) {
            fs::write(&path, "six").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }
        assert_eq!(readings.digest(&path, again), Some(plain("six")));
        fs::remove_file(&path).unwrap();
        readings.forget_removed();
        assert_eq!(readings.digest(&path, never), None);
        assert!(readings.known().is_empty());
    }

    #[test]
    fn a_device_is_not_read() {
        let digest = Readings::default().digest(Path::new("/dev/null"), |_| panic!("it was read"));
        assert_eq!(digest, None);
    }
}
