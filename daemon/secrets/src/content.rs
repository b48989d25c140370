//! The plaintext of a secret file: a YAML map, dotenv, or one raw value.
//!
//! Which of the two it is when a key is asked for, the first line that says something decides:
//! `NAME=` (also after `export`) is dotenv, all else is YAML. Values are taken as they are written:
//! `0123` and `yes` are text. An error names a line or a key, never what stands there.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, Span};
use zeroize::Zeroizing;

/// How deep maps may be nested.
const DEPTH: usize = 16;

/// What is wrong with a plaintext, without a byte of it. Key names are no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it is not UTF-8")]
    NotText,
    #[error("line {line} is not valid YAML")]
    NotYaml { line: usize },
    #[error("line {line} is not `NAME=value`")]
    NotDotenv { line: usize },
    #[error("it is no map of keys to values")]
    NotMap,
    #[error("line {line} has a duplicate key")]
    Duplicate { line: usize },
    #[error("line {line} has {what}, which is not supported in a secret file")]
    Unsupported { line: usize, what: &'static str },
    #[error("there is no key `{key}`")]
    NoKey { key: String, known: Vec<String> },
    #[error("`{key}` is {what}")]
    NoValue { key: String, what: &'static str },
}

impl Failure {
    /// Returns what to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::NoKey { known, .. } if known.is_empty() => {
                "the file has no keys; add it with `trueup secret edit`".into()
            }
            Self::NoKey { known, .. } => {
                format!("keys here: {}; add it with `trueup secret edit`", known.join(", "))
            }
            Self::NoValue { .. } => "give it a value with `trueup secret edit`".into(),
            Self::NotText | Self::NotMap => {
                "name no key (`FILE` without `#KEY`) for a file that is one raw value".into()
            }
            _ => "correct it with `trueup secret edit`".into(),
        }
    }
}

/// What stands at a key.
enum Value {
    /// As it stands in the file.
    Within(Range<usize>),
    /// With escapes or line folds resolved.
    Composed(Zeroizing<String>),
    Empty,
    List,
    Map,
}

/// The keys of a plaintext.
pub(crate) struct Content<'p> {
    text: &'p str,
    values: BTreeMap<String, Value>,
}

impl<'p> Content<'p> {
    /// Reads a YAML map or dotenv.
    pub(crate) fn read(plaintext: &'p [u8]) -> Result<Self, Failure> {
        let text = str::from_utf8(plaintext).map_err(|_| Failure::NotText)?;
        let values = if is_dotenv(text) { dotenv(text)? } else { yaml(text)? };
        Ok(Self { text, values })
    }

    /// Returns the value of a key: `password`, or `a.b` for a map in a map.
    pub(crate) fn get(&self, key: &str) -> Result<&[u8], Failure> {
        let no_value = |what| Err(Failure::NoValue { key: key.into(), what });
        match self.values.get(key) {
            Some(Value::Within(range)) => Ok(self.text[range.clone()].as_bytes()),
            Some(Value::Composed(value)) => Ok(value.as_bytes()),
            Some(Value::Empty) => no_value("empty"),
            Some(Value::List) => no_value("a list"),
            Some(Value::Map) => no_value("a map"),
            None => Err(Failure::NoKey { key: key.into(), known: self.keys() }),
        }
    }

    /// Returns the keys that have a value.
    pub(crate) fn keys(&self) -> Vec<String> {
        let has_value = |(key, value): (&String, &Value)| {
            (!matches!(value, Value::Map | Value::List)).then(|| key.clone())
        };
        self.values.iter().filter_map(has_value).collect()
    }

    /// Returns whether something stands at a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

/// Returns whether the first line that says something is `NAME=`.
pub(crate) fn is_dotenv(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| assignment(line).is_some())
}

/// Splits `export NAME=value`; `None` when the name is none.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let name = name.trim();
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (starts && plain).then_some((name, value.trim()))
}

fn dotenv(text: &str) -> Result<BTreeMap<String, Value>, Failure> {
    let mut values = BTreeMap::new();
    for (line, written) in (1..).zip(text.lines()) {
        let written = written.trim();
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(written).ok_or(Failure::NotDotenv { line })?;
        let value = dotenv_value(text, value).ok_or(Failure::NotDotenv { line })?;
        if values.insert(name.to_owned(), value).is_some() {
            return Err(Failure::Duplicate { line });
        }
    }
    Ok(values)
}

