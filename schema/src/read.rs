//! Reads a document of another kind, such as the operator's configuration, as strictly as a manifest.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;

use crate::{
    Limits, RepoPath, Report,
    conform::{Stage, conform},
    shape::Shape,
    yaml,
};

/// Returns the one document of a file, or all of its problems with their places.
pub fn read<T: DeserializeOwned + JsonSchema>(
    path: &RepoPath,
    bytes: &[u8],
    limits: &Limits,
) -> Result<T, Report> {
    let (nodes, mut problems) = yaml::read(path, bytes, limits);
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let shape = Shape::of(schema.as_value());
    for node in &nodes {
        problems.extend(conform(node, &shape, Stage::Complete, &node.mark));
    }
    if !problems.is_empty() {
        return Err(Report::sorted(problems, 1));
    }
    let [node] = nodes.as_slice() else {
        return Err(Report::of_file(
            path.clone(),
            "the file must hold one document",
            "see the documentation",
        ));
    };
    serde_json::from_value(node.to_json())
        .map_err(|error| Report::of_file(path.clone(), error.to_string(), "see the documentation"))
}
