//! What is done to an object, how it is taken back, and what is cleaned up once all is done.
//!
//! ```text
//! act                execute                              undo                           finish
//! Create             apply; it must be new                delete, if this run made it    -
//! Create, replaces   delete the old one, apply            delete, apply the old one      -
//! Update             apply, if it is as it was planned    apply as it was                -
//! Retire             look that it is as it was planned    -                              delete
//! ```
//!
//! Server-side apply makes what is not there, and knows no "must not be there": the status says which it was, and the
//! label of the run says whether it was us, before a crash.

use std::time::Duration;

use serde_json::{Value, json};
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Act, Aside, ResourceId};

use crate::{
    ApiError, Kubernetes, Resource,
    ask::Apply,
    names::{RUN, owner_of},
    object::Object,
    observe::with_run,
};

/// How often a change is made again that somebody else came before.
const TRIES: u32 = 3;

/// How long it is waited between two looks whether a deleted object is gone.
const LOOK: Duration = Duration::from_millis(200);

impl Kubernetes {
    pub(crate) async fn do_act(
        &self,
        run: &RunContext,
        id: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        match act {
            Act::Create { spec, replaces: None } => self.create(run, id, &spec.clone().into()).await,
            Act::Create { spec, replaces: Some(old) } => {
                self.remove(run, id, &old.spec.clone().into(), &old.handle).await?;
                self.create(run, id, &spec.clone().into()).await
            }
            Act::Update { before, after, .. } => self.update(id, before, &after.clone().into()).await,
            Act::Retire { old } => self.expect(id, old).await.map(drop),
            _ => Err(TargetError::new(Blame::Manifest, format!("`{id}`: a cluster has no such act"))),
        }
    }

    pub(crate) async fn undo_act(
        &self,
        run: &RunContext,
        id: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        match act {
            Act::Create { spec, replaces } => {
                let made: Object = spec.clone().into();
                if let Some(there) = self.find(&made).await?
                    && owner_of(&there).run == run.run.to_string()
                    && owner_of(&there).env_uid == run.identity.uid
                {
                    self.remove(run, id, &there, there.uid().unwrap_or_default()).await?;
                }
                match replaces {
                    Some(old) => self.make_again(old).await,
                    None => Ok(()),
                }
            }
            Act::Update { before, .. } => self.make_again(before).await,
            _ => Ok(()),
        }
    }

    pub(crate) async fn finish_act(
        &self,
        run: &RunContext,
        id: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        match act {
            Act::Retire { old } => self.remove(run, id, &old.spec.clone().into(), &old.handle).await,
            _ => Ok(()),
        }
    }

