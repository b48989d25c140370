//! A set of fields of an object, in the form that the API server keeps for each manager (`fieldsV1`).
//!
//! ```text
//! f:spec ─ f:ports ─ k:{"port":80,"protocol":"TCP"} ─ f:port       an item of a list, by its key fields
//! f:metadata ─ f:finalizers ─ v:"a"                                an item of a set
//! ```
//!
//! Source: `fieldpath/serialize.go` of sigs.k8s.io/structured-merge-diff. An empty node is a value as a whole: a
//! scalar, an atomic list or an atomic map. It is also what remains of a map of which every key was lost; such
//! a node is marked as hollow when the object shows it (`hollow_out`).

mod covers;
mod items;
mod take;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::object::Object;

/// A set of fields of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether the value here is in the set, not only values below it.
    here: bool,
    /// Whether nothing is left of what was inside the value here.
    hollow: bool,
    below: BTreeMap<Segment, FieldSet>,
}

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// The field of a map.
    Field(String),
    /// The item of a list that has these values: JSON of its key fields.
    Key(String),
    /// The item of a set: its JSON.
    Item(String),
    /// The item at an index.
    Index(usize),
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        let (sort, rest) = text.split_once(':')?;
        match sort {
            "f" => Some(Self::Field(rest.into())),
            "k" => serde_json::from_str::<Map<_, _>>(rest).is_ok().then(|| Self::Key(rest.into())),
            "v" => serde_json::from_str::<Value>(rest).is_ok().then(|| Self::Item(rest.into())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// Returns what people call the step: `spec`, `80/TCP`, `0`.
    fn name(&self) -> String {
        match self {
            Self::Field(name) => name.clone(),
            Self::Key(text) => items::key_name(text),
            Self::Item(text) => {
                serde_json::from_str(text).map_or_else(|_| text.clone(), |item| items::text(&item))
            }
            Self::Index(index) => index.to_string(),
        }
    }
}

impl FieldSet {
    /// Returns the set of a `fieldsV1`, or none where it is written in an unknown way.
    pub fn parse(fields: &Value) -> Option<Self> {
        let fields = fields.as_object()?;
        let mut set = Self { here: fields.is_empty() || fields.contains_key("."), ..Self::default() };
        for (key, value) in fields.iter().filter(|(key, _)| *key != ".") {
            set.below.insert(Segment::parse(key)?, Self::parse(value)?);
        }
        Some(set)
    }

    /// Returns whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        !self.here && self.below.is_empty()
    }

    /// Returns the fields that are in one of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.add(other);
        both
    }

    fn add(&mut self, other: &Self) {
        // Who has the map as a whole knows more than who has lost its keys.
        self.hollow =
            (self.hollow || !self.here) && (other.hollow || !other.here) && (self.hollow || other.hollow);
        self.here |= other.here;
        for (segment, below) in &other.below {
            self.below.entry(segment.clone()).or_default().add(below);
        }
    }

    /// Marks the values of which nothing is left: where the object has an empty map or list, and where others have
    /// something inside, which nobody can have of an atomic one.
    pub(crate) fn hollow_out(&mut self, object: &Object, others: &Self) {
        self.hollow_out_at(Some(object.value()), Some(others));
    }

    fn hollow_out_at(&mut self, value: Option<&Value>, others: Option<&Self>) {
        if self.is_leaf() {
            let is_empty = match value {
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                _ => false,
            };
            self.hollow = is_empty || others.is_some_and(|others| !others.below.is_empty());
            return;
        }
        let found = items::values(value, self.below.keys());
        for (segment, below) in &mut self.below {
            let others = others.and_then(|others| others.below.get(segment));
            below.hollow_out_at(found.get(segment).copied(), others);
        }
    }

    /// Returns whether the value here is in the set and nothing below it by itself.
    fn is_leaf(&self) -> bool {
        self.here && self.below.is_empty()
    }

    /// Returns the way to each field of the set, lists by their keys: `spec`, `ports`, `80/TCP`, `port`.
    pub fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, way: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
        if self.is_leaf() && !way.is_empty() {
            paths.push(way.clone());
        }
        for (segment, below) in &self.below {
            way.push(segment.name());
            below.collect(way, paths);
            way.pop();
        }
    }

    /// Returns whether a field at this path, around it or inside it is in the set.
    pub(crate) fn touches(&self, path: &[&str]) -> bool {
        if self.is_leaf() {
            return true;
        }
        let Some((first, rest)) = path.split_first() else { return !self.is_empty() };
        self.below.iter().any(|(segment, below)| segment.name() == *first && below.touches(rest))
    }
}

#[cfg(test)]
mod tests;
