//! The subnets that plans have chosen and that no network has yet, so that plans that are made side by side choose
//! others.
//!
//! An environment has what its last look chose, until the next one, or until it is forgotten. It is known to this
//! process alone: what another one took meanwhile the engine refuses, and that is not chosen again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use trueup_engine::{EnvKey, Identity, TargetError, Wanted};
use trueup_plan::Live;
use trueup_schema::{Problems, ZoneName, manifest::SyncMode};

use crate::{
    Docker,
    compile::Scene,
    facts::{Facts, Occupied},
    failure::says,
    names::zone_resource,
    spec::NetworkSpec,
    zones::network_specs,
};

/// What engines say of a subnet that another network has, or overlaps with.
const TAKEN: [&str; 2] = ["overlap", "failed to allocate gateway"];

/// What plans have chosen on one engine.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    chosen: BTreeMap<EnvKey, BTreeSet<String>>,
    /// What the engine refused, although nothing showed that it is in use.
    refused: BTreeSet<String>,
}

impl Reserved {
    /// Gives an environment what `choose` returns of what is left by the others, whose part is returned.
    fn choose(&self, key: &EnvKey, choose: impl FnOnce(&[Occupied]) -> BTreeSet<String>) -> Vec<Occupied> {
        let mut state = self.state();
        state.chosen.remove(key);
        let occupied = state.occupied();
        let chosen = choose(&occupied);
        if !chosen.is_empty() {
            state.chosen.insert(key.clone(), chosen);
        }
        occupied
    }

    /// Forgets what an environment was to have.
    pub(crate) fn forget(&self, key: &EnvKey) {
        self.state().chosen.remove(key);
    }

    /// Says that the engine refused a subnet; returns whether that was chosen for the environment.
    fn refuse(&self, key: &EnvKey, subnet: &str) -> bool {
        let mut state = self.state();
        let was_chosen = state.chosen.get_mut(key).is_some_and(|chosen| chosen.remove(subnet));
        if was_chosen {
            state.refused.insert(subnet.to_owned());
        }
        was_chosen
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change of the state stops half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn occupied(&self) -> Vec<Occupied> {
        let chosen = self.chosen.iter().flat_map(|(key, subnets)| {
            let by = format!("a plan of environment `{}`", key.environment);
            subnets.iter().map(move |subnet| Occupied { subnet: subnet.clone(), by: by.clone() })
        });
        let by = "somebody whom only the engine knows";
        let refused =
            self.refused.iter().map(|subnet| Occupied { subnet: subnet.clone(), by: by.to_owned() });
        chosen.chain(refused).collect()
    }
}

impl Docker {
    /// Reserves the subnets that the compilation of what was observed will choose; returns those that it must not.
    /// What a person lets run is planned again in that person's process, and has to be the same plan there.
    pub(crate) fn reserve(
        &self,
        identity: &Identity,
        wanted: &Wanted,
        facts: &Facts,
        live: &Live,
    ) -> Vec<Occupied> {
        let zones = &wanted.resolved.spec.zones;
        let is_new = |zone: &ZoneName| !live.resources.contains_key(&zone_resource(zone));
        let key = identity.key();
        if wanted.resolved.spec.sync.mode == SyncMode::Manual || !zones.keys().any(is_new) {
            self.reserved().forget(&key);
            return Vec::new();
        }
        self.reserved().choose(&key, |occupied| {
            let mut facts = facts.clone();
            facts.subnets.extend_from_slice(occupied);
            let scene = Scene { identity, wanted, live, facts, settings: self.settings() };
            let specs = network_specs(&scene, &mut Problems::default());
            let missing = specs.into_iter().filter(|(zone, _)| is_new(zone));
            missing.map(|(_, spec)| spec.subnet).collect()
        })
    }

    /// Returns the failure to create a network. What somebody else took since the plan chose it is nobody's matter.
    pub(crate) fn not_created(
        &self,
        identity: &Identity,
        (name, spec): (&str, &NetworkSpec),
        error: &bollard::errors::Error,
    ) -> TargetError {
        let failure = self.failed(format!("create the network `{name}`"), error);
        if says(error, &TAKEN) && self.reserved().refuse(&identity.key(), &spec.subnet) {
            let help = format!("make a new plan, which takes another subnet than {}", spec.subnet);
            return TargetError { blame: trueup_engine::Blame::Moved, ..failure }.help(help);
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(environment: &str) -> EnvKey {
        EnvKey { source: "local".parse().unwrap(), environment: environment.parse().unwrap() }
    }

    /// Chooses the first of three that nobody has; returns it.
    fn choose(reserved: &Reserved, environment: &str) -> Option<String> {
        let mut first = None;
        reserved.choose(&key(environment), |occupied| {
            let is_free = |subnet: &&str| occupied.iter().all(|other| other.subnet != **subnet);
            first = ["a", "b", "c"].iter().find(|subnet| is_free(subnet)).map(|subnet| (*subnet).to_owned());
            first.iter().cloned().collect()
        });
        first
    }

    #[test]
    fn each_environment_chooses_what_no_other_has() {
        let reserved = Reserved::default();
        for (environment, subnet) in [("one", "a"), ("two", "b"), ("one", "a"), ("three", "c")] {
            assert_eq!(choose(&reserved, environment).as_deref(), Some(subnet), "{environment}");
        }
        assert_eq!(choose(&reserved, "four"), None);
        reserved.forget(&key("two"));
        assert_eq!(choose(&reserved, "four").as_deref(), Some("b"));
    }

    #[test]
    fn what_the_engine_refused_is_not_chosen_again() {
        let reserved = Reserved::default();
        choose(&reserved, "one");
        assert!(!reserved.refuse(&key("two"), "a"), "it is of another environment");
        assert!(reserved.refuse(&key("one"), "a"));
        assert_eq!(choose(&reserved, "one").as_deref(), Some("b"));
        assert!(!reserved.refuse(&key("one"), "a"), "it was chosen no more");
    }
}
