//! The engine's errors, in one line each, with whose matter they are.

use bollard::errors::Error;
use trueup_engine::{Blame, TargetError};

/// Returns the status that the engine answered with.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Returns whether the engine says that there is no such thing.
pub(crate) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// Turns "there is no such thing" into none.
pub(crate) fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Turns "it is so already" (304) into success.
pub(crate) fn already(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if status(&error) == Some(304) => Ok(()),
        other => other,
    }
}

/// Turns "it is so already" and "there is no such thing" into success: for what should be gone.
pub(crate) fn gone(answer: Result<(), Error>) -> Result<(), Error> {
    match answer {
        Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
        other => other,
    }
}

/// What the engine says of a container that somebody removes at that moment, with whichever status.
const REMOVAL_WORDS: [&str; 3] = ["marked for removal", "removal in progress", "is already in progress"];

/// Returns whether the engine's answer has one of these, in lower case.
pub(crate) fn says(error: &Error, words: &[&str]) -> bool {
    let Error::DockerResponseServerError { message, .. } = error else { return false };
    let message = message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

/// What the engine says when the host is in the way, not the manifest.
const TARGET_WORDS: [&str; 8] = [
    "port is already allocated",
    "address already in use",
    "no space left",
    "pool overlaps",
    "overlaps with",
    "has active endpoints",
    "non-overlapping",
    "connection refused",
];

/// What a runtime says when the image or the configuration is wrong.
const MANIFEST_WORDS: [&str; 7] = [
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "unable to find user",
    "no matching entries in passwd",
    "invalid",
    "is not a directory",
];

/// Returns a failure of `doing` (`create the container demo-web`), with the engine's words as its cause.
pub(crate) fn failed(doing: impl std::fmt::Display, error: &Error) -> TargetError {
    let failure = TargetError::new(blame(error), format!("cannot {doing}"));
    match error {
        Error::DockerResponseServerError { message, .. } => {
            TargetError { causes: vec![one_line(message)], ..failure }
        }
        Error::RequestTimeoutError => {
            TargetError { causes: vec!["the engine did not answer in time".into()], ..failure }
        }
        other => failure.caused_by(other),
    }
}

fn blame(error: &Error) -> Blame {
    let Error::DockerResponseServerError { status_code, message } = error else {
        return Blame::Target;
    };
    let message = message.to_lowercase();
    if says(error, &REMOVAL_WORDS) {
        Blame::Moved
    } else if says(error, &TARGET_WORDS) {
        Blame::Target
    } else if *status_code == 409 || (*status_code == 404 && names_what_is_gone(&message)) {
        Blame::Moved
    } else if *status_code < 500 || says(error, &MANIFEST_WORDS) {
        Blame::Manifest
    } else {
        Blame::Target
    }
}

/// Returns whether the engine misses a thing that was there when the plan was made: a container, a network, or
/// an image, which a fetch of the same run has seen. A driver that it misses is the manifest's matter.
fn names_what_is_gone(message: &str) -> bool {
    let things = ["no such container", "no such image", "no such network"];
    things.iter().any(|thing| message.contains(thing))
        || (message.contains("network") && message.contains("not found"))
}

/// Returns a failure because the world moved since the plan was made.
pub(crate) fn moved(message: impl Into<String>) -> TargetError {
    TargetError::new(Blame::Moved, message).help("make a new plan")
}

/// Returns a failure of this machine's file system.
pub(crate) fn file_failure(doing: &str, path: &std::path::Path, error: &std::io::Error) -> TargetError {
    TargetError::new(Blame::Target, format!("cannot {doing} `{}`", path.display())).caused_by(error)
}

/// Returns the first line of an engine's message, without its end.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.into() }
    }

    #[test]
    fn the_host_is_blamed_for_a_port_and_the_manifest_for_its_command() {
        let port = answer(500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated");
        assert_eq!(blame(&port), Blame::Target);
        let command =
            answer(400, "OCI runtime create failed: exec: \"x\": executable file not found in $PATH");
        assert_eq!(blame(&command), Blame::Manifest);
        assert_eq!(blame(&answer(409, "the name is in use")), Blame::Moved);
        assert_eq!(blame(&answer(500, "something")), Blame::Target);
    }

    #[test]
    fn what_is_gone_since_the_plan_was_made_is_nobodys_matter() {
        for message in ["No such container: 0123", "No such image: a:1", "network demo-data not found"] {
            assert_eq!(blame(&answer(404, message)), Blame::Moved, "{message}");
        }
        let driver = "error looking up volume plugin none: plugin \"none\" not found";
        assert_eq!(blame(&answer(404, driver)), Blame::Manifest);
        assert_eq!(blame(&answer(400, "No such image: a:1")), Blame::Manifest);
    }

    #[test]
    fn what_somebody_removes_at_that_moment_is_nobodys_matter() {
        for (status, message) in [
            (500, "Cannot update container 01: container is marked for removal and cannot be \"update\""),
            (409, "container 01 is marked for removal and cannot be started"),
            (409, "removal of container 01 is already in progress"),
        ] {
            assert_eq!(blame(&answer(status, message)), Blame::Moved, "{message}");
        }
    }

    #[test]
    fn what_is_so_already_is_no_failure() {
        assert!(already(Err(answer(304, ""))).is_ok());
        assert!(already(Err(answer(404, ""))).is_err());
        assert!(gone(Err(answer(404, ""))).is_ok());
        assert!(found::<()>(Err(answer(404, ""))).unwrap().is_none());
    }
}
