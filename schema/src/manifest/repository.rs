//! `trueup.yaml`: where things are in this repository.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RepoPath;

/// Where the documents of a repository are. The file is `trueup.yaml` at its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// The folder whose `*.yaml` files are Components. Default: `components`.
    #[serde(default = "components")]
    pub components: RepoPath,
    /// The folder whose folders are Environments. Default: `environments`.
    #[serde(default = "environments")]
    pub environments: RepoPath,
}

impl Default for RepositorySpec {
    fn default() -> Self {
        Self { components: components(), environments: environments() }
    }
}

fn components() -> RepoPath {
    "components".parse().expect("it is a valid path")
}

fn environments() -> RepoPath {
    "environments".parse().expect("it is a valid path")
}
