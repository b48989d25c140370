//! The folders of delivered files on this machine, watched: what happens to those no engine tells.
//!
//! The invariant: a folder counts as watched only while everything that happened to it since is told.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Mirror, event::Event};

/// What is watched. Who adds or removes a folder holds the watcher and waits for its thread, which takes the folders
/// alone: so neither waits for the other.
#[derive(Default)]
pub(crate) struct Files {
    watcher: Mutex<Option<RecommendedWatcher>>,
    folders: Mutex<BTreeMap<PathBuf, Number>>,
}

/// The numbers that tell a folder from another one of its name.
type Number = (u64, u64);

impl Files {
    /// Watches no folder of the environment any more.
    pub(super) fn unwatch(&self, uid: &str) {
        let mut watcher = self.watcher();
        let is_its = |folder: &PathBuf| folder.iter().any(|part| part == uid);
        let gone: Vec<_> = self.folders().extract_if(.., |folder, _| is_its(folder)).collect();
        for (folder, _) in gone {
            // One that was removed is watched no more.
            let _ = watcher.as_mut().map(|watcher| watcher.unwatch(&folder));
        }
    }

    fn add(&self, mirror: &Arc<Mirror>, folder: &Path, number: Number) -> notify::Result<()> {
        let mut watcher = self.watcher();
        // What happens to it from here on finds it.
        if self.folders().insert(folder.to_owned(), number) == Some(number) {
            return Ok(());
        }
        let watching = match &mut *watcher {
            Some(watcher) => Ok(watcher),
            none => start(Arc::downgrade(mirror)).map(|watcher| none.insert(watcher)),
        };
        let added = watching.and_then(|watcher| watcher.watch(folder, RecursiveMode::Recursive));
        if added.is_err() {
            self.folders().remove(folder);
        }
        added
    }

    fn watcher(&self) -> MutexGuard<'_, Option<RecommendedWatcher>> {
        // A watch that failed half-way is asked for again.
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Number>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// Tells from now on when something in a folder changes, while events are heard at all. One that is not there is
    /// watched when it is asked for again.
    pub(crate) fn watch(self: &Arc<Self>, folder: &Path) {
        let Ok(found) = fs::metadata(folder) else { return };
        if !self.hears() {
            return;
        }
        if let Err(error) = self.files.add(self, folder, (found.dev(), found.ino())) {
            tracing::warn!(
                %error, folder = %folder.display(),
                "it cannot be watched: what changes in it is seen at the next look"
            );
        }
    }

    /// Takes note of what the watcher heard.
    fn heed(&self, heard: notify::Result<notify::Event>) {
        match heard {
            Ok(heard) if heard.need_rescan() => self.miss(&"more happened at once than can be told"),
            Ok(heard) if matches!(heard.kind, EventKind::Access(_)) => {}
            Ok(heard) => heard.paths.into_iter().for_each(|path| {
                // Of the folder itself it may be the end.
                self.files.folders().remove(&path);
                self.tell(&Event::File { path });
            }),
            Err(error) => self.miss(&error),
        }
    }

    /// Takes note that something was not heard: every folder is watched again by who looks next.
    fn miss(&self, why: &dyn std::fmt::Display) {
        tracing::warn!(%why, "not every change of the delivered files was heard: all are looked at");
        self.files.folders().clear();
        self.tell(&Event::Files);
    }
}

fn start(mirror: Weak<Mirror>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |heard| {
        if let Some(mirror) = mirror.upgrade() {
            mirror.heed(heard);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use notify::event::{CreateKind, Flag, RemoveKind};
    use trueup_engine::Identity;

    use super::*;

    /// Two environments that look at one engine, with a folder each that is watched.
    struct Scene {
        mirror: Arc<Mirror>,
        root: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let (mirror, root) = (Arc::<Mirror>::default(), tempfile::tempdir().unwrap());
            mirror.state().begin_hearing();
            let scene = Self { mirror, root };
            for environment in ["a", "b"] {
                fs::create_dir(scene.folder(environment)).unwrap();
                scene.look(environment);
            }
            scene
        }

        fn folder(&self, environment: &str) -> PathBuf {
            self.root.path().join(format!("uid-{environment}"))
        }

        fn look(&self, environment: &str) {
            self.mirror.look(&identity(environment));
            self.mirror.watch(&self.folder(environment));
        }

        fn watched(&self) -> BTreeSet<PathBuf> {
            self.mirror.files.folders().keys().cloned().collect()
        }

        fn told(&self) -> Vec<String> {
            let changed = self.mirror.notices.take();
            changed.into_keys().map(|key| key.environment.to_string()).collect()
        }
    }

    fn identity(environment: &str) -> Identity {
        Identity {
            store: "s".into(),
            source: "local".parse().unwrap(),
            environment: environment.parse().unwrap(),
            uid: format!("uid-{environment}"),
        }
    }

    fn both(scene: &Scene) -> BTreeSet<PathBuf> {
        ["a", "b"].map(|environment| scene.folder(environment)).into()
    }

    #[test]
    fn what_may_not_have_been_heard_makes_everybody_look_and_watch_again() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        for missed in [Ok(overflow), Err(notify::Error::generic("no more watches"))] {
            let scene = Scene::new();
            assert_eq!(scene.watched(), both(&scene));
            scene.mirror.heed(missed);
            assert_eq!(scene.told(), ["a", "b"]);
            assert!(scene.watched().is_empty());
            for environment in ["a", "b"] {
                scene.look(environment);
            }
            assert_eq!(scene.watched(), both(&scene));
        }
    }

    #[test]
    fn a_folder_that_is_removed_is_watched_again_when_another_one_has_its_name() {
        let scene = Scene::new();
        let removed = notify::Event::new(EventKind::Remove(RemoveKind::Folder)).add_path(scene.folder("a"));
        scene.mirror.heed(Ok(removed));
        assert_eq!(scene.told(), ["a"]);
        assert_eq!(scene.watched(), [scene.folder("b")].into());
        scene.look("a");
        assert_eq!(scene.watched(), both(&scene));
    }

    #[test]
    fn a_file_is_told_to_its_environment_and_nothing_is_watched_again() {
        let scene = Scene::new();
        let created =
            notify::Event::new(EventKind::Create(CreateKind::File)).add_path(scene.folder("b").join("web"));
        scene.mirror.heed(Ok(created));
        assert_eq!(scene.told(), ["b"]);
        assert_eq!(scene.watched(), both(&scene));
    }

    #[test]
    fn the_folders_of_a_forgotten_environment_are_watched_no_more() {
        let scene = Scene::new();
        scene.mirror.forget(&identity("a").key());
        assert_eq!(scene.watched(), [scene.folder("b")].into());
        fs::remove_dir(scene.folder("b")).unwrap();
        scene.mirror.forget(&identity("b").key());
        assert!(scene.watched().is_empty());
    }
}
