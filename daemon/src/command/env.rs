//! `env …`: what a person decides about an environment, beside its manifests. Every decision is audited.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use trueup_engine::{
    Adoptable, Adoption, EnvKey, Estate, Store,
    record::{Audit, Hold, HoldKind, Suspended},
};
use trueup_schema::EnvironmentName;

use super::{
    confirmed, known,
    plan::{Version, read},
    user,
};
use crate::{
    args::{Because, Env, Global},
    failure::{Failure, Kind},
    reconcile::{Approval, Request, propose},
    show::{self, Screen},
    world::World,
};

/// How long a decision waits for the daemon's look at the environment; a run takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does what a person decided.
pub(crate) async fn run(global: &Global, screen: Screen, command: Env) -> Result<u8, Failure> {
    let world = World::open_checked(global)?;
    let said = match command {
        Env::Suspend(because) => suspend(&world, global, &because).await?,
        Env::Resume(because) => resume(&world, global, &because).await?,
        Env::Hold(because) => hold(&world, global, &because).await?,
        Env::Release(because) => release(&world, global, &because).await?,
        Env::Adopt(because) => adopt(&world, global, &because).await?,
        Env::Destroy { because, volumes, yes } => destroy(&world, global, &because, volumes, yes).await?,
    };
    screen.either(
        || show::one_line(&said),
        || serde_json::json!({ "apiVersion": "trueup.dev/v1", "said": said }),
    )?;
    Ok(0)
}

/// Returns the key of an environment that somebody knows.
async fn find(world: &World, global: &Global, env: &EnvironmentName) -> Result<EnvKey, Failure> {
    let key = known::key(world, global, env).await?;
    known::refuse_unknown(world, &key).await?;
    Ok(key)
}

fn audit(key: &EnvKey, what: &str, reason: &str) -> Audit {
    Audit {
        at: Timestamp::now(),
        who: user(),
        env: Some(key.clone()),
        what: what.to_owned(),
        detail: reason.to_owned(),
    }
}

async fn suspend(world: &World, global: &Global, because: &Because) -> Result<String, Failure> {
    let key = find(world, global, &because.env).await?;
    let suspended = Suspended { who: user(), reason: Some(because.reason.clone()), since: Timestamp::now() };
    let line = audit(&key, "suspend", &because.reason);
    world.store.set_suspended(&key, Some(&suspended), &line).await?;
    Ok(format!("{}: suspended; what runs keeps running", because.env))
}

async fn resume(world: &World, global: &Global, because: &Because) -> Result<String, Failure> {
    let key = find(world, global, &because.env).await?;
    if world.store.suspended(&key).await?.is_none() {
        return Ok(format!("{}: it was not suspended", because.env));
    }
    world.store.set_suspended(&key, None, &audit(&key, "resume", &because.reason)).await?;
    Ok(format!("{}: resumed", because.env))
}

async fn hold(world: &World, global: &Global, because: &Because) -> Result<String, Failure> {
    let key = find(world, global, &because.env).await?;
    let applied = world.store.applied(&key).await?.ok_or_else(|| {
        Failure::new(
            Kind::User,
            format!("nothing was applied to `{}` yet, so it cannot be held", because.env),
        )
    })?;
    let hold = Hold {
        kind: HoldKind::Person { who: user(), reason: because.reason.clone() },
        revision: applied.revision.clone(),
        why: because.reason.clone(),
        since: Timestamp::now(),
    };
    world.store.add_hold(&key, &hold, &audit(&key, "hold", &because.reason)).await?;
    Ok(format!("{}: held at {}", because.env, applied.revision))
}

async fn release(world: &World, global: &Global, because: &Because) -> Result<String, Failure> {
    let key = find(world, global, &because.env).await?;
    let released = world.store.release(&key, &audit(&key, "release", &because.reason)).await?;
    Ok(match released.len() {
        0 => format!("{}: it was not held", because.env),
        _ => format!("{}: released; its newest revision is tried again", because.env),
    })
}

