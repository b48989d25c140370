//! The filters of expressions.
//!
//! | filter | result |
//! |---|---|
//! | `kb`, `mb`, `gb` | a size in units of 1024, 1024² or 1024³ bytes, rounded down |
//! | `seconds` | a length of time such as `1m30s` in seconds |
//! | `default(x)` | `x` where a field is not set |
//! | `int`, `round` | a number without fraction |
//! | `lower`, `upper`, `trim`, `replace(a, b)`, `join(s)`, `length` | as in Jinja |
//! | `json` | a JSON string or value, quoted |
//! | `urlencode` | a part of a URL, such as a password |
//! | `base64` | Base64 with padding |

use std::time::Duration;

use base64::Engine as _;
use minijinja::{Environment, Error, ErrorKind, Value, filters, value::ValueKind};

use crate::manifest::{Bytes, Span};

/// Adds the filters to an environment that has none.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("kb", |value: &Value| size(value, 1 << 10, "kb"));
    environment.add_filter("mb", |value: &Value| size(value, 1 << 20, "mb"));
    environment.add_filter("gb", |value: &Value| size(value, 1 << 30, "gb"));
    environment.add_filter("seconds", seconds);
    environment.add_filter("default", default);
    environment.add_filter("int", filters::int);
    environment.add_filter("round", filters::round);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("join", filters::join);
    environment.add_filter("length", filters::length);
    environment.add_filter("json", json);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("base64", base64);
}

/// The names of the filters, for suggestions.
pub(super) const NAMES: [&str; 16] = [
    "kb",
    "mb",
    "gb",
    "seconds",
    "default",
    "int",
    "round",
    "lower",
    "upper",
    "trim",
    "replace",
    "join",
    "length",
    "json",
    "urlencode",
    "base64",
];

/// Returns an error whose second line is its help.
fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn size(value: &Value, unit: u64, name: &str) -> Result<u64, Error> {
    let bytes = match value.as_str() {
        Some(text) => text.parse::<Bytes>().map(|bytes| bytes.0).ok(),
        None => whole(value),
    };
    let bytes =
        bytes.ok_or_else(|| refuse(format!("`{name}` wants a size\nsuch as `self.resources.memory`")))?;
    if bytes < unit {
        let help = format!("a filter binds tighter than `/` and `*`: write `(a / b) | {name}`");
        return Err(refuse(format!("`{name}` would be 0\n{help}")));
    }
    Ok(bytes / unit)
}

/// Returns a number that is not negative, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn whole(value: &Value) -> Option<u64> {
    if let Ok(number) = u64::try_from(value.clone()) {
        return Some(number);
    }
    let number = f64::try_from(value.clone()).ok()?;
    (0.0..1e18).contains(&number).then_some(number as u64)
}

fn seconds(value: &str) -> Result<u64, Error> {
    let span: Span =
        value.parse().map_err(|_| refuse("`seconds` wants a length of time\nsuch as `1m30s`"))?;
    Ok(Duration::as_secs(&span.0))
}

fn default(value: &Value, otherwise: Value) -> Value {
    if value.is_none() || value.is_undefined() { otherwise } else { value.clone() }
}

fn json(value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Map && value.len().is_none() {
        return Err(refuse("`json` cannot write all secrets\nname one of them"));
    }
    serde_json::to_string(value).map_err(|_| refuse("`json` cannot write this value"))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
fn urlencode(value: &Value) -> String {
    let text = value.to_string();
    let bytes = value.as_bytes().unwrap_or(text.as_bytes());
    let encode = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    bytes.iter().map(encode).collect()
}

fn base64(value: &Value) -> String {
    let text = value.to_string();
    base64::engine::general_purpose::STANDARD.encode(value.as_bytes().unwrap_or(text.as_bytes()))
}
