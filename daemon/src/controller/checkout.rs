//! The newest commit of each source, read and parsed once for all of its environments, and which of them need no
//! look because it says nothing new of them.
//!
//! ```text
//! commit ─ publish ─┬─ what it may say something new of: asked for, unsettled
//!                   └─ settled, and none of its files changed: counts as compared with it
//! turn ─ begin: unsettled ─ … ─ end: settled, if its commit is still the newest
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;
use trueup_engine::{EnvKey, Settled};
use trueup_plan::Applied;
use trueup_schema::{
    Cache, Catalogue, EnvironmentName, Limits, Report, Resolved, Snapshot, SourceName, load_with,
};

use crate::failure::Failure;

/// A commit and its manifests.
pub(crate) struct Checkout {
    pub(crate) snapshot: Snapshot,
    /// The manifests, or what is wrong with all of them.
    pub(crate) catalogue: Result<Catalogue, Report>,
}

/// The newest commit of each source.
#[derive(Default)]
pub(crate) struct Checkouts {
    sources: Mutex<BTreeMap<SourceName, Followed>>,
    /// Told when a commit was published, or could not be read.
    news: Notify,
}

/// How many commits of a source are known to have been the newest.
const KNOWN: usize = 100;

/// What is known of one source.
#[derive(Default)]
struct Followed {
    newest: Option<Arc<Checkout>>,
    /// The last commits that were the newest, with that one.
    known: VecDeque<String>,
    /// When it was asked last for its newest commit, and answered.
    read: Option<Timestamp>,
    /// Why what is newest may be out of date.
    trouble: Option<Arc<Failure>>,
    /// The environments whose last turn ended well with the newest commit, or with one that says the same of them.
    settled: Settled,
}

/// A commit that became the newest one of its source.
pub(crate) struct Published {
    pub(crate) checkout: Arc<Checkout>,
    /// The environments that it may say something new of.
    pub(crate) changed: BTreeSet<EnvironmentName>,
    /// The environments that the commit before declared and it does not; none when that one is not known.
    pub(crate) vanished: Option<BTreeSet<EnvironmentName>>,
    /// Whether it says nothing new of any other environment.
    pub(crate) is_rest_settled: bool,
}

impl Checkouts {
    /// Parses a commit and makes it the newest of its source. What `cache` knows is not parsed again.
    pub(crate) fn publish(&self, source: &SourceName, snapshot: Snapshot, cache: &mut Cache) -> Published {
        let catalogue = load_with(&snapshot, &Limits::default(), cache);
        let checkout = Arc::new(Checkout { snapshot, catalogue });
        let mut sources = self.sources();
        let followed = sources.entry(source.clone()).or_default();
        let before = followed.newest.replace(Arc::clone(&checkout));
        followed.trouble = None;
        followed.known.truncate(KNOWN - 1);
        followed.known.push_front(checkout.snapshot.revision.commit.clone());
        let published = followed.published(checkout, before.as_deref());
        drop(sources);
        self.news.notify_waiters();
        published
    }

    /// Waits until a source has another commit than `known`, and returns it.
    pub(crate) async fn newer(&self, source: &SourceName, known: &Checkout) -> Arc<Checkout> {
        loop {
            let mut news = pin!(self.news.notified());
            // What is published from here on is heard.
            news.as_mut().enable();
            match self.newest(source) {
                Some(newest) if newest.snapshot.revision != known.snapshot.revision => return newest,
                _ => news.await,
            }
        }
    }

    /// Notes why no newer commit can be read; the next one that is published ends it.
    pub(crate) fn set_trouble(&self, source: &SourceName, failure: Failure) {
        let mut sources = self.sources();
        let followed = sources.entry(source.clone()).or_default();
        followed.trouble = Some(Arc::new(failure));
        followed.settled.clear();
        drop(sources);
        self.news.notify_waiters();
    }

    /// Notes that a source has answered.
    pub(crate) fn note_read(&self, source: &SourceName) {
        self.sources().entry(source.clone()).or_default().read = Some(Timestamp::now());
    }

    /// Returns when a source has answered last.
    pub(crate) fn last_read(&self, source: &SourceName) -> Option<Timestamp> {
        self.sources().get(source)?.read
    }

    /// Returns whether a commit was applied, since the source has answered last, that it is not known to have had.
    pub(crate) fn may_be_behind(&self, source: &SourceName, applied: &Applied) -> bool {
        let sources = self.sources();
        let Some(Followed { known, read: Some(read), .. }) = sources.get(source) else { return false };
        // What is yet to come is from before the clock was set back.
        let is_since = applied.at > *read && applied.at <= Timestamp::now();
        is_since && !known.is_empty() && !known.contains(&applied.revision.commit)
    }

