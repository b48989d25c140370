//! Which kinds a cluster has, and where their objects are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::Mutex;
use trueup_engine::{Blame, TargetError};

use crate::{Kubernetes, ask::Ask, object::Gvk};

/// A kind of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What its documents say.
    pub gvk: Gvk,
    /// What paths and roles say: `deployments`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with them.
    pub verbs: BTreeSet<String>,
}

impl Resource {
    /// Returns `deployments.apps`, as roles name it.
    pub fn full_name(&self) -> String {
        if self.gvk.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.gvk.group)
        }
    }
}

/// What is known of a cluster's kinds.
#[derive(Default)]
pub(crate) struct Kinds(Mutex<Known>);

#[derive(Default)]
struct Known {
    resources: BTreeMap<Gvk, Arc<Resource>>,
    /// Groups and versions whose own API server does not answer.
    silent: BTreeSet<(String, String)>,
}

/// One request for all kinds below a path instead of one for each version of each group. Since Kubernetes 1.26;
/// source: KEP-3352.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

impl Kubernetes {
    /// Returns where the objects of a kind are; none where the cluster has no such kind. A kind that is not known is
    /// asked for.
    pub async fn resource(&self, gvk: &Gvk) -> Result<Option<Arc<Resource>>, TargetError> {
        let mut known = self.0.kinds.0.lock().await;
        if let Some(resource) = known.resources.get(gvk) {
            return Ok(Some(Arc::clone(resource)));
        }
        *known = self.discover().await?;
        let found = known.resources.get(gvk).map(Arc::clone);
        if found.is_none() && known.silent.contains(&(gvk.group.clone(), gvk.version.clone())) {
            let message = format!("the API server of {} does not answer", gvk.api_version());
            return Err(TargetError::new(Blame::Away, message)
                .help(format!("look at `kubectl get apiservice {}.{}`", gvk.version, gvk.group)));
        }
        Ok(found)
    }

    /// Returns every kind whose objects can be listed and deleted, each in one version.
    pub(crate) async fn listed_kinds(&self) -> Result<Vec<Arc<Resource>>, TargetError> {
        let mut known = self.0.kinds.0.lock().await;
        if known.resources.is_empty() {
            *known = self.discover().await?;
        }
        let can =
            |resource: &&Arc<Resource>| ["list", "delete"].iter().all(|verb| resource.verbs.contains(*verb));
        let named =
            known.resources.values().filter(can).map(|resource| {
                ((resource.gvk.group.clone(), resource.plural.clone()), Arc::clone(resource))
            });
        let once: BTreeMap<_, _> = named.collect();
        Ok(once.into_values().collect())
    }

    async fn discover(&self) -> Result<Known, TargetError> {
        let (core, groups) = tokio::try_join!(self.kinds_below("/api"), self.kinds_below("/apis"))?;
        let mut known = Known::default();
        for group in list(&core["items"]).iter().chain(list(&groups["items"])) {
            known.add(group);
        }
        Ok(known)
    }

    async fn kinds_below(&self, path: &str) -> Result<Value, TargetError> {
        let list = self.call(&Ask::document(path, AGGREGATED)).await?.object;
        if list["kind"] != "APIGroupDiscoveryList" {
            let message = format!("the cluster at {} is older than Kubernetes 1.26", self.0.uri);
            return Err(TargetError::new(Blame::Target, message).help("use a newer one"));
        }
        Ok(list)
    }
}

impl Known {
    fn add(&mut self, group: &Value) {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        for version in list(&group["versions"]) {
            let number = version["version"].as_str().unwrap_or_default();
            if version["freshness"] == "Stale" {
                self.silent.insert((name.into(), number.into()));
            }
            let resources =
                list(&version["resources"]).iter().filter_map(|entry| resource(name, number, entry));
            self.resources.extend(resources.map(|resource| (resource.gvk.clone(), Arc::new(resource))));
        }
    }
}

fn resource(group: &str, version: &str, entry: &Value) -> Option<Resource> {
    let kind = entry["responseKind"]["kind"].as_str()?;
    Some(Resource {
        gvk: Gvk { group: group.into(), version: version.into(), kind: kind.into() },
        plural: entry["resource"].as_str()?.into(),
        namespaced: entry["scope"] == "Namespaced",
        verbs: list(&entry["verbs"]).iter().filter_map(|verb| Some(verb.as_str()?.to_owned())).collect(),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_read_with_where_they_are() {
        let mut known = Known::default();
        known.add(&json!({"metadata": {"name": "apps"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                 "scope": "Namespaced", "verbs": ["get", "patch"],
                 "subresources": [{"subresource": "scale", "responseKind": {"kind": "Scale"}, "verbs": ["get"]}]},
                {"resource": "broken"}]},
            {"version": "v2", "freshness": "Stale", "resources": []}]}));
        let kinds: Vec<_> = known.resources.values().map(|resource| resource.full_name()).collect();
        assert_eq!(kinds, ["deployments.apps"]);
        let deployment = &known.resources[&Gvk::new("apps/v1", "Deployment")];
        assert!(deployment.namespaced && deployment.verbs.contains("patch"));
        assert!(known.silent.contains(&("apps".into(), "v2".into())));
    }
}
