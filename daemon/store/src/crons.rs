//! Up to which time of its schedule each cron has run.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use trueup_engine::{EnvKey, StoreError};
use trueup_plan::ResourceId;

use crate::{Sqlite, sql, sqlite::PLAIN};

impl Sqlite {
    /// Returns the time of this schedule that a cron has dealt with last; none when it is followed for the first time.
    pub async fn cron_due(
        &self,
        env: &EnvKey,
        resource: &ResourceId,
        schedule: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (resource, schedule) = (resource.to_string(), schedule.to_owned());
        self.of_env("a schedule", env, move |conn, env| due(conn, env, &resource, &schedule)).await
    }

    /// Writes down, durably, that a cron has dealt with a time of its schedule.
    pub async fn set_cron_due(
        &self,
        env: &EnvKey,
        resource: &ResourceId,
        schedule: &str,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        let (env, resource, schedule) = (env.clone(), resource.to_string(), schedule.to_owned());
        let set = move |conn: &Connection| {
            let (source, name) = (env.source.as_str(), env.environment.as_str());
            let row = params![source, name, resource, schedule, due.as_second()];
            conn.execute("INSERT OR REPLACE INTO cron_due VALUES (?1, ?2, ?3, ?4, ?5)", row).map(drop)
        };
        self.write("a schedule", PLAIN, set).await
    }

    /// Forgets the schedules of an environment but these: what comes back later has missed nothing.
    pub async fn keep_crons<'a>(
        &self,
        env: &EnvKey,
        resources: impl IntoIterator<Item = &'a ResourceId>,
    ) -> Result<(), StoreError> {
        let env = env.clone();
        let kept: Vec<String> = resources.into_iter().map(ToString::to_string).collect();
        // A write is durable, so it costs more than a look whether there is something to forget.
        let known = self.of_env("the schedules", &env, of).await?;
        if known.iter().all(|resource| kept.contains(resource)) {
            return Ok(());
        }
        let forget = move |conn: &Connection| {
            let sql = "DELETE FROM cron_due WHERE source = ?1 AND name = ?2 \
                       AND resource NOT IN (SELECT value FROM json_each(?3))";
            let (source, name) = (env.source.as_str(), env.environment.as_str());
            conn.execute(sql, params![source, name, sql::json(&kept)?]).map(drop)
        };
        self.write("the schedules", PLAIN, forget).await
    }
}

fn of(conn: &Connection, env: &EnvKey) -> rusqlite::Result<Vec<String>> {
    let mut rows = conn.prepare_cached("SELECT resource FROM cron_due WHERE source = ?1 AND name = ?2")?;
    rows.query_map(params![env.source.as_str(), env.environment.as_str()], |row| row.get(0))?.collect()
}

fn due(
    conn: &Connection,
    env: &EnvKey,
    resource: &str,
    schedule: &str,
) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT due FROM cron_due WHERE source = ?1 AND name = ?2 AND resource = ?3 AND schedule = ?4";
    let of_cron = params![env.source.as_str(), env.environment.as_str(), resource, schedule];
    let second: Option<i64> = conn.query_row(sql, of_cron, |row| row.get(0)).optional()?;
    Ok(second.and_then(|second| Timestamp::from_second(second).ok()))
}
