//! A plan by hand, with the steps of every kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use trueup_engine::fake::Thing;
use trueup_plan::{
    Act, Action, Aside, Cause, Change, How, Kind, Plan, PlanDigest, Probe, ResourceId, Step, StepKey,
};
use trueup_schema::Revision;

use crate::sketch::{Declared, Sketch};

pub(crate) fn revision(commit: &str) -> Revision {
    Revision {
        commit: commit.into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: "change".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

/// Returns what brings `live` to `sketch`.
pub(crate) fn plan(
    live: &BTreeMap<ResourceId, Thing>,
    sketch: &Sketch,
    jobs_done: &BTreeSet<String>,
) -> Plan {
    let mut steps = Steps::default();
    for (id, declared) in &sketch.resources {
        steps.bring(id, declared, live.get(id), jobs_done);
    }
    steps.needs(sketch);
    for id in live.keys().filter(|id| !sketch.resources.contains_key(*id)).rev() {
        steps.retire(id, &live[id]);
    }
    let resources: BTreeSet<_> = steps.list.iter().map(|step| step.resource.clone()).collect();
    let digest = json!(sketch.resources.values().map(|declared| &declared.spec).collect::<Vec<_>>());
    Plan {
        environment: "demo".parse().unwrap(),
        target: "fake/world".into(),
        revision: revision("1111111"),
        applied: None,
        digest: PlanDigest("ab".repeat(32)),
        desired_digest: digest.to_string(),
        changes: resources.into_iter().map(change).collect(),
        unchanged: Vec::new(),
        steps: steps.list,
        waves: 1,
        refusals: Vec::new(),
        reported: Vec::new(),
        foreign: Vec::new(),
        notes: Vec::new(),
        deletes: (0, 100),
    }
}

fn change(resource: ResourceId) -> Change {
    Change {
        resource,
        action: Action::Update,
        how: How::Recreate,
        cause: Cause::Intent,
        forced_by: None,
        fields: Vec::new(),
        interrupts: Vec::new(),
        since: None,
        place: None,
        irreversible: None,
    }
}

#[derive(Default)]
struct Steps {
    list: Vec<Step>,
}

impl Steps {
    fn add(&mut self, verb: &str, resource: &ResourceId, act: Act) {
        let before = self.list.iter().rev().find(|step| step.resource == *resource);
        let after = before.map(|step| step.key.clone()).into_iter().collect();
        self.list.push(Step {
            key: StepKey(format!("{verb} {resource}")),
            resource: resource.clone(),
            act,
            after,
            timeout: Duration::from_secs(30),
        });
    }

    fn bring(&mut self, id: &ResourceId, to: &Declared, live: Option<&Thing>, jobs_done: &BTreeSet<String>) {
        let inputs = format!("{id} {}", to.spec);
        if id.kind == Kind::Job && jobs_done.contains(&inputs) {
            return;
        }
        let Some(thing) = live else { return self.create(id, to, None, inputs) };
        let same = |field: &str| thing.spec[field] == to.spec[field];
        let whole = |spec: &Value| {
            let mut spec = spec.clone();
            if let Some(spec) = spec.as_object_mut() {
                spec.retain(|field, _| field != "labels" && field != "files");
            }
            spec
        };
        if id.kind == Kind::Network {
            return;
        }
        if whole(&thing.spec) != whole(&to.spec) || id.kind == Kind::Job {
            if thing.running {
                self.add("stop", id, Act::Stop { old: aside(thing) });
            }
            return self.create(id, to, Some(aside(thing)), inputs);
        }
        if !same("labels") || !same("files") {
            let fields = vec!["labels".to_owned()];
            self.add("update", id, Act::Update { before: aside(thing), after: to.spec.clone(), fields });
        }
        if !thing.running {
            self.add("start", id, Act::Start { old: Some(aside(thing)) });
        } else if !same("files") {
            self.add("restart", id, Act::Restart { old: aside(thing) });
        } else {
            return;
        }
        self.verify(id);
    }

    fn create(&mut self, id: &ResourceId, to: &Declared, replaces: Option<Aside>, inputs: String) {
        self.add("create", id, Act::Create { spec: to.spec.clone(), replaces });
        match id.kind {
            Kind::Job => self.add("run", id, Act::Run { inputs }),
            Kind::Workload => {
                self.add("fetch", id, Act::Fetch { what: to.spec.clone() });
                self.list.last_mut().expect("it was just added").after.clear();
                self.add("start", id, Act::Start { old: None });
                let create = StepKey(format!("create {id}"));
                self.list.last_mut().expect("it was just added").after = BTreeSet::from([create]);
                self.verify(id);
            }
            _ => {}
        }
    }

    fn verify(&mut self, id: &ResourceId) {
        let second = Duration::from_secs(1);
        let probe = Probe { check: json!({}), interval: second, timeout: second, startup: second * 30 };
        self.add("verify", id, Act::Verify { probe });
    }

    /// Lets the first step of each resource that is more than made wait for the last of what it needs.
    fn needs(&mut self, sketch: &Sketch) {
        for (id, declared) in &sketch.resources {
            let gate =
                self.list.iter().position(|s| s.resource == *id && !matches!(s.act, Act::Fetch { .. }));
            let Some(gate) = gate else { continue };
            let last = |need: &ResourceId| self.list.iter().rev().find(|step| step.resource == *need);
            let keys: Vec<_> = declared.needs.iter().filter_map(last).map(|step| step.key.clone()).collect();
            self.list[gate].after.extend(keys);
        }
    }

    /// Retires last, what stands on something before it.
    fn retire(&mut self, id: &ResourceId, thing: &Thing) {
        let retired = |step: &&Step| !matches!(step.act, Act::Retire { .. }) || step.resource.kind > id.kind;
        let after: BTreeSet<_> = self.list.iter().filter(retired).map(|step| step.key.clone()).collect();
        self.add("retire", id, Act::Retire { old: aside(thing) });
        self.list.last_mut().expect("it was just added").after = after;
    }
}

fn aside(thing: &Thing) -> Aside {
    Aside { handle: thing.handle.clone(), spec: thing.spec.clone(), running: thing.running }
}
