//! Somebody with a key of their own, in a folder of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use trueup_schema::Secret;
use trueup_secrets::{Error, Identities, Recipients, init};

pub(crate) struct Person {
    pub(crate) folder: TempDir,
    pub(crate) recipient: String,
}

impl Person {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recipient = init(&folder.path().join("key")).unwrap();
        Self { folder, recipient }
    }

    /// Somebody with an ssh key of that kind.
    pub(crate) fn with_ssh(kind: &str, passphrase: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-C", "somebody@example.org", "-N", passphrase, "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        let recipient = fs::read_to_string(folder.path().join("key.pub")).unwrap();
        Self { folder, recipient }
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub(crate) fn identities(&self) -> Identities {
        load(&[self.key()]).unwrap()
    }
}

pub(crate) fn load(files: &[PathBuf]) -> Result<Identities, Error> {
    Identities::load(files)
}

pub(crate) fn to(people: &[&Person]) -> Recipients {
    let texts: Vec<&str> = people.iter().map(|person| &*person.recipient).collect();
    Recipients::parse(&texts).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

pub(crate) fn text(secret: &Secret<Vec<u8>>) -> &str {
    str::from_utf8(secret.expose()).unwrap()
}

/// Returns an error with everything that it prints.
pub(crate) fn printed(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.help());
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text} {error} {error:?}");
        next = error.source();
    }
    text
}

/// Returns the error of something whose success has no `Debug`.
pub(crate) fn failure<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it fails")
}

/// Returns the names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
