//! What is done to an object, how it is taken back, and what is cleaned up once all is done.
//!
//! ```text
//! act                execute                              undo                                        finish
//! Create             apply; it must be new                delete, if this run made it                 -
//! Create, replaces   delete the old one, apply            delete, apply the old one                   -
//! Update             apply, if it is as it was planned    apply as it was, if the act was done        -
//! Retire             look that it is as it was planned    -                                           delete
//! ```
//!
//! Server-side apply makes what is not there and changes what is. Which of the two is meant says the version that is
//! sent along: that of the object, or one that no object has. Whoever came in between is met as a conflict.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Act, Aside, ResourceId};

use crate::{
    Kubernetes, Resource,
    ask::Apply,
    compare,
    names::{DECLARED, owner_of},
    object::Object,
    observe::with_run,
};

/// How often a change is made again that somebody else came before.
const TRIES: u32 = 3;

/// A version that no object has: what it is sent with must not be there.
const NEW: &str = "1";

/// How long a deleted object is waited for, less than the time of the act: finalizers are other programs.
const GONE: Duration = Duration::from_mins(8);

/// How long it is waited for in a clean-up: the API server has accepted that it goes.
const GOING: Duration = Duration::from_secs(30);

/// How long it is waited between two looks whether it is gone, at first and at most.
const LOOK: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(5);

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
                let there = self.expect(id, old).await?;
                self.remove(run, id, &there, GONE).await?;
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
                if let Some(there) = self.find(&spec.clone().into()).await?
                    && is_of(run, &there)
                {
                    self.remove(run, id, &there, GONE).await?;
                }
                match replaces {
                    Some(old) => self.make_again(run, id, old).await,
                    None => Ok(()),
                }
            }
            Act::Update { before, after, .. } => {
                let after: Object = after.clone().into();
                match self.find(&after).await? {
                    Some(there) if !was_done(&there, before, &after) => Ok(()),
                    _ => self.make_again(run, id, before).await,
                }
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn finish_act(
        &self,
        run: &RunContext,
        id: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        let Act::Retire { old } = act else { return Ok(()) };
        match self.find(&old.spec.clone().into()).await? {
            Some(there) if there.uid() == Some(old.handle.as_str()) => {
                match self.remove(run, id, &there, GOING).await {
                    // It goes when its finalizers let it, with or without us.
                    Err(error) if error.blame == Blame::TimedOut => Ok(()),
                    removed => removed,
                }
            }
            _ => Ok(()),
        }
    }

    async fn create(&self, run: &RunContext, id: &ResourceId, declared: &Object) -> Result<(), TargetError> {
        let resource = self.resource_of(declared).await?;
        let body = at_version(&with_run(declared, Some(&run.run.to_string())), None, NEW);
        match self.call(&resource.apply(&body, Apply { dry_run: false, force: false })).await {
            Ok(answer) if answer.status == 201 => Ok(()),
            // The version is not understood everywhere: what was there has a field of ours now, and loses it again.
            Ok(answer) => {
                self.give_back(&resource, &answer.object.into()).await?;
                Err(moved(id, "is there meanwhile"))
            }
            Err(error) if error.is_conflict() => match self.find(declared).await? {
                // It was sent before, and its answer was lost.
                Some(there) if is_of(run, &there) => Ok(()),
                _ => Err(moved(id, "is there meanwhile")),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, id: &ResourceId, before: &Aside, after: &Object) -> Result<(), TargetError> {
        let resource = self.resource_of(after).await?;
        let mut tries = 0;
        loop {
            let live = self.expect(id, before).await?;
            let body = at_version(after, live.uid(), live.resource_version().unwrap_or(NEW));
            match self.call(&resource.apply(&body, Apply { dry_run: false, force: true })).await {
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
        if live.is_going() {
            return Err(moved(id, "is being deleted"));
        }
        if !holds(compare::as_it_was(&live).value(), compare::as_it_was(&wanted).value()) {
            return Err(moved(id, "was changed meanwhile"));
        }
        Ok(live)
    }

    /// Applies an object as it was: the same one, or a new one where it is gone. Whoever has its fields meanwhile loses
    /// them; another object of its name is left alone.
    async fn make_again(&self, run: &RunContext, id: &ResourceId, old: &Aside) -> Result<(), TargetError> {
        let body: Object = old.spec.clone().into();
        let mut there = self.find(&body).await?;
        if let Some(going) = there.as_ref().filter(|there| there.is_going()) {
            self.until_gone(run, id, going, GONE).await?;
            there = self.find(&body).await?;
        }
        let body = match &there {
            Some(same) if same.uid() == Some(old.handle.as_str()) => {
                at_version(&body, same.uid(), same.resource_version().unwrap_or(NEW))
            }
            Some(_) => {
                run.progress.tell(id, "another one has its name by now, which is left alone");
                return Ok(());
            }
            None => at_version(&body, None, NEW),
        };
        let resource = self.resource_of(&body).await?;
        match self.call(&resource.apply(&body, Apply { dry_run: false, force: true })).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_conflict() => Err(moved(id, "was changed meanwhile")),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an object, its dependents first, and waits until it is gone.
    async fn remove(
        &self,
        run: &RunContext,
        id: &ResourceId,
        there: &Object,
        wait: Duration,
    ) -> Result<(), TargetError> {
        let Some(resource) = self.resource(&there.gvk()).await? else { return Ok(()) };
        let uid = there.uid().unwrap_or_default();
        match self.call(&resource.delete(there.namespace(), there.name(), uid, false)).await {
            Ok(_) => {}
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) if error.is_conflict() => {
                let same = self.find(there).await?.is_some_and(|now| now.uid() == there.uid());
                return if same { Err(error.into()) } else { Ok(()) };
            }
            Err(error) => return Err(error.into()),
        }
        self.until_gone(run, id, there, wait).await
    }

    async fn until_gone(
        &self,
        run: &RunContext,
        id: &ResourceId,
        going: &Object,
        wait: Duration,
    ) -> Result<(), TargetError> {
        let until = Instant::now() + wait;
        let mut pause = LOOK;
        while let Some(there) = self.find(going).await?.filter(|there| there.uid() == going.uid()) {
            let finalizers = there.value().pointer("/metadata/finalizers").cloned().unwrap_or_default();
            if Instant::now() >= until {
                let message = format!("`{id}` is still being deleted, it waits for {finalizers}");
                return Err(TargetError::new(Blame::TimedOut, message)
                    .help("see whether the program that the finalizer is of still runs"));
            }
            if pause == LOOK {
                run.progress.tell(id, &format!("is being deleted, waits for {finalizers}"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SELDOM);
        }
        Ok(())
    }

    /// Lets go of all fields of an object.
    async fn give_back(&self, resource: &Resource, object: &Object) -> Result<(), TargetError> {
        let nothing = at_version(&named(object), object.uid(), object.resource_version().unwrap_or(NEW));
        match self.call(&resource.apply(&nothing, Apply { dry_run: false, force: false })).await {
            Err(error) if !error.is_conflict() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Returns the object that a document names; none where it, or its kind, is not there.
    pub(crate) async fn find(&self, named: &Object) -> Result<Option<Object>, TargetError> {
        let Some(resource) = self.resource(&named.gvk()).await? else { return Ok(None) };
        match self.call(&resource.get(named.namespace(), named.name())).await {
            Ok(answer) => Ok(Some(answer.object.into())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn resource_of(&self, object: &Object) -> Result<Arc<Resource>, TargetError> {
        let gvk = object.gvk();
        let found = self.resource(&gvk).await?;
        found.ok_or_else(|| TargetError::new(Blame::Moved, format!("the cluster has no kind {gvk} any more")))
    }
}

/// Returns whether a run has made an object.
fn is_of(run: &RunContext, there: &Object) -> bool {
    let owner = owner_of(there);
    owner.run == run.run.to_string() && owner.env_uid == run.identity.uid
}

/// Returns whether an update was done to an object, which is all of it or nothing.
fn was_done(there: &Object, before: &Aside, after: &Object) -> bool {
    let digest = |object: &Object| object.annotations().get(DECLARED).map(|digest| (*digest).to_owned());
    let same_intent = digest(&compare::as_it_was(&before.spec.clone().into())) == digest(after);
    // A repair writes what was declared before: only the values say whether it came to that.
    digest(there) == digest(after) && (!same_intent || holds(there.value(), after.value()))
}

/// Returns a document for the object of this identity and version.
fn at_version(document: &Object, uid: Option<&str>, version: &str) -> Object {
    let mut body = document.value().clone();
    if let Some(uid) = uid {
        body["metadata"]["uid"] = json!(uid);
    }
    body["metadata"]["resourceVersion"] = json!(version);
    body.into()
}

/// Returns a document that says of an object only which one it is.
fn named(object: &Object) -> Object {
    let gvk = object.gvk();
    let metadata = json!({"name": object.name(), "namespace": object.namespace()});
    json!({"apiVersion": gvk.api_version(), "kind": gvk.kind, "metadata": metadata}).into()
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

    #[test]
    fn an_update_is_taken_back_only_where_it_was_done() {
        let object = |digest: &str, mode: &str| json!({"metadata": {"annotations": {DECLARED: digest}}, "data": {"mode": mode}});
        let before = |digest: &str, mode: &str| Aside {
            handle: "u".into(),
            spec: object(digest, mode),
            running: true,
        };
        let after: Object = object("two", "fast").into();
        assert!(was_done(&object("two", "fast").into(), &before("one", "slow"), &after));
        assert!(was_done(&object("two", "changed since").into(), &before("one", "slow"), &after));
        assert!(!was_done(&object("one", "slow").into(), &before("one", "slow"), &after));
        assert!(!was_done(&object("one", "slow").into(), &before("one-not-all-ours", "slow"), &after));
        // A repair.
        let same = before("two-not-all-ours", "slow");
        assert!(was_done(&object("two", "fast").into(), &same, &after));
        assert!(!was_done(&object("two", "slow").into(), &same, &after));
    }
}
