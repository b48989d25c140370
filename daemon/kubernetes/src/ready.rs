//! Whether an object works, by what its status says; one small rule a kind.

use std::time::Duration;

use serde_json::{Value, json};
use trueup_engine::{Blame, RunContext, TargetError};
use trueup_plan::{Probe, ResourceId};

use crate::{
    Kubernetes,
    names::is_built_in,
    object::{Gvk, Object},
};

/// How long it is waited between two looks, at first and at most.
const LOOK: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(2);

/// What is said of an object whose status is of an earlier version of it.
const UNSEEN: &str = "nobody has looked at it yet";

/// What an object says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ready,
    /// Not yet, and why.
    Waits(String),
    /// Not any more without a change, and why.
    Never(String),
}

impl Kubernetes {
    /// Waits until an object works.
    pub(crate) async fn verify(
        &self,
        run: &RunContext,
        id: &ResourceId,
        probe: &Probe,
    ) -> Result<(), TargetError> {
        let wanted: Object = named(probe);
        let began = tokio::time::Instant::now();
        let mut told = String::new();
        let mut pause = LOOK;
        loop {
            let found = match self.find(&wanted).await {
                Ok(found) => found.map(|object| verdict(&object)),
                // It is asked again: a run does not go back for an API server that restarts.
                Err(error) if error.blame == Blame::Away => Some(Verdict::Waits(error.one_line())),
                Err(error) => return Err(error),
            };
            let why = match found {
                Some(Verdict::Ready) => return Ok(()),
                Some(Verdict::Never(why)) => {
                    return Err(TargetError::new(Blame::Manifest, format!("`{id}` does not work: {why}")));
                }
                Some(Verdict::Waits(why)) => why,
                None => return Err(TargetError::new(Blame::Moved, format!("`{id}` is gone"))),
            };
            if began.elapsed() >= probe.startup {
                let seconds = probe.startup.as_secs();
                let message = format!("`{id}` did not work within {seconds}s: {why}");
                return Err(TargetError::new(Blame::Manifest, message));
            }
            if why != told {
                run.progress.tell(id, &format!("waiting: {why}"));
                told = why;
            }
            tokio::select! {
                () = run.cancel.cancelled() => {
                    return Err(TargetError::new(Blame::Cancelled, format!("`{id}` is waited for no longer")));
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(SELDOM);
        }
    }
}

fn named(probe: &Probe) -> Object {
    let ready = &probe.check["ready"];
    let metadata = json!({"name": ready["name"], "namespace": ready["namespace"]});
    json!({"apiVersion": ready["apiVersion"], "kind": ready["kind"], "metadata": metadata}).into()
}

/// Returns whether objects of a kind can say more about themselves than that they are there.
pub(crate) fn says_whether_it_works(gvk: &Gvk) -> bool {
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _)
        | ("batch", "Job")
        | ("", "Namespace") => true,
        (group, _) => !is_built_in(group),
    }
}

/// Returns what an object says about itself.
pub(crate) fn verdict(object: &Object) -> Verdict {
    let gvk = object.gvk();
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", "Deployment") => deployment(object.value()),
        ("apps", "StatefulSet") => stateful_set(object.value()),
        ("apps", "DaemonSet") => daemon_set(object.value()),
        ("batch", "Job") => job(object.value()),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            all_true(object.value(), &["Established", "NamesAccepted"])
        }
        ("", "Namespace") => match object.value()["status"]["phase"].as_str() {
            Some("Terminating") => Verdict::Never("it is being deleted".into()),
            _ => Verdict::Ready,
        },
        _ => by_convention(object.value()),
    }
}

fn deployment(object: &Value) -> Verdict {
    if let Some(waits) = unseen(object) {
        return waits;
    }
    if object["spec"]["paused"] == true {
        return Verdict::Never("it is paused".into());
    }
    for (kind, reason) in [("ReplicaFailure", None), ("Progressing", Some("ProgressDeadlineExceeded"))] {
        if let Some(condition) = condition(object, kind) {
            let failed = reason.map_or(condition["status"] == "True", |reason| condition["reason"] == reason);
            if failed {
                return Verdict::Never(said(condition));
            }
        }
    }
    replicas(object, "updatedReplicas", "availableReplicas")
}

fn stateful_set(object: &Value) -> Verdict {
    let strategy = &object["spec"]["updateStrategy"];
    let is_by_hand = strategy["type"] == "OnDelete" || !strategy["rollingUpdate"]["partition"].is_null();
    // Which of them are replaced is somebody's decision: those that there are have to work.
    replicas(object, if is_by_hand { "replicas" } else { "updatedReplicas" }, "readyReplicas")
}

/// Compares how many there should be with how many are new and how many work.
fn replicas(object: &Value, updated: &str, working: &str) -> Verdict {
    if let Some(waits) = unseen(object) {
        return waits;
    }
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let count = |field: &str| object["status"][field].as_u64().unwrap_or(0);
    let (updated, working, all) = (count(updated), count(working), count("replicas"));
    if updated >= wanted && working >= wanted && all <= wanted {
        return Verdict::Ready;
    }
    Verdict::Waits(format!("{working} of {wanted} work, {updated} of them new"))
}

