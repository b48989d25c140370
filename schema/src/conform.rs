//! Compares a document with its shape and reports every difference.

use serde_json::Value as Json;

use crate::{
    Problem,
    shape::{Fields, ListShape, Shape, TextType},
    suggest,
    yaml::{Entry, Mark, Node, Value},
};

/// Which rules hold for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// As it was written: strings may still hold expressions.
    Written,
    /// A merge patch: nothing is required but the key of an entry, null deletes, `$remove` is known.
    Patch,
    /// Merged and computed.
    Complete,
    /// Merged, and as far computed as its mistakes allow; they have been reported.
    Incomplete,
}

/// Returns every difference between a value and its shape.
///
/// `around` is where a missing field is shown.
pub(crate) fn conform(node: &Node, shape: &Shape, stage: Stage, around: &Mark) -> Vec<Problem> {
    let mut check = Check { stage, problems: Vec::new() };
    check.value(node, shape, around);
    check.problems
}

struct Check {
    stage: Stage,
    problems: Vec<Problem>,
}

impl Check {
    fn error(&mut self, mark: &Mark, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.problems.push(mark.error(message, help));
    }

    fn value(&mut self, node: &Node, shape: &Shape, around: &Mark) {
        if self.is_open(node, shape) {
            return;
        }
        match (shape, &node.value) {
            (Shape::Any, _) | (Shape::Bool, Value::Bool(_)) | (Shape::Text(None), Value::Text(_)) => {}
            (Shape::Text(Some(own)) | Shape::Quantity(own), Value::Text(text)) => {
                self.text(node, &text.text, own);
            }
            (Shape::Quantity(own), Value::Number(_, raw)) => self.text(node, raw, own),
            (Shape::Integer { min, max }, Value::Number(number, _)) if number.is_u64() || number.is_i64() => {
                let fits = number.as_i64().is_some_and(|n| (*min..=*max).contains(&n));
                if !fits {
                    self.error(&node.mark, format!("`{number}` is out of range"), range(*min, *max));
                }
            }
            (Shape::Choice(words), Value::Text(text)) => {
                if !words.iter().any(|(word, _)| *word == *text.text) {
                    let (message, help) = wrong_choice(&text.text, words);
                    self.error(&node.mark, message, help);
                }
            }
            (Shape::List(list), Value::List(items)) => self.list(items, list, around),
            (Shape::Map { names, values, patch }, Value::Map(entries)) => {
                let stage = self.stage;
                if *patch {
                    self.stage = Stage::Patch;
                }
                self.map(entries, *names, values);
                self.stage = stage;
            }
            (Shape::Fields(fields), Value::Map(entries)) => self.fields(entries, fields, &[], around),
            (Shape::Either(shapes), _) => self.either(node, shapes, around),
            _ => self.wrong_type(node, shape, around),
        }
    }

    /// Returns whether nothing can be said yet: a computed scalar, or a null that deletes.
    fn is_open(&self, node: &Node, shape: &Shape) -> bool {
        let scalar = !matches!(shape, Shape::List(_) | Shape::Map { .. } | Shape::Fields(_));
        let computed = node.as_text().is_some_and(|text| text.contains("${"));
        match self.stage {
            Stage::Written | Stage::Incomplete => scalar && computed,
            Stage::Patch => (scalar && computed) || node.is_null(),
            Stage::Complete => false,
        }
    }

    fn text(&mut self, node: &Node, text: &str, own: &TextType) {
        if let Err(message) = (own.check)(text) {
            self.error(&node.mark, message, None);
        }
    }

    fn either(&mut self, node: &Node, shapes: &[Shape], around: &Mark) {
        let mut fewest: Option<Vec<Problem>> = None;
        for shape in shapes {
            let problems = conform(node, shape, self.stage, around);
            let right_type = matches!((shape, &node.value), (Shape::Text(_), Value::Text(_)))
                || matches!((shape, &node.value), (Shape::Integer { .. }, Value::Number(..)));
            if problems.is_empty() {
                return;
            }
            if right_type || fewest.is_none() {
                fewest = Some(problems);
            }
        }
        self.problems.extend(fewest.unwrap_or_default());
    }

    fn list(&mut self, items: &[Node], list: &ListShape, around: &Mark) {
        if !(list.min..=list.max).contains(&items.len()) {
            let wanted =
                if list.min == list.max { list.min.to_string() } else { format!("at least {}", list.min) };
            self.error(around, format!("{} items are wanted here, there are {}", wanted, items.len()), None);
        }
        let mut seen: Vec<(String, &Mark)> = Vec::new();
        for item in items {
            match (&list.items, &item.value) {
                (Shape::Fields(fields), Value::Map(entries)) => {
                    self.fields(entries, fields, &list.key, &item.mark);
                }
                _ => self.value(item, &list.items, &item.mark),
            }
            let Some(key) = entry_key(item, &list.key) else { continue };
            let mark = list.key.first().and_then(|field| item.entry(field)).map_or(&item.mark, Entry::mark);
            if let Some((_, first)) = seen.iter().find(|(other, _)| *other == key) {
                let help = format!("remove one; the first is in line {}", first.line);
                self.error(mark, format!("`{key}` is listed twice"), help);
            }
            seen.push((key, mark));
        }
    }

    fn map(&mut self, entries: &[Entry], names: Option<TextType>, values: &Shape) {
        for entry in entries {
            if let Some(Err(message)) = names.map(|names| (names.check)(&entry.key)) {
                self.error(&entry.key_mark, message, None);
            }
            self.value(&entry.node, values, &entry.key_mark);
        }
    }

