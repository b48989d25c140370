//! Files on disk: read within a limit, written whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{Error, envelope, envelope::Failure};

/// Reads a secret file, which is encrypted.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(envelope::FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::ReadFile { path: path.into(), source })?;
    if bytes.len() as u64 > envelope::FILE {
        return Err(cannot_open(path, &Failure::TooLarge));
    }
    Ok(bytes)
}

/// Says why a secret file cannot be opened.
pub(crate) fn cannot_open(path: &Path, failure: &Failure) -> Error {
    Error::OpenFile { file: path.display().to_string(), reason: failure.to_string(), help: failure.help() }
}

/// Writes a file beside its place and renames it there, so that it is never half written.
/// A file that is replaced keeps its mode; a new one gets `mode`.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mode = fs::metadata(path).map_or(mode, |metadata| metadata.permissions().mode() & 0o777);
    let beside = beside(path)?;
    let written = write_new(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        drop(fs::remove_file(&beside));
    }
    written.and_then(|()| sync_folder(path)).map_err(|source| Error::WriteFile { path: path.into(), source })
}

/// Writes a file that must not exist yet.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    match write_new(path, bytes, mode).and_then(|()| sync_folder(path)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::KeepFile { path: path.into() })
        }
        Err(source) => Err(Error::WriteFile { path: path.into(), source }),
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path) -> Result<PathBuf, Error> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", random_name()?));
    Ok(path.with_file_name(name))
}

/// Returns 16 random hexadecimal digits.
pub(crate) fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(hex::encode(bytes))
}
