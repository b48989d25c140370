//! What is applied, and the material for going back to it.
//!
//! Bytes are kept once, by digest, for as long as one of the last revisions needs them.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use trueup_engine::{
    EnvKey, Outcome, RunId,
    record::{AppliedRevision, Commit, Holds, KeptRevision},
    store::KEPT_REVISIONS,
};
use trueup_plan::Applied;
use trueup_schema::{ContentDigest, RepoPath, snapshot::MemoryFiles};

use crate::{holds, runs, seen, sql};

/// Writes the commit record of a run with all that belongs to it.
pub(crate) fn commit(conn: &Connection, run: RunId, commit: &Commit) -> rusqlite::Result<()> {
    runs::mark_committed(conn, run)?;
    for inherited in &commit.inherited {
        runs::mark_committed(conn, *inherited)?;
    }
    let record = runs::change(conn, run, |record| record.outcome = Some(Outcome::Applied))?;
    let env = &record.env;
    done(conn, env, commit.jobs_done.iter())?;
    seen::end_drift(conn, env, record.summary.iter().map(|change| &change.resource))?;
    match &commit.holds {
        Holds::Release => holds::release_automatic(conn, env)?,
        Holds::Begin(hold) => holds::add(conn, env, hold)?,
        Holds::Leave => {}
    }
    if let Some(applied) = &commit.applied {
        conn.execute(
            "INSERT OR REPLACE INTO applied VALUES (?1, ?2, ?3)",
            params![env.source.as_str(), env.environment.as_str(), sql::json(applied)?],
        )?;
        keep(conn, run, env, applied, commit)?;
    } else {
        let sql = "DELETE FROM applied WHERE source = ?1 AND name = ?2";
        conn.execute(sql, params![env.source.as_str(), env.environment.as_str()])?;
    }
    Ok(())
}

/// Writes down that jobs with these inputs have succeeded.
pub(crate) fn done<'a>(
    conn: &Connection,
    env: &EnvKey,
    inputs: impl Iterator<Item = &'a String>,
) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached("INSERT OR IGNORE INTO job_done VALUES (?1, ?2, ?3)")?;
    for inputs in inputs {
        insert.execute(params![env.source.as_str(), env.environment.as_str(), inputs])?;
    }
    Ok(())
}

fn keep(
    conn: &Connection,
    run: RunId,
    env: &EnvKey,
    applied: &Applied,
    commit: &Commit,
) -> rusqlite::Result<()> {
    // A repair applies the same commit again: it takes that one's place among those to go back to.
    conn.execute(
        "DELETE FROM kept WHERE source = ?1 AND name = ?2 AND run = (SELECT max(run) FROM kept WHERE source = ?1 \
         AND name = ?2) AND json_extract(revision, '$.revision.commit') = ?3",
        params![env.source.as_str(), env.environment.as_str(), applied.revision.commit],
    )?;
    let revision = KeptRevision { run, revision: applied.revision.clone(), at: applied.at };
    conn.execute(
        "INSERT INTO kept VALUES (?1, ?2, ?3, ?4)",
        params![run.0, env.source.as_str(), env.environment.as_str(), sql::json(&revision)?],
    )?;
    let mut blob = conn.prepare_cached("INSERT OR IGNORE INTO blob VALUES (?1, ?2)")?;
    let mut input = conn.prepare_cached("INSERT INTO kept_input VALUES (?1, ?2, ?3)")?;
    for (path, bytes) in &commit.kept.inputs {
        // Not the name of plain content: an input may be the ciphertext of a secret.
        let digest = format!("input:{}", hex::encode(Sha256::digest(bytes)));
        blob.execute(params![digest, &bytes[..]])?;
        input.execute(params![run.0, path.as_str(), digest])?;
    }
    let mut plain = conn.prepare_cached("INSERT INTO kept_plain VALUES (?1, ?2)")?;
    for (digest, bytes) in commit.kept.plain.iter().filter(|(digest, _)| !digest.is_secret()) {
        blob.execute(params![digest.as_str(), &bytes[..]])?;
        plain.execute(params![run.0, digest.as_str()])?;
    }
    let forgotten = conn.execute(
        "DELETE FROM kept WHERE run IN (SELECT run FROM kept WHERE source = ?1 AND name = ?2 \
         ORDER BY run DESC LIMIT -1 OFFSET ?3)",
        params![env.source.as_str(), env.environment.as_str(), KEPT_REVISIONS],
    )?;
    if forgotten > 0 { sweep(conn) } else { Ok(()) }
}

