//! What can go wrong with a source, and whose matter it is.
//!
//! No message holds a token: causes are flattened and cleaned when they enter.

use std::{fmt, path::PathBuf, time::Duration};

use trueup_schema::{Place, Problem, RepoPath, Report, Severity};

/// Whose matter an error is. It decides whether it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The repository's author: the same commit fails again.
    User,
    /// The operator's configuration: address, reference, token, file rights.
    Config,
    /// The network or the machine: tried again with back-off.
    Target,
}

/// A file or folder of a commit that is not read, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Its path; parts that are no valid names are escaped.
    pub path: RepoPath,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub help: String,
}

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("refuse `{address}`: {reason}")]
    RefuseAddress {
        /// The address, without credentials.
        address: String,
        /// Why not.
        reason: String,
        /// What to write instead.
        help: String,
    },
    /// The branch or tag has a name that Git forbids.
    #[error("refuse `{reference}`: it is no valid name of a branch or tag")]
    RefuseReference {
        /// What was asked for.
        reference: String,
    },
    /// The server wants us to go elsewhere.
    #[error("refuse the redirect of `{location}`")]
    RefuseRedirect {
        /// The repository.
        location: String,
    },
    /// The commit holds what is never read.
    #[error("refuse commit {commit}: {}", describe(refusals, *more))]
    RefuseTree {
        /// The commit's short id, or `worktree`.
        commit: String,
        /// The first of them, sorted by path.
        refusals: Vec<Refusal>,
        /// How many more there are.
        more: usize,
    },
    /// There is no usable repository.
    #[error("open the repository `{location}`")]
    OpenRepository {
        /// Where.
        location: String,
        /// Why not.
        source: Cause,
    },
    /// No repository stands above a folder.
    #[error("find a repository above `{}`", folder.display())]
    FindRepository {
        /// The folder.
        folder: PathBuf,
    },
    /// The branch or tag does not exist.
    #[error("find `{reference}` in `{location}`")]
    FindReference {
        /// The branch or tag.
        reference: String,
        /// The repository.
        location: String,
    },
    /// The commit does not exist, or no longer.
    #[error("find commit `{commit}` in `{location}`")]
    FindCommit {
        /// The commit's id.
        commit: String,
        /// The repository.
        location: String,
    },
    /// An object is missing or corrupt.
    #[error("read {what} of `{location}`")]
    ReadObject {
        /// What was read.
        what: String,
        /// The repository.
        location: String,
        /// What went wrong.
        source: Cause,
    },
    /// The token cannot be read.
    #[error("read the token file `{}`", path.display())]
    ReadToken {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The certificates cannot be read.
    #[error("read the certificates `{}`", path.display())]
    ReadCertificates {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: Cause,
    },
    /// The server does not accept the token, or wants one.
    #[error("authenticate at `{location}`")]
    Authenticate {
        /// The repository.
        location: String,
        /// The token's file, if there is one.
        token_file: Option<PathBuf>,
    },
    /// The server cannot be reached or does not speak Git.
    #[error("fetch `{location}`")]
    Fetch {
        /// The repository.
        location: String,
        /// What went wrong.
        source: Cause,
    },
    /// A fetch took too long.
    #[error("fetch `{location}`: no end after {}", seconds(*limit))]
    ExceedTime {
        /// The repository.
        location: String,
        /// The limit.
        limit: Duration,
    },
    /// A server sent too much.
    #[error("fetch `{location}`: the answer is larger than {limit} bytes")]
    ExceedBytes {
        /// The repository.
        location: String,
        /// The limit.
        limit: u64,
    },
    /// The mirror cannot be written.
    #[error("keep the mirror `{}`", path.display())]
    KeepMirror {
        /// The mirror's folder, or a file of it.
        path: PathBuf,
        /// What went wrong.
        source: Cause,
    },
    /// A local repository cannot be watched.
    #[error("watch `{}`", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        source: Cause,
    },
    /// A folder cannot be read.
    #[error("read `{}`", path.display())]
    ReadFolder {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The work was abandoned.
    #[error("finish reading `{location}`")]
    Abandon {
        /// The repository.
        location: String,
        /// What went wrong.
        source: Cause,
    },
}

