//! The newest commit of each source, read and parsed once for all of its environments.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use trueup_schema::{Cache, Catalogue, Limits, Report, Snapshot, SourceName, load_with};

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
        self.lock().insert(source.clone(), Arc::clone(&checkout));
        checkout
    }

    /// Returns the newest commit of a source, once there is one.
    pub(crate) fn newest(&self, source: &SourceName) -> Option<Arc<Checkout>> {
        self.lock().get(source).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SourceName, Arc<Checkout>>> {
        // An insertion cannot leave the map half changed.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
