//! The places of the values of one document, and the problems found there.

use std::collections::BTreeMap;

use crate::{
    Places, Problem,
    conform::entry_key,
    place::parent,
    shape::Shape,
    yaml::{Mark, Node, Value},
};

/// Marks by path, as [`Places`] writes paths.
pub(crate) struct Located {
    values: BTreeMap<String, Mark>,
    keys: BTreeMap<String, Mark>,
}

impl Located {
    /// Collects the marks of a document; `around` is the place of the whole.
    pub(crate) fn of(node: &Node, shape: &Shape, around: &Mark) -> Self {
        let values = BTreeMap::from([(String::new(), around.clone())]);
        let mut located = Self { values, keys: BTreeMap::new() };
        collect(node, shape, "", &mut located);
        located
    }

    /// Returns where the value at `path` is, or the nearest one around it.
    pub(crate) fn at(&self, path: &str) -> &Mark {
        let mut rest = path;
        loop {
            if let Some(mark) = self.values.get(rest) {
                return mark;
            }
            rest = parent(rest).unwrap_or_default();
        }
    }

    pub(crate) fn places(&self) -> Places {
        Places(self.values.iter().map(|(path, mark)| (path.clone(), mark.place())).collect())
    }
}

/// Returns the path of the entry `key` of the map at `path`.
pub(crate) fn step(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn collect(node: &Node, shape: &Shape, path: &str, located: &mut Located) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let inner = step(path, &entry.key);
                located.values.insert(inner.clone(), entry.mark().clone());
                located.keys.insert(inner.clone(), entry.key_mark.clone());
                collect(&entry.node, shape.at(&entry.key).unwrap_or(&Shape::Any), &inner, located);
            }
        }
        Value::List(items) => {
            let (key, inside): (&[String], _) = match shape {
                Shape::List(list) => (&list.key, &list.items),
                _ => (&[], &Shape::Any),
            };
            for (number, item) in items.iter().enumerate() {
                let name = entry_key(item, key).unwrap_or_else(|| number.to_string());
                let inner = format!("{path}[{name}]");
                located.values.insert(inner.clone(), item.mark.clone());
                collect(item, inside, &inner, located);
            }
        }
        _ => {}
    }
}

/// Collects problems of one document by path.
pub(crate) struct Findings<'a> {
    pub(crate) located: &'a Located,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Findings<'_> {
    pub(crate) fn error(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.located.at(path).error(message, help.into()));
    }

    /// Reports what is wrong with the key itself.
    pub(crate) fn error_at_key(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        let mark = self.located.keys.get(path).unwrap_or_else(|| self.located.at(path));
        self.problems.push(mark.error(message, help.into()));
    }
}