impl Error {
    /// Returns whose matter it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::RefuseTree { .. } => Kind::User,
            Self::RefuseAddress { .. }
            | Self::RefuseReference { .. }
            | Self::RefuseRedirect { .. }
            | Self::OpenRepository { .. }
            | Self::FindRepository { .. }
            | Self::FindReference { .. }
            | Self::FindCommit { .. }
            | Self::ReadToken { .. }
            | Self::ReadCertificates { .. }
            | Self::Authenticate { .. } => Kind::Config,
            Self::ReadObject { .. }
            | Self::Fetch { .. }
            | Self::ExceedTime { .. }
            | Self::ExceedBytes { .. }
            | Self::KeepMirror { .. }
            | Self::Watch { .. }
            | Self::ReadFolder { .. }
            | Self::Abandon { .. } => Kind::Target,
        }
    }

    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::RefuseAddress { help, .. } => help.clone(),
            Self::RefuseRedirect { .. } => {
                "a token must not follow a redirect: configure the address that the server points to".into()
            }
            Self::RefuseTree { refusals, .. } => refusals.first()?.help.clone(),
            Self::FindRepository { .. } => "run `git init` there, or name another folder".into(),
            Self::FindReference { reference, .. } => {
                format!("push `{reference}`, or configure another `branch` or `tag`")
            }
            Self::FindCommit { .. } => "write the full id of a commit that the branch still reaches".into(),
            Self::ReadToken { path, .. } => {
                format!("write the token into `{}`, readable by trueup's user only", path.display())
            }
            Self::Authenticate { token_file: Some(path), .. } => {
                format!(
                    "the server refused the token of `{}`: check that it is valid and may read",
                    path.display()
                )
            }
            Self::Authenticate { token_file: None, .. } => {
                "the server wants a login: write a token into a file and name it as `tokenFile`".into()
            }
            Self::ExceedTime { .. } | Self::ExceedBytes { .. } => {
                "raise the source's limit if the repository is really that large".into()
            }
            Self::Fetch { .. } => "check the address, the server and the network; it is tried again".into(),
            _ => return None,
        })
    }

    /// Returns the refused files as problems at their places, for a commit that was refused.
    pub fn report(&self) -> Option<Report> {
        let Self::RefuseTree { refusals, .. } = self else { return None };
        let problems = refusals.iter().map(|refusal| Problem {
            place: Place { file: refusal.path.clone(), line: 1, column: 1 },
            severity: Severity::Error,
            message: refusal.reason.clone(),
            help: Some(refusal.help.clone()),
            source_line: None,
            width: 1,
        });
        Some(Report { problems: problems.collect(), files: refusals.len() })
    }
}

fn describe(refusals: &[Refusal], more: usize) -> String {
    let first = refusals.first().map(|r| format!("`{}`: {}", r.path, r.reason)).unwrap_or_default();
    match refusals.len().saturating_sub(1) + more {
        0 => first,
        others => format!("{first}, and {others} more"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64()).trim_end_matches('0').trim_end_matches('.').to_owned() + " s"
}

/// What lies behind an error, as text: its chain, outermost first, without control characters.
#[derive(Debug)]
pub struct Cause(String);

impl Cause {
    /// Flattens a chain of errors.
    pub(crate) fn new(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut parts: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = clean(&error.to_string(), 500);
            if !parts.iter().any(|part| part.contains(&text)) {
                parts.push(text);
            }
            next = error.source();
        }
        Self(parts.join(": "))
    }

    /// Returns a cause that has no error of its own.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::error::Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns at most `max` characters of `text`, with control characters as spaces, for one line of output.
pub(crate) fn clean(text: &str, max: usize) -> String {
    // Long enough to fill the line after white space is joined, short enough whatever the text is.
    let start = text.chars().take(max * 10);
    let plain: String = start.map(|c| if c.is_control() || is_bidirectional(c) { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Returns whether a character turns the direction of text, which can make a line read as another.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_line_of_output() {
        assert_eq!(clean("a\u{1b}[31mred\nb\u{202e}c", 200), "a [31mred b c");
        assert_eq!(clean(&"x".repeat(300), 200).chars().count(), 201);
    }
}
