//! Hints that a local repository has changed.
//!
//! The first event is told at once, and those that come before it is taken are one with it. A hint
//! says "look again", never what changed; a slow poll beside it covers what the system does not tell.

use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::{Error, error::Cause};

/// A local repository that is watched until this value is dropped.
pub struct Watch {
    hints: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Waits for the next hint. `None` when the system tells nothing any more.
    pub async fn changed(&mut self) -> Option<()> {
        self.hints.recv().await
    }
}

/// Watches the folders in which references change. Files are replaced by renaming, so that watching
/// them alone would end with the first commit.
pub(crate) fn watch(git_dir: &Path, common_dir: &Path) -> Result<Watch, Error> {
    let own = resolve(git_dir)?;
    let common = resolve(common_dir)?;
    let refs = common.join("refs");
    let fail =
        |path: &Path, error: &notify::Error| Error::Watch { path: path.into(), source: Cause::new(error) };

    let (sender, hints) = mpsc::channel(1);
    let (own_dir, refs_dir, common_dir) = (own.clone(), refs.clone(), common.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| {
            !matches!(event.kind, EventKind::Access(_))
                && event.paths.iter().any(|path| is_reference(path, &own_dir, &common_dir, &refs_dir))
        });
        if matters {
            // A full channel already holds a hint.
            let _ = sender.try_send(());
        }
    })
    .map_err(|error| fail(&common, &error))?;

    let mut add = |path: &Path, mode| watcher.watch(path, mode).map_err(|error| fail(path, &error));
    add(&common, RecursiveMode::NonRecursive)?;
    add(&refs, RecursiveMode::Recursive)?;
    if own != common {
        add(&own, RecursiveMode::NonRecursive)?;
    }
    Ok(Watch { hints, _watcher: watcher })
}

fn is_reference(path: &Path, own: &Path, common: &Path, refs: &Path) -> bool {
    if path.extension().is_some_and(|end| end == "lock") {
        return false;
    }
    path.starts_with(refs)
        || path == own.join("HEAD")
        || path == common.join("HEAD")
        || path == common.join("packed-refs")
}

fn resolve(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|source| Error::ReadFolder { path: path.into(), source })
}
