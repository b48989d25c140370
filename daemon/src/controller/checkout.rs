//! The newest commit of each source, read and parsed once for all of its environments.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
        checkout
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
