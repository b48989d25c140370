//! Names of plans and of desired states, by what they mean.
//!
//! The same plan has the same digest on every machine and in every run. An unrelated commit, moved
//! lines or an image that was pulled meanwhile change none.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Desired, Live, PlanDigest, Step};

/// Returns the digest of a plan: of its steps, of what is desired and of what they expect to find.
pub fn plan_digest(steps: &[Step], desired: &Desired, live: &Live) -> PlanDigest {
    let expected: Vec<Value> = live
        .resources
        .iter()
        .map(|(id, observed)| {
            let state = &observed.state;
            json!([id, observed.handle, observed.spec, state.running, state.paused, observed.owner.store])
        })
        .collect();
    PlanDigest(digest(&json!({ "steps": steps, "desired": desired_digest(desired), "live": expected })))
}

/// Returns the digest of what is desired, without what does not change the outcome: the commit, places
/// and notes, and what has happened already (a pulled image, a job that is done).
pub fn desired_digest(desired: &Desired) -> String {
    let resources: Vec<Value> = desired
        .resources
        .iter()
        .map(|(id, declared)| {
            json!([id, declared.spec, declared.needs, declared.probe, declared.update, declared.inputs])
        })
        .collect();
    digest(&json!({
        "environment": desired.environment,
        "target": desired.target,
        "resources": resources,
        "prune": desired.prune,
        "maxDeletes": desired.max_deletes,
    }))
}

fn digest(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    hex::encode(Sha256::digest(text))
}

/// Writes JSON with sorted keys, whatever order the map keeps: a feature of `serde_json` that any crate
/// of a build can switch on decides that.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        leaf => text.push_str(&leaf.to_string()),
    }
}
