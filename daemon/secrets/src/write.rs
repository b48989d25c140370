//! The commands that write secret files: `init`, `encrypt`, `view`, `rekey`.
//!
//! Plaintext comes in as a [`Secret`] and leaves as an age file, which is written whole or not at all.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path};

use age::secrecy::ExposeSecret;
use trueup_schema::Secret;
use zeroize::Zeroizing;

use crate::{
    Error, Identities, Recipients, Verdict, check,
    content::{self, Content},
    disk, envelope,
};

/// What generated secrets are made of: 62 characters that need no quoting anywhere.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Creates a key file, readable by its owner only, and returns the recipient that belongs to it.
/// An existing file is never replaced.
pub fn init(key_file: &Path) -> Result<String, Error> {
    if let Some(folder) = key_file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| Error::WriteFile { path: folder.into(), source })?;
    }
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let key = identity.to_string();
    let text = Zeroizing::new(format!("# recipient: {recipient}\n{}\n", key.expose_secret()));
    disk::create(key_file, text.as_bytes(), 0o600)?;
    Ok(recipient)
}

/// Returns a random value of `length` letters and digits: 5.95 bits each.
pub fn generate(length: usize) -> Result<Secret<Vec<u8>>, Error> {
    let mut value = Zeroizing::new(Vec::with_capacity(length));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while value.len() < length {
        getrandom::fill(&mut *bytes).map_err(|_| Error::Random)?;
        // 248 is the largest multiple of 62 in a byte; what is above it would make some letters likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let missing = length - value.len();
        value.extend(fair.map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()]).take(missing));
    }
    Ok(Secret::new(std::mem::take(&mut *value)))
}

/// A secret that `create_missing` makes when it is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generate {
    /// The key in the file; `None` for a file that is one raw value.
    pub key: Option<String>,
    /// How many characters.
    pub length: usize,
}

/// Generates those of `wanted` that `file` does not hold yet, and returns their keys. What is there
/// is never changed; a file that is not there is created.
pub fn create_missing(
    file: &Path,
    wanted: &[Generate],
    identities: &Identities,
    recipients: &Recipients,
) -> Result<Vec<Option<String>>, Error> {
    let old = if file.exists() { Some(view(file, identities, None)?) } else { None };
    let old_bytes = old.as_ref().map(|old| old.expose().as_slice());
    if let [Generate { key: None, length }] = wanted {
        if old_bytes.is_none() {
            encrypt(&generate(*length)?, file, recipients, false)?;
            return Ok(vec![None]);
        }
        return Ok(Vec::new());
    }
    let (dotenv, missing) = missing(file, old_bytes.unwrap_or_default(), wanted)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let room = old_bytes.map_or(0, <[u8]>::len) + missing.iter().map(|(k, l)| k.len() + l + 4).sum::<usize>();
    let mut text = Zeroizing::new(Vec::with_capacity(room + 1));
    text.extend_from_slice(old_bytes.unwrap_or_default());
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for (key, length) in &missing {
        text.extend_from_slice(key.as_bytes());
        // The quotes keep a value such as `1e5` or `true` a text for other readers.
        text.extend_from_slice(if dotenv { b"=" } else { b": \"" });
        text.extend_from_slice(generate(*length)?.expose());
        text.extend_from_slice(if dotenv { b"\n" } else { b"\"\n" });
    }
    write(&text, file, recipients)?;
    Ok(missing.into_iter().map(|(key, _)| Some(key)).collect())
}

/// Returns whether `old` is dotenv, and which keys it lacks.
fn missing(file: &Path, old: &[u8], wanted: &[Generate]) -> Result<(bool, Vec<(String, usize)>), Error> {
    let is_empty = old.trim_ascii().is_empty();
    let content = if is_empty { None } else { Some(read_content(file, old)?) };
    let mut missing: Vec<(String, usize)> = Vec::new();
    for Generate { key, length } in wanted {
        let key = key.clone().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !key.chars().all(plain) {
            return Err(Error::NameKey { key });
        }
        let known = content.as_ref().is_some_and(|content| content.has(&key));
        if !known && missing.iter().all(|(name, _)| *name != key) {
            missing.push((key, *length));
        }
    }
    Ok((!is_empty && str::from_utf8(old).is_ok_and(content::is_dotenv), missing))
}

/// Encrypts a plaintext into `file`. A file that is there is replaced only when asked for.
pub fn encrypt(
    plaintext: &Secret<Vec<u8>>,
    file: &Path,
    recipients: &Recipients,
    replace: bool,
) -> Result<(), Error> {
    if !replace && file.exists() {
        return Err(Error::KeepFile { path: file.into() });
    }
    write(plaintext.expose(), file, recipients)
}

/// Returns the plaintext of a file, or of one key of it.
pub fn view(file: &Path, identities: &Identities, key: Option<&str>) -> Result<Secret<Vec<u8>>, Error> {
    let bytes = disk::read(file)?;
    let plaintext = envelope::decrypt(&bytes, identities).map_err(|why| disk::cannot_open(file, &why))?;
    let Some(key) = key else { return Ok(plaintext) };
    let content = read_content(file, plaintext.expose())?;
    let value = content.get(key).map_err(|why| wrong_content(file, &why))?;
    Ok(Secret::new(value.to_vec()))
}

/// Encrypts a file again, to the recipients as they are now. Returns whether it was written: one that
/// is known to be current is left alone.
///
/// Who could read the file before still knows the values, and Git keeps the old file: when somebody
/// was removed, change the values too.
pub fn rekey(file: &Path, identities: &Identities, recipients: &Recipients) -> Result<bool, Error> {
    let plaintext = view(file, identities, None)?;
    if matches!(check(file, identities, recipients)?.verdict(), Verdict::Current) {
        return Ok(false);
    }
    write(plaintext.expose(), file, recipients)?;
    Ok(true)
}

/// Reads the keys of a plaintext.
pub(crate) fn read_content<'p>(file: &Path, plaintext: &'p [u8]) -> Result<Content<'p>, Error> {
    Content::read(plaintext).map_err(|why| wrong_content(file, &why))
}

fn wrong_content(file: &Path, why: &content::Failure) -> Error {
    Error::ReadContent { file: file.display().to_string(), reason: why.to_string(), help: why.help() }
}

/// Encrypts and writes a file. What could not be read back for its size is not written.
pub(crate) fn write(plaintext: &[u8], file: &Path, recipients: &Recipients) -> Result<(), Error> {
    let bytes = envelope::encrypt(plaintext, recipients)
        .map_err(|source| Error::Encrypt { path: file.into(), source })?;
    if bytes.len() as u64 > envelope::FILE {
        return Err(disk::cannot_open(file, &envelope::Failure::TooLarge));
    }
    disk::replace(file, &bytes, 0o644)
}
