//! `status`, `history` and `logs`: what the store knows. No engine is asked.

use jiff::Timestamp;
use trueup_engine::{EnvKey, RunId, Store, StoreError, record::Observation, store::RunFilter};
use trueup_schema::EnvironmentName;

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
    let world = World::open(global)?;
    let mut rows = rows(&world.store, global, env).await?;
    if let (Some(env), true) = (env, rows.is_empty()) {
        return Err(Failure::new(Kind::User, format!("nothing is known of an environment `{env}`")));
    }
    let now = Timestamp::now();
    let mut again = rows.clone();
    screen.either(|| show::status(&mut rows, now), || show::status_json(&mut again, now))?;
    Ok(0)
}

/// Collects what the store knows of each environment.
pub(super) async fn rows(
    store: &impl Store,
    global: &Global,
    env: Option<&EnvironmentName>,
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let observations = store.observations().await?;
    for (key, seen) in observations {
        let wanted = env.is_none_or(|env| *env == key.environment)
            && global.source.as_ref().is_none_or(|source| *source == key.source);
        if wanted {
            rows.push(row(store, key, seen).await?);
        }
    }
    Ok(rows)
}

/// Collects what the store knows of one environment.
pub(crate) async fn row<S: Store>(store: &S, key: EnvKey, seen: Observation) -> Result<Row, StoreError> {
    let unfinished = store.unfinished(&key).await?;
    Ok(Row {
        applied: store.applied_revision(&key).await?,
        holds: store.holds(&key).await?,
        suspended: store.suspended(&key).await?,
        // A look that finds nothing to do takes the lease as well; it is no news.
        holder: if unfinished.is_empty() { None } else { store.holder(&key).await? },
        run: unfinished.first().map(|unfinished| unfinished.run.id),
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
    let world = World::open(global)?;
    let filter = match env {
        Some(env) => {
            let source = world.source(global.source.as_ref(), env)?;
            RunFilter { env: Some(World::key(source, env)), limit: Some(limit), ..RunFilter::default() }
        }
        None => RunFilter { limit: Some(limit), ..RunFilter::default() },
    };
    let runs = world.store.runs(&filter).await?;
    screen.either(|| show::history(&runs, Timestamp::now()), || show::history_json(&runs))?;
    Ok(0)
}

/// Shows one run, step by step.
pub(crate) async fn logs(global: &Global, screen: Screen, run: i64) -> Result<u8, Failure> {
    let world = World::open(global)?;
    let found = world.store.run(RunId(run)).await?;
    let (record, journal) = found.ok_or_else(|| {
        Failure::new(Kind::User, format!("there is no run {run}")).hint("`trueup history` lists the runs")
    })?;
    screen.either(|| show::run_log(&record, &journal), || show::run_log_json(&record, &journal))?;
    Ok(0)
}
