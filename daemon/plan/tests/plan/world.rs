//! A small environment, made in a line or two: declare, settle, change one thing, plan.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use trueup_plan::{
    Applied, Contest, Declared, Desired, How, Input, Kind, Live, Manner, Needs, Observed, Owner, Ownership,
    Plan, Probe, ResourceId, Rule, Rules, State, Texts,
    render::{Style, text},
};
use trueup_schema::{
    Place, Places, Revision,
    manifest::{Percent, Update},
};

pub(crate) const STORE: &str = "store-a";
pub(crate) const UID: &str = "00c0ffee00c0ffee";

/// Everything that a plan is made of, owned.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) live: Live,
    pub(crate) applied: Option<Applied>,
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) repairs: bool,
    pub(crate) contested: Vec<Contest>,
    pub(crate) confirmed: bool,
}

impl std::fmt::Debug for World {
    /// Writes what a person needs when a property fails: the plan and its steps.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{}\n{}", self.printed(), self.steps())
    }
}

struct Known<'a>(&'a BTreeMap<String, String>);

impl Texts for Known<'_> {
    fn text(&self, digest: &str) -> Option<&str> {
        self.0.get(digest).map(String::as_str)
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T14:05:00Z".parse().unwrap()
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - seconds).unwrap()
}

pub(crate) fn place(at: &str) -> Place {
    let mut parts = at.split(':');
    let file = parts.next().unwrap().parse().unwrap();
    let mut number = || parts.next().map_or(1, |number| number.parse().unwrap());
    Place { file, line: number(), column: number() }
}

pub(crate) fn id(kind: Kind, name: &str, component: Option<&str>) -> ResourceId {
    ResourceId { kind, name: name.into(), component: component.map(|name| name.parse().unwrap()) }
}

pub(crate) fn workload(name: &str) -> ResourceId {
    id(Kind::Workload, name, Some(name))
}

pub(crate) fn network(name: &str) -> ResourceId {
    id(Kind::Network, name, None)
}

pub(crate) fn volume(component: &str, name: &str) -> ResourceId {
    id(Kind::Volume, &format!("{component}-{name}"), Some(component))
}

fn rules() -> Rules {
    let rule = |path: &str, how, interrupts, reason: Option<&str>| Rule {
        path: path.into(),
        how,
        interrupts,
        reason: reason.map(Into::into),
    };
    let workload = vec![
        rule("resources", How::InPlace, false, None),
        rule("restart", How::InPlace, false, None),
        rule("networks", How::InPlace, true, None),
        rule("reload", How::Restart, true, None),
        rule("", How::Recreate, true, None),
    ];
    BTreeMap::from([
        (Kind::Network, vec![rule("", How::Recreate, true, None)]),
        (
            Kind::Volume,
            vec![rule("driver", How::Refuse, false, Some("a migration is a job that you declare"))],
        ),
        (Kind::Workload, workload.clone()),
        (Kind::Job, workload.clone()),
        (Kind::Cron, workload),
    ])
}

fn revision(commit: &str, subject: &str, time: Timestamp) -> Revision {
    Revision {
        commit: commit.into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: subject.into(),
        time,
    }
}

impl World {
    /// Nothing declared, nothing there.
    pub(crate) fn empty() -> Self {
        let desired = Desired {
            environment: "demo".parse().unwrap(),
            target: "docker/local".into(),
            revision: revision(
                "3f9c2ab000000000000000000000000000000000",
                "haproxy: allow more connections",
                ago(120),
            ),
            resources: BTreeMap::new(),
            rules: rules(),
            prune: true,
            max_deletes: Percent(30),
            manner: Manner::Beside,
            notes: Vec::new(),
        };
        let live = Live::default();
        Self {
            desired,
            live,
            applied: None,
            texts: BTreeMap::new(),
            repairs: true,
            contested: Vec::new(),
            confirmed: false,
        }
    }

    /// Three components on two networks, settled: `haproxy` and `prometheus` need `postgresql`.
    pub(crate) fn demo() -> Self {
        let mut world = Self::empty();
        world.network("control").network("data");
        world.service("postgresql", &["data"]);
        world.volume("postgresql", "data");
        world.service("haproxy", &["control", "data"]).needs("haproxy", "postgresql");
        world.service("prometheus", &["control", "data"]).needs("prometheus", "postgresql");
        world.declared("haproxy").serves = vec!["postgresql:5432".into()];
        world.declared("postgresql").serves = vec!["sql:5432".into()];
        world.settle();
        world
    }

    pub(crate) fn declare(&mut self, id: ResourceId, spec: Value) -> &mut Declared {
        let file = match &id.component {
            Some(component) => format!("components/{component}.yaml:1:1"),
            None => "environments/demo/environment.yaml:8:5".into(),
        };
        let places = Places(BTreeMap::from([(String::new(), place(&file))]));
        let declared = Declared { update: Update::StopFirst, ..Declared::new(spec, places) };
        self.desired.resources.entry(id).or_insert(declared)
    }

    pub(crate) fn network(&mut self, name: &str) -> &mut Self {
        self.declare(network(name), json!({"driver": "bridge", "internal": false}));
        self
    }

