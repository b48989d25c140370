//! One age file: its header, its decryption, its encryption.
//!
//! A plaintext is read into one buffer that has room for all of it from the start, so that growing
//! leaves no copy behind, and that is overwritten when it is dropped.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, Read, Write},
};

use age::{
    DecryptError, Decryptor, Encryptor,
    armor::{ArmoredReader, ArmoredWriter, Format},
};
use age_core::format::{FileKey, Stanza};
use trueup_schema::Secret;
use zeroize::Zeroizing;

use crate::{
    Identities, Recipients,
    recipient::{RECORD, Recipient},
};

/// The largest secret file, in bytes.
pub(crate) const FILE: u64 = 1 << 20;

/// Why an age file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("it is no age file")]
    NotAge,
    #[error("it is damaged or cut off")]
    Damaged,
    #[error("it is encrypted with a passphrase")]
    Passphrase,
    #[error("there is no key to open it with")]
    NoKeys,
    #[error("{keys}")]
    NoMatch { keys: String, recipients: String, have: Vec<String> },
}

impl Failure {
    /// Returns what to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::TooLarge => "keep secrets small; put large files elsewhere".into(),
            Self::NotAge => "encrypt it with `trueup secret encrypt`".into(),
            Self::Damaged => "restore it from Git's history, or encrypt it again".into(),
            Self::Passphrase => {
                "encrypt it to the environment's recipients with `trueup secret encrypt`".into()
            }
            Self::NoKeys => "name a key file; `trueup secret init` creates one".into(),
            Self::NoMatch { recipients, have, .. } => format!(
                "it is for {recipients}; here is {}: add one of them to `encryption.recipients` and let \
                 somebody who can read it run `trueup secret rekey`",
                have.join(", ")
            ),
        }
    }
}

/// What the header of an age file tells without a key.
#[derive(Default)]
pub(crate) struct Header {
    /// X25519 recipients, which are not named.
    pub(crate) x25519: usize,
    /// The tags of ssh-ed25519 recipients.
    pub(crate) ssh: Vec<String>,
    /// Recipients of kinds that are not supported.
    pub(crate) other: usize,
    /// The fingerprints of the recipients, if the file was written here.
    pub(crate) record: Option<BTreeSet<String>>,
    /// Which of the keys at hand fit, by their place in [`Identities`].
    pub(crate) fits: BTreeSet<usize>,
    passphrase: bool,
}

impl Header {
    /// Reads a header and tries every key on it.
    pub(crate) fn read(bytes: &[u8], identities: &Identities) -> Result<Self, Failure> {
        let seen = Stanzas::default();
        match decryptor(bytes)?.decrypt(std::iter::once(&seen as &dyn age::Identity)) {
            Err(DecryptError::NoMatchingKeys) => {}
            Err(_) if !seen.0.borrow().is_empty() => {}
            Err(_) | Ok(_) => return Err(Failure::Damaged),
        }
        let stanzas = seen.0.into_inner();
        let mut header = Self::default();
        for stanza in &stanzas {
            header.count(stanza);
        }
        if header.passphrase {
            return Err(Failure::Passphrase);
        }
        for (number, key) in identities.keys().iter().enumerate() {
            if matches!(key.as_age().unwrap_stanzas(&stanzas), Some(Ok(_))) {
                header.fits.insert(number);
            }
        }
        Ok(header)
    }

    /// Returns how many recipients the file has.
    pub(crate) fn recipients(&self) -> usize {
        self.x25519 + self.ssh.len() + self.other
    }

    /// Returns whether the file names the ssh key of `recipient`; `None` for a key that it would not name.
    pub(crate) fn names(&self, recipient: &Recipient) -> Option<bool> {
        recipient.tag().map(|tag| self.ssh.contains(&tag))
    }

    fn count(&mut self, stanza: &Stanza) {
        match stanza.tag.as_str() {
            "X25519" => self.x25519 += 1,
            "ssh-ed25519" => self.ssh.push(stanza.args.first().cloned().unwrap_or_default()),
            "scrypt" => self.passphrase = true,
            RECORD => self.record = Some(stanza.args.iter().cloned().collect()),
            // age adds one stanza that means nothing, so that readers learn to skip them.
            tag if tag.ends_with("-grease") => {}
            _ => self.other += 1,
        }
    }

