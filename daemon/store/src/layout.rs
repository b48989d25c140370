//! The tables, and how a file comes from one layout to the next.
//!
//! A file of a newer layout is refused; nothing is ever guessed.

use std::path::Path;

use rusqlite::Connection;
use trueup_engine::StoreError;

use crate::{folder::cannot_open, sql};

/// Each takes the file from the layout of its index to the next one.
const MIGRATIONS: [&str; 1] = [include_str!("layout-1.sql")];

/// Opens the file and brings it to the newest layout.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path).map_err(|error| cannot_open(path, error))?;
    prepare(&conn).map_err(|error| damaged_or(path, error))?;
    let wrong: String = conn
        .query_row("PRAGMA quick_check(3)", [], |row| row.get(0))
        .map_err(|error| damaged_or(path, error))?;
    if wrong != "ok" {
        return Err(StoreError::FindDamaged { path: path.to_owned(), detail: wrong });
    }
    migrate(&conn, path)?;
    Ok(conn)
}

/// Opens a second connection that only reads.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path).map_err(|error| cannot_open(path, error))?;
    let prepared = prepare(&conn).and_then(|()| conn.execute_batch("PRAGMA query_only = on"));
    prepared.map_err(|error| damaged_or(path, error))?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(std::time::Duration::from_secs(30))?;
    conn.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA foreign_keys = on; \
         PRAGMA trusted_schema = off; PRAGMA secure_delete = off;",
    )
}

fn migrate(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).expect("there are few layouts");
    let version = |conn: &Connection| conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let found = version(conn).map_err(|error| damaged_or(path, error))?;
    if found > known {
        return Err(StoreError::FindNewer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    sql::immediate(conn, |conn| {
        // Another process may have been faster: what counts is the layout under the lock.
        for (to, migration) in (1_i64..).zip(MIGRATIONS).skip_while(|(to, _)| *to <= found) {
            if version(conn)? < to {
                conn.execute_batch(migration)?;
                conn.pragma_update(None, "user_version", to)?;
            }
        }
        Ok(())
    })
    .map_err(|error| cannot_open(path, error))
}

fn damaged_or(path: &Path, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            StoreError::FindDamaged { path: path.to_owned(), detail: error.to_string() }
        }
        _ => cannot_open(path, error),
    }
}
