//! The folders of delivered files on this machine, watched: what happens to those no engine tells.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Mirror, event::Event};

/// The folders that are watched, each by the numbers that tell it from another one of its name.
#[derive(Default)]
pub(crate) struct Files(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeMap<PathBuf, (u64, u64)>,
}

impl Mirror {
    /// Tells from now on when something in a folder changes, while events are heard at all. One that is not there is
    /// watched when it is asked for again.
    pub(crate) fn watch(self: &Arc<Self>, folder: &Path) {
        let Ok(found) = fs::metadata(folder) else { return };
        if !self.hears() {
            return;
        }
        let number = (found.dev(), found.ino());
        // A watch that failed half-way is asked for again.
        let mut watched = self.files.0.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.folders.get(folder) == Some(&number) {
            return;
        }
        match watched.add(self, folder) {
            Ok(()) => drop(watched.folders.insert(folder.to_owned(), number)),
            Err(error) => tracing::warn!(
                %error, folder = %folder.display(),
                "it cannot be watched: what changes in it is seen at the next look"
            ),
        }
    }
}

impl Watched {
    fn add(&mut self, mirror: &Arc<Mirror>, folder: &Path) -> notify::Result<()> {
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            none => none.insert(watcher(Arc::downgrade(mirror))?),
        };
        watcher.watch(folder, RecursiveMode::Recursive)
    }
}

fn watcher(mirror: Weak<Mirror>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |heard: notify::Result<notify::Event>| {
        let (Ok(heard), Some(mirror)) = (heard, mirror.upgrade()) else { return };
        if matches!(heard.kind, EventKind::Access(_)) {
            return;
        }
        for path in heard.paths {
            // The folders' own lock is not taken here: who adds one waits for this thread.
            if mirror.state().hear(&Event::File { path }, Instant::now()) {
                mirror.bell.notify_one();
            }
        }
    })
}
