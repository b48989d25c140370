//! The plan as JSON, for programs: [`Plan`] as it is, with a version.
//!
//! The shape is stable: fields are added, never renamed or removed, while [`API_VERSION`] stays. Keys are
//! written in camelCase, except where they are names of a manifest, such as those of variables.
//!
//! ```text
//! apiVersion, kind          "trueup.dev/v1", "Plan"
//! environment, target       "demo", "docker/local"
//! revision, applied         {commit, reference, author, subject, time}; applied may be null
//! digest, desiredDigest     64 hexadecimal digits each
//! changes, reported         [{resource, action, how, cause, forcedBy, fields, interrupts, overlaps, keeps,
//!                             since, place, irreversible}]
//!   resource                {kind, name, component}
//!   action, how, cause      create update replace start run delete | inPlace restart recreate refuse |
//!                           intent drift unknown
//!   fields                  [{path, before, after, cause, how, place, diff}]
//! contested                 [{resource, action, field, repairs, minutes, until}]; why drift is only reported,
//!                           where `selfHeal` is on
//! unchanged                 [resource]
//! steps, waves              [{key, resource, act: {do, …}, after: [key], timeout: {secs, nanos}}], a number
//! refusals                  [{rule, message, help, place}]; the plan may be applied when it is empty
//! foreign, notes            [{what, why, blocks}], [text]
//! deletes                   [percent that is deleted, percent allowed]
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