/// Removes the bytes that nothing refers to.
pub(crate) fn sweep(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "DELETE FROM blob WHERE NOT EXISTS (SELECT 1 FROM kept_input WHERE kept_input.digest = blob.digest) \
         AND NOT EXISTS (SELECT 1 FROM kept_plain WHERE kept_plain.digest = blob.digest)",
    )
}

/// Returns what was applied last, with since when its resources have drifted.
pub(crate) fn last(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Option<Applied>> {
    let sql = "SELECT applied FROM applied WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    let applied =
        conn.prepare_cached(sql)?.query_row(of_env, |row| sql::read_json::<Applied>(row, 0)).optional()?;
    applied.map(|applied| Ok(Applied { drift_since: seen::drift(conn, env)?, ..applied })).transpose()
}

/// Returns which revision was applied last, without reading what it declared.
pub(crate) fn last_revision(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Option<AppliedRevision>> {
    let sql = "SELECT json_extract(applied, '$.revision'), json_extract(applied, '$.at'), \
               (SELECT count(*) FROM drift WHERE source = ?1 AND name = ?2) \
               FROM applied WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    let revision = |row: &Row<'_>| {
        Ok(AppliedRevision {
            revision: sql::read_json(row, 0)?,
            at: sql::parse(row, 1)?,
            drifted: row.get::<_, u32>(2)? as usize,
        })
    };
    conn.prepare_cached(sql)?.query_row(of_env, revision).optional()
}

/// Returns the revisions that can be applied again, newest first.
pub(crate) fn kept(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Vec<KeptRevision>> {
    let sql = "SELECT revision FROM kept WHERE source = ?1 AND name = ?2 ORDER BY run DESC";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    conn.prepare_cached(sql)?.query_map(of_env, |row| sql::read_json(row, 0))?.collect()
}

/// Returns the files that the run's revision was made of.
pub(crate) fn inputs(conn: &Connection, run: RunId) -> rusqlite::Result<Option<MemoryFiles>> {
    let known = conn.query_row("SELECT 1 FROM kept WHERE run = ?1", [run.0], |_| Ok(())).optional()?;
    if known.is_none() {
        return Ok(None);
    }
    let mut rows = conn.prepare_cached(
        "SELECT path, bytes FROM kept_input JOIN blob ON blob.digest = kept_input.digest WHERE run = ?1",
    )?;
    let files = rows.query_map([run.0], |row| {
        let bytes: Vec<u8> = row.get(1)?;
        Ok((sql::parse::<RepoPath>(row, 0)?, Arc::<[u8]>::from(bytes)))
    })?;
    files.collect::<rusqlite::Result<MemoryFiles>>().map(Some)
}

/// Returns the text of a plain file.
pub(crate) fn plain(conn: &Connection, digest: &ContentDigest) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT bytes FROM blob WHERE digest = ?1";
    conn.query_row(sql, [digest.as_str()], |row| row.get(0)).optional()
}

/// Returns the inputs of the jobs that have succeeded.
pub(crate) fn jobs_done(conn: &Connection, env: &EnvKey) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT inputs FROM job_done WHERE source = ?1 AND name = ?2";
    let of_env = params![env.source.as_str(), env.environment.as_str()];
    conn.prepare_cached(sql)?.query_map(of_env, |row| row.get(0))?.collect()
}