    async fn create(&self, run: &RunContext, id: &ResourceId, declared: &Object) -> Result<(), TargetError> {
        let resource = self.resource_of(declared).await?;
        let body = with_run(declared, Some(&run.run.to_string()));
        match self.call(&resource.apply(&body, Apply { dry_run: false, force: false })).await {
            Ok(answer) if answer.status == 201 => Ok(()),
            Ok(answer) => {
                let there = Object::from(answer.object);
                let before = there.labels().get(RUN).copied() == Some(run.run.to_string().as_str());
                if before && there.managed_fields().len() == 1 {
                    return Ok(());
                }
                self.give_back(&resource, &there).await?;
                Err(moved(id, "is there meanwhile"))
            }
            Err(error) if error.is_conflict() => Err(moved(id, "is there meanwhile")),
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, id: &ResourceId, before: &Aside, after: &Object) -> Result<(), TargetError> {
        let resource = self.resource_of(after).await?;
        let mut tries = 0;
        loop {
            let live = self.expect(id, before).await?;
            let mut body = after.value().clone();
            body["metadata"]["uid"] = json!(live.uid());
            body["metadata"]["resourceVersion"] = json!(live.resource_version());
            match self.call(&resource.apply(&body.into(), Apply { dry_run: false, force: true })).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the object of a plan, or says what of it has moved.
    async fn expect(&self, id: &ResourceId, planned: &Aside) -> Result<Object, TargetError> {
        let wanted: Object = planned.spec.clone().into();
        let Some(live) = self.find(&wanted).await? else { return Err(moved(id, "is gone")) };
        if live.uid() != Some(planned.handle.as_str()) {
            return Err(moved(id, "is another one meanwhile"));
        }
        if !holds(live.value(), wanted.value()) {
            return Err(moved(id, "was changed meanwhile"));
        }
        Ok(live)
    }

    /// Applies an object as it was. Whoever has its fields meanwhile loses them: it is the way back.
    async fn make_again(&self, old: &Aside) -> Result<(), TargetError> {
        let body: Object = old.spec.clone().into();
        let resource = self.resource_of(&body).await?;
        self.call(&resource.apply(&body, Apply { dry_run: false, force: true })).await?;
        Ok(())
    }

    /// Deletes the object of this identity, and waits until it is gone. One that is gone, or another one, is left alone.
    pub(crate) async fn remove(
        &self,
        run: &RunContext,
        id: &ResourceId,
        object: &Object,
        uid: &str,
    ) -> Result<(), TargetError> {
        let resource = self.resource_of(object).await?;
        match self.call(&resource.delete(object.namespace(), object.name(), uid, false)).await {
            Ok(_) => {}
            Err(error) if error.is_missing() || error.is_conflict() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut told = false;
        while let Some(there) = self.find(object).await?.filter(|there| there.uid() == Some(uid)) {
            if !told && let Some(finalizers) = there.value().pointer("/metadata/finalizers") {
                run.progress.tell(id, &format!("is being deleted, waiting for {finalizers}"));
                told = true;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets go of all fields of an object.
    async fn give_back(&self, resource: &Resource, object: &Object) -> Result<(), TargetError> {
        let gvk = object.gvk();
        let nothing = json!({
            "apiVersion": gvk.api_version(),
            "kind": gvk.kind,
            "metadata": {"name": object.name(), "namespace": object.namespace(), "uid": object.uid(),
                         "resourceVersion": object.resource_version()},
        });
        match self.call(&resource.apply(&nothing.into(), Apply { dry_run: false, force: false })).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the object that a document names; none where it is not there.
    pub(crate) async fn find(&self, named: &Object) -> Result<Option<Object>, TargetError> {
        let resource = self.resource_of(named).await?;
        match self.call(&resource.get(named.namespace(), named.name())).await {
            Ok(answer) => Ok(Some(answer.object.into())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(ApiError::into(error)),
        }
    }

    async fn resource_of(&self, object: &Object) -> Result<std::sync::Arc<Resource>, TargetError> {
        let gvk = object.gvk();
        self.resource(&gvk)
            .await?
            .ok_or_else(|| TargetError::new(Blame::Moved, format!("the cluster has no kind {gvk} any more")))
    }
}

fn moved(id: &ResourceId, what: &str) -> TargetError {
    TargetError::new(Blame::Moved, format!("`{id}` {what}")).help("a new plan is made")
}

/// Returns whether a value has everything that another one says. Items of lists are looked for anywhere.
fn holds(value: &Value, said: &Value) -> bool {
    match (value, said) {
        (Value::Object(value), Value::Object(said)) => {
            said.iter().all(|(key, said)| value.get(key).is_some_and(|value| holds(value, said)))
        }
        (Value::Array(value), Value::Array(said)) => {
            said.iter().all(|said| value.iter().any(|value| holds(value, said)))
        }
        (value, said) => value == said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_does_not_matter() {
        let live = json!({"spec": {"ports": [{"port": 1}, {"port": 80, "nodePort": 3}], "type": "A"}});
        assert!(holds(&live, &json!({"spec": {"ports": [{"port": 80}]}})));
        assert!(!holds(&live, &json!({"spec": {"ports": [{"port": 81}]}})));
        assert!(!holds(&live, &json!({"spec": {"type": "B"}})));
    }
}
