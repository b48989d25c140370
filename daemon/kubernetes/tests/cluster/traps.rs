//! What a cluster does that is easily taken for something else.

use libtest_mimic::Failed;
use serde_json::{Value, json};
use trueup_engine::{Blame, TargetError};
use trueup_kubernetes::{Apply, Object, Owners};

use crate::{
    Test,
    samples::{claim, config_map, deployment, job, stateful_set},
    world::{Cluster, World, apply, connect, ensure, in_world, status, until},
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("traps::only_uid_and_version_together_say_which_object_it_must_be", identity),
        ("traps::creating_is_told_by_the_status_alone", creation),
        ("traps::what_was_taken_by_mistake_can_be_given_back", given_back),
        ("traps::creating_needs_two_rights_and_a_dry_run_needs_them_too", rights),
        ("traps::what_admission_changes_is_ours", admission),
        ("traps::what_cannot_change_is_refused_and_accepted_under_another_name", immutable),
        ("traps::a_refusal_of_a_secret_holds_nothing_of_it", secrecy),
        ("traps::a_wrong_form_is_answered_like_a_broken_server", malformed),
        ("traps::an_annotation_raises_the_generation_of_a_deployment", generation),
    ]
}

const FORCE: Apply = Apply { dry_run: false, force: true };
const CAREFUL: Apply = Apply { dry_run: false, force: false };
const DRY: Apply = Apply { dry_run: true, force: true };

/// Returns the object with what says which one it must be.
fn exactly(declared: &Object, uid: Option<&str>, version: Option<&str>) -> Object {
    let mut document: Value = declared.clone().into();
    for (key, value) in [("uid", uid), ("resourceVersion", version)] {
        if let Some(value) = value {
            document["metadata"][key] = json!(value);
        }
    }
    document.into()
}

fn identity(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.object(config_map());
        let first = world.force(&declared).await?;
        world.kubectl(&["label", "configmap/files", "theirs=1"])?;
        let live = world.live(&declared).await?;
        let (uid, version) = (live.uid(), live.resource_version());
        let other = Some("11111111-2222-4333-8444-555555555555");
        let says = async |uid, version| status(&world.apply(&exactly(&declared, uid, version), FORCE).await);

        assert_eq!(says(uid, version).await, 200, "both are right");
        assert_eq!(says(uid, first.resource_version()).await, 409, "an old version");
        assert_eq!(says(None, Some("1")).await, 409, "a version that no object has: it must not be there");
        assert_eq!(says(other, version).await, 422, "another uid");
        assert_eq!(says(other, None).await, 422, "another uid alone");

        world.kubectl(&["delete", "configmap/files"])?;
        assert_eq!(says(uid, version).await, 409, "both, and nothing is there");
        assert_eq!(says(uid, None).await, 409, "the uid alone, and nothing is there");
        assert_eq!(says(None, Some("1")).await, 201, "the version alone makes a new object");
        Ok(())
    })
}

fn creation(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.object(config_map());
        assert_eq!(status(&world.apply(&declared, DRY).await), 201, "a dry-run of what is new");
        assert_eq!(status(&world.apply(&declared, CAREFUL).await), 201, "new");
        let before = world.live(&declared).await?;
        assert_eq!(status(&world.apply(&declared, CAREFUL).await), 200, "nothing changes");
        assert_eq!(world.live(&declared).await?, before, "not even its version");
        assert_eq!(status(&world.apply(&declared, DRY).await), 200, "a dry-run of what is there");

        world.kubectl(&["create", "configmap", "theirs", "--from-literal=a=theirs"])?;
        let mut theirs = config_map();
        theirs["metadata"]["name"] = json!("theirs");
        let theirs = world.object(theirs);
        let conflict = world.apply(&theirs, CAREFUL).await.err().ok_or("it was taken")?;
        assert_eq!((conflict.code, conflict.reason.as_str()), (Some(409), "Conflict"));
        assert_eq!(conflict.causes, [(".data.a".to_owned(), "FieldManagerConflict".to_owned())]);
        assert_eq!(world.live(&theirs).await?.value()["data"], json!({"a": "theirs"}));
        Ok(())
    })
}

