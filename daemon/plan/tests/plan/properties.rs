//! What holds for every plan: generated environments, changed in any way, run on a world in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use serde_json::json;
use trueup_plan::{Act, Applied, Kind, Plan, ResourceId, Step, StepKey, desired_digest};
use trueup_schema::manifest::{Percent, Update};

use crate::world::{World, ago, id, network, observed};

const ZONES: [&str; 2] = ["control", "data"];

/// What happens to one component, or to one network.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    Image,
    Memory,
    Reload,
    Aliases,
    Drift,
    Stopped,
    Paused,
    Missing,
    Dropped,
    StartFirst,
    Moved,
    Network,
    NetworkMissing,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use Mutation as M;
    prop::sample::select(vec![
        M::Image,
        M::Memory,
        M::Reload,
        M::Aliases,
        M::Drift,
        M::Stopped,
        M::Paused,
        M::Missing,
        M::Dropped,
        M::StartFirst,
        M::Moved,
        M::Network,
        M::NetworkMissing,
    ])
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// Adds one component: how many replicas, on how many networks, and as bits which of those before it it needs.
fn add(world: &mut World, number: usize, (replicas, zones, needs): (usize, usize, u8)) {
    let component = name(number);
    let own = |replica| match replica {
        1 => component.clone(),
        _ => format!("{component}-{replica}"),
    };
    for replica in (1..=replicas).map(own) {
        world.replica(&component, &replica, &ZONES[..zones]);
        for on in (0..number).filter(|on| needs & (1 << on) != 0) {
            world.needs(&replica, &name(on));
        }
    }
    world.volume(&component, "data");
}

/// Components with one to three replicas, on one or both networks, each needing some of those before it.
fn settled() -> impl Strategy<Value = World> {
    vec((1..=3_usize, 1..=2_usize, any::<u8>()), 1..7).prop_map(|components| {
        let mut world = World::empty();
        for zone in ZONES {
            world.network(zone);
        }
        for (number, component) in components.into_iter().enumerate() {
            add(&mut world, number, component);
        }
        if world.desired.resources.len().is_multiple_of(2) {
            world.job("job", &["data"]).needs("job", "c0");
        }
        world.confirmed = true;
        world.desired.max_deletes = Percent(100);
        world.settle();
        world
    })
}

fn changed() -> impl Strategy<Value = World> {
    (settled(), vec((mutation(), 0..7_usize), 0..8)).prop_map(|(mut world, mutations)| {
        for (mutation, number) in mutations {
            mutate(&mut world, mutation, number);
        }
        for (number, declared) in world.desired.resources.values_mut().enumerate() {
            declared.fetch = number.is_multiple_of(3).then(|| json!({"image": number % 2}));
        }
        world
    })
}

fn mutate(world: &mut World, mutation: Mutation, number: usize) {
    let zone = network(ZONES[number % 2]);
    let component = name(number);
    let of_component = |id: &ResourceId| {
        id.kind == Kind::Workload && id.component.as_ref().is_some_and(|c| c.as_str() == component)
    };
    match mutation {
        Mutation::Network => world.desired.resources.get_mut(&zone).unwrap().spec["internal"] = json!(true),
        Mutation::NetworkMissing => {
            let attached =
                |id: &ResourceId| world.live.resources[id].spec["networks"].get(&zone.name).is_some();
            let gone: Vec<ResourceId> =
                world.live.resources.keys().filter(|id| attached(id)).cloned().collect();
            world.live.resources.retain(|id, _| *id != zone && !gone.contains(id));
        }
        Mutation::Dropped => {
            let gone = |id: &ResourceId| id.component.as_ref().is_some_and(|c| c.as_str() == component);
            world.desired.resources.retain(|id, _| !gone(id));
            let component = component.as_str();
            for declared in world.desired.resources.values_mut() {
                declared
                    .needs
                    .retain(|need| need.on.component.as_ref().is_none_or(|c| c.as_str() != component));
            }
        }
        Mutation::Drift | Mutation::Stopped | Mutation::Paused => {
            for (_, live) in world.live.resources.iter_mut().filter(|(id, _)| of_component(id)) {
                match mutation {
                    Mutation::Drift => live.spec["resources"]["memory"] = json!(1),
                    Mutation::Stopped => live.state.running = false,
                    _ => live.state.paused = true,
                }
            }
        }
        Mutation::Missing => world.live.resources.retain(|id, _| !of_component(id)),
        _ => {
            for (_, declared) in world.desired.resources.iter_mut().filter(|(id, _)| of_component(id)) {
                match mutation {
                    Mutation::Image => declared.spec["image"]["reference"] = json!("new:2"),
                    Mutation::Memory => declared.spec["resources"]["memory"] = json!(2),
                    Mutation::Reload => declared.spec["reload"] = json!(2),
                    Mutation::Aliases => declared.spec["networks"]["data"]["aliases"] = json!(["x"]),
                    Mutation::Moved => declared.spec["networks"] = json!({"control": {}}),
                    _ => declared.update = Update::StartFirst,
                }
            }
        }
    }
}

