//! The schema of a merge patch, derived from the schema of what it patches.
//!
//! In a patch nothing is required, `null` deletes, and an entry of a named list is found by its key and
//! may say `$remove: true`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Adds `<Name>Patch` for every definition that a patch can reach, and refers to them from `x-patch`.
pub(super) fn add(defs: &mut Map<String, Value>) {
    let keys = keys(defs);
    let patches: Map<String, Value> = defs
        .iter()
        .filter(|(_, schema)| schema.get("properties").is_some())
        .map(|(name, schema)| (format!("{name}Patch"), patch(schema, defs, keys.get(name))))
        .collect();
    defs.extend(patches);
    defs.values_mut().for_each(refer);
    remove_unreachable(defs);
}

/// Returns the keys of named lists by the definition of their entries.
fn keys(defs: &Map<String, Value>) -> BTreeMap<String, Value> {
    let fields = defs.values().filter_map(|schema| schema.get("properties")?.as_object());
    let lists = fields.flat_map(Map::values).filter_map(|field| {
        let name = field.get("items")?.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        Some((name.to_owned(), field.get("x-key")?.clone()))
    });
    lists.collect()
}

fn patch(schema: &Value, defs: &Map<String, Value>, key: Option<&Value>) -> Value {
    let mut patch = schema.clone();
    let Some(fields) = patch.get_mut("properties").and_then(Value::as_object_mut) else { return patch };
    for (name, field) in fields.iter_mut() {
        let named = key.and_then(Value::as_array).is_some_and(|key| key.iter().any(|key| key == name));
        redirect(field, defs);
        if !named {
            nullable(field);
        }
        if let Some(field) = field.as_object_mut() {
            field.remove("default");
        }
    }
    if key.is_some() {
        fields.insert("$remove".into(), json!({"const": true, "description": "Deletes this entry."}));
    }
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("required");
        patch.extend(key.map(|key| ("required".to_owned(), key.clone())));
    }
    patch
}

/// Points references at the patch of what they name, where there is one.
fn redirect(schema: &mut Value, defs: &Map<String, Value>) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::String(reference)) = entries.get_mut("$ref") {
                let name = reference.trim_start_matches("#/$defs/");
                if defs.get(name).is_some_and(|schema| schema.get("properties").is_some()) {
                    reference.push_str("Patch");
                }
            }
            entries.values_mut().for_each(|value| redirect(value, defs));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| redirect(value, defs)),
        _ => {}
    }
}

fn nullable(field: &mut Value) {
    let Some(entries) = field.as_object_mut() else { return };
    if let Some(Value::String(one)) = entries.get("type").cloned() {
        entries.insert("type".into(), json!([one, "null"]));
    } else if let Some(reference) = entries.remove("$ref") {
        entries.insert("anyOf".into(), json!([{"$ref": reference}, {"type": "null"}]));
    }
}

fn refer(schema: &mut Value) {
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.values_mut().for_each(refer);
    }
    let Some(target) = schema.get("x-patch").and_then(Value::as_str) else { return };
    let reference = json!({"$ref": format!("#/$defs/{target}Patch")});
    let patterns = schema.get_mut("patternProperties").and_then(Value::as_object_mut);
    patterns.into_iter().flat_map(Map::values_mut).for_each(|value| *value = reference.clone());
}

/// Removes the patches of definitions that no component uses.
fn remove_unreachable(defs: &mut Map<String, Value>) {
    loop {
        let text = Value::Object(defs.clone()).to_string();
        let unused =
            |name: &String| name.ends_with("Patch") && !text.contains(&format!("\"#/$defs/{name}\""));
        let Some(name) = defs.keys().find(|name| unused(name)).cloned() else { return };
        defs.remove(&name);
    }
}