fn given_back(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        world.kubectl(&["create", "configmap", "files", "--from-literal=c=theirs"])?;
        let declared = world.object(config_map());
        let before = world.live(&declared).await?;
        assert_eq!(
            status(&world.apply(&declared, CAREFUL).await),
            200,
            "somebody's object without a conflict"
        );
        let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}});
        let after = world.force(&world.object(nothing)).await?;
        assert_eq!(after.value()["data"], before.value()["data"]);
        assert_eq!((after.uid(), after.labels()), (before.uid(), before.labels()));
        ensure(Owners::of(&after).ours.is_empty(), "something is still ours")
    })
}

fn rights(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let stranger = connect(&world.cluster.stranger)?;
        let (there, new) = (world.object(config_map()), world.object(stateful_set()));
        world.force(&there).await?;
        let says = async |declared, how| status(&apply(&stranger, declared, how).await);
        let allow = |name: &str, verb: &str| {
            let resources = "--resource=configmaps,statefulsets.apps";
            world.kubectl(&["create", "role", name, &format!("--verb={verb}"), resources])?;
            world.kubectl(&["create", "rolebinding", name, &format!("--role={name}"), "--user=stranger"])
        };

        allow("read", "get,list,watch")?;
        let get = stranger.resource(&there.gvk()).await?.unwrap().get(there.namespace(), there.name());
        until("it may read", async || Ok(stranger.call(&get).await.is_ok())).await?;
        assert_eq!(says(&there, DRY).await, 403, "a dry-run by who may read");
        let read = Object::from(stranger.call(&get).await?.object);
        ensure(Owners::of(&read).covers(&there), "who may read knows nothing")?;

        allow("patch", "patch")?;
        until("it may patch", async || Ok(says(&there, DRY).await == 200)).await?;
        assert_eq!(says(&there, FORCE).await, 200, "a patch of what is there");
        let refusal = apply(&stranger, &new, DRY).await.err().ok_or("it was made")?;
        assert_eq!(refusal.code, Some(403), "a dry-run of what is new");
        assert!(refusal.message.contains("cannot create resource"), "{}", refusal.message);

        allow("create", "create")?;
        until("it may create", async || Ok(says(&new, DRY).await == 201)).await?;
        assert_eq!(says(&new, FORCE).await, 201);
        Ok(())
    })
}

impl World {
    /// Has the cluster write `value` into `data.a` of every configuration here, and waits until it does.
    async fn admit(&self, value: &str) -> Result<(), Failed> {
        let name = &self.namespace;
        let expression = format!("Object{{data: {{\"a\": \"{value}\"}}}}");
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name}, "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["configmaps"]}]},
                "matchConditions": [{"name": "ours", "expression": "object.metadata.name in ['files', 'probe']"}],
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name}});
        for document in [policy, binding] {
            self.force(&document.into()).await?;
        }
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}, "data": {"a": "?"}});
        let probe = self.object(probe);
        until("the policy is seen", async || Ok(self.apply(&probe, DRY).await?.object["data"]["a"] == value))
            .await
    }

    fn stop_admission(&self) -> Result<(), Failed> {
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            self.kubectl(&["delete", kind, &self.namespace, "--wait=false"])?;
        }
        Ok(())
    }
}

fn admission(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        world.admit("admitted").await?;
        let declared = world.object(config_map());
        let live = world.force(&declared).await?;
        assert_eq!(live.value()["data"]["a"], "admitted");
        let owners = Owners::of(&live);
        ensure(owners.covers(&declared), format!("{owners:?}"))?;
        let again = world.apply(&declared, DRY).await?.object;
        assert_eq!(again["data"], live.value()["data"], "a dry-run says that nothing changes");

        world.admit("later").await?;
        world.kubectl(&["annotate", "configmap/files", "theirs=1"])?;
        let later = world.live(&declared).await?;
        assert_eq!(later.value()["data"]["a"], "later", "somebody's write has changed our value");
        let owners = Owners::of(&later);
        ensure(owners.covers(&declared), format!("{owners:?}"))?;
        assert_eq!(owners.hand(&["data", "a"]), None, "and nobody has it instead of us");
        world.stop_admission()
    })
}

/// Returns the object with another value at a place.
fn with(world: &World, mut document: Value, place: &str, value: Value) -> Object {
    *document.pointer_mut(place).expect("the sample has it") = value;
    world.object(document)
}

