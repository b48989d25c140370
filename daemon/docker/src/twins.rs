//! Which container is a resource, where several carry its labels: somebody may have copied them.
//!
//! The one with the resource's name is it. Where none has it, somebody renamed it: it is the oldest of those that
//! are in the network that they would have been created in. Pure.

use std::{collections::BTreeMap, sync::Arc};

use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;
use trueup_engine::Identity;
use trueup_plan::{Foreign, ResourceId};

use crate::{
    names::{container_resource, engine_name, is_mode_of, set_aside_by},
    sight::inspected_name,
};

/// The containers with an environment's labels.
#[derive(Default)]
pub(crate) struct Told<'a> {
    /// Those that are resources.
    pub(crate) resources: BTreeMap<ResourceId, &'a ContainerInspectResponse>,
    /// All others.
    pub(crate) foreign: Vec<Foreign>,
}

/// Tells which containers are resources.
pub(crate) fn tell_apart<'a>(identity: &Identity, own: &'a [Arc<ContainerInspectResponse>]) -> Told<'a> {
    let mut told = Told::default();
    let mut claims: BTreeMap<ResourceId, Vec<&ContainerInspectResponse>> = BTreeMap::new();
    for found in own {
        let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
        match (set_aside_by(inspected_name(found)), labels.and_then(container_resource)) {
            (Some(run), _) => {
                told.foreign.push(foreign(found, format!("run {run} kept it and did not remove it")));
            }
            (None, Some(id)) => claims.entry(id).or_default().push(found),
            (None, None) => {
                let why = "carries the environment's label without the rest of them";
                told.foreign.push(foreign(found, why.to_owned()));
            }
        }
    }
    for (id, mut claimants) in claims {
        let name = engine_name(identity, &id);
        claimants.sort_by_key(|found| (inspected_name(found) != name, age(found), found.id.clone()));
        let is_it = |found: &&ContainerInspectResponse| {
            let mode = found.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
            inspected_name(found) == name || is_mode_of(identity, mode)
        };
        let it = claimants.iter().position(is_it).map(|at| claimants.remove(at));
        let why = match it {
            Some(it) => format!("carries the labels of `{id}`, which is container `{}`", inspected_name(it)),
            None => format!("carries the labels of `{id}`, and trueup did not create it"),
        };
        told.foreign.extend(claimants.into_iter().map(|found| foreign(found, why.clone())));
        told.resources.extend(it.map(|it| (id, it)));
    }
    told
}

/// Returns when it was created.
fn age(found: &ContainerInspectResponse) -> Option<Timestamp> {
    found.created.as_ref()?.parse().ok()
}

fn foreign(found: &ContainerInspectResponse, why: String) -> Foreign {
    Foreign { what: format!("container {}", inspected_name(found)), why, blocks: false }
}
