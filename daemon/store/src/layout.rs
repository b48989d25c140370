//! The tables, and how a file comes from one layout to the next.
//!
//! A file of a newer layout is refused; nothing is ever guessed.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, config::DbConfig};
use trueup_engine::StoreError;

use crate::{folder::cannot_open, sql};

/// Each takes the file from the layout of its index to the next one.
const MIGRATIONS: [&str; 3] =
    [include_str!("layout-1.sql"), include_str!("layout-2.sql"), include_str!("layout-3.sql")];

/// The newest layout.
#[expect(clippy::cast_possible_wrap, reason = "there are few layouts")]
pub(crate) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// How many statements a connection keeps prepared: all that there are, and some.
const STATEMENTS: usize = 64;

/// Opens the file and brings it to the newest layout. With `check` all of it is read first, with every kept
/// blob; without, damage is met where it is read.
pub(crate) fn open(path: &Path, check: bool) -> Result<Connection, StoreError> {
    let conn = Connection::open(path).map_err(|error| damaged_or(path, error))?;
    prepare(&conn).map_err(|error| damaged_or(path, error))?;
    if check {
        self::check(&conn, path)?;
    }
    migrate(&conn, path)?;
    Ok(conn)
}

/// Reads the whole file. A damaged one is left as it is: what is in the log is not moved into it at the end.
fn check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    const LEFT_IN_LOG: DbConfig = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    let read = || {
        conn.set_db_config(LEFT_IN_LOG, true)?;
        let wrong = quick_check(conn)?;
        conn.set_db_config(LEFT_IN_LOG, wrong != "ok")?;
        Ok(wrong)
    };
    refuse_damage(path, read())
}

/// Reads the whole file, and returns what is wrong with it, or `ok`.
pub(crate) fn quick_check(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("PRAGMA quick_check(3)", [], |row| row.get(0))
}

/// Turns what a check has found into an error.
pub(crate) fn refuse_damage(path: &Path, found: rusqlite::Result<String>) -> Result<(), StoreError> {
    match found.map_err(|error| damaged_or(path, error))? {
        wrong if wrong == "ok" => Ok(()),
        wrong => Err(StoreError::FindDamaged { path: path.to_owned(), detail: wrong }),
    }
}

/// Returns whether the last process that had the file open ended without closing it: then its write-ahead
/// log is still there (<https://www.sqlite.org/walformat.html>, "Files On Disk").
pub(crate) fn was_left_open(path: &Path) -> bool {
    log_of(path).metadata().is_ok_and(|found| found.len() > 0)
}

/// Returns the path of the write-ahead log of a file.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

/// Opens a second connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path).map_err(|error| damaged_or(path, error))?;
    let prepared = prepare(&conn).and_then(|()| conn.execute_batch("PRAGMA query_only = on"));
    prepared.map_err(|error| damaged_or(path, error))?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(30))?;
    // Plans are made once for each statement, not again for each value.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA foreign_keys = on; \
         PRAGMA trusted_schema = off; PRAGMA secure_delete = off;",
    )
}

fn migrate(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(conn, path)?;
    if found == NEWEST {
        return Ok(());
    }
    sql::immediate(conn, |conn| {
        // Another process may have been faster: what counts is the layout under the lock.
        for (to, migration) in (1_i64..).zip(MIGRATIONS).skip_while(|(to, _)| *to <= found) {
            if user_version(conn)? < to {
                conn.execute_batch(migration)?;
                conn.pragma_update(None, "user_version", to)?;
            }
        }
        Ok(())
    })
    .map_err(|error| damaged_or(path, error))
}

/// Returns the layout of a file, unless it is a newer one than is known here.
pub(crate) fn version(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    match user_version(conn).map_err(|error| damaged_or(path, error))? {
        found if found > NEWEST => Err(StoreError::FindNewer { path: path.to_owned(), found, known: NEWEST }),
        found => Ok(found),
    }
}

fn user_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Returns the failure to open the file.
pub(crate) fn damaged_or(path: &Path, error: rusqlite::Error) -> StoreError {
    if is_full(&error) {
        return StoreError::FindFull { path: path.to_owned() };
    }
    damaged(path, &error).unwrap_or_else(|| cannot_open(path, error))
}

/// Returns the damage that a piece of work met in the file, if that is what it met.
pub(crate) fn damaged(path: &Path, error: &rusqlite::Error) -> Option<StoreError> {
    let detail = || StoreError::FindDamaged { path: path.to_owned(), detail: error.to_string() };
    is_damage(error).then(detail)
}

/// Returns whether an error says that the file is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Returns whether an error says that the disk is full. Where there is no room for the index of the log, that has a
/// code of its own.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    let is_index = |error: &rusqlite::ffi::Error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(is_index)
}