fn immutable(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        for document in [deployment(), stateful_set(), job(), claim()] {
            world.force(&world.object(document)).await?;
        }
        let labels = json!({"app": "other"});
        for (document, place, value, field) in [
            (deployment(), "/spec/selector/matchLabels", labels.clone(), "spec.selector"),
            (stateful_set(), "/spec/serviceName", json!("other"), "spec.serviceName"),
            (stateful_set(), "/spec/selector/matchLabels", labels, "spec.selector"),
            (
                stateful_set(),
                "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
                json!("2Gi"),
                "spec.volumeClaimTemplates",
            ),
            (job(), "/spec/template/spec/containers/0/image", json!("a:2"), "spec.template.spec"),
            (claim(), "/spec/storageClassName", json!("other"), "spec"),
        ] {
            let mut changed = with(&world, document, place, value);
            if field == "spec.selector" {
                let mut both: Value = changed.into();
                both["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
                changed = both.into();
            }
            let refusal = world.apply(&changed, DRY).await.err().ok_or(format!("{place}: accepted"))?;
            let fields: Vec<_> = refusal.causes.iter().map(|(field, _)| field.as_str()).collect();
            assert_eq!((refusal.code, fields.as_slice()), (Some(422), &[field][..]), "{place}");

            let mut fresh: Value = changed.into();
            fresh["metadata"]["name"] = json!("fresh-trueup-preview");
            assert_eq!(status(&world.apply(&fresh.into(), DRY).await), 201, "{place}: under another name");
        }
        Ok(())
    })
}

fn generation(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        for (document, raises) in [(deployment(), true), (stateful_set(), false)] {
            let declared = world.object(document.clone());
            let before = world.force(&declared).await?.value()["metadata"]["generation"].clone();
            let same = world.force(&declared).await?.value()["metadata"]["generation"].clone();
            assert_eq!(before, same, "{declared:?}: applied again");
            let annotated = with(
                &world,
                document,
                "/metadata",
                json!({"name": declared.name(), "annotations": {"b": "c"}}),
            );
            let after = world.force(&annotated).await?.value()["metadata"]["generation"].clone();
            assert_eq!(before != after, raises, "{declared:?}: {before} and {after}");
        }
        Ok(())
    })
}

fn secrecy(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let value = "aHVudGVyMi1odW50ZXIy";
        for wrong in [
            json!({"data": {"a": format!("{value}!")}}),
            json!({"data": {"a": {"deep": value}}}),
            json!({"data": {"a": "", "not a key": value}}),
            json!({"stringData": [value]}),
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": value}}),
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": value}}),
            json!({"metadata": {"labels": {"a": format!("{value}/{value}/")}}}),
        ] {
            let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}});
            for (key, wrong) in wrong.as_object().into_iter().flatten() {
                secret[key] = wrong.clone();
            }
            secret["metadata"]["name"] = json!("keys");
            let error = world
                .apply(&world.object(secret), CAREFUL)
                .await
                .err()
                .ok_or(format!("{wrong}: accepted"))?;
            let text = format!("{error:?} {error} {:?}", TargetError::from(error.clone()));
            ensure(!text.contains(value) && !text.contains("hunter2"), text)?;
            ensure(matches!(error.code, Some(400 | 422 | 500)), format!("{wrong}: {error:?}"))?;
        }
        Ok(())
    })
}

/// It is the manifest's matter all the same, and the field is named.
fn malformed(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let pods = "/spec/template/spec/containers/0";
        for (place, value, field) in [
            ("/spec/replicas", json!("three"), Some("spec.replicas")),
            ("/spec", json!({"replicsa": 1}), Some("spec.replicsa")),
            ("/metadata/labels/a", json!(1), Some("metadata.labels.a")),
            (
                &format!("{pods}/env"),
                json!([{"name": "A"}, {"name": "A"}]),
                Some(r#"spec.template.spec.containers[name="web"].env"#),
            ),
            (&format!("{pods}/resources/limits/cpu"), json!("much"), None),
        ] {
            let wrong = with(&world, deployment(), place, value);
            let error = world.apply(&wrong, DRY).await.err().ok_or(format!("{place}: accepted"))?;
            let fields: Vec<_> = error.causes.iter().map(|(field, _)| field.as_str()).collect();
            assert_eq!((error.code, fields), (Some(500), Vec::from_iter(field)), "{place}");
            assert_eq!(TargetError::from(error).blame, Blame::Manifest, "{place}");
        }
        Ok(())
    })
}
