//! Layers: a merge patch on a component.
//!
//! RFC 7396 on maps: a value replaces, `null` deletes, maps merge. Beyond it, lists of named things merge
//! entry by entry, by the key that the schema names (`x-key`); `$remove: true` deletes an entry. Every
//! value keeps the place of the layer that it came from.

use crate::{
    Problem,
    conform::entry_key,
    shape::{ListShape, Shape},
    suggest,
    yaml::{Entry, Node, Value},
};

/// Returns `base` with `patch` laid over it; what cannot be merged goes to `problems`.
pub(crate) fn merge(base: &Node, patch: &Node, shape: &Shape, problems: &mut Vec<Problem>) -> Node {
    match (&base.value, &patch.value, shape) {
        (Value::Map(below), Value::Map(above), _) => {
            let value = Value::Map(merge_maps(below, above, shape, problems));
            Node { value, mark: base.mark.clone() }
        }
        (Value::List(below), Value::List(above), Shape::List(list)) if !list.key.is_empty() => {
            let value = Value::List(merge_lists(below, above, list, problems));
            Node { value, mark: base.mark.clone() }
        }
        _ => fresh(patch, shape, problems),
    }
}

fn merge_maps(below: &[Entry], above: &[Entry], shape: &Shape, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut merged = below.to_vec();
    for patch in above {
        let inner = shape.at(&patch.key).unwrap_or(&Shape::Any);
        let position = merged.iter().position(|entry| entry.key == patch.key);
        match position {
            Some(position) if patch.node.is_null() => drop(merged.remove(position)),
            Some(position) => {
                let entry = &mut merged[position];
                entry.node = merge(&entry.node, &patch.node, inner, problems);
                if !matches!(entry.node.value, Value::Map(_) | Value::List(_)) {
                    entry.key_mark = patch.key_mark.clone();
                }
            }
            None if patch.node.is_null() => {}
            None => merged.push(Entry { node: fresh(&patch.node, inner, problems), ..patch.clone() }),
        }
    }
    merged
}

fn merge_lists(below: &[Node], above: &[Node], list: &ListShape, problems: &mut Vec<Problem>) -> Vec<Node> {
    let mut merged = below.to_vec();
    for patch in above {
        let Some(key) = entry_key(patch, &list.key) else { continue };
        let position = merged.iter().position(|entry| entry_key(entry, &list.key).as_ref() == Some(&key));
        match (position, patch.entry("$remove")) {
            (Some(position), Some(_)) => drop(merged.remove(position)),
            (Some(position), None) => {
                merged[position] = merge(&merged[position], patch, &list.items, problems);
            }
            (None, None) => merged.push(fresh(patch, &list.items, problems)),
            (None, Some(remove)) => {
                let keys: Vec<String> =
                    below.iter().filter_map(|entry| entry_key(entry, &list.key)).collect();
                let help = suggest::choose(&key, "entries", keys.iter().map(String::as_str));
                problems.push(remove.key_mark.error(format!("there is no `{key}` to remove"), help));
            }
        }
    }
    merged
}

/// Returns a patch that lies over nothing: without the nulls that delete and the entries that remove.
fn fresh(patch: &Node, shape: &Shape, problems: &mut Vec<Problem>) -> Node {
    let value = match (&patch.value, shape) {
        (Value::Map(entries), _) => Value::Map(merge_maps(&[], entries, shape, problems)),
        (Value::List(items), Shape::List(list)) if !list.key.is_empty() => {
            Value::List(merge_lists(&[], items, list, problems))
        }
        (value, _) => value.clone(),
    };
    Node { value, mark: patch.mark.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::*;
    use crate::{
        document::{Kind, Shapes},
        yaml::Mark,
    };

    fn node(json: &Json) -> Node {
        Node::of_json(json, &Mark::nowhere())
    }

    fn merged(base: &Json, patch: &Json) -> Json {
        let mut problems = Vec::new();
        merge(&node(base), &node(patch), &Shape::Any, &mut problems).to_json()
    }

    fn merged_component(base: &Json, patch: &Json) -> (Json, Vec<String>) {
        let shapes = Shapes::new();
        let mut problems = Vec::new();
        let merged = merge(&node(base), &node(patch), shapes.spec(Kind::Component), &mut problems);
        (merged.to_json(), problems.into_iter().map(|problem| problem.message).collect())
    }

    /// The pseudo-code of RFC 7396, section 2.
    fn reference(target: &Json, patch: &Json) -> Json {
        let Json::Object(patch) = patch else { return patch.clone() };
        let mut merged = target.as_object().cloned().unwrap_or_else(Map::new);
        for (name, value) in patch {
            if value.is_null() {
                merged.remove(name);
            } else {
                let below = merged.get(name).cloned().unwrap_or(Json::Null);
                merged.insert(name.clone(), reference(&below, value));
            }
        }
        Json::Object(merged)
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            "[a-c]{0,2}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|entries| Json::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_is_that_of_rfc_7396(base in any_json(), patch in any_json()) {
            prop_assert_eq!(merged(&base, &patch), reference(&base, &patch));
        }

        #[test]
        fn a_patch_says_the_same_twice(base in any_json(), patch in any_json()) {
            let once = merged(&base, &patch);
            prop_assert_eq!(merged(&once, &patch), once);
        }

        #[test]
        fn an_empty_patch_changes_nothing(base in any_json()) {
            prop_assume!(base.is_object());
            prop_assert_eq!(merged(&base, &json!({})), base);
        }
    }

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        for (base, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merged(&base, &patch), result);
        }
    }

    #[test]
    fn entries_of_named_lists_are_found_by_their_key() {
        let base = json!({
            "connects": [{"to": "db", "port": "sql"}, {"to": "db", "port": "metrics"}],
            "files": [{"from": "a", "to": "/a"}],
            "args": ["x", "y"],
        });
        let patch = json!({
            "connects": [{"to": "db", "port": "metrics", "$remove": true}, {"to": "web", "port": "http"}],
            "files": [{"to": "/a", "mode": "0400"}],
            "args": ["z"],
        });
        let (merged, problems) = merged_component(&base, &patch);
        assert_eq!(merged["connects"], json!([{"to": "db", "port": "sql"}, {"to": "web", "port": "http"}]));
        assert_eq!(merged["files"], json!([{"from": "a", "to": "/a", "mode": "0400"}]));
        assert_eq!(merged["args"], json!(["z"]));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn removing_what_is_not_there_is_a_mistake() {
        let patch = json!({"ports": [{"name": "http", "$remove": true}]});
        let (merged, problems) = merged_component(&json!({}), &patch);
        assert_eq!(merged, json!({"ports": []}));
        assert_eq!(problems, ["there is no `http` to remove"]);
    }
}
