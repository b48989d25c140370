//! From a sketch to a plan.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use trueup_engine::{Identity, fake};
use trueup_plan::{
    Applied, Declared, Desired, Input, Kind, Live, Manner, Needs, NoTexts, Ownership, Plan, Probe, ResourceId,
};
use trueup_schema::{
    Places, Revision,
    manifest::{Percent, Update},
};

use crate::sketch::{self, Sketch};

pub(crate) fn revision(commit: &str) -> Revision {
    Revision {
        commit: commit.into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: "change".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

/// Returns what a sketch declares, in the words of the world.
pub(crate) fn desired(sketch: &Sketch, jobs_done: &BTreeSet<String>) -> Desired {
    let resources = sketch.resources.iter().map(|(id, of)| (id.clone(), declared(id, of, jobs_done)));
    Desired {
        environment: "demo".parse().unwrap(),
        target: "fake/world".into(),
        revision: revision("1111111"),
        resources: resources.collect(),
        rules: fake::rules(),
        prune: true,
        max_deletes: Percent(100),
        manner: Manner::Beside,
        notes: Vec::new(),
    }
}

fn declared(id: &ResourceId, of: &sketch::Declared, jobs_done: &BTreeSet<String>) -> Declared {
    let second = Duration::from_secs(1);
    let probe = Probe { check: json!({}), interval: second, timeout: second, startup: 30 * second };
    let workload = id.kind == Kind::Workload;
    let inputs = (id.kind == Kind::Job).then(|| format!("{id} {}", of.spec));
    Declared {
        needs: of.needs.iter().map(|on| Needs { on: on.clone(), ready: !on.kind.only_exists() }).collect(),
        probe: workload.then_some(probe),
        update: if of.spec["address"].is_null() { Update::StartFirst } else { Update::StopFirst },
        fetch: workload.then(|| of.spec.clone()),
        done: inputs.as_ref().is_some_and(|inputs| jobs_done.contains(inputs)),
        inputs,
        ..Declared::new(of.spec.clone(), Places::default())
    }
}

/// Returns what brings `live` to `desired`.
pub(crate) fn plan(live: &Live, desired: &Desired, applied: Option<&Applied>, identity: &Identity) -> Plan {
    let identity = Ownership { store: &identity.store, env_uid: &identity.uid };
    let plan = trueup_plan::plan(&Input {
        desired,
        intent: &trueup_plan::desired_digest(desired),
        live,
        applied,
        identity,
        texts: &NoTexts,
        repairs: true,
        contested: &[],
        budget_confirmed: true,
    });
    assert_eq!(plan.refusals, []);
    plan
}
