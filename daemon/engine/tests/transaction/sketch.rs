//! Small environments, made at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use trueup_plan::{Kind, ResourceId};

/// What an environment declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) resources: BTreeMap<ResourceId, Declared>,
}

/// One resource of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    pub(crate) spec: Value,
    pub(crate) needs: BTreeSet<ResourceId>,
}

pub(crate) fn network(name: &str) -> ResourceId {
    ResourceId { kind: Kind::Network, name: name.into(), component: None }
}

pub(crate) fn component(kind: Kind, name: &str) -> ResourceId {
    ResourceId { kind, name: name.into(), component: Some(name.parse().unwrap()) }
}

impl Sketch {
    pub(crate) fn with(mut self, kind: Kind, name: &str, change: &Value, needs: &[&ResourceId]) -> Self {
        let mut spec = json!({ "image": 1, "labels": 1, "networks": { "zone": {} }, "address": name });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let zones: BTreeSet<_> =
            spec["networks"].as_object().unwrap().keys().map(|zone| network(zone)).collect();
        for zone in &zones {
            let declared = Declared { spec: json!({ "internal": false }), needs: BTreeSet::new() };
            self.resources.entry(zone.clone()).or_insert(declared);
        }
        let needs = needs.iter().map(|id| (*id).clone()).chain(zones).collect();
        self.resources.insert(component(kind, name), Declared { spec, needs });
        self
    }
}

/// Five components that may be there, may be a job, and may need those before them.
pub(crate) fn any() -> impl Strategy<Value = Sketch> {
    let one = (0..4_u8, 0..3_u8, 0..2_u8, proptest::bool::ANY, 0..2_u8, 0..=u8::MAX);
    let parts = proptest::collection::vec(one, 5);
    (parts, proptest::collection::vec(proptest::bool::weighted(0.2), 2)).prop_map(|(parts, internal)| {
        let mut sketch = Sketch::default();
        for (n, internal) in internal.into_iter().enumerate() {
            let declared = Declared { spec: json!({ "internal": internal }), needs: BTreeSet::new() };
            sketch.resources.insert(network(&format!("z{n}")), declared);
        }
        let mut before: Vec<(usize, ResourceId)> = Vec::new();
        for (n, (presence, image, labels, start_first, zone, mask)) in parts.into_iter().enumerate() {
            let kind = match presence {
                0 => continue,
                1 => Kind::Job,
                _ => Kind::Workload,
            };
            let name = format!("c{n}");
            let mut spec =
                json!({ "image": image, "labels": labels, "networks": { format!("z{zone}"): {} } });
            if start_first {
                // Both run for a moment: they cannot share an address.
                spec["address"] = Value::Null;
            }
            let needs: Vec<_> = before.iter().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, id)| id).collect();
            sketch = sketch.with(kind, &name, &spec, &needs);
            before.push((n, component(kind, &name)));
        }
        sketch
    })
}
