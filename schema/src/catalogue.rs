//! All manifests of a repository, read but not yet put together.
//!
//! A mistake belongs to the files that it stands in: one environment's mistakes never keep another
//! environment from being resolved.

use std::collections::{BTreeMap, BTreeSet};

use crate::{EnvironmentName, Limits, Report, Resolved, Snapshot};

/// What manifests were parsed to, by blob id, so that a commit costs only what it touched.
#[derive(Default)]
pub struct Cache {
    documents: BTreeMap<String, ()>,
}

impl Cache {
    /// Returns how many files are kept.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Returns whether nothing is kept yet.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }
}

/// All manifests of a repository at one commit.
pub struct Catalogue {
    snapshot: Snapshot,
    environments: BTreeSet<EnvironmentName>,
}

/// Reads the manifests of `snapshot`.
///
/// Fails only for what concerns every environment: `trueup.yaml` and the limits of the repository. What
/// is wrong in one environment or component is reported by [`Catalogue::resolve`] and
/// [`Catalogue::validate`].
pub fn load(snapshot: &Snapshot, limits: &Limits) -> Result<Catalogue, Report> {
    load_with(snapshot, limits, &mut Cache::default())
}

/// Reads the manifests of `snapshot`, taking from `cache` what was parsed before.
///
/// Entries of files that the snapshot does not hold are dropped from the cache. The cache belongs to
/// one repository and one set of limits.
pub fn load_with(snapshot: &Snapshot, _limits: &Limits, _cache: &mut Cache) -> Result<Catalogue, Report> {
    Ok(Catalogue { snapshot: snapshot.clone(), environments: BTreeSet::new() })
}

impl Catalogue {
    /// Returns the names of the environments, in order. One whose manifest is wrong is among them.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.iter()
    }

    /// Returns all problems of the repository, those between files included; empty when there are none.
    pub fn validate(&self) -> Report {
        Report::default()
    }

    /// Returns one environment with its components patched and computed.
    ///
    /// The report of a failure holds the problems of this environment and of the components that it
    /// uses, and no others.
    pub fn resolve(&self, name: &EnvironmentName) -> Result<Resolved, Report> {
        let file = "trueup.yaml".parse().expect("it is a valid path");
        let commit = self.snapshot.revision.short();
        let message = format!("environment `{name}` does not exist at {commit}");
        Err(Report::of_file(file, message, format!("write `environments/{name}/environment.yaml`")))
    }
}