/// The target of an environment that Git may have lost: the one that it was last seen on.
async fn target(world: &World, key: &EnvKey) -> Result<crate::target::Target, Failure> {
    let seen = world.store.observation(key).await?;
    let target = seen.as_ref().map(|seen| seen.target.as_str()).filter(|target| !target.is_empty());
    let target =
        target.unwrap_or("docker/local").parse().map_err(|error| Failure::of(Kind::Internal, &error))?;
    world.target(&target, &key.source)
}

async fn adopt(world: &World, global: &Global, because: &Because) -> Result<String, Failure> {
    // A lost store knows nobody: the labels on the engine say who was there.
    let key = known::key(world, global, &because.env).await?;
    let target = target(world, &key).await?;
    let _lease = world.lease(&key, "`trueup env adopt`", PATIENCE).await?;
    let mut found = target.adoptable(&key.environment).await?;
    found.retain(|one| one.source == key.source.as_str());
    let [one] = found.as_slice() else { return Err(not_one(&key, &found)) };
    // Before anything is written: an adoption without its jobs would run them again.
    let jobs_done = declared_jobs(world, global, &target, &key).await?;
    let adoption = Adoption { uid: one.uid.clone(), last_run: one.last_run, jobs_done };
    world.store.adopt(&key, &adoption).await?;
    world.store.audit(&audit(&key, "adopt", &because.reason)).await?;
    Ok(format!("{}: adopted {}", because.env, one.things.join(", ")))
}

/// Returns the digests of the inputs of all declared jobs.
async fn declared_jobs(
    world: &World,
    global: &Global,
    target: &crate::target::Target,
    key: &EnvKey,
) -> Result<BTreeSet<String>, Failure> {
    let source = world.source(global.source.as_ref(), &key.environment)?;
    let (snapshot, catalogue) = read(world, source, Version::Newest).await?;
    let request = Request {
        key,
        snapshot: &snapshot,
        catalogue: &catalogue,
        approval: Approval::default(),
        patient: false,
    };
    let proposal = propose(&world.store, &world.keys, target, &request).await?;
    Ok(proposal.desired.resources.values().filter_map(|declared| declared.inputs.clone()).collect())
}

fn not_one(key: &EnvKey, found: &[Adoptable]) -> Failure {
    let uids: Vec<_> = found.iter().map(|one| one.uid.as_str()).collect();
    match uids.as_slice() {
        [] => Failure::new(Kind::User, format!("nothing on the engine carries the labels of `{key}`")),
        several => {
            let message =
                format!("`{key}` was made {} times, with the uids {}", several.len(), several.join(", "));
            Failure::new(Kind::User, message).hint("remove the containers of all but one of them")
        }
    }
}

async fn destroy(
    world: &World,
    global: &Global,
    because: &Because,
    volumes: bool,
    yes: bool,
) -> Result<String, Failure> {
    let key = find(world, global, &because.env).await?;
    let what = if volumes { "and its volumes, with everything in them" } else { "; its volumes stay" };
    if !confirmed(&format!("remove every container and network of `{}` {what}?", because.env), yes)? {
        return Err(Failure::new(Kind::User, "nothing was done"));
    }
    let target = target(world, &key).await?;
    let lease = world.lease(&key, "`trueup env destroy`", PATIENCE).await?;
    let identity = world.store.establish(&key).await?;
    target.destroy(&identity, volumes).await?;
    let stay = target.volumes(&identity).await?;
    world.store.audit(&audit(&key, "destroy", &because.reason)).await?;
    world.store.forget(&lease, &key).await?;
    let stay = match stay.as_slice() {
        [] => String::new(),
        names => {
            format!("; `--volumes` would have removed {}, which the next one takes over", names.join(", "))
        }
    };
    Ok(format!("{}: destroyed{stay}; while Git declares it, a daemon makes it again", because.env))
}
