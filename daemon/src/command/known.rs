//! Which environments there are: those that the store knows, and those that their source declares.

use std::collections::BTreeSet;

use trueup_engine::{EnvKey, Identity, Store};
use trueup_schema::{EnvironmentName, suggest::choose};

use super::plan::{Version, read};
use crate::{
    args::Global,
    failure::{Failure, Kind},
    world::World,
};

/// Returns the key that an environment has: by the sources, or by what the store knows when Git has lost it.
pub(super) async fn key(world: &World, global: &Global, env: &EnvironmentName) -> Result<EnvKey, Failure> {
    match world.source(global.source.as_ref(), env) {
        Ok(source) => Ok(World::key(source, env)),
        Err(failure) => {
            let known = world.store.environments().await?;
            let mut same = known.iter().filter(|identity| identity.environment == *env);
            same.next().map(Identity::key).ok_or(failure)
        }
    }
}

/// Refuses an environment that neither the store knows nor its source declares.
pub(super) async fn refuse_unknown(world: &World, key: &EnvKey) -> Result<(), Failure> {
    let store = &world.store;
    if store.identity(key).await?.is_some() || store.observation(key).await?.is_some() {
        return Ok(());
    }
    let mut known: BTreeSet<EnvironmentName> =
        store.environments().await?.into_iter().map(|identity| identity.environment).collect();
    if let Some(source) = world.config.sources.iter().find(|source| source.name == key.source) {
        let (_, catalogue) = read(world, source, Version::Newest).await?;
        known.extend(catalogue.environments().filter(|env| source.follows(env)).cloned());
        if catalogue.has_environment(&key.environment) {
            return Ok(());
        }
    }
    Err(unknown(&format!("there is no environment `{}`", key.environment), &key.environment, &known))
}

/// Says that an environment is not known, which ones are, and which one may have been meant.
pub(super) fn unknown(message: &str, env: &EnvironmentName, known: &BTreeSet<EnvironmentName>) -> Failure {
    let hint = choose(env.as_str(), "environments", known.iter().map(EnvironmentName::as_str));
    Failure::new(Kind::User, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_mistypes_an_environment_is_told_which_one_may_be_meant() {
        let known = ["dev", "staging"].map(|name| name.parse().unwrap()).into();
        let failure = unknown("there is no environment `stagin`", &"stagin".parse().unwrap(), &known);
        assert_eq!(failure.kind, Kind::User);
        assert_eq!(failure.hints, ["did you mean `staging`? environments: `dev`, `staging`"]);
    }
}
