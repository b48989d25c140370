//! The items of lists, by what a set calls them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Segment;

/// Returns the values of an object for the steps of a set. What a step leads to may not be there.
pub(super) fn values<'a, 's>(
    value: Option<&'a Value>,
    steps: impl Iterator<Item = &'s Segment> + Clone,
) -> BTreeMap<Segment, &'a Value> {
    match value {
        Some(Value::Object(map)) => {
            steps.filter_map(|step| Some((step.clone(), field(map, step)?))).collect()
        }
        Some(Value::Array(items)) => pair(items, steps)
            .into_iter()
            .zip(items)
            .filter_map(|(step, item)| Some((step?.clone(), item)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn field<'a>(map: &'a Map<String, Value>, step: &Segment) -> Option<&'a Value> {
    match step {
        Segment::Field(name) => map.get(name),
        _ => None,
    }
}

/// Returns for each item of a list the step that leads to it.
///
/// What is declared may leave out a key field that has a default (`protocol`), so an item is whichever step is left
/// that says nothing else, once all items that say everything have theirs.
pub(super) fn pair<'s>(
    items: &[Value],
    steps: impl Iterator<Item = &'s Segment> + Clone,
) -> Vec<Option<&'s Segment>> {
    let mut left: Vec<(&Segment, Option<Map<String, Value>>)> =
        steps.map(|step| (step, key_fields(step))).collect();
    let mut found = vec![None; items.len()];
    for exact in [true, false] {
        for (index, item) in items.iter().enumerate() {
            if found[index].is_some() {
                continue;
            }
            let place = left.iter().position(|(step, keys)| match keys {
                Some(keys) => has(item, keys, exact),
                None => is_at(step, index, item),
            });
            found[index] = place.map(|place| left.remove(place).0);
        }
    }
    found
}

fn key_fields(step: &Segment) -> Option<Map<String, Value>> {
    match step {
        Segment::Key(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn has(item: &Value, keys: &Map<String, Value>, exact: bool) -> bool {
    let Some(item) = item.as_object() else { return false };
    keys.iter().all(|(key, value)| item.get(key).map_or(!exact, |own| own == value))
        && keys.keys().any(|key| item.contains_key(key))
}

fn is_at(step: &Segment, index: usize, item: &Value) -> bool {
    match step {
        Segment::Item(text) => serde_json::from_str::<Value>(text).is_ok_and(|value| value == *item),
        Segment::Index(at) => *at == index,
        Segment::Field(_) | Segment::Key(_) => false,
    }
}

/// Returns what people call an item with these key fields: `80/TCP`.
pub(super) fn key_name(text_of_keys: &str) -> String {
    let keys: Map<String, Value> = serde_json::from_str(text_of_keys).unwrap_or_default();
    let values: Vec<_> = keys.values().map(text).collect();
    values.join("/")
}

/// Returns a value without quotation marks.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
