//! The newest commit of each source, read and parsed once for all of its environments.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    /// Told when a commit was published.
    news: Notify,
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
