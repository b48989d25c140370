//! The JSON Schema of the three kinds of document, generated from their types.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

mod patch;

use crate::{
    ComponentName, EnvironmentName,
    manifest::{API_VERSION, ComponentSpec, EnvironmentSpec, RepositorySpec},
    names::RepositoryName,
};

/// Returns the schema that `schema/trueup.schema.json` holds: one document of any kind.
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let kinds = json!([
        document::<RepositoryName, RepositorySpec>(&mut generator, "Repository"),
        document::<EnvironmentName, EnvironmentSpec>(&mut generator, "Environment"),
        document::<ComponentName, ComponentSpec>(&mut generator, "Component"),
    ]);
    let mut defs: Map<String, Value> = generator.take_definitions(true);
    patch::add(&mut defs);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trueup manifest",
        "description": "One document of a trueup configuration repository.",
        "oneOf": kinds,
        "$defs": defs,
    })
}

/// Returns the root schema of one kind, with the definitions that it uses.
pub(crate) fn kind_schema<Name: JsonSchema, Spec: JsonSchema>(kind: &str) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = document::<Name, Spec>(&mut generator, kind);
    // The patches of an Environment are patches on a Component.
    generator.subschema_for::<ComponentSpec>();
    schema["$defs"] = generator.take_definitions(true).into();
    schema
}

fn document<Name: JsonSchema, Spec: JsonSchema>(generator: &mut SchemaGenerator, kind: &str) -> Value {
    json!({
        "type": "object",
        "title": kind,
        "properties": {
            "apiVersion": {"type": "string", "const": API_VERSION, "description": "The version of the format."},
            "kind": {"type": "string", "const": kind, "description": "What the document describes."},
            "metadata": {
                "type": "object",
                "description": "What it is called.",
                "properties": {
                    "name": with_description(generator.subschema_for::<Name>().to_value(), "Its name, the same as that of its file or folder."),
                    "labels": {
                        "type": "object",
                        "description": "Labels for people and policies.",
                        "additionalProperties": {"type": "string"},
                    },
                },
                "required": ["name"],
                "additionalProperties": false,
            },
            "spec": generator.subschema_for::<Spec>().to_value(),
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
    })
}

fn with_description(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_the_generated_one() {
        let committed: Value =
            serde_json::from_str(include_str!("../trueup.schema.json")).unwrap_or_default();
        assert!(
            committed == json_schema(),
            "schema/trueup.schema.json is not current; write it with: trueup schema > schema/trueup.schema.json"
        );
    }

    #[test]
    fn every_field_is_described_and_every_map_of_fields_is_closed() {
        fn check(schema: &Value, path: &str) {
            let properties = schema.get("properties").and_then(Value::as_object);
            assert!(
                properties.is_none() || schema["additionalProperties"] == false,
                "{path} takes any field"
            );
            for (name, field) in properties.into_iter().flatten() {
                let described = field.get("description").is_some() || name == "spec";
                assert!(described, "{path}.{name} has no description");
            }
            let entries = schema.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
            let items = schema.as_array().into_iter().flatten().map(|value| ("", value));
            for (key, value) in entries.chain(items) {
                check(value, &format!("{path}/{key}"));
            }
        }
        check(&json_schema(), "");
    }

    #[test]
    fn a_patch_requires_nothing_but_the_key_of_an_entry() {
        let schema = json_schema();
        assert_eq!(schema["$defs"]["ComponentSpecPatch"].get("required"), None);
        let file = &schema["$defs"]["FileSpecPatch"];
        assert_eq!(file["required"], json!(["to"]));
        assert_eq!(file["properties"]["$remove"]["const"], true);
    }
}