    pub(crate) fn volume(&mut self, component: &str, name: &str) -> &mut Self {
        self.declare(volume(component, name), json!({"driver": "local"}));
        let need = Needs { on: volume(component, name), ready: false };
        if let Some(declared) = self.desired.resources.get_mut(&workload(component)) {
            declared.needs.push(need);
        }
        self
    }

    pub(crate) fn service(&mut self, name: &str, networks: &[&str]) -> &mut Self {
        self.replica(name, name, networks)
    }

    pub(crate) fn replica(&mut self, component: &str, name: &str, networks: &[&str]) -> &mut Self {
        let id = id(Kind::Workload, name, Some(component));
        let declared = self.declare(id, spec(component, networks));
        declared.probe = Some(probe());
        declared.needs = networks.iter().map(|name| Needs { on: network(name), ready: false }).collect();
        self
    }

    pub(crate) fn job(&mut self, name: &str, networks: &[&str]) -> &mut Self {
        let declared = self.declare(id(Kind::Job, name, Some(name)), spec(name, networks));
        declared.inputs = Some(format!("inputs-of-{name}"));
        self
    }

    /// Makes `name` wait until `on` is ready.
    pub(crate) fn needs(&mut self, name: &str, on: &str) -> &mut Self {
        let on = self.find(on);
        self.declared(name).needs.push(Needs { on, ready: true });
        self
    }

    /// Takes everything as applied and running.
    pub(crate) fn settle(&mut self) -> &mut Self {
        for declared in self.desired.resources.values_mut() {
            declared.done = declared.inputs.is_some();
            declared.fetch = None;
        }
        let observe = |(id, declared): (&ResourceId, &Declared)| (id.clone(), observed(id, &declared.spec));
        self.live.resources = self.desired.resources.iter().map(observe).collect();
        let mut desired = self.desired.clone();
        desired.revision = revision("a41d0c9000000000000000000000000000000000", "before", ago(7200));
        self.applied = Some(Applied {
            revision: desired.revision.clone(),
            desired,
            at: ago(3600),
            drift_since: BTreeMap::new(),
        });
        self
    }

    pub(crate) fn find(&self, name: &str) -> ResourceId {
        let ids = self.desired.resources.keys().chain(self.live.resources.keys());
        ids.filter(|id| id.kind > Kind::Volume).find(|id| id.name == name).expect(name).clone()
    }

    pub(crate) fn declared(&mut self, name: &str) -> &mut Declared {
        let id = self.find(name);
        self.desired.resources.get_mut(&id).unwrap()
    }

    pub(crate) fn observed(&mut self, name: &str) -> &mut Observed {
        let id = self.find(name);
        self.live.resources.get_mut(&id).unwrap()
    }

    /// Takes a component out of the declaration.
    pub(crate) fn drop_component(&mut self, name: &str) -> &mut Self {
        self.desired.resources.retain(|id, _| id.component.as_ref().is_none_or(|own| own.as_str() != name));
        self
    }

    pub(crate) fn file(&mut self, name: &str, to: &str, digest: &str, from: &str) {
        let declared = self.declared(name);
        declared.spec["files"][to] = json!({"digest": digest, "mode": "0444"});
        declared.places.0.insert(format!("files[{to}].digest"), place(from));
    }

    pub(crate) fn drifted(&mut self, name: &str, since: Timestamp) {
        let id = self.find(name);
        self.applied.as_mut().unwrap().drift_since.insert(id, since);
    }

    pub(crate) fn plan(&self) -> Plan {
        trueup_plan::plan(&Input {
            desired: &self.desired,
            intent: &trueup_plan::desired_digest(&self.desired),
            live: &self.live,
            applied: self.applied.as_ref(),
            identity: Ownership { store: STORE, env_uid: UID },
            texts: &Known(&self.texts),
            repairs: self.repairs,
            contested: &self.contested,
            budget_confirmed: self.confirmed,
        })
    }

    /// Returns the printed plan, with the digest's digits replaced.
    pub(crate) fn printed(&self) -> String {
        let plan = self.plan();
        text(&plan, &Style::default(), now()).replace(plan.digest.short(), "########")
    }

    /// Returns the steps, one a line, each with what it waits for.
    pub(crate) fn steps(&self) -> String {
        let plan = self.plan();
        let after = |step: &trueup_plan::Step| {
            step.after.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let line = |step: &trueup_plan::Step| {
            if step.after.is_empty() {
                step.key.to_string()
            } else {
                format!("{} <- {}", step.key, after(step))
            }
        };
        plan.steps.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn spec(component: &str, networks: &[&str]) -> Value {
    let networks: BTreeMap<&str, Value> =
        networks.iter().map(|name| (*name, json!({"aliases": [component]}))).collect();
    json!({
        "image": {"reference": format!("{component}:1"), "id": format!("sha256:{component}-1")},
        "networks": networks,
        "resources": {"memory": 1 << 30},
        "restart": "unless-stopped",
    })
}

pub(crate) fn probe() -> Probe {
    Probe {
        check: json!({"tcp": 1}),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(3),
        startup: Duration::from_secs(30),
    }
}

pub(crate) fn observed(id: &ResourceId, spec: &Value) -> Observed {
    let running = id.kind <= Kind::Workload;
    Observed::new(
        format!("handle-of-{}", id.name),
        spec.clone(),
        State { running, ..State::default() },
        Owner { store: STORE.into(), env_uid: UID.into(), run: "1".into() },
    )
}
