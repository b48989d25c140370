//! What an unquoted scalar means: the core schema of YAML 1.2, without what surprises.

use serde_json::Number;

use super::Value;

/// Returns what a plain scalar stands for, or `None` when it is a string.
///
/// Numbers with a leading zero or with underscores, and `.inf` and `.nan`, are strings.
pub(crate) fn resolve(plain: &str) -> Option<Value> {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        _ => number(plain).map(|number| Value::Number(number, plain.into())),
    }
}

fn number(plain: &str) -> Option<Number> {
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(hexadecimal) = plain.strip_prefix("0x") {
        return radix(hexadecimal, 16);
    }
    if let Some(octal) = plain.strip_prefix("0o") {
        return radix(octal, 8);
    }
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let unsigned = plain.strip_prefix('+').unwrap_or(plain);
        return unsigned
            .parse::<u64>()
            .map(Number::from)
            .or_else(|_| unsigned.parse::<i64>().map(Number::from))
            .ok();
    }
    let allowed = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+');
    if !digits.bytes().all(allowed) {
        return None;
    }
    plain.parse::<f64>().ok().and_then(Number::from_f64)
}

fn radix(digits: &str, radix: u32) -> Option<Number> {
    let plain = digits.chars().all(|c| c.is_digit(radix));
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Number::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(plain: &str) -> String {
        match resolve(plain) {
            None => "string".into(),
            Some(Value::Null) => "null".into(),
            Some(Value::Bool(truth)) => truth.to_string(),
            Some(Value::Number(number, _)) => number.to_string(),
            Some(_) => "other".into(),
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_strings() {
        for word in ["yes", "no", "on", "off", "y", "n", "YES", "Off"] {
            assert_eq!(meaning(word), "string", "{word}");
        }
        assert_eq!(meaning("True"), "true");
        assert_eq!(meaning("~"), "null");
        assert_eq!(meaning(""), "null");
    }

    #[test]
    fn numbers_that_could_mean_something_else_are_strings() {
        for text in ["012", "0444", "1_000", "1:30", ".inf", ".nan", "-", "+", "1e999", "0x", "0xg", "1.2.3"]
        {
            assert_eq!(meaning(text), "string", "{text}");
        }
        assert_eq!(meaning("99999999999999999999999"), "string");
        for (text, number) in [("12", "12"), ("-3", "-3"), ("+3", "3"), ("17.7", "17.7"), ("0", "0")] {
            assert_eq!(meaning(text), number);
        }
        assert_eq!(meaning("0o17"), "15");
        assert_eq!(meaning("0x1F"), "31");
        assert_eq!(meaning("1e3"), "1000.0");
    }
}
