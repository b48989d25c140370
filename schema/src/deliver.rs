//! What goes into the containers: files read, templates computed, secrets put in their place.
//!
//! What a secret went into is a secret from the moment that it exists, and no error shows a part of it.

use std::collections::BTreeMap;

use crate::{
    ComponentName, Deliveries, DigestKey, Files, Limits, Materials, RepoPath, Report, Resolved, Secret,
    SecretRef,
};

/// The opened secrets of an environment by file and key, as [`SecretRef`] names them.
pub type Opened = BTreeMap<(RepoPath, Option<String>), Secret<Vec<u8>>>;

impl Resolved {
    /// Returns every secret that the environment needs: those of all components, in their order.
    pub fn secret_refs(&self) -> Vec<&SecretRef> {
        self.components.values().flat_map(|component| &component.secret_refs).collect()
    }

    /// Returns what each component gets delivered, and the bytes behind the digests.
    ///
    /// `opened` holds every secret of [`Resolved::secret_refs`]; one that is missing is an error.
    pub fn deliver(
        &self,
        _files: &dyn Files,
        _opened: &Opened,
        _key: &DigestKey,
    ) -> Result<(BTreeMap<ComponentName, Deliveries>, Materials), Report> {
        let deliveries = self.components.keys().map(|name| (name.clone(), Deliveries::default())).collect();
        Ok((deliveries, Materials::default()))
    }

    /// Checks the files that say `template: true` without their secrets: syntax and names.
    pub fn check_templates(&self, _files: &dyn Files, _limits: &Limits) -> Report {
        Report::default()
    }
}
