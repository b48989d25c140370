//! Why environments do not move: holds and suspensions.

use rusqlite::{Connection, OptionalExtension, params};
use trueup_engine::{
    EnvKey,
    record::{Hold, HoldKind, Suspended},
};

use crate::sql;

/// Adds a hold; it takes the place of one of the same desired state, or of the person's one.
pub(crate) fn add(conn: &Connection, env: &EnvKey, hold: &Hold) -> rusqlite::Result<()> {
    let desired = match &hold.kind {
        HoldKind::Automatic { desired, .. } => desired,
        HoldKind::Person { .. } => "",
    };
    conn.execute(
        "INSERT OR REPLACE INTO hold VALUES (?1, ?2, ?3, ?4)",
        params![env.source.as_str(), env.environment.as_str(), desired, sql::json(hold)?],
    )
    .map(drop)
}

/// Releases the holds that no person made.
pub(crate) fn release_automatic(conn: &Connection, env: &EnvKey) -> rusqlite::Result<()> {
    let sql = "DELETE FROM hold WHERE source = ?1 AND name = ?2 AND held <> ''";
    conn.execute(sql, params![env.source.as_str(), env.environment.as_str()]).map(drop)
}

/// Releases all holds and returns them.
pub(crate) fn release(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Vec<Hold>> {
    let released = all(conn, env)?;
    let sql = "DELETE FROM hold WHERE source = ?1 AND name = ?2";
    conn.execute(sql, params![env.source.as_str(), env.environment.as_str()])?;
    Ok(released)
}

/// Returns the holds, newest first.
pub(crate) fn all(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Vec<Hold>> {
    let mut rows = conn.prepare_cached("SELECT hold FROM hold WHERE source = ?1 AND name = ?2")?;
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    let mut holds: Vec<Hold> =
        rows.query_map(of_env, |row| sql::read_json(row, 0))?.collect::<rusqlite::Result<_>>()?;
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.since));
    Ok(holds)
}

/// Returns whether the environment is suspended.
pub(crate) fn suspended(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Option<Suspended>> {
    let sql = "SELECT suspended FROM suspended WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    conn.prepare_cached(sql)?.query_row(of_env, |row| sql::read_json(row, 0)).optional()
}

/// Suspends or resumes the environment.
pub(crate) fn suspend(
    conn: &Connection,
    env: &EnvKey,
    suspended: Option<&Suspended>,
) -> rusqlite::Result<()> {
    let (source, name) = (env.source.as_str(), env.environment.as_str());
    match suspended {
        Some(suspended) => conn.execute(
            "INSERT OR REPLACE INTO suspended VALUES (?1, ?2, ?3)",
            params![source, name, sql::json(suspended)?],
        ),
        None => conn.execute("DELETE FROM suspended WHERE source = ?1 AND name = ?2", params![source, name]),
    }
    .map(drop)
}