fn daemon_set(object: &Value) -> Verdict {
    if let Some(waits) = unseen(object) {
        return waits;
    }
    let count = |field: &str| object["status"][field].as_u64().unwrap_or(0);
    let (wanted, updated) = (count("desiredNumberScheduled"), count("updatedNumberScheduled"));
    let working = count("numberAvailable");
    if updated >= wanted && working >= wanted {
        return Verdict::Ready;
    }
    Verdict::Waits(format!("{working} of {wanted} work, {updated} of them new"))
}

fn job(object: &Value) -> Verdict {
    if let Some(failed) = condition(object, "Failed").filter(|condition| condition["status"] == "True") {
        return Verdict::Never(said(failed));
    }
    match condition(object, "Complete") {
        Some(condition) if condition["status"] == "True" => Verdict::Ready,
        _ => Verdict::Waits("it has not ended".into()),
    }
}

fn all_true(object: &Value, kinds: &[&str]) -> Verdict {
    let missing = kinds.iter().find(|kind| condition(object, kind).is_none_or(|c| c["status"] != "True"));
    missing.map_or(Verdict::Ready, |kind| Verdict::Waits(format!("it is not {kind}")))
}

/// Whatever says `Ready` or `Available` about itself means it; what says nothing is there, and that is all.
fn by_convention(object: &Value) -> Verdict {
    let says = ["Ready", "Available"].into_iter().find_map(|kind| condition(object, kind));
    match says {
        None => Verdict::Ready,
        Some(condition) => {
            let generation = object["metadata"]["generation"].as_u64().unwrap_or(0);
            let seen = [&condition["observedGeneration"], &object["status"]["observedGeneration"]];
            match seen.into_iter().find_map(Value::as_u64) {
                Some(seen) if seen < generation => Verdict::Waits(UNSEEN.into()),
                _ if condition["status"] == "True" => Verdict::Ready,
                _ => Verdict::Waits(said(condition)),
            }
        }
    }
}

/// Returns that the status is of an earlier version of the object, where it is.
fn unseen(object: &Value) -> Option<Verdict> {
    let generation = object["metadata"]["generation"].as_u64()?;
    let wants_none = object["spec"]["replicas"] == 0;
    let seen = object["status"]["observedGeneration"].as_u64().unwrap_or(0);
    (seen < generation && !wants_none).then(|| Verdict::Waits(UNSEEN.into()))
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn said(condition: &Value) -> String {
    let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    match (text("reason"), text("message")) {
        (reason, message) if message.is_empty() => reason,
        (_, message) => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api_version: &str, kind: &str, rest: Value) -> Verdict {
        let mut object = rest;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        verdict(&object.into())
    }

    #[test]
    fn a_deployment_works_when_all_that_is_new_works() {
        let deployment = |seen: u64, updated: u64, available: u64, all: u64| {
            of(
                "apps/v1",
                "Deployment",
                json!({
                "metadata": {"generation": 2}, "spec": {"replicas": 2},
                "status": {"observedGeneration": seen, "updatedReplicas": updated,
                           "availableReplicas": available, "replicas": all}}),
            )
        };
        assert_eq!(deployment(2, 2, 2, 2), Verdict::Ready);
        for waits in
            [deployment(1, 2, 2, 2), deployment(2, 1, 2, 3), deployment(2, 2, 1, 2), deployment(2, 2, 2, 3)]
        {
            assert!(matches!(waits, Verdict::Waits(_)), "{waits:?}");
        }
    }

    #[test]
    fn what_cannot_get_better_is_told_at_once() {
        let stuck = json!({"status": {"conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too long"}]}});
        assert_eq!(of("apps/v1", "Deployment", stuck), Verdict::Never("too long".into()));
        let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}});
        assert_eq!(of("batch/v1", "Job", failed), Verdict::Never("BackoffLimitExceeded".into()));
    }

    #[test]
    fn what_has_no_status_is_not_asked_for_one() {
        let says = |api_version, kind| says_whether_it_works(&Gvk::new(api_version, kind));
        assert!(says("apps/v1", "Deployment") && says("batch/v1", "Job") && says("example.org/v1", "Thing"));
        assert!(
            !says("v1", "ConfigMap")
                && !says("batch/v1", "CronJob")
                && !says("networking.k8s.io/v1", "Ingress")
        );
    }

    #[test]
    fn what_says_nothing_about_itself_only_has_to_be_there() {
        assert_eq!(of("v1", "ConfigMap", json!({})), Verdict::Ready);
        let resource = |status: &str| {
            of(
                "example.org/v1",
                "Thing",
                json!({
            "metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": status, "message": "m"}]}}),
            )
        };
        assert_eq!(resource("True"), Verdict::Ready);
        assert_eq!(resource("False"), Verdict::Waits("m".into()));
    }
}
