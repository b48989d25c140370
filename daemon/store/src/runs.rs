//! Runs, their plans and their journals.
//!
//! A run is unfinished from its beginning until its end is written, whatever happens to its process.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use trueup_engine::{
    EnvKey, Outcome, RunId,
    record::{Ended, Entry, Logged, NewRun, RunRecord, Unfinished},
    store::{KEPT_PLANS, RunFilter},
};
use trueup_plan::Plan;

use crate::{holds, sql};

/// Makes the next run's number higher than this one.
pub(crate) fn go_on_above(conn: &Connection, run: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'run'";
    if conn.execute(sql, [run])? == 0 {
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('run', ?1)", [run])?;
    }
    Ok(())
}

/// Ends every run of an environment that is forgotten: there is nothing left to take back.
pub(crate) fn end_all(conn: &Connection, env: &EnvKey, now: Timestamp) -> rusqlite::Result<()> {
    for run in unfinished(conn, env)? {
        change(conn, run.run.id, |record| {
            record.outcome = Some(Outcome::Cancelled);
            record.ended = Some(now);
        })?;
        conn.execute("UPDATE run SET finished = 1 WHERE id = ?1", [run.run.id.0])?;
    }
    Ok(())
}

/// Writes down that a run begins.
pub(crate) fn begin(conn: &Connection, run: &NewRun, now: Timestamp) -> rusqlite::Result<RunId> {
    let record = sql::json(&RunRecord::new(RunId(0), run, now))?;
    conn.prepare_cached("INSERT INTO run (source, name, record) VALUES (?1, ?2, ?3)")?.execute(params![
        run.env.source.as_str(),
        run.env.environment.as_str(),
        record
    ])?;
    let id = conn.last_insert_rowid();
    conn.execute("INSERT INTO run_plan VALUES (?1, ?2)", params![id, sql::json(&run.plan)?])?;
    Ok(RunId(id))
}

/// Adds a line to a journal.
pub(crate) fn append(conn: &Connection, run: RunId, entry: &str, now: Timestamp) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached("INSERT INTO journal (run, at, entry) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![run.0, now.to_string(), entry]).map(drop)
}

/// Marks a run as committed; history calls it applied from now on.
pub(crate) fn mark_committed(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.execute("UPDATE run SET committed = 1 WHERE id = ?1", [run.0]).map(drop)
}

/// Ends a run; one whose way back failed stays unfinished.
pub(crate) fn end(conn: &Connection, run: RunId, ended: &Ended, now: Timestamp) -> rusqlite::Result<()> {
    let record = change(conn, run, |record| record.end(ended, now))?;
    if let Some(hold) = &ended.hold {
        holds::add(conn, &record.env, hold)?;
    }
    if ended.outcome.is_open() {
        return Ok(());
    }
    conn.execute("UPDATE run SET finished = 1 WHERE id = ?1", [run.0])?;
    forget_old_plans(conn, &record.env)
}

/// Changes the record of a run and returns it.
pub(crate) fn change(
    conn: &Connection,
    run: RunId,
    change: impl FnOnce(&mut RunRecord),
) -> rusqlite::Result<RunRecord> {
    let mut record = conn.query_row("SELECT id, record FROM run WHERE id = ?1", [run.0], record)?;
    change(&mut record);
    conn.execute("UPDATE run SET record = ?2 WHERE id = ?1", params![run.0, sql::json(&record)?])?;
    Ok(record)
}

fn forget_old_plans(conn: &Connection, env: &EnvKey) -> rusqlite::Result<()> {
    for table in ["run_plan", "journal"] {
        let sql = format!(
            "DELETE FROM {table} WHERE run IN (SELECT id FROM run WHERE source = ?1 AND name = ?2 \
             AND finished = 1 ORDER BY id DESC LIMIT -1 OFFSET ?3)"
        );
        conn.prepare_cached(&sql)?.execute(params![
            env.source.as_str(),
            env.environment.as_str(),
            KEPT_PLANS
        ])?;
    }
    Ok(())
}

/// Returns the environment's runs without an end, newest first.
pub(crate) fn unfinished(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Vec<Unfinished>> {
    let mut rows = conn.prepare_cached(
        "SELECT run.id, record, plan, committed FROM run JOIN run_plan ON run = run.id \
         WHERE source = ?1 AND name = ?2 AND finished = 0 ORDER BY run.id DESC",
    )?;
    let runs = rows.query_map(params![env.source.as_str(), env.environment.as_str()], |row| {
        let run = record(row)?;
        let journal = journal(conn, run.id)?;
        Ok(Unfinished { run, plan: sql::read_json(row, 2)?, journal, committed: row.get(3)? })
    })?;
    runs.collect()
}

/// Returns the environments with a run that has no end.
pub(crate) fn interrupted(conn: &Connection) -> rusqlite::Result<Vec<EnvKey>> {
    let sql = "SELECT DISTINCT source, name FROM run WHERE finished = 0 ORDER BY source, name";
    conn.prepare_cached(sql)?.query_map([], |row| sql::env(row, 0))?.collect()
}

/// Returns runs, newest first.
pub(crate) fn list(conn: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<RunRecord>> {
    let env = filter.env.as_ref();
    let mut rows = conn.prepare_cached(
        "SELECT id, record FROM run WHERE (?1 IS NULL OR (source = ?1 AND name = ?2)) \
         AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4",
    )?;
    let found = rows.query_map(
        params![
            env.map(|env| env.source.as_str()),
            env.map(|env| env.environment.as_str()),
            filter.before.map(|run| run.0),
            filter.limit.map_or(-1, i64::from),
        ],
        record,
    )?;
    // Newest first: what comes after the first older one is older, too.
    let is_recent = |run: &rusqlite::Result<RunRecord>| {
        run.as_ref().map_or(true, |run| filter.since.is_none_or(|since| run.started >= since))
    };
    found.take_while(is_recent).collect()
}

/// Returns one run with its journal.
pub(crate) fn one(conn: &Connection, run: RunId) -> rusqlite::Result<Option<(RunRecord, Vec<Logged>)>> {
    let found = conn.query_row("SELECT id, record FROM run WHERE id = ?1", [run.0], record).optional()?;
    found.map(|record| Ok((record, journal(conn, run)?))).transpose()
}

/// Returns the plan of a run.
pub(crate) fn plan(conn: &Connection, run: RunId) -> rusqlite::Result<Option<Plan>> {
    let sql = "SELECT plan FROM run_plan WHERE run = ?1";
    conn.query_row(sql, [run.0], |row| sql::read_json(row, 0)).optional()
}

fn journal(conn: &Connection, run: RunId) -> rusqlite::Result<Vec<Logged>> {
    let mut rows = conn.prepare_cached("SELECT at, entry FROM journal WHERE run = ?1 ORDER BY id")?;
    let lines = rows.query_map([run.0], |row| {
        Ok(Logged { at: sql::parse(row, 0)?, entry: sql::read_json::<Entry>(row, 1)? })
    })?;
    lines.collect()
}

/// Reads `id, record`. The number is not known yet when a record is written first.
fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord { id: RunId(row.get(0)?), ..sql::read_json(row, 1)? })
}
