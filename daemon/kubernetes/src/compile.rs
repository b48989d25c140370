//! What is wanted, in the cluster's words.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use trueup_engine::Wanted;
use trueup_plan::{Declared, Desired, How, Kind, Live, Manner, Needs, Probe, ResourceId, Rule, Rules};
use trueup_schema::{Problems, Report};

use crate::{
    facts::{Facts, Judged},
    object::Object,
    plain::Plain,
    ready::says_whether_it_works,
};

/// How long a job may take.
const ENDED: Duration = Duration::from_hours(1);

/// How long an object without a time of its own may take until it works.
const READY: Duration = Duration::from_mins(2);

/// Returns what an environment declares.
pub(crate) fn desired(wanted: &Wanted, live: &Live) -> Result<Desired, Report> {
    let facts = Facts::of(&live.facts);
    let resolved = &wanted.resolved;
    let mut problems = Problems::default();
    for finding in &facts.findings {
        problems.object(resolved, &resolved.objects[finding.number], &finding.message, &finding.help);
    }
    for component in resolved.components.values() {
        let message = format!("`{}` cannot run on a cluster yet", component.name);
        problems.component(component, "", message, "declare its objects in `manifests`");
    }
    problems.into_result()?;
    let plains: Vec<Plain<'_>> = Plain::of(wanted).collect();
    let bases = bases(&facts);
    let resources = facts.objects.iter().map(|judged| {
        let places = plains.get(judged.number).map(|plain| plain.places.clone()).unwrap_or_default();
        (judged.id.clone(), declared(judged, places, &bases))
    });
    let spec = &resolved.spec;
    Ok(Desired {
        environment: resolved.name.clone(),
        target: spec.target.id().to_string(),
        revision: resolved.revision.clone(),
        manner: Manner::Rolling,
        resources: resources.collect(),
        rules: rules(),
        prune: spec.sync.prune,
        max_deletes: spec.sync.max_deletes,
        notes: Vec::new(),
    })
}

fn declared(
    judged: &Judged,
    places: trueup_schema::Places,
    bases: &BTreeMap<String, ResourceId>,
) -> Declared {
    let object = Object::from(judged.body.clone());
    let stands_in =
        [object.namespace().map(|name| format!("namespace/{name}")), Some(definition_of(&object))];
    let needs = stands_in.into_iter().flatten().filter_map(|name| bases.get(&name));
    Declared {
        body: Some(judged.body.clone()),
        rules: judged.rules.clone(),
        needs: needs.filter(|on| **on != judged.id).map(|on| Needs { on: on.clone(), ready: true }).collect(),
        probe: says_whether_it_works(&object.gvk()).then(|| probe(&object)),
        irreversible: judged.irreversible.clone(),
        ..Declared::new(judged.spec.clone(), places)
    }
}

/// Returns the namespaces that are declared, and the definitions by the kind that they define.
fn bases(facts: &Facts) -> BTreeMap<String, ResourceId> {
    let bases = facts.objects.iter().filter(|judged| judged.id.kind == Kind::Base);
    let named = bases.map(|judged| {
        let spec = &judged.body["spec"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let name = match judged.body["kind"].as_str() {
            Some("Namespace") => judged.id.name.clone(),
            _ => format!("{}.{}", text(&spec["names"]["kind"]), text(&spec["group"])),
        };
        (name, judged.id.clone())
    });
    named.collect()
}

fn definition_of(object: &Object) -> String {
    let gvk = object.gvk();
    format!("{}.{}", gvk.kind, gvk.group)
}

/// Returns how to tell that an object works: which one it is.
fn probe(object: &Object) -> Probe {
    let gvk = object.gvk();
    let check = json!({
        "ready": {
            "apiVersion": gvk.api_version(),
            "kind": gvk.kind,
            "namespace": object.namespace(),
            "name": object.name(),
        }
    });
    let runs_to_its_end = gvk.group == "batch" && gvk.kind == "Job";
    let startup = if runs_to_its_end { ENDED } else { READY };
    Probe { check, interval: Duration::from_secs(1), timeout: Duration::from_secs(10), startup }
}

/// A cluster changes nearly everything while it is there; what it does not is found by asking it.
fn rules() -> Rules {
    let rule = |how| vec![Rule { path: String::new(), how, interrupts: false, reason: None }];
    Rules::from([
        (Kind::Base, rule(How::InPlace)),
        (Kind::Volume, rule(How::InPlace)),
        (Kind::Object, rule(How::InPlace)),
        (Kind::Workload, rule(How::Roll)),
    ])
}
