//! The plan as JSON, for programs: [`Plan`] as it is, with a version.
//!
//! The shape is stable: fields are added, never renamed or removed, while [`API_VERSION`] stays.
//!
//! ```json
//! {"apiVersion": "trueup.dev/v1", "kind": "Plan", "environment": "demo", "digest": "9b1c7e02…", "changes": […], …}
//! ```

use serde_json::{Value, json};

use crate::Plan;

/// The version of the shape.
pub const API_VERSION: &str = "trueup.dev/v1";

/// Returns the plan as a JSON object.
pub fn json(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).expect("a plan has only text keys");
    if let Value::Object(object) = &mut value {
        object.insert("apiVersion".into(), json!(API_VERSION));
        object.insert("kind".into(), json!("Plan"));
    }
    value
}