    fn fields(&mut self, entries: &[Entry], fields: &Fields, key: &[String], around: &Mark) {
        let removed = self.stage == Stage::Patch && entries.iter().any(|entry| &*entry.key == "$remove");
        for entry in entries {
            if &*entry.key == "$remove" && self.stage == Stage::Patch && !key.is_empty() {
                self.remove(entry);
                continue;
            }
            match fields.0.get(&*entry.key) {
                Some(field) => self.value(&entry.node, &field.shape, &entry.key_mark),
                None => self.unknown_field(entry, fields),
            }
        }
        for (name, field) in &fields.0 {
            let wanted = match self.stage {
                Stage::Patch => key.contains(name),
                Stage::Written | Stage::Complete | Stage::Incomplete => field.required,
            };
            if wanted && !removed_key(removed, key, name) && !entries.iter().any(|entry| *entry.key == **name)
            {
                let help = (!field.description.is_empty())
                    .then(|| format!("`{name}`: {}", uncapitalized(&field.description)));
                self.error(around, format!("`{name}` is missing"), help);
            }
        }
    }

    fn remove(&mut self, entry: &Entry) {
        if !matches!(entry.node.value, Value::Bool(true)) {
            self.error(
                entry.mark(),
                "`$remove` can only be `true`",
                "to keep the entry, remove the line".to_owned(),
            );
        }
    }

    fn unknown_field(&mut self, entry: &Entry, fields: &Fields) {
        let help = if &*entry.key == "$remove" {
            "`$remove: true` stands in an entry of a named list in `patches`; to delete a field write `null`"
                .into()
        } else {
            suggest::choose(&entry.key, "fields here", fields.0.keys().map(String::as_str))
        };
        self.error(&entry.key_mark, format!("the field `{}` does not exist", entry.key), help);
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape, around: &Mark) {
        if node.is_null() {
            let message = format!("{} is missing here", wanted(shape));
            return self.error(around, message, "write a value, or remove the key".to_owned());
        }
        let mark = match node.value {
            Value::List(_) | Value::Map(_) => around,
            _ => &node.mark,
        };
        let message = format!("expected {}, found {}", wanted(shape), node.describe());
        self.error(mark, message, fix(node, shape));
    }
}

/// In an entry that is removed, only its key counts.
fn removed_key(removed: bool, key: &[String], name: &String) -> bool {
    removed && !key.contains(name)
}

/// Returns the key of an entry of a named list, as paths show it: `minio:api`.
pub(crate) fn entry_key(item: &Node, key: &[String]) -> Option<String> {
    let parts: Option<Vec<&str>> = key.iter().map(|field| item.get(field).and_then(Node::as_text)).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join(":"))
}

fn wrong_choice(written: &str, words: &[(String, String)]) -> (String, String) {
    if let [(only, _)] = words {
        (format!("`{written}` is not supported"), format!("write `{only}`"))
    } else {
        let help = suggest::choose(written, "choices", words.iter().map(|(word, _)| word.as_str()));
        (format!("`{written}` is not a choice here"), help)
    }
}

fn range(min: i64, max: i64) -> Option<String> {
    match (min, max) {
        (i64::MIN, i64::MAX) => None,
        (min, i64::MAX) => Some(format!("write a number from {min} on")),
        (min, max) => Some(format!("write a number from {min} to {max}")),
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Any => "a value".into(),
        Shape::Bool => "`true` or `false`".into(),
        Shape::Integer { .. } => "an integer".into(),
        Shape::Text(_) => "a string".into(),
        Shape::Quantity(_) => "a quantity".into(),
        Shape::Choice(words) => {
            let words: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
            format!("one of {}", suggest::list(&words))
        }
        Shape::List(_) => "a list".into(),
        Shape::Map { .. } | Shape::Fields(_) => "a map".into(),
        Shape::Either(shapes) => shapes.iter().map(wanted).collect::<Vec<_>>().join(" or "),
    }
}

/// Returns what to write instead of a value of the wrong type.
fn fix(node: &Node, shape: &Shape) -> Option<String> {
    match (shape, &node.value) {
        (Shape::Text(_), Value::Number(_, raw)) => Some(format!("put it into quotes: \"{raw}\"")),
        (Shape::Text(_), Value::Bool(truth)) => Some(format!("put it into quotes: \"{truth}\"")),
        (Shape::Bool, Value::Text(text)) => match text.text.to_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => Some("write `true`, without quotes".into()),
            "no" | "off" | "n" | "false" => Some("write `false`, without quotes".into()),
            _ => None,
        },
        (Shape::Integer { .. }, Value::Text(text)) if text.text.parse::<i64>().is_ok() => Some(format!(
            "write it without quotes and leading zeros: {}",
            text.text.parse::<i64>().unwrap_or_default()
        )),
        (Shape::List(list), Value::Text(text)) if matches!(list.items, Shape::Text(_)) => {
            Some(format!("write a list, one item a word: [{}]", words(&text.text)))
        }
        (Shape::Choice(words), Value::Bool(false)) if words.iter().any(|(word, _)| word == "no") => {
            Some("put it into quotes: \"no\"".into())
        }
        (Shape::List(_), Value::Map(_)) => Some("start each entry with `- `".into()),
        (Shape::Fields(fields), _) => {
            let names: Vec<&str> = fields.0.keys().map(String::as_str).collect();
            Some(format!("fields here: {}", suggest::list(&names)))
        }
        (Shape::Map { .. }, Value::List(_)) => Some("write `name: value` lines, without `- `".into()),
        _ => None,
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().map(|word| Json::from(word).to_string()).collect::<Vec<_>>().join(", ")
}

fn uncapitalized(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut chars = text.chars();
    let second_upper = text.chars().nth(1).is_some_and(char::is_uppercase);
    match chars.next() {
        Some(first) if !second_upper => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
