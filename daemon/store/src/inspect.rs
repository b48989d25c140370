//! Looking at a store without changing anything: for a person who asks whether it is well.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE};
use trueup_engine::{EnvKey, StoreError};

use crate::{
    Lease,
    folder::{Folder, cannot_open},
    layout, runs, sqlite,
};

/// What a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its layout, and the newest one that this version knows.
    pub layout: (i64, i64),
    /// Whether the reserve for a full disk is there.
    pub reserve: bool,
    /// The environments with a run that has no end, and that nobody works on.
    pub interrupted: Vec<EnvKey>,
}

/// Reads the whole store of a folder; none when there is none. It may be in use.
pub fn inspect(folder: &Path) -> Result<Option<Inspection>, StoreError> {
    let folder = Folder::at(folder);
    let path = folder.database_path();
    let bytes = match path.metadata() {
        Ok(found) if found.len() > 0 => found.len(),
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_open(&path, error)),
    };
    let conn = open(&path)?;
    let layout = layout::version(&conn, &path)?;
    layout::refuse_damage(&path, layout::quick_check(&conn))?;
    sqlite::existing_key(&conn, &folder, &path)?;
    let interrupted = if layout == 0 { Vec::new() } else { interrupted(&conn, &folder, &path)? };
    let (layout, reserve) = ((layout, layout::NEWEST), folder.has_reserve());
    Ok(Some(Inspection { path, bytes, layout, reserve, interrupted }))
}

/// Returns the environments whose run has no end although nobody has them.
fn interrupted(conn: &Connection, folder: &Folder, path: &Path) -> Result<Vec<EnvKey>, StoreError> {
    let unfinished = || runs::interrupted(conn).map_err(|error| layout::damaged_or(path, error));
    let mut found = unfinished()?;
    found.retain(|env| Lease::holder(&folder.leases(), env).is_none());
    if !found.is_empty() {
        // One that ended at this moment has an end now.
        let again = unfinished()?;
        found.retain(|env| again.contains(env));
    }
    Ok(found)
}

/// Opens the file to read it. Where nobody else has it open it is opened as one that cannot change: else
/// `SQLite` would put two files beside it (<https://www.sqlite.org/wal.html>, "Read-Only Databases").
fn open(path: &Path) -> Result<Connection, StoreError> {
    let wrong = |error| layout::damaged_or(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = if layout::log_of(path).exists() {
        Connection::open_with_flags(path, flags)
    } else {
        open_unchanging(path)
    };
    let conn = conn.map_err(wrong)?;
    // What a killed process has left in the log stays there for the next one that writes.
    conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(wrong)?;
    conn.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(wrong)?;
    Ok(conn)
}

/// Opens a file that nobody changes, without writing anything.
pub(crate) fn open_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(unchanging(path), flags | OpenFlags::SQLITE_OPEN_URI)
}

/// Returns the address of a file that nobody changes, in `SQLite`'s words.
fn unchanging(path: &Path) -> String {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            address.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address + "?immutable=1"
}
