//! A whole environment: what a cluster has of it, and its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::{join_all, try_join_all};
use serde_json::{Value, json};
use trueup_engine::{Adoptable, Identity, TargetError};
use trueup_schema::EnvironmentName;

use crate::{
    ApiError, Kubernetes, Resource,
    names::{ENV_UID, ENVIRONMENT, SOURCE, id_of, owner_of, selector},
    object::Object,
    owners::is_applied_by_us,
};

/// An object that was found by its labels.
type Owned = (Arc<Resource>, Object);

impl Kubernetes {
    /// Returns the environments of that name that the cluster has, by uid.
    pub(crate) async fn environments(
        &self,
        environment: &EnvironmentName,
    ) -> Result<Vec<Adoptable>, TargetError> {
        let mut found: BTreeMap<String, Adoptable> = BTreeMap::new();
        for (resource, object) in self.labelled(ENV_UID).await? {
            let annotations = object.annotations();
            if annotations.get(ENVIRONMENT).is_none_or(|name| *name != environment.as_str()) {
                continue;
            }
            let owner = owner_of(&object);
            let one = found.entry(owner.env_uid.clone()).or_insert_with(|| Adoptable {
                owner: owner.store.clone(),
                uid: owner.env_uid.clone(),
                source: annotations.get(SOURCE).copied().unwrap_or_default().to_owned(),
                ..Adoptable::default()
            });
            one.things.push(id_of(&resource.gvk, object.namespace(), "", object.name()).name);
            one.last_run = one.last_run.max(owner.run.parse().unwrap_or(0));
        }
        Ok(found.into_values().collect())
    }

    /// Returns the names of the claims of an environment.
    pub(crate) async fn claims(&self, identity: &Identity) -> Result<Vec<String>, TargetError> {
        let owned = self.labelled(&selector(identity)).await?;
        let claims = owned.iter().filter(|(_, object)| is_claim(object));
        Ok(claims.map(|(_, object)| object.name().to_owned()).collect())
    }

    /// Deletes everything of an environment; what holds data only when that is said.
    pub(crate) async fn delete_all(
        &self,
        identity: &Identity,
        with_volumes: bool,
    ) -> Result<(), TargetError> {
        let owned = self.labelled(&selector(identity)).await?;
        let deleted = owned.iter().filter(|(_, object)| with_volumes || !is_claim(object));
        let deletions = deleted.map(async |(resource, object): &Owned| {
            let uid = object.uid().unwrap_or_default();
            match self.call(&resource.delete(object.namespace(), object.name(), uid, false)).await {
                Err(error) if !error.is_missing() && !error.is_conflict() => Err(TargetError::from(error)),
                _ => Ok(()),
            }
        });
        join_all(deletions).await.into_iter().collect()
    }

    /// Returns all objects of a kind with these labels, page by page.
    pub(crate) async fn all_of(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Object>, ApiError> {
        let mut found = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let answer = self.call(&resource.list(namespace, selector, from.as_deref())).await?.object;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            found.extend(items.into_iter().filter(Value::is_object).map(|item| typed(resource, item)));
            from = answer["metadata"]["continue"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Returns every object of any kind that has these labels.
    async fn labelled(&self, selector: &str) -> Result<Vec<Owned>, TargetError> {
        let kinds = self.listed_kinds().await?;
        let lists = kinds.iter().map(async |resource| {
            let objects = match self.all_of(resource, None, selector).await {
                Ok(objects) => objects,
                // A kind that went meanwhile, or that only says that it can be listed.
                Err(error) if matches!(error.code, Some(404 | 405)) => Vec::new(),
                // What may not be looked at may well be there.
                Err(error) => return Err(TargetError::from(error)),
            };
            let objects = objects.into_iter().filter(is_applied_by_us);
            Ok(objects.map(|object| (Arc::clone(resource), object)).collect())
        });
        let lists: Vec<Vec<Owned>> = try_join_all(lists).await?;
        let mut seen = BTreeSet::new();
        let once = lists.into_iter().flatten();
        Ok(once.filter(|(_, object)| seen.insert(object.uid().unwrap_or_default().to_owned())).collect())
    }
}

/// Returns an item of a list with what the list says once of all of them.
fn typed(resource: &Resource, mut item: Value) -> Object {
    item["apiVersion"] = json!(resource.gvk.api_version());
    item["kind"] = json!(resource.gvk.kind);
    item.into()
}

fn is_claim(object: &Object) -> bool {
    object.gvk().kind == "PersistentVolumeClaim"
}
