//! The objects of plain manifests, as they are sent: in their namespace, with our labels.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use trueup_engine::{Identity, Wanted};
use trueup_plan::ResourceId;
use trueup_schema::Places;

use crate::{
    kinds::Resource,
    names::{DECLARED, ENV_UID, ENVIRONMENT, MANAGED_BY, OWNER, SOURCE, id_of},
    object::{Gvk, Object},
};

/// An object that is declared, before its cluster was asked.
pub(crate) struct Plain<'a> {
    pub(crate) gvk: Gvk,
    written: &'a Value,
    pub(crate) places: &'a Places,
}

impl<'a> Plain<'a> {
    /// Returns the plain objects of an environment, in their order.
    pub(crate) fn of(wanted: &'a Wanted) -> impl Iterator<Item = Self> {
        wanted.resolved.objects.iter().map(|plain| Self {
            gvk: Object::from(plain.object.clone()).gvk(),
            written: &plain.object,
            places: &plain.places,
        })
    }

    /// Returns the namespace that it is in: the environment's own, unless it names another one.
    pub(crate) fn namespace(&self, resource: &Resource, own: &str) -> Option<String> {
        let written = self.written.pointer("/metadata/namespace").and_then(Value::as_str);
        resource.namespaced.then(|| written.unwrap_or(own).to_owned())
    }

    pub(crate) fn id(&self, resource: &Resource, own: &str) -> ResourceId {
        let name = self.written.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        id_of(&self.gvk, self.namespace(resource, own).as_deref(), own, name)
    }

    /// Returns why a plan cannot have it, where that is so, and what to do about it.
    pub(crate) fn impossible(&self) -> Option<(&'static str, &'static str)> {
        let vanishes = self.written.pointer("/spec/ttlSecondsAfterFinished").is_some();
        (self.gvk.kind == "Job" && vanishes).then_some((
            "a Job that deletes itself would be missing, and run again",
            "leave `ttlSecondsAfterFinished` out",
        ))
    }

    /// Returns what is sent of it. What a cluster writes itself is left out.
    pub(crate) fn body(&self, identity: &Identity, resource: &Resource, own: &str) -> Object {
        let mut body = self.written.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        let metadata = map(&mut body, "metadata");
        for written_by_the_cluster in
            ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"]
        {
            metadata.remove(written_by_the_cluster);
        }
        metadata.remove("namespace");
        if let Some(namespace) = self.namespace(resource, own) {
            metadata.insert("namespace".into(), json!(namespace));
        }
        let metadata = &mut body["metadata"];
        let labels = map(metadata, "labels");
        labels.insert(OWNER.into(), json!(identity.store));
        labels.insert(ENV_UID.into(), json!(identity.uid));
        labels.entry(MANAGED_BY).or_insert_with(|| json!("trueup"));
        let annotations = map(metadata, "annotations");
        // Whoever takes a label away does not take the object away with it.
        annotations.insert(OWNER.into(), json!(identity.store));
        annotations.insert(ENV_UID.into(), json!(identity.uid));
        annotations.insert(ENVIRONMENT.into(), json!(identity.environment));
        annotations.insert(SOURCE.into(), json!(identity.source));
        let digest = digest(&body);
        map(&mut body["metadata"], "annotations").insert(DECLARED.into(), json!(digest));
        body.into()
    }
}

/// Returns the map at a field, an empty one where there is none.
fn map<'v>(value: &'v mut Value, field: &str) -> &'v mut Map<String, Value> {
    if !value[field].is_object() {
        value[field] = json!({});
    }
    value[field].as_object_mut().expect("it was made one")
}

/// Returns a digest of what is sent, the same whatever order its fields have.
fn digest(body: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> =
                    fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                fields.sort_unstable_by(|one, other| one.0.cmp(&other.0));
                fields.into_iter().map(|(key, value)| json!([key, value])).collect()
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            leaf => leaf.clone(),
        }
    }
    hex::encode(Sha256::digest(sorted(body).to_string()))[..32].to_owned()
}
