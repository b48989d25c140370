//! What our objects carry, and what a plan calls them.

use trueup_engine::Identity;
use trueup_plan::{Kind, Owner, ResourceId};

use crate::object::{Gvk, Object};

/// The store that drives an object: a label, to be found by, and an annotation.
pub(crate) const OWNER: &str = "trueup.dev/owner";
/// The environment that it is of: a label, to be found by, and an annotation.
pub(crate) const ENV_UID: &str = "trueup.dev/env-uid";
/// The run that created it.
pub(crate) const RUN: &str = "trueup.dev/run";
/// Who manages it, by convention. Source: the recommended labels in Kubernetes' documentation.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The environment's name, as an annotation: people read it.
pub(crate) const ENVIRONMENT: &str = "trueup.dev/environment";
/// The operator's name of its source, as an annotation.
pub(crate) const SOURCE: &str = "trueup.dev/source";
/// The digest of what was sent, as an annotation.
pub(crate) const DECLARED: &str = "trueup.dev/declared";

/// Returns the label selector of everything that is of an environment.
pub(crate) fn selector(identity: &Identity) -> String {
    format!("{ENV_UID}={}", identity.uid)
}

/// Returns what a plan calls an object; its namespace is named where it is not the environment's own.
pub(crate) fn id_of(gvk: &Gvk, namespace: Option<&str>, own: &str, name: &str) -> ResourceId {
    let mut kind = gvk.kind.to_lowercase();
    if !is_built_in(&gvk.group) {
        kind = format!("{kind}.{}", gvk.group);
    }
    let name = match namespace.filter(|namespace| *namespace != own) {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    };
    ResourceId { kind: kind_of(gvk), name, component: None }
}

/// Returns whether a group comes with Kubernetes.
pub(crate) fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

fn kind_of(gvk: &Gvk) -> Kind {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => Kind::Base,
        ("", "PersistentVolumeClaim") => Kind::Volume,
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => Kind::Workload,
        _ => Kind::Object,
    }
}

/// Returns who created an object, from its labels, and from its annotations where a label is gone.
pub(crate) fn owner_of(object: &Object) -> Owner {
    let (labels, annotations) = (object.labels(), object.annotations());
    let label = |name| labels.get(name).or(annotations.get(name)).copied().unwrap_or_default().to_owned();
    Owner { store: label(OWNER), env_uid: label(ENV_UID), run: label(RUN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(api_version: &str, kind: &str, namespace: Option<&str>) -> String {
        id_of(&Gvk::new(api_version, kind), namespace, "demo", "web").to_string()
    }

    #[test]
    fn what_is_called_alike_elsewhere_is_told_apart() {
        assert_eq!(name("v1", "Service", Some("demo")), "service/web");
        assert_eq!(name("v1", "Service", Some("other")), "service/other/web");
        assert_eq!(name("networking.k8s.io/v1", "Ingress", Some("demo")), "ingress/web");
        assert_eq!(
            name("serving.knative.dev/v1", "Service", Some("demo")),
            "service.serving.knative.dev/web"
        );
        assert_eq!(name("rbac.authorization.k8s.io/v1", "ClusterRole", None), "clusterrole/web");
    }

    #[test]
    fn a_version_is_no_part_of_a_name() {
        assert_eq!(
            name("autoscaling/v1", "HorizontalPodAutoscaler", None),
            name("autoscaling/v2", "HorizontalPodAutoscaler", None)
        );
    }
}
