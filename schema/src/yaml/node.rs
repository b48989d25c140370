//! Values that know where they were written.

use std::{fmt, sync::Arc};

use serde_json::Number;

use crate::{Place, Problem, RepoPath, Severity};

/// One manifest as text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: RepoPath,
    pub(crate) text: Box<str>,
}

/// A piece of one line of a source.
#[derive(Clone)]
pub(crate) struct Mark {
    pub(crate) source: Arc<Source>,
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters, at least 1.
    pub(crate) width: u32,
}

/// The longest source line that a problem carries, in bytes.
const SHOWN_LINE: usize = 4096;

impl Mark {
    /// Returns the start of a source.
    pub(crate) fn start(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), line: 1, column: 1, width: 1 }
    }

    /// Returns the mark of a value that nobody wrote. It is never shown.
    pub(crate) fn nowhere() -> Self {
        let path = "nowhere".parse().expect("it is a valid path");
        Self::start(&Arc::new(Source { path, text: "".into() }))
    }

    /// Returns the mark of `width` characters from a byte offset on.
    pub(crate) fn at(source: &Arc<Source>, byte: usize, width: usize) -> Self {
        let before = &source.text[..byte];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            source: Arc::clone(source),
            line: narrow(line),
            column: narrow(column),
            width: narrow(width.max(1)),
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place { file: self.source.path.clone(), line: self.line, column: self.column }
    }

    /// Returns an error here.
    pub(crate) fn error(&self, message: impl Into<String>, help: impl Into<Option<String>>) -> Problem {
        self.problem(Severity::Error, message, help)
    }

    /// Returns a problem here.
    pub(crate) fn problem(
        &self,
        severity: Severity,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) -> Problem {
        let line = self.source.text.lines().nth(self.line as usize - 1);
        Problem {
            place: self.place(),
            severity,
            message: message.into(),
            help: help.into(),
            source_line: line
                .filter(|line| line.len() <= SHOWN_LINE && !holds_a_key(line))
                .map(str::to_owned),
            width: self.width,
        }
    }
}

/// Returns whether somebody wrote a private key into this line; it is shown nowhere.
pub(crate) fn holds_a_key(text: &str) -> bool {
    let upper = text.to_uppercase();
    upper.contains("AGE-SECRET-KEY-") || upper.contains("PRIVATE KEY-")
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.place(), self.width)
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) mark: Mark,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number and the text that it was written with.
    Number(Number, Box<str>),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text, and whether it stands in one line exactly as it reads, so that an offset is a column.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) text: Arc<str>,
    pub(crate) plain: Layout,
}

/// How the characters of a text lie in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In one line; the first one so many characters after the mark.
    Line { skip: u32 },
    /// Line by line under the mark (`|`), the first one in this line and each from this column on.
    Block { line: u32, column: u32 },
    /// Otherwise: folded or escaped.
    Scattered,
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    pub(crate) key_mark: Mark,
    pub(crate) node: Node,
}

impl Entry {
    /// Returns where the entry is shown: a scalar at its value, a list or map at its key.
    pub(crate) fn mark(&self) -> &Mark {
        match self.node.value {
            Value::List(_) | Value::Map(_) => &self.key_mark,
            _ => &self.node.mark,
        }
    }
}

impl Node {
    /// Returns the entry of a map with that key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| &*entry.key == key)
    }

    /// Returns the value of a map's key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Returns the entries of a map; nothing for other values.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list; nothing for other values.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the text of a string; `None` for other values.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Returns the value without places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(number, _) => number.clone().into(),
            Value::Text(text) => text.text.as_ref().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.to_string(), entry.node.to_json())).collect()
            }
        }
    }

    /// Returns a value that has only one place.
    pub(crate) fn of_json(json: &serde_json::Value, mark: &Mark) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => Value::Number(number.clone(), number.to_string().into()),
            Json::String(text) => Value::Text(Text { text: text.as_str().into(), plain: Layout::Scattered }),
            Json::Array(items) => Value::List(items.iter().map(|item| Self::of_json(item, mark)).collect()),
            Json::Object(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.as_str().into(),
                        key_mark: mark.clone(),
                        node: Self::of_json(value, mark),
                    })
                    .collect(),
            ),
        };
        Self { value, mark: mark.clone() }
    }

    /// Returns how many values it holds, itself included.
    pub(crate) fn size(&self) -> usize {
        1 + self.items().iter().map(Self::size).sum::<usize>()
            + self.entries().iter().map(|entry| 1 + entry.node.size()).sum::<usize>()
    }

    /// Returns what it is, for `expected a string, found ...`.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(truth) => format!("the boolean `{truth}`"),
            Value::Number(_, raw) => format!("the number `{raw}`"),
            Value::Text(text) if text.text.chars().count() <= 40 && !text.text.contains('\n') => {
                format!("the string `{}`", text.text)
            }
            Value::Text(_) => "a string".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }

    /// Returns the mark of `length` characters from the character `offset` of a text on.
    pub(crate) fn mark_within(&self, offset: usize, length: usize) -> Mark {
        let Value::Text(text) = &self.value else { return self.mark.clone() };
        let before = text.text.chars().take(offset);
        let mut mark = self.mark.clone();
        match text.plain {
            Layout::Line { skip } => mark.column += skip + count(before),
            Layout::Block { line, column } => {
                let written: String = before.collect();
                let last = written.rsplit('\n').next().unwrap_or_default();
                mark.line = line + count(written.chars().filter(|c| *c == '\n'));
                mark.column = column + count(last.chars());
            }
            Layout::Scattered => return mark,
        }
        mark.width = u32::try_from(length).unwrap_or(1).max(1);
        mark
    }
}

/// Counts characters; texts are within limits far below `u32::MAX`.
fn count(chars: impl Iterator) -> u32 {
    u32::try_from(chars.count()).unwrap_or(u32::MAX)
}
