//! Reads the world, and puts an environment into its words: a network a zone, a workload or job a
//! component.

use std::collections::BTreeMap;

use serde_json::json;
use trueup_plan::{Declared, Desired, How, Kind, Live, Manner, Needs, Probe, ResourceId, Rule};
use trueup_schema::{Report, ResolvedComponent, manifest::Workload};

use super::World;
use crate::{Identity, Observe, TargetError, Wanted};

impl Observe for World {
    async fn observe(&self, identity: &Identity, _: &Wanted) -> Result<Live, TargetError> {
        Ok(self.live_of(identity))
    }

    fn compile(&self, _: &Identity, wanted: &Wanted, _: &Live) -> Result<Desired, Report> {
        let resolved = &wanted.resolved;
        let zones = resolved.spec.zones.iter().map(|(name, zone)| {
            let id = ResourceId { kind: Kind::Network, name: name.to_string(), component: None };
            (id, declared(json!({ "internal": zone.internal }), None))
        });
        let components = resolved.components.values().filter_map(|component| {
            let id = component_id(component)?;
            let networks: BTreeMap<_, _> =
                component.zones.iter().map(|zone| (zone.to_string(), json!({}))).collect();
            let files: Option<serde_json::Map<_, _>> =
                wanted.deliveries.get(&component.name).map(|delivered| {
                    delivered.files.iter().map(|(path, file)| (path.clone(), json!(file.digest))).collect()
                });
            let spec = json!({
                "image": component.spec.image,
                "command": component.spec.command,
                "env": component.spec.env,
                "labels": component.spec.labels,
                "networks": networks,
                "files": files.unwrap_or_default(),
            });
            let mut declared = declared(spec, Some(component));
            let networks = component.zones.iter().map(|zone| Needs {
                on: ResourceId { kind: Kind::Network, name: zone.to_string(), component: None },
                ready: false,
            });
            let others = component.spec.depends_on.iter().filter_map(|other| {
                let on = component_id(resolved.components.get(&other.component)?)?;
                Some(Needs { on, ready: true })
            });
            declared.needs = networks.chain(others).collect();
            Some((id, declared))
        });
        let mut resources: BTreeMap<_, _> = zones.chain(components).collect();
        for declared in resources.values_mut() {
            declared.done = declared.inputs.as_ref().is_some_and(|inputs| wanted.jobs_done.contains(inputs));
        }
        Ok(Desired {
            environment: resolved.name.clone(),
            target: "fake/world".into(),
            revision: resolved.revision.clone(),
            resources,
            rules: rules(),
            prune: resolved.spec.sync.prune,
            max_deletes: resolved.spec.sync.max_deletes,
            manner: Manner::Beside,
            notes: Vec::new(),
        })
    }
}

fn component_id(component: &ResolvedComponent) -> Option<ResourceId> {
    let kind = match component.spec.workload {
        Workload::Service | Workload::Stateful | Workload::Daemon => Kind::Workload,
        Workload::Job => Kind::Job,
        Workload::Cron => Kind::Cron,
        Workload::External => return None,
    };
    Some(ResourceId { kind, name: component.name.to_string(), component: Some(component.name.clone()) })
}

fn declared(spec: serde_json::Value, component: Option<&ResolvedComponent>) -> Declared {
    let startup = std::time::Duration::from_secs(30);
    let job = component.is_some_and(|component| component.spec.workload == Workload::Job);
    Declared {
        inputs: job.then(|| spec.to_string()),
        probe: component.filter(|_| !job).map(|_| Probe {
            check: json!({}),
            interval: startup / 30,
            timeout: startup / 30,
            startup,
        }),
        update: component.map(|component| component.spec.update).unwrap_or_default(),
        ..Declared::new(spec, component.map(|component| component.places.clone()).unwrap_or_default())
    }
}

/// Returns how fields change here: labels while a thing runs, everything else by a new thing.
pub fn rules() -> trueup_plan::Rules {
    let rule =
        |path: &str, how| Rule { path: path.into(), how, interrupts: how != How::InPlace, reason: None };
    let rules = vec![rule("labels", How::InPlace), rule("", How::Recreate)];
    [Kind::Network, Kind::Volume, Kind::Workload, Kind::Job, Kind::Cron]
        .into_iter()
        .map(|kind| (kind, rules.clone()))
        .collect()
}
