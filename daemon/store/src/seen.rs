//! What was last seen of environments, since when it has drifted, and what people decided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use trueup_engine::{
    EnvKey,
    record::{Audit, Observation},
};
use trueup_plan::ResourceId;

use crate::sql;

/// Returns since when each drifted resource has been seen so.
pub(crate) fn drift(conn: &Connection, env: &EnvKey) -> rusqlite::Result<BTreeMap<ResourceId, Timestamp>> {
    let sql = "SELECT resource, since FROM drift WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    let mut rows = conn.prepare_cached(sql)?;
    rows.query_map(of_env, |row| Ok((sql::read_json(row, 0)?, sql::parse(row, 1)?)))?.collect()
}

/// Replaces the drifted resources; those that were there before keep their time.
pub(crate) fn set_drift(
    conn: &Connection,
    env: &EnvKey,
    drifted: &BTreeSet<ResourceId>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (source, name) = (env.source.as_str(), env.environment.as_str());
    let known = drift(conn, env)?;
    for gone in known.keys().filter(|resource| !drifted.contains(*resource)) {
        let sql = "DELETE FROM drift WHERE source = ?1 AND name = ?2 AND resource = ?3";
        conn.prepare_cached(sql)?.execute(params![source, name, sql::json(gone)?])?;
    }
    for new in drifted.iter().filter(|resource| !known.contains_key(*resource)) {
        let sql = "INSERT INTO drift VALUES (?1, ?2, ?3, ?4)";
        conn.prepare_cached(sql)?.execute(params![source, name, sql::json(new)?, now.to_string()])?;
    }
    Ok(())
}

/// Returns what was last seen of every environment.
pub(crate) fn observations(conn: &Connection) -> rusqlite::Result<BTreeMap<EnvKey, Observation>> {
    let mut rows = conn.prepare_cached("SELECT source, name, observation FROM observation")?;
    rows.query_map([], |row| Ok((sql::env(row, 0)?, sql::read_json(row, 2)?)))?.collect()
}

/// Replaces what was last seen; what did not change keeps its `since`.
pub(crate) fn observe(conn: &Connection, env: &EnvKey, seen: &Observation) -> rusqlite::Result<()> {
    let (source, name) = (env.source.as_str(), env.environment.as_str());
    let sql = "SELECT observation FROM observation WHERE source = ?1 AND name = ?2";
    let of_env = params![source, name];
    let before = conn.query_row(sql, of_env, |row| sql::read_json(row, 0)).optional()?;
    let text = sql::json(&seen.clone().following(before.as_ref()))?;
    let sql = "INSERT OR REPLACE INTO observation VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql)?.execute(params![source, name, text]).map(drop)
}

/// Adds a line to the audit trail.
pub(crate) fn audit(conn: &Connection, line: &Audit) -> rusqlite::Result<()> {
    let env = line.env.as_ref();
    conn.prepare_cached(
        "INSERT INTO audit (at, who, source, name, what, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        line.at.to_string(),
        line.who,
        env.map(|env| env.source.as_str()),
        env.map(|env| env.environment.as_str()),
        line.what,
        line.detail
    ])
    .map(drop)
}

/// Returns the audit trail, newest first.
pub(crate) fn audits(conn: &Connection, env: Option<&EnvKey>, limit: u32) -> rusqlite::Result<Vec<Audit>> {
    let mut rows = conn.prepare_cached(
        "SELECT at, who, source, name, what, detail FROM audit \
         WHERE ?1 IS NULL OR (source = ?1 AND name = ?2) ORDER BY id DESC LIMIT ?3",
    )?;
    let (source, name) = (env.map(|env| env.source.as_str()), env.map(|env| env.environment.as_str()));
    let lines = rows.query_map(params![source, name, limit], |row| {
        let of_store = row.get_ref(2)?.as_str_or_null()?.is_none();
        Ok(Audit {
            at: sql::parse(row, 0)?,
            who: row.get(1)?,
            env: if of_store { None } else { Some(sql::env(row, 2)?) },
            what: row.get(4)?,
            detail: row.get(5)?,
        })
    })?;
    lines.collect()
}
