//! The resolved environment as people and other tools read it.
//!
//! The order is that of the names, every default is filled in, and a secret is shown by its reference.

use serde_json::{Value, json};

use crate::{Resolved, manifest::API_VERSION};

/// Returns the whole resolved environment: its own spec without the patches, which are laid over the
/// components, and every component with its zones and the endpoints that it calls.
pub fn render(resolved: &Resolved) -> Value {
    let mut environment = to_json(&resolved.spec);
    if let Some(fields) = environment.as_object_mut() {
        fields.remove("patches");
    }
    let components: serde_json::Map<String, Value> = resolved
        .components
        .values()
        .map(|component| {
            let rendered = json!({
                "zones": component.zones,
                "endpoints": component.endpoints,
                "spec": to_json(&component.spec),
            });
            (component.name.to_string(), rendered)
        })
        .collect();
    json!({
        "apiVersion": API_VERSION,
        "kind": "ResolvedEnvironment",
        "metadata": {"name": resolved.name, "revision": resolved.revision},
        "spec": environment,
        "components": components,
    })
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("every part of it has text keys")
}
