//! Where an engine is.

use std::{fmt, path::PathBuf, str::FromStr};

use trueup_engine::{Blame, TargetError};

/// Where an engine is: `unix:///var/run/docker.sock`, `/var/run/docker.sock` or `tcp://10.0.0.5:2375`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and a port, without encryption: for a tunnel or a trusted network.
    Tcp(String),
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }
}

impl FromStr for Endpoint {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.starts_with('/').then_some(text)) {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) {
            Some(host) if !host.trim_end_matches('/').is_empty() => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            _ => Err(TargetError::new(Blame::Target, format!("`{text}` is not the address of an engine"))
                .help("write `unix:///var/run/docker.sock` or `tcp://HOST:PORT`")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_written() {
        for text in ["unix:///var/run/docker.sock", "tcp://10.0.0.5:2375"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("/run/d.sock".parse::<Endpoint>().unwrap().to_string(), "unix:///run/d.sock");
        assert!("ssh://host".parse::<Endpoint>().is_err());
        assert!("tcp://".parse::<Endpoint>().is_err());
    }
}