    /// Waits until a source was read, or could not be.
    pub(crate) async fn tried(&self, source: &SourceName) {
        loop {
            let mut news = pin!(self.news.notified());
            // What is noted from here on is heard.
            news.as_mut().enable();
            if self.newest(source).is_some() || self.trouble(source).is_some() {
                return;
            }
            news.await;
        }
    }

    /// Forgets a source that is not followed any more.
    pub(crate) fn forget(&self, source: &SourceName) {
        self.sources().remove(source);
    }

    /// Returns why the newest commit may not be the newest one that there is.
    pub(crate) fn trouble(&self, source: &SourceName) -> Option<Arc<Failure>> {
        self.sources().get(source)?.trouble.clone()
    }

    /// Returns the newest commit of a source, once there is one.
    pub(crate) fn newest(&self, source: &SourceName) -> Option<Arc<Checkout>> {
        self.sources().get(source)?.newest.clone()
    }

    /// Notes that a turn begins: how the environment stands is not known before it ends.
    pub(crate) fn unsettle(&self, key: &EnvKey) {
        if let Some(followed) = self.sources().get_mut(&key.source) {
            followed.settled.unsettle(&key.environment);
        }
    }

    /// Notes that a turn ended well. Where another commit is the newest by now, that one has asked for the next turn.
    pub(crate) fn settle(&self, key: &EnvKey, resolved: &Resolved) {
        let mut sources = self.sources();
        let Some(followed) = sources.get_mut(&key.source) else { return };
        let newest = followed.newest.as_ref().map(|newest| &newest.snapshot.revision);
        if newest == Some(&resolved.revision) && followed.trouble.is_none() {
            followed.settled.settle(&key.environment, resolved.inputs.keys().cloned());
        }
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<SourceName, Followed>> {
        // What is changed under the lock is whole at every moment.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    /// Returns what a commit, which is the newest now, has to say after the one before.
    fn published(&mut self, checkout: Arc<Checkout>, before: Option<&Checkout>) -> Published {
        let before = before.and_then(|before| before.catalogue.as_ref().ok());
        let mut vanished = None;
        let mut changed = BTreeSet::new();
        match (&checkout.catalogue, before) {
            (Ok(now), Some(before)) => {
                self.settled.touch(&now.changes_since(before));
                vanished =
                    Some(before.environments().filter(|name| !now.has_environment(name)).cloned().collect());
            }
            _ => self.settled.clear(),
        }
        if let Ok(now) = &checkout.catalogue {
            changed = now.environments().filter(|name| !self.settled.contains(name)).cloned().collect();
        }
        Published { checkout, changed, vanished, is_rest_settled: !self.settled.is_empty() }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use trueup_schema::{Revision, snapshot::MemoryFiles};

    use super::*;

    const FILES: [(&str, &str); 6] = [
        ("trueup.yaml", "kind: Repository\nmetadata: {name: lab}\nspec: {}\n"),
        (
            "components/one.yaml",
            "kind: Component\nmetadata: {name: one}\nspec: {workload: external, address: a.b}\n",
        ),
        (
            "components/two.yaml",
            "kind: Component\nmetadata: {name: two}\nspec: {workload: external, address: a.b}\n",
        ),
        (
            "environments/a/environment.yaml",
            "kind: Environment\nmetadata: {name: a}\nspec: {target: {docker: local}, components: [one]}\n",
        ),
        (
            "environments/b/environment.yaml",
            "kind: Environment\nmetadata: {name: b}\nspec: {target: {docker: local}, components: [one, two]}\n",
        ),
        (
            "environments/c/environment.yaml",
            "kind: Environment\nmetadata: {name: c}\nspec: {target: {docker: local}, components: [two]}\n",
        ),
    ];

    /// A repository that changes, and what follows it.
    struct Scene {
        files: BTreeMap<String, String>,
        commits: usize,
        cache: Cache,
        checkouts: Checkouts,
    }

    impl Scene {
        fn new() -> Self {
            let text =
                |(path, text): (&str, &str)| (path.into(), format!("apiVersion: trueup.dev/v1\n{text}"));
            let files = FILES.into_iter().map(text).collect();
            Self { files, commits: 0, cache: Cache::default(), checkouts: Checkouts::default() }
        }

        fn source() -> SourceName {
            "lab".parse().unwrap()
        }

        fn append(&mut self, path: &str, text: &str) {
            self.files.entry(path.into()).or_default().push_str(text);
        }

        /// Publishes the files as they are now.
        fn commit(&mut self) -> Published {
            self.commits += 1;
            let files = self.files.iter().map(|(path, text)| (path.parse().unwrap(), text.as_bytes().into()));
            let revision = Revision {
                commit: self.commits.to_string(),
                reference: "main".into(),
                author: "Ada".into(),
                subject: "change".into(),
                time: Timestamp::UNIX_EPOCH,
            };
            let files = Arc::new(files.collect::<MemoryFiles>());
            self.checkouts.publish(&Self::source(), Snapshot { revision, files }, &mut self.cache)
        }

        /// Publishes the files, and returns the environments that are asked for, as one word.
        fn asked(&mut self) -> String {
            self.commit().changed.iter().map(EnvironmentName::as_str).collect()
        }

        /// Ends a turn with what a commit says.
        fn settle(&self, checkout: &Checkout, name: &str) {
            let name: EnvironmentName = name.parse().unwrap();
            let resolved = checkout.catalogue.as_ref().unwrap_or_else(|e| panic!("{e}")).resolve(&name);
            let key = EnvKey { source: Self::source(), environment: name };
            self.checkouts.settle(&key, &resolved.unwrap());
        }

        /// Publishes the files and ends the turns of all environments.
        fn settled() -> Self {
            let mut scene = Self::new();
            let first = scene.commit();
            assert_eq!((first.changed.len(), first.vanished, first.is_rest_settled), (3, None, false));
            for name in ["a", "b", "c"] {
                scene.settle(&first.checkout, name);
            }
            scene
        }
    }

    #[test]
    fn only_what_a_commit_may_say_something_new_of_is_asked_for() {
        let mut scene = Scene::settled();
        scene.append("notes.txt", "nobody reads this");
        let unrelated = scene.commit();
        assert!(unrelated.changed.is_empty() && unrelated.is_rest_settled);
        scene.append("environments/b/environment.yaml", "# by hand\n");
        let second = scene.commit();
        assert_eq!(second.changed, BTreeSet::from(["b".parse().unwrap()]));
        scene.settle(&second.checkout, "b");
        scene.append("components/one.yaml", "# shared\n");
        assert_eq!(scene.asked(), "ab");
        // They were asked for and have not answered.
        assert_eq!(scene.asked(), "ab");
    }

    #[test]
    fn the_repository_document_concerns_all() {
        let mut scene = Scene::settled();
        scene.append("trueup.yaml", "# all\n");
        assert_eq!(scene.asked(), "abc");
    }

    #[test]
    fn a_turn_that_a_commit_overtook_settles_nothing() {
        let mut scene = Scene::new();
        let first = scene.commit();
        let second = scene.commit();
        scene.settle(&first.checkout, "a");
        scene.settle(&second.checkout, "b");
        assert_eq!(scene.asked(), "ac");
    }

    #[test]
    fn a_turn_that_begins_or_fails_is_asked_for_again() {
        let mut scene = Scene::settled();
        scene.checkouts.unsettle(&EnvKey { source: Scene::source(), environment: "c".parse().unwrap() });
        assert_eq!(scene.asked(), "c");
    }

    #[test]
    fn after_trouble_with_the_source_all_are_asked_for() {
        let mut scene = Scene::settled();
        let failure = Failure::new(crate::failure::Kind::Target, "no route");
        scene.checkouts.set_trouble(&Scene::source(), failure);
        assert_eq!(scene.asked(), "abc");
        assert!(scene.checkouts.trouble(&Scene::source()).is_none());

        let mut scene = Scene::settled();
        let whole = scene.files.insert("trueup.yaml".into(), "kind: Nothing\n".into()).unwrap();
        assert!(scene.commit().checkout.catalogue.is_err());
        scene.files.insert("trueup.yaml".into(), whole);
        let back = scene.commit();
        assert_eq!((back.changed.len(), back.vanished, back.is_rest_settled), (3, None, false));
    }

    #[test]
    fn what_is_no_longer_declared_has_vanished_once() {
        let mut scene = Scene::settled();
        scene.files.remove("environments/b/environment.yaml").unwrap();
        let gone = scene.commit();
        assert_eq!(gone.vanished, Some(BTreeSet::from(["b".parse().unwrap()])));
        assert!(gone.changed.is_empty());
        assert_eq!(scene.commit().vanished, Some(BTreeSet::new()));
    }
}
