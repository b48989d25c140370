//! Names as types: a value of one of these types is known to be well formed.
//!
//! Component, environment, zone and volume names are RFC 1035 labels, because they become host
//! names, network names and labels on a target.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is no name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct InvalidName {
    /// What kind of name was wanted.
    pub kind: &'static str,
    /// What was written.
    pub text: String,
    /// The rule that it breaks.
    pub rule: String,
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest name allowed, in characters.
            pub const MAX: usize = $max;

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check_label(text, $max)
                    .map(|()| Self(text.into()))
                    .map_err(|rule| InvalidName { kind: $kind, text: text.to_owned(), rule })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": concat!("a ", $kind, ": lower-case letters, digits and `-`, starting with a letter"),
                    "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$",
                    "maxLength": $max,
                })
            }
        }
    };
}

label!(
    /// The name of an environment.
    EnvironmentName, "environment name", 20
);
label!(
    /// The name of a repository, for people.
    RepositoryName, "repository name", 30
);
label!(
    /// The name of a component.
    ComponentName, "component name", 30
);
label!(
    /// The name of a network zone.
    ZoneName, "zone name", 20
);
label!(
    /// The name of a volume of a component.
    VolumeName, "volume name", 30
);
label!(
    /// The name of a port of a component.
    PortName, "port name", 15
);
label!(
    /// The name that the operator's configuration gives to a source.
    SourceName, "source name", 30
);
label!(
    /// The name that the operator's configuration gives to a target.
    TargetName, "target name", 30
);

label!(
    /// The name of a namespace of a cluster.
    NamespaceName, "namespace name", 63
);

/// Which target: its kind, and its name among those of that kind. Written as `docker/local`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetId {
    /// A Docker Engine.
    Docker(TargetName),
    /// A Kubernetes cluster.
    Kubernetes(TargetName),
}

impl TargetId {
    /// Returns the name that the operator's configuration gives it.
    pub fn name(&self) -> &TargetName {
        let (Self::Docker(name) | Self::Kubernetes(name)) = self;
        name
    }
}

impl FromStr for TargetId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            Some(("docker", name)) => name.parse().map(Self::Docker),
            Some(("kubernetes", name)) => name.parse().map(Self::Kubernetes),
            _ => Err(InvalidName {
                kind: "target",
                text: text.to_owned(),
                rule: "it must be `docker/` or `kubernetes/`, and a target name".into(),
            }),
        }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(name) => write!(f, "docker/{name}"),
            Self::Kubernetes(name) => write!(f, "kubernetes/{name}"),
        }
    }
}

fn check_label(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.chars().count() > max {
        return Err(format!("it is longer than {max} characters"));
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it must start with a lower-case letter".into());
    }
    if text.ends_with('-') {
        return Err("it must not end with `-`".into());
    }
    match text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')) {
        Some(c) => Err(format!("`{c}` is not allowed, only lower-case letters, digits and `-`")),
        None => Ok(()),
    }
}

/// A path inside a repository: relative, `/` between parts, no `.`, no `..`, no empty part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

impl RepoPath {
    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the file's name ends with this extension, written in lower case.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.0.rsplit_once('.').is_some_and(|(_, last)| last == extension)
    }

    /// Returns the folder part, or `None` at the root.
    pub fn folder(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(folder, _)| folder)
    }
}

impl FromStr for RepoPath {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |rule: &str| InvalidName { kind: "path", text: text.to_owned(), rule: rule.to_owned() };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.len() > 4096 {
            return Err(invalid("it is longer than 4096 bytes"));
        }
        if text.contains(['\0', '\n', '\r', '\\']) {
            return Err(invalid("it holds a control character or a backslash"));
        }
        if text.starts_with('/') {
            return Err(invalid("it must be relative to the repository's root"));
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid("empty parts, `.` and `..` are not allowed"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RepoPath {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for RepoPath {
    fn schema_name() -> Cow<'static, str> {
        "RepoPath".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a path inside the repository, without `..`", "minLength": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        let id: TargetId = "docker/local".parse().unwrap();
        assert_eq!((id.to_string().as_str(), id.name().as_str()), ("docker/local", "local"));
        for other in ["", "local", "docker/", "docker/a/b", "podman/local"] {
            assert!(other.parse::<TargetId>().is_err(), "{other}");
        }
    }
}