    fn describe(&self) -> String {
        let mut kinds = Vec::new();
        for (count, kind) in
            [(self.x25519, "X25519"), (self.ssh.len(), "ssh-ed25519"), (self.other, "of another kind")]
        {
            if count > 0 {
                kinds.push(format!("{count} {kind}"));
            }
        }
        let noun = if self.recipients() == 1 { "recipient" } else { "recipients" };
        format!("{} {noun} ({})", self.recipients(), kinds.join(", "))
    }
}

/// Notes the stanzas of a header; opens nothing.
#[derive(Default)]
struct Stanzas(RefCell<Vec<Stanza>>);

impl age::Identity for Stanzas {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let copy = |stanza: &Stanza| Stanza {
            tag: stanza.tag.clone(),
            args: stanza.args.clone(),
            body: stanza.body.clone(),
        };
        self.0.borrow_mut().extend(stanzas.iter().map(copy));
        None
    }
}

/// Decrypts an age file, armored or binary.
pub(crate) fn decrypt(bytes: &[u8], identities: &Identities) -> Result<Secret<Vec<u8>>, Failure> {
    let decryptor = decryptor(bytes)?;
    if decryptor.is_scrypt() {
        return Err(Failure::Passphrase);
    }
    if identities.is_empty() {
        return Err(Failure::NoKeys);
    }
    let keys = identities.keys();
    let reader = match decryptor.decrypt(keys.iter().map(crate::identity::Key::as_age)) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Err(no_match(bytes, identities)),
        Err(_) => return Err(Failure::Damaged),
    };
    // A plaintext is always shorter than its age file.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    let mut reader = reader.take(bytes.len() as u64);
    reader.read_to_end(&mut plaintext).map_err(|_| Failure::Damaged)?;
    Ok(Secret::new(std::mem::take(&mut *plaintext)))
}

fn no_match(bytes: &[u8], identities: &Identities) -> Failure {
    let recipients = Header::read(bytes, identities).map(|header| header.describe()).unwrap_or_default();
    let have = identities
        .recipients()
        .map(|(recipient, file)| format!("`{}` of `{}`", shorten(recipient), file.display()))
        .collect::<Vec<_>>();
    let keys = match have.len() {
        1 => "the key at hand does not open it".into(),
        count => format!("none of the {count} keys at hand opens it"),
    };
    Failure::NoMatch { keys, recipients, have }
}

/// Returns how a recipient starts and ends, which is enough to know it by.
fn shorten(recipient: &str) -> String {
    match (recipient.get(..16), recipient.get(recipient.len().saturating_sub(6)..)) {
        (Some(start), Some(end)) if recipient.len() > 30 => format!("{start}…{end}"),
        _ => recipient.into(),
    }
}

fn decryptor(bytes: &[u8]) -> Result<Decryptor<impl Read>, Failure> {
    if bytes.len() as u64 > FILE {
        return Err(Failure::TooLarge);
    }
    let bytes = bytes.trim_ascii_start();
    let is_age = bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE");
    if !is_age {
        return Err(Failure::NotAge);
    }
    Decryptor::new(ArmoredReader::new(bytes)).map_err(|error| match error {
        DecryptError::UnknownFormat => Failure::NotAge,
        _ => Failure::Damaged,
    })
}

/// Encrypts to the recipients, armored, with the record of who they are.
pub(crate) fn encrypt(plaintext: &[u8], recipients: &Recipients) -> io::Result<Vec<u8>> {
    let record = recipients.record();
    let all = recipients.as_age().chain(std::iter::once(&record as &dyn age::Recipient));
    let encryptor = Encryptor::with_recipients(all).map_err(|error| io::Error::other(error.to_string()))?;
    let mut file = Vec::new();
    let armor = ArmoredWriter::wrap_output(&mut file, Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armor)?;
    writer.write_all(plaintext)?;
    writer.finish()?.finish()?;
    Ok(file)
}
