//! `status`, `history` and `logs`: what the store knows. No engine is asked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use trueup_engine::{EnvKey, RunId, Store, StoreError, record::Observation, store::RunFilter};
use trueup_schema::EnvironmentName;

use super::known::{self, unknown};
use crate::{
    args::Global,
    failure::{Failure, Kind},
    show::{self, Row, Screen},
    world::World,
};

/// Shows one line an environment.
pub(crate) async fn status(
    global: &Global,
    screen: Screen,
    env: Option<&EnvironmentName>,
) -> Result<u8, Failure> {
    let world = World::open_to_read(global)?;
    let mut rows = rows(&world.store, global, env).await?;
    let now = Timestamp::now();
    let mut again = rows.clone();
    screen.either(|| show::status(&mut rows, now), || show::status_json(&mut again, now))?;
    Ok(0)
}

/// Collects what the store knows of each environment; refuses to find none among others.
pub(super) async fn rows(
    store: &impl Store,
    global: &Global,
    env: Option<&EnvironmentName>,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let observations = store.observations().await?;
    let known: BTreeSet<_> = observations.keys().map(|key| key.environment.clone()).collect();
    for (key, seen) in observations {
        let wanted = env.is_none_or(|env| *env == key.environment)
            && global.source.as_ref().is_none_or(|source| *source == key.source);
        if wanted {
            rows.push(row(store, key, seen).await?);
        }
    }
    match (env, &global.source) {
        (Some(env), _) if rows.is_empty() => {
            Err(unknown(&format!("nothing is known of an environment `{env}`"), env, &known))
        }
        (None, Some(source)) if rows.is_empty() && !known.is_empty() => {
            Err(Failure::new(Kind::User, format!("nothing is known of the source `{source}`"))
                .hint("`trueup status` without `--source` shows what is known"))
        }
        _ => Ok(rows),
    }
}

/// Collects what the store knows of one environment.
pub(crate) async fn row<S: Store>(store: &S, key: EnvKey, seen: Observation) -> Result<Row, StoreError> {
    let unfinished = store.unfinished(&key).await?;
    // A look that finds nothing to do takes the lease as well; it is no news.
    let holder = if unfinished.is_empty() { None } else { store.holder(&key).await? };
    let run = unfinished.first().map(|unfinished| &unfinished.run);
    let interrupted = match run {
        // One that ends at this moment has an end when it is asked for again.
        Some(run) if holder.is_none() && run.outcome.is_none() => {
            let again = store.unfinished(&key).await?;
            again.iter().any(|other| other.run.id == run.id && other.run.outcome.is_none())
        }
        _ => false,
    };
    Ok(Row {
        applied: store.applied_revision(&key).await?,
        holds: store.holds(&key).await?,
        suspended: store.suspended(&key).await?,
        run: run.map(|run| run.id),
        holder,
        interrupted,
        seen: Some(seen),
        key,
    })
}

/// Shows what was run.
pub(crate) async fn history(
    global: &Global,
    screen: Screen,
    env: Option<&EnvironmentName>,
    limit: u32,
) -> Result<u8, Failure> {
    let world = World::open_to_read(global)?;
    let key = match env {
        Some(env) => Some(known::key(&world, global, env).await?),
        None => None,
    };
    let filter = RunFilter { env: key.clone(), limit: Some(limit), ..RunFilter::default() };
    let runs = world.store.runs(&filter).await?;
    // One that was destroyed is known by its runs alone.
    if let Some(key) = key.filter(|_| runs.is_empty()) {
        known::refuse_unknown(&world, &key).await?;
    }
    screen.either(|| show::history(&runs, Timestamp::now()), || show::history_json(&runs))?;
    Ok(0)
}

/// Shows one run, step by step.
pub(crate) async fn logs(global: &Global, screen: Screen, run: i64) -> Result<u8, Failure> {
    let world = World::open_to_read(global)?;
    let found = world.store.run(RunId(run)).await?;
    let (record, journal) = found.ok_or_else(|| {
        Failure::new(Kind::User, format!("there is no run {run}")).hint("`trueup history` lists the runs")
    })?;
    screen.either(|| show::run_log(&record, &journal), || show::run_log_json(&record, &journal))?;
    Ok(0)
}
