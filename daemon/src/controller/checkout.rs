//! The newest commit of each source, read and parsed once for all of its environments.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;
use trueup_schema::{Cache, Catalogue, Limits, Report, Snapshot, SourceName, load_with};

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
    newest: Mutex<BTreeMap<SourceName, Arc<Checkout>>>,
    /// Told when a commit was published, or could not be read.
    news: Notify,
    /// When each source was asked last for its newest commit, and answered.
    read: Mutex<BTreeMap<SourceName, Timestamp>>,
    /// Why what is newest may be out of date.
    troubles: Mutex<BTreeMap<SourceName, Arc<Failure>>>,
}

impl Checkouts {
    /// Parses a commit and makes it the newest of its source. What `cache` knows is not parsed again.
    pub(crate) fn publish(
        &self,
        source: &SourceName,
        snapshot: Snapshot,
        cache: &mut Cache,
    ) -> Arc<Checkout> {
        let catalogue = load_with(&snapshot, &Limits::default(), cache);
        let checkout = Arc::new(Checkout { snapshot, catalogue });
        lock(&self.newest).insert(source.clone(), Arc::clone(&checkout));
        lock(&self.troubles).remove(source);
        self.news.notify_waiters();
        checkout
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
        lock(&self.troubles).insert(source.clone(), Arc::new(failure));
        self.news.notify_waiters();
    }

    /// Notes that a source has answered.
    pub(crate) fn note_read(&self, source: &SourceName) {
        lock(&self.read).insert(source.clone(), Timestamp::now());
    }

    /// Returns when a source has answered last.
    pub(crate) fn last_read(&self, source: &SourceName) -> Option<Timestamp> {
        lock(&self.read).get(source).copied()
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
        lock(&self.newest).remove(source);
        lock(&self.troubles).remove(source);
        lock(&self.read).remove(source);
    }

    /// Returns why the newest commit may not be the newest one that there is.
    pub(crate) fn trouble(&self, source: &SourceName) -> Option<Arc<Failure>> {
        lock(&self.troubles).get(source).cloned()
    }

    /// Returns the newest commit of a source, once there is one.
    pub(crate) fn newest(&self, source: &SourceName) -> Option<Arc<Checkout>> {
        lock(&self.newest).get(source).cloned()
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // An insertion cannot leave a map half changed.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
