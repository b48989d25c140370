//! Quantities with units: memory, processors, durations and percentages.

use std::{borrow::Cow, fmt, net::Ipv4Addr, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}")]
pub struct InvalidQuantity {
    /// What was wanted, with an example.
    pub kind: &'static str,
    /// What was written.
    pub text: String,
}

macro_rules! quantity {
    ($name:ident, $kind:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text_or_number(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "description": $kind, "pattern": $pattern })
            }
        }

        impl $name {
            fn invalid(text: &str) -> InvalidQuantity {
                InvalidQuantity { kind: $kind, text: text.to_owned() }
            }
        }
    };
}

/// Accepts `512` as well as `"512"`.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(de::Error::custom(format!("expected a string or a number, found `{other}`"))),
    }
}

/// A size in bytes: `512Mi`, `1Gi`, `10G`, or a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
    ("", 1),
];

impl FromStr for Bytes {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let number = digits.parse::<u64>().ok();
        factor
            .zip(number)
            .and_then(|(factor, number)| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| Self::invalid(text))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .filter(|(name, _)| name.ends_with('i') || name.is_empty())
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

quantity!(Bytes, "a size, such as `512Mi`, `1Gi` or `10G`", "^[0-9]+(Ti|Gi|Mi|Ki|T|G|M|k)?$");

/// Processors in thousandths: `2`, `0.5` or `500m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu {
    /// Thousandths of one processor.
    pub millis: u64,
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || Self::invalid(text);
        if let Some(millis) = text.strip_suffix('m') {
            return millis.parse().map(|millis| Self { millis }).map_err(|_| invalid());
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > 3 {
            return Err(invalid());
        }
        let millis = format!("{fraction:0<3}").parse::<u64>().ok();
        let whole = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(1000));
        whole
            .zip(millis)
            .and_then(|(whole, millis)| whole.checked_add(millis))
            .map(|millis| Self { millis })
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis.is_multiple_of(1000) {
            write!(f, "{}", self.millis / 1000)
        } else {
            write!(f, "{}m", self.millis)
        }
    }
}

quantity!(Cpu, "a number of processors, such as `2`, `0.5` or `500m`", r"^([0-9]+(\.[0-9]{1,3})?|[0-9]+m)$");

/// A length of time: `500ms`, `5s`, `10m`, `1h30m`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let invalid = || Self::invalid(text);
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
            let number: u64 = rest[..unit_at].parse().map_err(|_| invalid())?;
            let tail = &rest[unit_at..];
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let millis = match &tail[..unit_end] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(invalid()),
            };
            let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(invalid)?;
            total = total.checked_add(part).ok_or_else(invalid)?;
            rest = &tail[unit_end..];
        }
        if text.is_empty() { Err(invalid()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= length {
                write!(f, "{}{unit}", millis / length)?;
                millis %= length;
            }
        }
        Ok(())
    }
}

quantity!(Span, "a length of time, such as `500ms`, `5s`, `10m` or `1h30m`", "^([0-9]+(ms|s|m|h|d))+$|^0$");

/// A share of a hundred: `30%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        text.strip_suffix('%')
            .and_then(|digits| digits.parse().ok())
            .filter(|share| *share <= 100)
            .map(Self)
            .ok_or_else(|| Self::invalid(text))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

quantity!(Percent, "a percentage from `0%` to `100%`", "^[0-9]{1,3}%$");

/// A port of the host: `8080`, or `127.0.0.1:8080` for one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publish {
    /// The address of the host; every address when left out.
    pub address: Option<Ipv4Addr>,
    /// The port of the host, never 0.
    pub port: u16,
}

impl FromStr for Publish {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (address, port) = match text.rsplit_once(':') {
            Some((address, port)) => (Some(address.parse().map_err(|_| Self::invalid(text))?), port),
            None => (None, text),
        };
        let address = address.filter(|address: &Ipv4Addr| !address.is_unspecified());
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| Self::invalid(text))?;
        Ok(Self { address, port })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}", self.port)
    }
}

quantity!(
    Publish,
    "a port of the host, such as `8080` or `127.0.0.1:8080`",
    r"^([0-9]{1,3}(\.[0-9]{1,3}){3}:)?[0-9]{1,5}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Bytes>().ok().map(|b| b.0)
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(bytes("512Mi"), Some(512 << 20));
        assert_eq!(bytes("10G"), Some(10_000_000_000));
        assert_eq!(bytes("4096"), Some(4096));
        for wrong in ["", "Mi", "1.5Gi", "-1", "1gi", "99999999999Ti", "1 Gi"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_quantity_prints_as_it_may_be_written() {
        for text in ["512Mi", "1Gi", "1000"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        for text in ["500ms", "5s", "1h30m", "2d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for (text, printed) in [("2", "2"), ("0.5", "500m"), ("1500m", "1500m")] {
            assert_eq!(text.parse::<Cpu>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in ["", "s", "5", "5x", "-5s", "5s ", "99999999999999999999d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
        for wrong in ["", "m", ".5", "1.", "1.2345", "-1", "1e3"] {
            assert!(wrong.parse::<Cpu>().is_err(), "{wrong}");
        }
        for wrong in ["", "30", "101%", "-1%", "%"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }
}
