//! Who each environment is.

use rusqlite::{Connection, OptionalExtension, params};
use trueup_engine::{EnvKey, Identity};

use crate::sql;

/// Returns who the environment is.
pub(crate) fn identity(conn: &Connection, store: &str, env: &EnvKey) -> rusqlite::Result<Option<Identity>> {
    let sql = "SELECT uid FROM environment WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    let uid = conn.prepare_cached(sql)?.query_row(of_env, |row| row.get(0));
    Ok(uid.optional()?.map(|uid| with(store, env.clone(), uid)))
}

/// Returns who the environment is, and makes it `uid` when it was nobody.
pub(crate) fn establish(
    conn: &Connection,
    store: &str,
    env: &EnvKey,
    uid: &str,
) -> rusqlite::Result<Identity> {
    let sql = "INSERT INTO environment VALUES (?1, ?2, ?3, ?4) ON CONFLICT (source, name) DO NOTHING";
    let now = jiff::Timestamp::now().to_string();
    conn.prepare_cached(sql)?.execute(params![env.source.as_str(), env.environment.as_str(), uid, now])?;
    identity(conn, store, env)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Makes the environment `uid`, whoever it was.
pub(crate) fn adopt(conn: &Connection, store: &str, env: &EnvKey, uid: &str) -> rusqlite::Result<Identity> {
    conn.execute(
        "INSERT INTO environment VALUES (?1, ?2, ?3, ?4) ON CONFLICT (source, name) DO UPDATE SET uid = ?3",
        params![env.source.as_str(), env.environment.as_str(), uid, jiff::Timestamp::now().to_string()],
    )?;
    Ok(with(store, env.clone(), uid.to_owned()))
}

/// Forgets everything of the environment but its history and audit.
pub(crate) fn forget(conn: &Connection, env: &EnvKey) -> rusqlite::Result<()> {
    crate::runs::end_all(conn, env, jiff::Timestamp::now())?;
    let tables = [
        "environment",
        "applied",
        "kept",
        "job_done",
        "cron_due",
        "hold",
        "suspended",
        "drift",
        "observation",
    ];
    for table in tables {
        let sql = format!("DELETE FROM {table} WHERE source = ?1 AND name = ?2");
        conn.execute(&sql, params![env.source.as_str(), env.environment.as_str()])?;
    }
    crate::applied::sweep(conn)
}

/// Returns everybody.
pub(crate) fn all(conn: &Connection, store: &str) -> rusqlite::Result<Vec<Identity>> {
    let mut rows = conn.prepare_cached("SELECT source, name, uid FROM environment ORDER BY source, name")?;
    rows.query_map([], |row| Ok(with(store, sql::env(row, 0)?, row.get(2)?)))?.collect()
}

fn with(store: &str, env: EnvKey, uid: String) -> Identity {
    Identity { store: store.to_owned(), source: env.source, environment: env.environment, uid }
}
