//! An object of the cluster: a document with an identity.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

/// An object as the API server speaks of it, or as it is declared.
#[derive(Clone, PartialEq)]
pub struct Object(Value);

/// The kind of an object, and in which version it is spoken of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gvk {
    /// Empty for Kubernetes' oldest kinds.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// `Deployment`.
    pub kind: String,
}

impl Gvk {
    /// Returns the kind of an `apiVersion` (`v1`, `apps/v1`) and a `kind`.
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// Returns `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.api_version())
    }
}

impl Object {
    /// Returns what a document is about.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.text("/apiVersion").unwrap_or_default(), self.text("/kind").unwrap_or_default())
    }

    /// Returns its namespace; none for what is in none.
    pub fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }

    /// Returns its name, empty where it has none.
    pub fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// Returns its identity, which no other object of its name ever has.
    pub fn uid(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    /// Returns the version of its contents.
    pub fn resource_version(&self) -> Option<&str> {
        self.text("/metadata/resourceVersion")
    }

    /// Returns whether it is being deleted: it is there until its finalizers let it go.
    pub fn is_going(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// Returns its labels.
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        self.texts("/metadata/labels")
    }

    /// Returns its annotations.
    pub fn annotations(&self) -> BTreeMap<&str, &str> {
        self.texts("/metadata/annotations")
    }

    /// Returns who has set which of its fields.
    pub fn managed_fields(&self) -> &[Value] {
        let entries = self.0.pointer("/metadata/managedFields").and_then(Value::as_array);
        entries.map_or(&[], Vec::as_slice)
    }

    /// Returns whether its contents must not be shown.
    pub fn is_secret(&self) -> bool {
        self.0["kind"] == "Secret" && self.0["apiVersion"] == "v1"
    }

    /// Returns the document.
    pub fn value(&self) -> &Value {
        &self.0
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }

    fn texts(&self, pointer: &str) -> BTreeMap<&str, &str> {
        let map = self.0.pointer(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter);
        map.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }
}

impl From<Value> for Object {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        object.0
    }
}

/// Says which object it is: its contents may be secret.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace().unwrap_or_default();
        write!(f, "Object({} {namespace}/{})", self.gvk(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_group_is_what_stands_before_the_version() {
        assert_eq!(Gvk::new("v1", "Secret").group, "");
        assert_eq!(Gvk::new("apps/v1", "Deployment").to_string(), "Deployment (apps/v1)");
    }

    #[test]
    fn a_secret_is_not_shown_with_its_data() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "dmFsdWU="}});
        let secret = Object::from(secret);
        assert!(secret.is_secret());
        assert_eq!(format!("{secret:?}"), "Object(Secret (v1) /a)");
    }
}
