//! The difference of two configurations, field by field.
//!
//! It is two-sided: a field that only one side has is a difference too. `null`, an empty list and an
//! object without fields mean the same as no field, numbers are compared by value, and lists as a whole.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::{Map, Value};

/// One field that differs. At least one side has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The keys that lead to it.
    pub keys: Vec<String>,
    /// What the first side has.
    pub before: Option<Value>,
    /// What the second side has.
    pub after: Option<Value>,
}

impl Difference {
    /// Returns the path as people read it: `files[/etc/haproxy.cfg].digest`.
    pub fn path(&self) -> String {
        path(&self.keys)
    }
}

/// Returns every leaf that differs, sorted by its keys.
pub fn diff(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(&mut Vec::new(), Some(before), Some(after), &mut found);
    found
}

/// Writes keys as a path.
pub fn path<K: AsRef<str>>(keys: &[K]) -> String {
    keys.iter().fold(String::new(), |path, key| join(&path, key.as_ref()))
}

/// Returns `path` with one more key; one that holds a dot, a slash, a space or a bracket stands in brackets.
pub fn join(path: &str, key: &str) -> String {
    if key.is_empty() || key.contains(['.', '/', ' ', '[', ']']) {
        format!("{path}[{key}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Returns the value that `keys` lead to, if there is one that means something.
pub fn at<'a, K: AsRef<str>>(spec: &'a Value, keys: &[K]) -> Option<&'a Value> {
    keys.iter().try_fold(spec, |value, key| value.get(key.as_ref())).filter(|value| !is_absent(value))
}

/// Returns whether both mean the same.
pub fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (present(one), present(other)) {
        (None, None) => true,
        (Some(one), Some(other)) => equal(one, other),
        _ => false,
    }
}

fn walk(keys: &mut Vec<String>, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    let (before, after) = (present(before), present(after));
    let (Some(old), Some(new)) = (fields(before), fields(after)) else {
        if !same(before, after) {
            found.push(Difference { keys: keys.clone(), before: before.cloned(), after: after.cloned() });
        }
        return;
    };
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        keys.push(key.clone());
        walk(keys, old.get(key), new.get(key), found);
        keys.pop();
    }
}

/// Returns the fields of an object, none for what is absent, and `None` for a leaf.
fn fields(value: Option<&Value>) -> Option<Cow<'_, Map<String, Value>>> {
    match value {
        None => Some(Cow::Owned(Map::new())),
        Some(Value::Object(fields)) => Some(Cow::Borrowed(fields)),
        Some(_) => None,
    }
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !is_absent(value))
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_absent),
        _ => false,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Integers beyond 2^53 are equal as floats when they are not: only a real float is compared so.
        (Value::Number(one), Value::Number(other)) => {
            one == other || ((one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            keys.into_iter().all(|key| same(one.get(key), other.get(key)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(before: &Value, after: &Value) -> Vec<String> {
        diff(before, after).iter().map(Difference::path).collect()
    }

    #[test]
    fn equal_configurations_do_not_differ() {
        let spec = json!({"image": "a", "ports": {"sql": {"publish": 5432}}, "command": ["x"]});
        assert_eq!(diff(&spec, &spec), []);
    }

    #[test]
    fn what_means_nothing_is_the_same_as_no_field() {
        assert_eq!(diff(&json!({"a": null, "b": [], "c": {"d": {}}}), &json!({})), []);
        assert_eq!(diff(&json!({"n": 1}), &json!({"n": 1.0})), []);
        assert_eq!(diff(&json!({"l": [1, {"x": null}]}), &json!({"l": [1.0, {}]})), []);
    }

    #[test]
    fn large_numbers_that_differ_by_one_differ() {
        assert_eq!(paths(&json!({"a": u64::MAX}), &json!({"a": u64::MAX - 1})), ["a"]);
        assert_eq!(paths(&json!({"a": "1"}), &json!({"a": 1})), ["a"]);
    }

    #[test]
    fn a_field_of_one_side_alone_is_a_difference_down_to_its_leaves() {
        let live = json!({"env": {"DEBUG": "1"}, "labels": {"a.b/c": "x"}});
        let found = diff(&live, &json!({"ports": {"sql": {"publish": 5432}}}));
        assert_eq!(
            found.iter().map(Difference::path).collect::<Vec<_>>(),
            ["env.DEBUG", "labels[a.b/c]", "ports.sql.publish"]
        );
        assert_eq!(found[0].after, None);
        assert_eq!(found[2].before, None);
    }

    #[test]
    fn lists_are_compared_as_a_whole() {
        assert_eq!(paths(&json!({"command": ["a", "b"]}), &json!({"command": ["b", "a"]})), ["command"]);
    }

    #[test]
    fn an_object_against_a_leaf_is_one_difference() {
        assert_eq!(paths(&json!({"a": {"b": 1}}), &json!({"a": 1})), ["a"]);
    }

    #[test]
    fn keys_that_would_be_misread_stand_in_brackets() {
        assert_eq!(path(&["files", "/etc/haproxy.cfg", "digest"]), "files[/etc/haproxy.cfg].digest");
        assert_eq!(path(&["a b", "c[0]"]), "[a b][c[0]]");
    }
}
