//! Whether all that is declared is in a set.

use serde_json::{Map, Value};

use super::{FieldSet, Segment, items};

/// What says which object it is; nobody manages it.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];
const IDENTITY_OF_METADATA: [&str; 4] = ["name", "namespace", "uid", "resourceVersion"];

impl FieldSet {
    /// Returns whether every leaf of an apply configuration is in the set. `others` is what other managers have.
    ///
    /// Of a list without items and of `null` the API server may note nothing; they are covered unless somebody else
    /// has the value.
    pub fn covers(&self, declared: &Value, others: &Self) -> bool {
        let Some(declared) = declared.as_object() else { return false };
        declared.iter().filter(|(key, _)| !IDENTITY.contains(&key.as_str())).all(|(key, value)| {
            if key == "metadata"
                && let Some(metadata) = value.as_object()
            {
                return self.covers_metadata(metadata, others);
            }
            self.covers_field(key, value, Some(others))
        })
    }

    fn covers_metadata(&self, declared: &Map<String, Value>, others: &Self) -> bool {
        let step = Segment::Field("metadata".into());
        let nothing = Self::default();
        let own = self.below.get(&step).unwrap_or(&nothing);
        let mut fields = declared.iter().filter(|(key, _)| !IDENTITY_OF_METADATA.contains(&key.as_str()));
        fields.all(|(key, value)| own.covers_field(key, value, others.below.get(&step)))
    }

    fn covers_field(&self, key: &str, value: &Value, others: Option<&Self>) -> bool {
        let step = Segment::Field(key.into());
        covers(self.below.get(&step), value, others.and_then(|others| others.below.get(&step)))
    }

    fn covers_items(&self, declared: &[Value], others: Option<&Self>) -> bool {
        let steps = items::pair(declared, self.below.keys());
        steps.into_iter().zip(declared).all(|(step, item)| {
            step.is_some_and(|step| {
                covers(self.below.get(step), item, others.and_then(|others| others.below.get(step)))
            })
        })
    }
}

/// Returns whether a declared value is in the set at its place.
fn covers(own: Option<&FieldSet>, declared: &Value, others: Option<&FieldSet>) -> bool {
    let is_nothing = declared.is_null() || declared.as_array().is_some_and(Vec::is_empty);
    let Some(own) = own else { return is_nothing && !others.is_some_and(FieldSet::is_leaf) };
    match declared {
        _ if own.is_leaf() && !own.hollow => true,
        Value::Object(fields) if fields.is_empty() => own.here || !own.below.is_empty(),
        Value::Object(fields) => fields.iter().all(|(key, value)| own.covers_field(key, value, others)),
        Value::Array(declared) => own.covers_items(declared, others),
        _ => own.here,
    }
}
