//! A value of a configuration on one line.
//!
//! What comes from a repository or a target is never written raw: a control character could move the
//! cursor of a terminal. Digests are cut to what a person compares.

use serde_json::Value;

/// How much of a digest is shown.
const SHORT: usize = 4;

/// How long a value may be, in characters.
const LONGEST: usize = 60;

/// Returns the value in backticks, or `nothing`.
pub(crate) fn plain(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("`{}`", shown(value, "…")))
}

/// Returns the value as text; `ellipsis` stands for what is left out.
pub(crate) fn shown(value: &Value, ellipsis: &str) -> String {
    let text = match value {
        Value::String(text) => digest(text, ellipsis).unwrap_or_else(|| image(text, ellipsis)),
        Value::Array(items) => items.iter().map(|item| word(item, ellipsis)).collect::<Vec<_>>().join(" "),
        Value::Null => "nothing".to_owned(),
        other => other.to_string(),
    };
    cut(&clean(&text), ellipsis)
}

/// Returns the value of the field at `path` as text: bytes in the unit that they are a whole number of.
pub(crate) fn of_field(path: &str, value: &Value, ellipsis: &str) -> String {
    let name = path.rsplit(['.', '[']).next().unwrap_or(path).to_ascii_lowercase();
    let is_size = ["memory", "swap", "size", "bytes"].iter().any(|word| name.contains(word));
    match value.as_u64().filter(|_| is_size) {
        Some(bytes) => size(bytes),
        None => shown(value, ellipsis),
    }
}

fn size(bytes: u64) -> String {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let unit = units.iter().find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits);
    unit.map_or_else(|| bytes.to_string(), |(unit, bits)| format!("{}{unit}", bytes >> bits))
}

/// Returns whether the value stands for a secret.
pub(crate) fn is_secret(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("keyed:"))
}

/// Returns whether the value is a digest of some bytes.
pub(crate) fn is_digest(value: &Value) -> bool {
    value.as_str().is_some_and(|text| digest(text, "").is_some())
}

/// Returns a line of a file: tabs as four spaces, nothing that moves a cursor.
pub(crate) fn code(line: &str) -> String {
    clean(&line.replace('\t', "    "))
}

/// Returns the digest cut short, where the text is one: `keyed:…`, `sha256:…`.
pub(crate) fn digest(text: &str, ellipsis: &str) -> Option<String> {
    let (kind, digits) = text.split_once(':')?;
    let is_digest = matches!(kind, "keyed" | "sha256") && digits.len() >= SHORT;
    (is_digest && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| format!("{}{ellipsis}", &digits[..SHORT]))
}

/// Returns the name of an image with its digest cut short; any other text as it is.
fn image(text: &str, ellipsis: &str) -> String {
    let parts = text.split_once('@').and_then(|(name, id)| Some((name, digest(id, ellipsis)?)));
    parts.map_or_else(|| text.to_owned(), |(name, id)| format!("{name}@{id}"))
}

/// Returns the text without control characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn word(item: &Value, ellipsis: &str) -> String {
    match item {
        Value::String(text) if text.is_empty() || text.contains(char::is_whitespace) => format!("'{text}'"),
        other => shown(other, ellipsis),
    }
}

fn cut(text: &str, ellipsis: &str) -> String {
    let mut chars = text.char_indices();
    match chars.nth(LONGEST) {
        Some((at, _)) => format!("{}{ellipsis}", &text[..at]),
        None => text.to_owned(),
    }
}
