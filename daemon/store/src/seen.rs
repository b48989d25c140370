//! What was last seen of environments, since when it has drifted, and what people decided.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use trueup_engine::{
    EnvKey,
    record::{Audit, Observation},
};
use trueup_plan::ResourceId;
use trueup_schema::{EnvironmentName, Revision, SourceName};

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
    end_drift(conn, env, known.keys().filter(|resource| !drifted.contains(*resource)))?;
    for new in drifted.iter().filter(|resource| !known.contains_key(*resource)) {
        let sql = "INSERT INTO drift VALUES (?1, ?2, ?3, ?4)";
        conn.prepare_cached(sql)?.execute(params![source, name, sql::json(new)?, now.to_string()])?;
    }
    Ok(())
}

/// Forgets since when resources have drifted that are as declared again.
pub(crate) fn end_drift<'a>(
    conn: &Connection,
    env: &EnvKey,
    repaired: impl Iterator<Item = &'a ResourceId>,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM drift WHERE source = ?1 AND name = ?2 AND resource = ?3";
    for resource in repaired {
        let of_resource = params![env.source.as_str(), env.environment.as_str(), sql::json(resource)?];
        conn.prepare_cached(sql)?.execute(of_resource)?;
    }
    Ok(())
}

/// What an observation is read from: its text, and the newest commit when it follows that.
const SEEN: &str = "SELECT observation.source, name, observation, iif(follows, revision, NULL) FROM observation \
                    LEFT JOIN newest ON newest.source = observation.source";

/// Returns what was last seen of every environment.
pub(crate) fn observations(conn: &Connection) -> rusqlite::Result<BTreeMap<EnvKey, Observation>> {
    conn.prepare_cached(SEEN)?.query_map([], |row| Ok((sql::env(row, 0)?, seen(row)?)))?.collect()
}

/// Returns what was last seen of one environment.
pub(crate) fn observation(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Option<Observation>> {
    let sql = format!("{SEEN} WHERE observation.source = ?1 AND name = ?2");
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    conn.prepare_cached(&sql)?.query_row(of_env, seen).optional()
}

fn seen(row: &Row<'_>) -> rusqlite::Result<Observation> {
    let seen: Observation = sql::read_json(row, 2)?;
    let follows = row.get_ref(3)?.as_str_or_null()?.is_some();
    let revision = if follows { Some(sql::read_json(row, 3)?) } else { seen.revision };
    Ok(Observation { revision, ..seen })
}

/// Replaces what was last seen; what did not change keeps its `since`.
pub(crate) fn observe(conn: &Connection, env: &EnvKey, seen: &Observation) -> rusqlite::Result<()> {
    let (source, name) = (env.source.as_str(), env.environment.as_str());
    let before = observation(conn, env)?;
    let text = sql::json(&seen.clone().following(before.as_ref()))?;
    let compared = seen.revision.as_ref().map(|revision| revision.commit.as_str());
    let sql = "INSERT OR REPLACE INTO observation VALUES (?1, ?2, ?3, EXISTS \
               (SELECT 1 FROM newest WHERE source = ?1 AND json_extract(revision, '$.commit') = ?4))";
    conn.prepare_cached(sql)?.execute(params![source, name, text, compared]).map(drop)
}

/// Makes a commit the newest one of its source. Those that are `behind`, all of them when nobody is named, keep the
/// commit that they were compared with.
pub(crate) fn advance(
    conn: &Connection,
    source: &SourceName,
    newest: &Revision,
    behind: Option<&BTreeSet<EnvironmentName>>,
) -> rusqlite::Result<()> {
    let behind = behind.map(sql::json).transpose()?;
    let named = "source = ?1 AND (?2 IS NULL OR name IN (SELECT value FROM json_each(?2)))";
    let stay = format!(
        "UPDATE observation SET follows = 0, observation = json_set(observation, '$.revision', \
         json((SELECT revision FROM newest WHERE newest.source = ?1))) WHERE follows AND {named}"
    );
    conn.prepare_cached(&stay)?.execute(params![source.as_str(), behind])?;
    let sql = "INSERT OR REPLACE INTO newest VALUES (?1, ?2)";
    conn.prepare_cached(sql)?.execute(params![source.as_str(), sql::json(newest)?])?;
    // Whoever was compared with it before this was written down follows it as well.
    let join = format!(
        "UPDATE observation SET follows = 1 WHERE NOT follows \
         AND json_extract(observation, '$.revision.commit') = ?3 AND {named}"
    );
    conn.prepare_cached(&join)?.execute(params![source.as_str(), behind, newest.commit]).map(drop)
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

/// Returns the last line of the audit trail, and the environments that those after `line` are about.
pub(crate) fn audited_since(conn: &Connection, line: i64) -> rusqlite::Result<(i64, BTreeSet<EnvKey>)> {
    let last = conn.query_row("SELECT ifnull(max(id), 0) FROM audit", [], |row| row.get(0))?;
    let sql = "SELECT DISTINCT source, name FROM audit WHERE id > ?1 AND source IS NOT NULL";
    let about =
        conn.prepare_cached(sql)?.query_map([line], |row| sql::env(row, 0))?.collect::<Result<_, _>>()?;
    Ok((last, about))
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
