//! Which repository, which branch or tag of it, and how much of it may be read.
//!
//! An address never carries credentials: a token is named by its file.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::Error;

/// Everything that [`crate::GitSource::open`] needs to know.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Where the repository is.
    pub location: Location,
    /// The branch or tag to follow.
    pub reference: Reference,
    /// The user name that goes with the token. Default: `git`, which most forges accept.
    pub user: Option<String>,
    /// The file that holds the token. It is read again at each request, so that it can be rotated.
    pub token_file: Option<PathBuf>,
    /// PEM certificates of authorities that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where the bare mirror of a remote repository is kept. Not used for a local one.
    pub mirror_dir: PathBuf,
    /// How much may be read.
    pub limits: Limits,
}

impl SourceConfig {
    /// Returns the configuration of a source without a token, with the default limits.
    pub fn new(location: Location, reference: Reference, mirror_dir: impl Into<PathBuf>) -> Self {
        Self {
            location,
            reference,
            user: None,
            token_file: None,
            ca_file: None,
            mirror_dir: mirror_dir.into(),
            limits: Limits::default(),
        }
    }
}

/// How much may be read of a repository before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files of one commit, and folders of one commit. Default: 20,000.
    pub files: usize,
    /// Bytes of one file that is read. Default: 8 MiB.
    pub file_bytes: u64,
    /// Bytes of all files of one commit that are read. Default: 256 MiB.
    pub total_bytes: u64,
    /// Folders within folders. Default: 32.
    pub depth: usize,
    /// Bytes of a file's path. Default: 1,024.
    pub path_bytes: usize,
    /// Bytes of one answer of a remote. Default: 1 GiB.
    pub fetch_bytes: u64,
    /// How long one fetch may take. Default: 5 minutes.
    pub fetch_time: Duration,
    /// How long a remote may be silent. Default: 20 seconds.
    pub idle_time: Duration,
    /// Packs in the mirror before it is written anew. gix fails at the 32nd. Default: 20.
    pub packs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 20_000,
            file_bytes: 8 << 20,
            total_bytes: 256 << 20,
            depth: 32,
            path_bytes: 1024,
            fetch_bytes: 1 << 30,
            fetch_time: Duration::from_mins(5),
            idle_time: Duration::from_secs(20),
            packs: 20,
        }
    }
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine, read in place.
    Local(PathBuf),
    /// An `http://` or `https://` address.
    Remote(String),
}

impl FromStr for Location {
    type Err = Error;

    /// Reads a path, `file://`, `http://` or `https://`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: &str, help: &str| Error::RefuseAddress {
            address: without_credentials(text),
            reason: reason.into(),
            help: help.into(),
        };
        if text.is_empty() || text.contains(|c: char| c.is_control()) {
            return Err(refuse(
                "it is empty or holds a control character",
                "write a path or an https:// address",
            ));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.split('/').next().is_some_and(|host| host.contains('@') && host.contains(':')) {
                return Err(refuse("ssh is not supported", "use the https:// address and `tokenFile`"));
            }
            return Ok(Self::Local(PathBuf::from(text)));
        };
        match scheme {
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::Local(PathBuf::from(path))),
                _ => Err(refuse("it names another machine", "write `file:///` and an absolute path")),
            },
            "http" | "https" => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if authority.contains('@') {
                    return Err(refuse(
                        "it carries credentials",
                        "leave them out, and write the token into a file that `tokenFile` names",
                    ));
                }
                if authority.is_empty() || rest.contains(['?', '#']) {
                    return Err(refuse("it is no address of a repository", "write https://host/path.git"));
                }
                Ok(Self::Remote(text.trim_end_matches('/').to_owned()))
            }
            _ => Err(refuse("its scheme is not supported", "use a path, `file://`, `http://` or `https://`")),
        }
    }
}

/// Returns the address with `…` in place of a user and password.
fn without_credentials(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find('/').map_or(address.len(), |at| start + at);
    match address[start..end].rfind('@') {
        Some(at) if start > 0 => format!("{}…@{}", &address[..start], &address[start + at + 1..]),
        _ => address.to_owned(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(address) => f.write_str(address),
        }
    }
}

/// Which commit of a repository is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The branch of that name.
    Branch(String),
    /// The tag of that name.
    Tag(String),
    /// Whatever the repository's `HEAD` names.
    Head,
}

impl Reference {
    /// Returns the full name: `refs/heads/main`, `refs/tags/v1` or `HEAD`.
    pub fn full_name(&self) -> String {
        match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Head => "HEAD".into(),
        }
    }

    /// Checks that Git allows the name.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let name = self.full_name();
        match gix::refs::FullName::try_from(name.as_str()) {
            Ok(_) if !name.contains('*') => Ok(()),
            _ => Err(Error::RefuseReference { reference: self.to_string() }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) | Self::Tag(name) => f.write_str(name),
            Self::Head => f.write_str("HEAD"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_file_address_are_local() {
        assert_eq!("/srv/config".parse::<Location>().unwrap(), Location::Local("/srv/config".into()));
        assert_eq!("file:///srv/config".parse::<Location>().unwrap(), Location::Local("/srv/config".into()));
        assert_eq!("file://localhost/srv/c".parse::<Location>().unwrap(), Location::Local("/srv/c".into()));
        assert!("file://elsewhere/srv".parse::<Location>().is_err());
    }

    #[test]
    fn an_address_with_credentials_is_refused_without_repeating_them() {
        let error = "https://bob:hunter2@example.org/x.git".parse::<Location>().unwrap_err();
        assert_eq!(error.to_string(), "refuse `https://…@example.org/x.git`: it carries credentials");
        assert!(error.help().unwrap().contains("tokenFile"));
        assert_eq!(error.kind(), crate::Kind::Config);
    }

    #[test]
    fn ssh_is_refused_with_another_way() {
        for address in ["ssh://git@example.org/x.git", "git@example.org:x.git", "git://example.org/x"] {
            assert!(
                address.parse::<Location>().unwrap_err().help().unwrap().contains("https://"),
                "{address}"
            );
        }
    }

    #[test]
    fn names_that_git_forbids_are_refused() {
        for name in ["a..b", "-", "a b", "", "a*", "x.lock", "a//b"] {
            let reference = Reference::Branch(name.into());
            assert_eq!(reference.check().is_err(), name != "-", "{name}");
        }
        assert!(Reference::Head.check().is_ok());
    }
}
