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
                merged[position] = merge(&merged[position], patch, &list.items, problems)
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
