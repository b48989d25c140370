//! Who a secret file is encrypted to: `age1…` and `ssh-ed25519 …`, nothing that names a program.
//!
//! An age file does not tell its X25519 recipients. Files written here therefore carry one more
//! stanza with a fingerprint of each recipient; other programs skip stanzas that they do not know.

use std::collections::{BTreeSet, HashSet};

use age::EncryptError;
use age_core::format::{FileKey, Stanza};
use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use crate::Error;

/// The tag of the stanza that records the recipients.
pub(crate) const RECORD: &str = "trueup-recipients";

/// How much of a wrong recipient an error repeats, in characters.
const SHOWN: usize = 24;

/// The recipients of an environment, each once, in the order of the manifest.
pub struct Recipients(Vec<Recipient>);

pub(crate) struct Recipient {
    pub(crate) text: String,
    kind: Kind,
}

enum Kind {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl Recipients {
    /// Reads the recipients of `encryption.recipients`. There must be one at least.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Error> {
        let mut recipients: Vec<Recipient> = Vec::new();
        for text in texts {
            let recipient = parse(text.as_ref().trim())?;
            if recipients.iter().all(|known| known.text != recipient.text) {
                recipients.push(recipient);
            }
        }
        if recipients.is_empty() { Err(Error::NoRecipients) } else { Ok(Self(recipients)) }
    }

    /// Returns each as text, without comments.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|recipient| recipient.text.as_str())
    }

    pub(crate) fn list(&self) -> &[Recipient] {
        &self.0
    }

    pub(crate) fn as_age(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.0.iter().map(|recipient| match &recipient.kind {
            Kind::X25519(recipient) => recipient as &dyn age::Recipient,
            Kind::Ssh(recipient) => recipient,
        })
    }

    /// Returns the stanza that records them.
    pub(crate) fn record(&self) -> Record {
        Record(self.0.iter().map(|recipient| fingerprint(&recipient.text)).collect())
    }
}

impl Recipient {
    /// Returns the tag by which an age file names an ssh key; `None` for X25519, which it does not name.
    pub(crate) fn tag(&self) -> Option<String> {
        let blob = STANDARD.decode(self.text.strip_prefix("ssh-ed25519 ")?).ok()?;
        Some(STANDARD_NO_PAD.encode(&Sha256::digest(blob)[..4]))
    }
}

/// Returns the 16 hexadecimal digits that stand for a recipient.
pub(crate) fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// Returns the `ssh-ed25519 …` line of a private key; `None` for other kinds.
pub(crate) fn of_ssh(identity: &age::ssh::Identity) -> Option<String> {
    match age::ssh::Recipient::try_from(identity.clone()) {
        Ok(recipient @ age::ssh::Recipient::SshEd25519(..)) => without_comment(&recipient.to_string()),
        _ => None,
    }
}

fn without_comment(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

fn parse(text: &str) -> Result<Recipient, Error> {
    let refuse = |reason, help| Error::ParseRecipient {
        // A private key in the wrong place is not repeated.
        text: if text.to_ascii_uppercase().contains("SECRET") {
            "AGE-SECRET-…".into()
        } else {
            text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
        },
        reason,
        help,
    };
    let help = "write `age1…` or `ssh-ed25519 …`";
    if text.starts_with("ssh-") {
        return match text.parse() {
            Ok(recipient @ age::ssh::Recipient::SshEd25519(..)) => match without_comment(text) {
                Some(text) => Ok(Recipient { text, kind: Kind::Ssh(recipient) }),
                None => Err(refuse("the ssh key is damaged", help)),
            },
            Ok(age::ssh::Recipient::SshRsa(..)) => Err(refuse("ssh-rsa is not supported", help)),
            Err(_) => Err(refuse("the ssh key is damaged or of a kind that is not supported", help)),
        };
    }
    if text.to_ascii_uppercase().starts_with("AGE-") {
        return Err(refuse(
            "it is a private key",
            "write its public side, and replace the key: it was shown",
        ));
    }
    if text.starts_with("age1pq1") || text.starts_with("age1tag") {
        return Err(refuse("post-quantum and hardware recipients are not supported yet", help));
    }
    if let Some(rest) = text.strip_prefix("age1")
        && rest.contains('1')
    {
        return Err(refuse("recipients of plugins are not supported, because they name a program", help));
    }
    match text.parse::<age::x25519::Recipient>() {
        Ok(recipient) => Ok(Recipient { text: recipient.to_string(), kind: Kind::X25519(recipient) }),
        Err(_) => Err(refuse("it is no age recipient", help)),
    }
}

/// The stanza that tells who a file was encrypted to. It opens nothing.
pub(crate) struct Record(BTreeSet<String>);

impl age::Recipient for Record {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let stanza = Stanza { tag: RECORD.into(), args: self.0.iter().cloned().collect(), body: Vec::new() };
        Ok((vec![stanza], HashSet::new()))
    }
}