/// Reads `plain # comment`, `'as it is'` or `"with \n escapes"`.
fn dotenv_value(text: &str, written: &str) -> Option<Value> {
    let is_end = |rest: &str| rest.is_empty() || rest.trim_start().starts_with('#');
    if let Some(rest) = written.strip_prefix('\'') {
        let (value, rest) = rest.split_once('\'')?;
        return is_end(rest).then(|| within(text, value));
    }
    if let Some(rest) = written.strip_prefix('"') {
        let mut value = Zeroizing::new(String::with_capacity(rest.len()));
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    same @ ('"' | '\\' | '$' | '\'') => same,
                    _ => return None,
                }),
                plain => value.push(plain),
            }
        }
        let empty = value.is_empty();
        return is_end(chars.as_str()).then_some(if empty { Value::Empty } else { Value::Composed(value) });
    }
    let end = written.find(" #").unwrap_or(written.len());
    Some(within(text, written[..end].trim_end()))
}

/// Returns the place of `part` in `text`, of which it is a slice.
fn within(text: &str, part: &str) -> Value {
    if part.is_empty() {
        return Value::Empty;
    }
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    Value::Within(start..start + part.len())
}

fn yaml(text: &str) -> Result<BTreeMap<String, Value>, Failure> {
    let mut reader = Reader { text, values: BTreeMap::new(), open: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Failure::NotYaml { line: error.marker().line() })?;
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
        }
        if documents > 1 {
            return Err(Failure::Unsupported { line: span.start.line(), what: "a second document" });
        }
        reader.take(event, span)?;
    }
    Ok(reader.values)
}

/// A map or a list that is being read.
enum Open {
    Map { path: String, key: Option<String> },
    List,
}

struct Reader<'p> {
    text: &'p str,
    values: BTreeMap<String, Value>,
    open: Vec<Open>,
}

