//! `drift`: what runs, compared with what was applied last. Neither Git nor a daemon is asked.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use trueup_engine::{EnvKey, Outcome, Store, store::RunFilter};
use trueup_plan::Cause;

use crate::{
    args,
    args::Global,
    failure::{Failure, Kind},
    material,
    reconcile::propose,
    show::{self, Drift, Drifted, Screen},
    world::World,
};

/// How long a repair is told of.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// Shows what has drifted, environment by environment.
pub(crate) async fn drift(global: &Global, screen: Screen, args: &args::Drift) -> Result<u8, Failure> {
    let world = World::open(global)?;
    let mut keys = applied(&world, global).await?;
    if let Some(env) = &args.env {
        keys.retain(|key| key.environment == *env);
        if keys.is_empty() {
            return Err(Failure::new(Kind::User, format!("nothing was applied to `{env}` yet")));
        }
    }
    let looks = keys.into_iter().map(async |key| {
        let drifted = look(&world, &key).await;
        Drift { key, drifted }
    });
    let found = join_all(looks).await;
    let now = Timestamp::now();
    screen.either(|| show::drift(&found, screen.style(), now), || show::drift_json(&found))?;
    Ok(match found.iter().any(|drift| drift.drifted.is_err()) {
        true => 1,
        false if args.detailed_exitcode && found.iter().any(Drift::is_any) => 2,
        false => 0,
    })
}

/// Returns the environments that something was applied to.
async fn applied(world: &World, global: &Global) -> Result<Vec<EnvKey>, Failure> {
    let mut keys = Vec::new();
    for identity in world.store.environments().await? {
        let key = identity.key();
        let is_asked_for = global.source.as_ref().is_none_or(|source| *source == key.source);
        if is_asked_for && world.store.applied(&key).await?.is_some() {
            keys.push(key);
        }
    }
    keys.sort();
    Ok(keys)
}

async fn look(world: &World, key: &EnvKey) -> Result<Drifted, Failure> {
    let gone = || {
        let message = format!("the files that were applied to `{}` are not in the store", key.environment);
        Failure::new(Kind::Internal, message)
    };
    let applied = material::last_applied(&world.store, key).await?.ok_or_else(gone)?;
    let target = world.target(&applied.target(key)?, &key.source)?;
    let proposal = propose(&world.store, &world.keys, &target, &applied.request(key)).await?;
    let recent =
        RunFilter { env: Some(key.clone()), since: Some(Timestamp::now() - RECENT), ..RunFilter::default() };
    let mut repairs = world.store.runs(&recent).await?;
    repairs.retain(|run| {
        matches!(run.outcome, Some(Outcome::Applied))
            && run.summary.iter().any(|change| change.cause == Cause::Drift)
    });
    let sync = proposal.wanted.resolved.spec.sync.clone();
    let suspended = world.store.suspended(key).await?;
    Ok(Drifted { plan: proposal.plan, sync, suspended, repairs })
}
