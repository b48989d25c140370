//! What things are called on an engine, and the labels by which they are known again.
//!
//! A name is computed from the environment and the resource alone, so that a crashed run finds what it
//! made. Labels cannot be changed on a running container: none of them says what an update can change.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};
use trueup_engine::{Identity, RunId};
use trueup_plan::{Kind, Owner, ResourceId};
use trueup_schema::{ComponentName, ZoneName};

/// The store that drives the environment.
pub(crate) const OWNER: &str = "dev.trueup.owner";
/// The environment's uid: what everything of it is found by.
pub(crate) const ENV_UID: &str = "dev.trueup.env-uid";
/// The environment's name, for people.
pub(crate) const ENVIRONMENT: &str = "dev.trueup.environment";
/// The operator's name of the source, for people.
pub(crate) const SOURCE: &str = "dev.trueup.source";
/// The component.
pub(crate) const COMPONENT: &str = "dev.trueup.component";
/// Which of the component's replicas, from 1.
pub(crate) const REPLICA: &str = "dev.trueup.replica";
/// The kind of resource that a container is.
pub(crate) const KIND: &str = "dev.trueup.kind";
/// The run that created it.
pub(crate) const RUN: &str = "dev.trueup.run";
/// The delivered files: path, digest, mode and owner as JSON.
pub(crate) const FILES: &str = "dev.trueup.files";
/// The owner that a volume gets when its run has filled it.
pub(crate) const VOLUME_OWNER: &str = "dev.trueup.volume-owner";
/// The environment variables that hold an exposed secret, with commas.
pub(crate) const EXPOSED: &str = "dev.trueup.exposed";
/// When it runs, where that is by schedule.
pub(crate) const SCHEDULE: &str = "dev.trueup.schedule";
/// What becomes of the runs that it missed, where that is said.
pub(crate) const MISSED_RUNS: &str = "dev.trueup.missed-runs";
/// What every label of ours starts with.
pub(crate) const PREFIX: &str = "dev.trueup.";

const ASIDE: &str = ".kept-";

/// Labels as the engine takes and returns them.
pub(crate) type Labels = HashMap<String, String>;

/// Returns the engine's name of a resource: `demo-postgresql-2`.
pub(crate) fn engine_name(identity: &Identity, resource: &ResourceId) -> String {
    format!("{}-{}", identity.environment, resource.name)
}

/// Returns the engine's name of a zone's network.
pub(crate) fn network_name(identity: &Identity, zone: &str) -> String {
    format!("{}-{zone}", identity.environment)
}

/// Returns whether a container of the environment may have been created with that network mode, which nothing changes.
pub(crate) fn is_mode_of(identity: &Identity, mode: Option<&str>) -> bool {
    mode.is_some_and(|mode| mode == "none" || mode.starts_with(&network_name(identity, "")))
}

/// Returns the name of a container that a run keeps for its undo.
pub(crate) fn aside_name(name: &str, run: RunId) -> String {
    format!("{name}{ASIDE}{run}")
}

/// Returns the run that set a container of this name aside.
pub(crate) fn set_aside_by(name: &str) -> Option<&str> {
    name.rsplit_once(ASIDE).map(|(_, run)| run)
}

/// Returns the name of a zone's bridge; the kernel allows 15 characters.
pub(crate) fn bridge_name(identity: &Identity, zone: &str) -> String {
    format!("tu-{}", short_digest(&[&identity.uid, zone], 8))
}

/// Returns the first `length` digits of a SHA-256 over `parts`.
pub(crate) fn short_digest(parts: &[&str], length: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let mut digest = hex::encode(hasher.finalize());
    digest.truncate(length);
    digest
}

/// Returns the labels that everything of an environment carries.
pub(crate) fn owner_labels(identity: &Identity, run: &str) -> Labels {
    HashMap::from([
        (OWNER.to_owned(), identity.store.clone()),
        (ENV_UID.to_owned(), identity.uid.clone()),
        (ENVIRONMENT.to_owned(), identity.environment.to_string()),
        (SOURCE.to_owned(), identity.source.to_string()),
        (RUN.to_owned(), run.to_owned()),
    ])
}