/// A world that steps are run on; it knows what is verified and what was set aside.
struct Run<'a> {
    world: &'a mut World,
    /// What an act set aside: where it is attached, and whether it still runs.
    aside: BTreeMap<ResourceId, (BTreeSet<String>, bool)>,
    ready: BTreeSet<ResourceId>,
}

fn attached(spec: &serde_json::Value) -> BTreeSet<String> {
    let networks = spec.get("networks").and_then(|networks| networks.as_object());
    networks.into_iter().flat_map(|networks| networks.keys().cloned()).collect()
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        let id = &step.resource;
        match &step.act {
            Act::Fetch { .. } => {}
            Act::Create { spec, replaces } => self.create(id, spec, replaces.is_some()),
            Act::Stop { old } => {
                self.needs_are_ready_unless_around(id);
                let live = self.world.live.resources.get_mut(id).unwrap();
                if live.handle == old.handle {
                    live.state.running = false;
                    live.state.paused = false;
                } else {
                    self.aside.get_mut(id).unwrap().1 = false;
                }
            }
            Act::Start { .. } => {
                self.needs_are_ready(id);
                self.world.live.resources.get_mut(id).unwrap().state.running = true;
            }
            Act::Restart { .. } => {
                self.needs_are_ready(id);
                let state = &mut self.world.live.resources.get_mut(id).unwrap().state;
                (state.running, state.paused) = (true, false);
            }
            Act::Update { after, .. } => self.world.live.resources.get_mut(id).unwrap().spec = after.clone(),
            Act::Run { .. } => {
                self.needs_are_ready(id);
                self.world.desired.resources.get_mut(id).unwrap().done = true;
            }
            Act::Verify { .. } => {
                let state = &self.world.live.resources[id].state;
                assert!(state.running && !state.paused, "{id} is verified before it runs");
                self.ready.insert(id.clone());
            }
            Act::Retire { .. } => {
                self.world.live.resources.remove(id).unwrap();
            }
        }
    }

    fn create(&mut self, id: &ResourceId, spec: &serde_json::Value, replaces: bool) {
        for zone in attached(spec) {
            assert!(
                self.world.live.resources.contains_key(&network(&zone)),
                "{id} before its network {zone}"
            );
        }
        if id.kind == Kind::Network && replaces {
            let running =
                |live: &trueup_plan::Observed| live.state.running && attached(&live.spec).contains(&id.name);
            assert!(!self.world.live.resources.values().any(running), "{id} is replaced under a container");
            let aside = self.aside.values().any(|(zones, runs)| *runs && zones.contains(&id.name));
            assert!(!aside, "{id} is replaced under an old container");
        }
        let mut new = observed(id, spec);
        new.state.running = id.kind <= Kind::Volume;
        new.handle.push_str("-new");
        if let Some(old) = self.world.live.resources.insert(id.clone(), new) {
            assert!(replaces, "{id} is there and is not set aside");
            self.aside.insert(id.clone(), (attached(&old.spec), old.state.is_up()));
        }
    }

    /// Asserts that all that a resource needs works at this moment, and that what was changed was verified.
    fn needs_are_ready(&self, id: &ResourceId) {
        for need in self.world.desired.resources[id].needs.iter().filter(|need| need.ready) {
            let live = self.world.live.resources.get(&need.on);
            assert!(live.is_some_and(|live| live.state.running), "{id} before {}", need.on);
            let new = live.is_some_and(|live| live.handle.ends_with("-new"));
            assert!(!new || self.ready.contains(&need.on), "{id} before {} is ready", need.on);
        }
    }

    /// The same for what is stopped to be replaced, unless a network is taken from under all of them.
    fn needs_are_ready_unless_around(&self, id: &ResourceId) {
        let replaced = |zone: &String| {
            let (desired, live) = (&self.world.desired.resources, &self.world.applied);
            let before = live.as_ref().unwrap().desired.resources.get(&network(zone));
            desired.get(&network(zone)).map(|d| &d.spec) != before.map(|d| &d.spec)
        };
        let zones = self.world.applied.as_ref().unwrap().desired.resources.get(id);
        if !zones.is_some_and(|declared| attached(&declared.spec).iter().any(replaced)) {
            self.needs_are_ready(id);
        }
    }
}