impl<'p> Reader<'p> {
    fn take(&mut self, event: Event<'p>, span: Span) -> Result<(), Failure> {
        let line = span.start.line();
        let unsupported = |what| Err(Failure::Unsupported { line, what });
        match event {
            Event::Alias(_) => return unsupported("an alias"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _)
            | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                return unsupported("an anchor");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => return unsupported("a tag"),
            Event::MappingStart(..) => {
                let path = self.begin(line, Value::Map)?.unwrap_or_default();
                self.open.push(Open::Map { path, key: None });
            }
            Event::SequenceStart(..) => {
                if self.open.is_empty() {
                    return Err(Failure::NotMap);
                }
                self.begin(line, Value::List)?;
                self.open.push(Open::List);
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            Event::Scalar(text, style, ..) => self.scalar(text, style, line)?,
            _ => {}
        }
        if self.open.len() > DEPTH { unsupported("too many levels") } else { Ok(()) }
    }

    fn scalar(&mut self, text: Cow<'p, str>, style: ScalarStyle, line: usize) -> Result<(), Failure> {
        match self.open.last_mut() {
            None => Err(Failure::NotMap),
            Some(Open::List) => {
                wipe(text);
                Ok(())
            }
            Some(Open::Map { path, key: key @ None }) => {
                let name = if path.is_empty() { text.into_owned() } else { format!("{path}.{text}") };
                if self.values.contains_key(&name) {
                    return Err(Failure::Duplicate { line });
                }
                *key = Some(name);
                Ok(())
            }
            Some(Open::Map { .. }) => {
                let value = self.value(text, style);
                self.begin(line, value).map(drop)
            }
        }
    }

    fn value(&self, text: Cow<'p, str>, style: ScalarStyle) -> Value {
        let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        match text {
            text if is_null || text.is_empty() => Value::Empty,
            Cow::Borrowed(part) => within(self.text, part),
            Cow::Owned(composed) => Value::Composed(Zeroizing::new(composed)),
        }
    }

    /// Puts a value at the key that waits for one, and returns the key.
    fn begin(&mut self, line: usize, value: Value) -> Result<Option<String>, Failure> {
        match self.open.last_mut() {
            Some(Open::Map { key, .. }) => {
                let name = key.take().ok_or(Failure::Unsupported { line, what: "a key that is no text" })?;
                self.values.insert(name.clone(), value);
                Ok(Some(name))
            }
            _ => Ok(None),
        }
    }
}

/// Overwrites a text that was copied out of a plaintext.
fn wipe(text: Cow<'_, str>) {
    if let Cow::Owned(text) = text {
        drop(Zeroizing::new(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str, key: &str) -> String {
        let content = Content::read(text.as_bytes()).unwrap();
        String::from_utf8(content.get(key).unwrap().to_vec()).unwrap()
    }

    fn failure(text: &str, key: &str) -> String {
        match Content::read(text.as_bytes()) {
            Ok(content) => content.get(key).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn yaml_values_are_taken_as_written() {
        assert_eq!(get("password: 0123\n", "password"), "0123");
        assert_eq!(get("password: yes # a comment\n", "password"), "yes");
        assert_eq!(get("password: 'it''s'\n", "password"), "it's");
        assert_eq!(get("password: \"a\\tb\"\n", "password"), "a\tb");
        assert_eq!(get("db: {user: bob, password: x}\n", "db.password"), "x");
        assert_eq!(get("db:\n  password: x=y\n", "db.password"), "x=y");
        assert_eq!(get("db.password: dotted\n", "db.password"), "dotted");
        assert_eq!(get("key: |\n  line 1\n  line 2\n", "key"), "line 1\nline 2\n");
    }

    #[test]
    fn dotenv_values_are_read() {
        let text =
            "# users\nexport USER=bob\nPASSWORD=a=b#c # comment\nQUOTED=\"x \\\"y\\\"\\n\"\nRAW='$x \\n'\n";
        assert_eq!(get(text, "USER"), "bob");
        assert_eq!(get(text, "PASSWORD"), "a=b#c");
        assert_eq!(get(text, "QUOTED"), "x \"y\"\n");
        assert_eq!(get(text, "RAW"), "$x \\n");
    }

    #[test]
    fn what_is_wrong_is_told_by_line_or_key() {
        assert_eq!(failure("a: 1\nb: 2\na: 3\n", "a"), "line 3 has a duplicate key");
        assert_eq!(failure("a: {b: 1}\na.b: 2\n", "a"), "line 2 has a duplicate key");
        assert_eq!(failure("a: {b: 1}\n", "a"), "`a` is a map");
        assert_eq!(failure("a: [1, 2]\n", "a"), "`a` is a list");
        assert_eq!(failure("a:\n", "a"), "`a` is empty");
        assert_eq!(failure("a: ''\n", "a"), "`a` is empty");
        assert_eq!(
            failure("a: &x 1\nb: *x\n", "a"),
            "line 1 has an anchor, which is not supported in a secret file"
        );
        assert_eq!(
            failure("a: !vault 1\n", "a"),
            "line 1 has a tag, which is not supported in a secret file"
        );
        assert_eq!(failure("- 1\n", "a"), "it is no map of keys to values");
        assert_eq!(failure("hunter2\n", "a"), "it is no map of keys to values");
        assert_eq!(failure("a: 1\nb: 'hunter2\n", "a"), "line 2 is not valid YAML");
        assert_eq!(failure("A=1\nhunter2\n", "A"), "line 2 is not `NAME=value`");
        assert_eq!(failure("A=1\nA=2\n", "A"), "line 2 has a duplicate key");
        assert_eq!(failure("A=\"x\n", "A"), "line 1 is not `NAME=value`");
        assert_eq!(
            failure("a: 1\n---\nb: 2\n", "a"),
            "line 2 has a second document, which is not supported in a secret file"
        );
        let many = format!("a: {}1{}\n", "{b: ".repeat(20), "}".repeat(20));
        assert_eq!(
            failure(&many, "a"),
            "line 1 has too many levels, which is not supported in a secret file"
        );
    }

    #[test]
    fn a_missing_key_is_told_with_those_that_exist() {
        let content = Content::read(b"user: x\ndb: {password: y}\n").unwrap();
        let error = content.get("passwort").unwrap_err();
        assert_eq!(error.to_string(), "there is no key `passwort`");
        assert_eq!(error.help(), "keys here: db.password, user; add it with `trueup secret edit`");
    }
}
