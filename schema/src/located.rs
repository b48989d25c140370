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
pub(crate) struct Located(BTreeMap<String, Mark>);

impl Located {
    /// Collects the marks of a document; `around` is the place of the whole.
    pub(crate) fn of(node: &Node, shape: &Shape, around: &Mark) -> Self {
        let mut marks = BTreeMap::from([(String::new(), around.clone())]);
        collect(node, shape, "", &mut marks);
        Self(marks)
    }

    /// Returns where the value at `path` is, or the nearest one around it.
    pub(crate) fn at(&self, path: &str) -> &Mark {
        let mut rest = path;
        loop {
            if let Some(mark) = self.0.get(rest) {
                return mark;
            }
            rest = parent(rest).unwrap_or_default();
        }
    }

    pub(crate) fn places(&self) -> Places {
        Places(self.0.iter().map(|(path, mark)| (path.clone(), mark.place())).collect())
    }
}

/// Returns the path of the entry `key` of the map at `path`.
pub(crate) fn step(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn collect(node: &Node, shape: &Shape, path: &str, marks: &mut BTreeMap<String, Mark>) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let inner = step(path, &entry.key);
                marks.insert(inner.clone(), entry.mark().clone());
                collect(&entry.node, shape.at(&entry.key).unwrap_or(&Shape::Any), &inner, marks);
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
                marks.insert(inner.clone(), item.mark.clone());
                collect(item, inside, &inner, marks);
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
}
