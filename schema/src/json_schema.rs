//! The JSON Schema of the three kinds of document, generated from their types.

use schemars::SchemaGenerator;
use serde_json::Value;

use crate::manifest::ComponentSpec;

/// Returns the schema that `schema/trueup.schema.json` holds.
pub fn json_schema() -> Value {
    SchemaGenerator::default().into_root_schema_for::<ComponentSpec>().to_value()
}