/// Returns who created something, from its labels.
pub(crate) fn owner_of(labels: &Labels) -> Owner {
    let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
    Owner { store: get(OWNER), env_uid: get(ENV_UID), run: get(RUN) }
}

/// Returns which resource a container is, from its labels; none when they are not whole.
pub(crate) fn container_resource(labels: &Labels) -> Option<ResourceId> {
    let component: ComponentName = labels.get(COMPONENT)?.parse().ok()?;
    let replica: u16 = labels.get(REPLICA)?.parse().ok()?;
    let kind = match labels.get(KIND)?.as_str() {
        "workload" => Kind::Workload,
        "job" => Kind::Job,
        "cron" => Kind::Cron,
        _ => return None,
    };
    Some(replica_resource(kind, &component, replica))
}

/// Returns the resource of one replica.
pub(crate) fn replica_resource(kind: Kind, component: &ComponentName, replica: u16) -> ResourceId {
    let name = match replica {
        1 => component.to_string(),
        n => format!("{component}-{n}"),
    };
    ResourceId { kind, name, component: Some(component.clone()) }
}

/// Returns the number of a replica from its resource's name.
pub(crate) fn replica_number(resource: &ResourceId) -> u16 {
    resource
        .component
        .as_ref()
        .and_then(|component| resource.name.strip_prefix(component.as_str()))
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|number| number.parse().ok())
        .unwrap_or(1)
}

/// Returns the resource of a zone.
pub(crate) fn zone_resource(zone: &ZoneName) -> ResourceId {
    ResourceId { kind: Kind::Network, name: zone.to_string(), component: None }
}

/// Returns the labels that are not ours, in order.
pub(crate) fn foreign_labels(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(key, _)| !key.starts_with(PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            store: "s".into(),
            source: "local".parse().unwrap(),
            environment: "demo".parse().unwrap(),
            uid: "0011223344556677".into(),
        }
    }

    #[test]
    fn a_replica_is_known_again_by_its_labels() {
        for (kind, text) in [(Kind::Workload, "workload"), (Kind::Job, "job"), (Kind::Cron, "cron")] {
            for replica in [1, 2, 12] {
                let resource = replica_resource(kind, &"web".parse().unwrap(), replica);
                let labels = HashMap::from([
                    (COMPONENT.to_owned(), "web".to_owned()),
                    (REPLICA.to_owned(), replica.to_string()),
                    (KIND.to_owned(), text.to_owned()),
                ]);
                assert_eq!(container_resource(&labels), Some(resource.clone()));
                assert_eq!(replica_number(&resource), replica);
            }
        }
    }

    #[test]
    fn a_label_of_ours_that_no_version_reads_is_no_difference() {
        let labels = ["dev.trueup.spec", "team"].map(|key| (key.to_owned(), "a".to_owned()));
        let labels = foreign_labels(&HashMap::from(labels));
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["team"]);
    }

    #[test]
    fn a_component_that_ends_in_a_number_is_no_replica() {
        let resource = replica_resource(Kind::Workload, &"web-2".parse().unwrap(), 1);
        assert_eq!(replica_number(&resource), 1);
    }

    #[test]
    fn a_bridge_name_fits_into_the_kernel() {
        assert_eq!(bridge_name(&identity(), "management").len(), 11);
        assert_ne!(bridge_name(&identity(), "data"), bridge_name(&identity(), "control"));
    }

    #[test]
    fn what_was_set_aside_is_known_by_its_name() {
        let name = aside_name("demo-web", RunId(41));
        assert_eq!(name, "demo-web.kept-41");
        assert_eq!(set_aside_by(&name), Some("41"));
        assert_eq!(set_aside_by("demo-web"), None);
    }
}
