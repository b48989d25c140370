//! Who can read a secret file, and whether that is who the environment declares.
//!
//! What can be known without guessing: which keys at hand open the file; which ssh keys its header
//! names; how many recipients it has; and, of a file that was written here, a fingerprint of each.
//! An X25519 recipient of a file that another program wrote cannot be told, and is "unknown".

use std::path::Path;

use crate::{Error, Identities, Recipients, disk, envelope::Header, recipient};

/// Whether somebody can read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Their key at hand opens it, or the header names them.
    Yes,
    /// They cannot.
    No,
    /// The file does not tell.
    Unknown,
}

/// Who can read one secret file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readers {
    /// The recipients that the environment declares, in its order.
    pub declared: Vec<(String, Access)>,
    /// Keys at hand that open the file although they are not declared.
    pub undeclared: Vec<String>,
    /// Recipients that the header names and nobody declares, of which only a fingerprint is known.
    pub strangers: usize,
    /// How many recipients the file has.
    pub recipients: usize,
    /// Whether a key at hand opens the file.
    pub opens: bool,
}

/// Whether a file is encrypted to whom the environment declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To exactly those.
    Current,
    /// To others: each line says how.
    Stale(Vec<String>),
    /// It cannot be told for these recipients.
    Unknown(Vec<String>),
}

/// Returns who can read `file`.
pub fn check(file: &Path, identities: &Identities, recipients: &Recipients) -> Result<Readers, Error> {
    let bytes = disk::read(file)?;
    let header = Header::read(&bytes, identities).map_err(|why| disk::cannot_open(file, &why))?;
    let fits = |text: &str| {
        let number = identities.keys().iter().position(|key| key.recipient == text);
        number.map(|number| header.fits.contains(&number))
    };
    let recorded =
        |text: &str| header.record.as_ref().map(|record| record.contains(&recipient::fingerprint(text)));
    let access = |recipient: &recipient::Recipient| match fits(&recipient.text)
        .or_else(|| header.names(recipient))
        .or_else(|| recorded(&recipient.text))
    {
        Some(true) => Access::Yes,
        Some(false) => Access::No,
        None => Access::Unknown,
    };
    let declared: Vec<(String, Access)> =
        recipients.list().iter().map(|recipient| (recipient.text.clone(), access(recipient))).collect();
    let undeclared: Vec<String> = header
        .fits
        .iter()
        .map(|number| identities.keys()[*number].recipient.clone())
        .filter(|text| recipients.texts().all(|declared| declared != text))
        .collect();
    let known: Vec<String> =
        recipients.texts().chain(undeclared.iter().map(String::as_str)).map(recipient::fingerprint).collect();
    let strangers = match &header.record {
        Some(record) => record.iter().filter(|print| !known.contains(print)).count(),
        None => 0,
    };
    Ok(Readers {
        declared,
        undeclared,
        strangers,
        recipients: header.recipients(),
        opens: !header.fits.is_empty(),
    })
}

impl Readers {
    /// Returns whether these are the readers that the environment declares.
    pub fn verdict(&self) -> Verdict {
        let of = |wanted| self.declared.iter().filter(move |(_, access)| *access == wanted);
        let mut stale: Vec<String> =
            of(Access::No).map(|(text, _)| format!("`{text}` is declared and cannot read it")).collect();
        stale.extend(self.undeclared.iter().map(|text| format!("`{text}` can read it and is not declared")));
        if self.strangers > 0 {
            stale.push(format!("{} that nobody declares can read it", recipients(self.strangers)));
        }
        if stale.is_empty() && self.recipients != self.declared.len() {
            stale.push(format!(
                "it is for {}, {} are declared",
                recipients(self.recipients),
                self.declared.len()
            ));
        }
        let unknown: Vec<String> = of(Access::Unknown).map(|(text, _)| text.clone()).collect();
        match (stale.is_empty(), unknown.is_empty()) {
            (false, _) => Verdict::Stale(stale),
            (true, false) => Verdict::Unknown(unknown),
            (true, true) => Verdict::Current,
        }
    }
}

fn recipients(count: usize) -> String {
    if count == 1 { "1 recipient".into() } else { format!("{count} recipients") }
}
