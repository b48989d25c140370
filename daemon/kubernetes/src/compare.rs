//! What a change would change: the object as it is against the answer of a dry run, at the fields that are ours in one
//! of both.
//!
//! What is written is never compared with what is there: the cluster has its own spelling of quantities, its defaults,
//! and programs that change what is applied. It is compared with itself.

use serde_json::{Map, Value, json};
use trueup_plan::Spec;

use crate::{
    fieldset::FieldSet,
    names::{DECLARED, RUN},
    object::Object,
    owners::Owners,
};

/// An object as it is and as it would be.
pub(crate) struct Compared {
    /// The configuration that it has.
    pub(crate) live: Spec,
    /// The configuration that it would have.
    pub(crate) wanted: Spec,
    /// What makes it as it is again.
    pub(crate) body: Value,
}

/// Compares an object with the answer of a dry run.
pub(crate) fn compare(live: &Object, answer: &Object) -> Compared {
    let (before, after) = (Owners::of(live).ours, Owners::of(answer).ours);
    let both = before.union(&after);
    let mut way_back = body(&both, live);
    if way_back != body(&before, live) {
        not_all_ours(&mut way_back);
    }
    Compared { live: shown(&both, live), wanted: shown(&after, answer), body: way_back }
}

/// What stands behind the digest of an object whose values were not all ours: what is put back so was never declared so,
/// and must not pass for it.
const NOT_ALL_OURS: &str = "-not-all-ours";

fn not_all_ours(body: &mut Value) {
    let annotations = body.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(Value::String(digest)) = annotations.and_then(|annotations| annotations.get_mut(DECLARED))
        && !digest.ends_with(NOT_ALL_OURS)
    {
        digest.push_str(NOT_ALL_OURS);
    }
}

/// Returns what is sent to make an object as it was with the digest that it had.
pub(crate) fn as_it_was(body: &Object) -> Object {
    let mut body = body.value().clone();
    let annotations = body.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(Value::String(digest)) = annotations.and_then(|annotations| annotations.get_mut(DECLARED))
        && let Some(before) = digest.strip_suffix(NOT_ALL_OURS)
    {
        *digest = before.to_owned();
    }
    body.into()
}

/// Returns the configuration of an object that is as declared.
pub(crate) fn unchanged(live: &Object) -> Compared {
    let ours = Owners::of(live).ours;
    let spec = shown(&ours, live);
    Compared { live: spec.clone(), wanted: spec, body: body(&ours, live) }
}

/// Returns the configuration of an object that would be new.
pub(crate) fn new(answer: &Object) -> Spec {
    shown(&Owners::of(answer).ours, answer)
}

/// Returns what people see of an object at some fields.
fn shown(fields: &FieldSet, object: &Object) -> Spec {
    let mut spec = fields.keyed(object);
    for (field, ours) in [("labels", RUN), ("annotations", DECLARED)] {
        if let Some(entries) = spec.pointer_mut(&format!("/metadata/{field}")).and_then(Value::as_object_mut)
        {
            entries.remove(ours);
        }
    }
    spec
}

/// Returns what is sent to make an object as it is at some fields.
fn body(fields: &FieldSet, object: &Object) -> Value {
    let mut body = fields.take(object);
    let gvk = object.gvk();
    body["apiVersion"] = json!(gvk.api_version());
    body["kind"] = json!(gvk.kind);
    if !body["metadata"].is_object() {
        body["metadata"] = Value::Object(Map::new());
    }
    body["metadata"]["name"] = json!(object.name());
    if let Some(namespace) = object.namespace() {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body
}
