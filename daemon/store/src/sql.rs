//! The few words of SQL that all tables share.

use rusqlite::{Connection, Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use trueup_engine::EnvKey;

/// Does all of `work` or nothing, under the write lock from its beginning.
pub(crate) fn immediate<R>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
) -> rusqlite::Result<R> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let result = work(conn).and_then(|value| conn.execute_batch("COMMIT").map(|()| value));
    if result.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    result
}

/// Returns a value as the text of a column.
pub(crate) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Reads a column that was written by [`json`].
pub(crate) fn read_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text).map_err(|error| unreadable(column, error))
}

/// Reads a column of text into what it stands for.
pub(crate) fn parse<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    text.parse().map_err(|error: T::Err| unreadable(column, error))
}

/// Reads an environment from two columns.
pub(crate) fn env(row: &Row<'_>, column: usize) -> rusqlite::Result<EnvKey> {
    Ok(EnvKey { source: parse(row, column)?, environment: parse(row, column + 1)? })
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
