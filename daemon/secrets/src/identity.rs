//! The private keys that open secret files, from key files.
//!
//! A key file holds `AGE-SECRET-KEY-1…` lines, with comments, or one ssh-ed25519 key without a
//! passphrase. Several files together are one set: a file is opened by whichever key fits, which is
//! what makes rotation possible.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{Error, recipient};

/// The largest key file, in bytes.
const KEY_FILE: u64 = 64 << 10;

/// The private keys at hand. Has no `Debug`: it holds keys.
#[derive(Default)]
pub struct Identities(Vec<Key>);

/// One private key.
pub(crate) struct Key {
    pub(crate) recipient: String,
    pub(crate) file: PathBuf,
    held: Held,
}

enum Held {
    X25519(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
}

impl Key {
    pub(crate) fn as_age(&self) -> &dyn age::Identity {
        match &self.held {
            Held::X25519(identity) => identity,
            Held::Ssh(identity) => identity.as_ref(),
        }
    }
}

impl Identities {
    /// Reads key files. Refuses one that every user of the machine may read.
    pub fn load(files: &[PathBuf]) -> Result<Self, Error> {
        let mut keys: Vec<Key> = Vec::new();
        for file in files {
            for key in read(file)? {
                let known = keys.iter().any(|known| known.recipient == key.recipient);
                keys.extend((!known).then_some(key));
            }
        }
        Ok(Self(keys))
    }

    /// Returns the public side of each key, and the file that it came from.
    pub fn recipients(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|key| (key.recipient.as_str(), key.file.as_path()))
    }

    /// Returns whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.0
    }
}

fn read(path: &Path) -> Result<Vec<Key>, Error> {
    let text = text(path)?;
    if text.trim_start().starts_with("-----BEGIN ") {
        return ssh(path, &text).map(|key| vec![key]);
    }
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(x25519(path, number, line)?);
        }
    }
    if keys.is_empty() {
        return Err(refuse(path, 1, "it holds no key", "create one with `trueup secret init`"));
    }
    Ok(keys)
}

fn text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let fail = |source| Error::ReadFile { path: path.into(), source };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.permissions().mode() & 0o007 != 0 {
        let help = format!("run: chmod 600 {}", path.display());
        return Err(refuse(path, 1, "it is readable by others", help));
    }
    if metadata.len() > KEY_FILE {
        return Err(refuse(path, 1, "it is too large for a key file", "name the file that holds the key"));
    }
    // Room for all of it from the start, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(KEY_FILE).unwrap_or(0) + 1));
    match file.take(KEY_FILE).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(refuse(path, 1, "it is no text", "name the file that holds the key"))
        }
        Err(error) => Err(fail(error)),
    }
}

fn x25519(path: &Path, number: usize, line: &str) -> Result<Key, Error> {
    let help = "write an AGE-SECRET-KEY-1… line, as `trueup secret init` does";
    let reason = if line.starts_with("AGE-PLUGIN-") {
        "keys of plugins are not supported"
    } else if line.starts_with("AGE-SECRET-KEY-PQ-") {
        "post-quantum keys are not supported yet"
    } else if !line.starts_with("AGE-SECRET-KEY-1") {
        "it is no age key"
    } else {
        match line.parse::<age::x25519::Identity>() {
            Ok(identity) => {
                let recipient = identity.to_public().to_string();
                return Ok(Key { recipient, file: path.into(), held: Held::X25519(identity) });
            }
            Err(_) => "the age key is damaged",
        }
    };
    Err(refuse(path, number, reason, help))
}

fn ssh(path: &Path, text: &str) -> Result<Key, Error> {
    let help = "use an ssh-ed25519 key without a passphrase, or an age key";
    let identity = age::ssh::Identity::from_buffer(text.as_bytes(), None)
        .map_err(|_| refuse(path, 1, "the ssh key is damaged or of a kind that is not supported", help))?;
    let reason = match &identity {
        age::ssh::Identity::Encrypted(_) => "the ssh key has a passphrase",
        age::ssh::Identity::Unsupported(_) => "this kind of ssh key is not supported",
        age::ssh::Identity::Unencrypted(_) => match recipient::of_ssh(&identity) {
            Some(recipient) => {
                return Ok(Key { recipient, file: path.into(), held: Held::Ssh(Box::new(identity)) });
            }
            None => "only ssh-ed25519 keys are supported",
        },
    };
    Err(refuse(path, 1, reason, help))
}

fn refuse(path: &Path, line: usize, reason: &'static str, help: impl Into<String>) -> Error {
    Error::ReadKey { path: path.into(), line, reason, help: help.into() }
}