fn run(world: &mut World, plan: &Plan) {
    let mut run = Run { world, aside: BTreeMap::new(), ready: BTreeSet::new() };
    for step in &plan.steps {
        run.step(step);
    }
    let runs = |(id, (_, runs)): (&ResourceId, &(BTreeSet<String>, bool))| id.kind > Kind::Volume && *runs;
    assert!(!run.aside.iter().any(runs), "an old one still runs");
    let desired = world.desired.clone();
    let revision = desired.revision.clone();
    world.applied = Some(Applied { revision, desired, at: ago(0), drift_since: BTreeMap::new() });
}

/// Asserts that each step's `after` stands before it, and that every fetch comes before every other act.
fn ordered(plan: &Plan) {
    let mut before: BTreeMap<&StepKey, BTreeSet<&StepKey>> = BTreeMap::new();
    for step in &plan.steps {
        let mut all: BTreeSet<&StepKey> = step.after.iter().collect();
        for first in &step.after {
            all.extend(before.get(first).unwrap_or_else(|| panic!("{} before {first}", step.key)));
        }
        before.insert(&step.key, all);
    }
    let is_fetch = |step: &&Step| matches!(step.act, Act::Fetch { .. });
    let fetches: BTreeSet<&StepKey> = plan.steps.iter().filter(is_fetch).map(|step| &step.key).collect();
    for step in plan.steps.iter().filter(|step| !is_fetch(step)) {
        assert!(before[&step.key].is_superset(&fetches), "{} before a fetch", step.key);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_always_the_same(world in changed()) {
        let (one, other) = (world.plan(), world.plan());
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(world.printed(), world.printed());
        let json = serde_json::to_string(&one).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), one);
        let again: trueup_plan::Desired =
            serde_json::from_str(&serde_json::to_string(&world.desired).unwrap()).unwrap();
        prop_assert_eq!(desired_digest(&again), desired_digest(&world.desired));
    }

    #[test]
    fn every_step_comes_after_what_it_waits_for(world in changed(), heals in any::<bool>()) {
        let mut world = world;
        world.repairs = heals;
        let plan = world.plan();
        prop_assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        ordered(&plan);
    }

    #[test]
    fn running_the_steps_leaves_nothing_to_do(world in changed()) {
        let mut world = world;
        let plan = world.plan();
        prop_assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        run(&mut world, &plan);
        let again = world.plan();
        prop_assert!(again.is_empty(), "{}\n{}", world.printed(), plan.steps.len());
    }

    #[test]
    fn what_does_not_matter_does_not_change_the_digest_of_desired(world in changed()) {
        let before = desired_digest(&world.desired);
        let mut other = world.desired.clone();
        other.revision.commit = "f".repeat(40);
        other.notes.push("a note".into());
        for declared in other.resources.values_mut() {
            declared.places.0.clear();
            declared.fetch = None;
            declared.done = !declared.done;
        }
        prop_assert_eq!(&before, &desired_digest(&other));
        let first = other.resources.values_mut().next().unwrap();
        first.spec["x"] = json!(1);
        prop_assert_ne!(&before, &desired_digest(&other));
    }
}

#[test]
fn a_live_state_that_moved_changes_the_digest_of_the_plan() {
    let mut world = World::demo();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    let before = world.plan().digest;
    world.observed("haproxy").handle = "another".into();
    assert_ne!(before, world.plan().digest);
    let job = id(Kind::Job, "job", Some("job"));
    assert!(!world.live.resources.contains_key(&job));
}
