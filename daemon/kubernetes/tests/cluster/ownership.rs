//! Our set of managed fields covers what was applied, until somebody changes, removes or takes a part of it.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use trueup_kubernetes::{Apply, Object, Owners};

use crate::{
    Test,
    samples::{all, config_map, definition, deployment, secret, thing},
    world::{Cluster, World, ensure, in_world, until},
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("ownership::what_was_applied_is_covered", applied),
        ("ownership::a_dry_run_of_what_was_applied_shows_no_difference", no_difference),
        ("ownership::what_is_taken_from_an_object_can_be_sent_as_it_is", sent_again),
        ("ownership::what_is_declared_in_words_is_covered_whatever_happens", in_words),
        ("ownership::what_an_edit_changes_is_not", edited),
        ("ownership::what_is_taken_by_force_is_not", taken),
        ("ownership::what_is_patched_replaced_or_scaled_is_not", written),
        ("ownership::what_is_removed_is_not", removed),
        ("ownership::the_last_key_of_a_map_of_unknown_shape_counts_too", last_keys),
        ("ownership::cleared_fields_are_not_and_come_back", cleared),
        ("ownership::what_others_add_or_repeat_changes_nothing", added),
        ("ownership::status_and_controllers_change_nothing", controllers),
    ]
}

/// Returns why it is not covered, in a form to look at.
fn picture(what: &str, owners: &Owners) -> String {
    format!("{what}: ours {:?}, others {:?}", owners.ours.paths(), owners.others)
}

impl World {
    async fn is_covered(&self, declared: &Object, what: &str) -> Result<(), Failed> {
        let owners = self.owners(declared).await?;
        ensure(owners.covers(declared), picture(what, &owners))
    }

    /// Looks at what somebody has done, and repairs it.
    async fn is_seen(
        &self,
        declared: &Object,
        what: &str,
        path: &[&str],
        by: Option<&str>,
    ) -> Result<(), Failed> {
        let owners = self.owners(declared).await?;
        ensure(!owners.covers(declared), picture(what, &owners))?;
        let hand = owners.hand(path).map(|hand| hand.who.as_str());
        ensure(hand == by, format!("{what}: by {hand:?}"))?;
        let repaired = Owners::of(&self.force(declared).await?);
        ensure(repaired.covers(declared), picture(&format!("{what}, repaired"), &repaired))
    }

    async fn declare(&self, document: Value) -> Result<Object, Failed> {
        let declared = self.object(document);
        self.force(&declared).await?;
        Ok(declared)
    }

    /// Applies under another name, by force.
    fn take(&self, document: &Value) -> Result<(), Failed> {
        let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"];
        self.kubectl_on(&apply, document).map(drop)
    }

    async fn defined(&self) -> Result<Object, Failed> {
        let (definition, kind) = definition(&self.namespace);
        self.force(&definition).await?;
        until("the kind is served", async || {
            let known = self.kubernetes.resource(&kind).await?.is_some();
            Ok(known
                && self
                    .kubectl_on(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &thing(&kind))
                    .is_ok())
        })
        .await?;
        self.declare(thing(&kind)).await
    }
}

const WEB: &str = "deployment/web";

fn applied(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        for document in all() {
            let declared = world.declare(document).await?;
            world.is_covered(&declared, &format!("{declared:?}")).await?;
        }
        let thing = world.defined().await?;
        world.is_covered(&thing, "a kind of others").await?;
        let (definition, _) = definition(&world.namespace);
        world.is_covered(&definition, "a definition").await?;
        world.kubectl(&["delete", "crd", definition.name(), "--wait=false"])?;
        Ok(())
    })
}

/// What the API server would store is compared with what it has stored, so that no spelling or default counts.
fn no_difference(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let mut declared = Vec::new();
        for document in all() {
            declared.push(world.declare(document).await?);
        }
        declared.push(world.defined().await?);
        for declared in declared {
            let live = world.live(&declared).await?;
            let how = Apply { dry_run: true, force: true };
            let would: Object = world.apply(&declared, how).await?.object.into();
            let fields = Owners::of(&live).ours.union(&Owners::of(&would).ours);
            ensure(fields == Owners::of(&live).ours, format!("{declared:?}: other fields are ours"))?;
            let (is, would) = (fields.keyed(&live), fields.keyed(&would));
            ensure(is == would, format!("{declared:?}: {is} would be {would}"))?;
        }
        world.kubectl(&["delete", "crd", definition(&world.namespace).0.name(), "--wait=false"])?;
        Ok(())
    })
}

/// Returns whether there is something at a path of a keyed object.
fn has(keyed: &Value, path: &[String]) -> bool {
    let [first, rest @ ..] = path else { return true };
    keyed.is_array() || keyed.get(first).is_some_and(|value| has(value, rest))
}

/// What an undo sends. It changes nothing, and all stays ours except what is owned and not stored: of `tty: false` or an
/// empty `value` in the API server's own kinds only the ownership remains.
fn sent_again(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        for document in all() {
            let declared = world.declare(document).await?;
            let live = world.live(&declared).await?;
            let ours = Owners::of(&live).ours;
            let mut taken = ours.take(&live);
            taken["apiVersion"] = live.value()["apiVersion"].clone();
            taken["kind"] = live.value()["kind"].clone();
            for key in ["name", "namespace"] {
                taken["metadata"][key] = live.value()["metadata"][key].clone();
            }
            let how = Apply { dry_run: true, force: true };
            let answer: Object = world.apply(&taken.into(), how).await?.object.into();
            ensure(answer.value()["spec"] == live.value()["spec"], format!("{declared:?} changes"))?;
            ensure(answer.value()["data"] == live.value()["data"], format!("{declared:?} changes"))?;
            let after = Owners::of(&answer);
            let stored = ours.keyed(&live);
            let expected: Vec<_> = ours.paths().into_iter().filter(|path| has(&stored, path)).collect();
            ensure(
                after.ours.paths() == expected,
                picture(&format!("{declared:?}, not {expected:?}"), &after),
            )?;
        }
        Ok(())
    })
}

/// The one field that is written and never stored. So it must not be sent: `data` is.
fn in_words(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let words = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "words"}, "stringData": {"a": "b"}});
        let declared = world.declare(words).await?;
        world.kubectl(&["patch", "secret/words", "--patch", r#"{"data":{"a":"b3RoZXI="}}"#])?;
        world.is_covered(&declared, "changed").await?;
        assert_eq!(world.force(&declared).await?.value()["data"]["a"], "Yg==");
        Ok(())
    })
}

fn edited(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.declare(deployment()).await?;
        for (edit, path) in [
            ("s/image: a:1/image: a:2/", &["spec", "template", "spec", "containers", "web", "image"][..]),
            ("s/disk: ssd/disk: hdd/", &["spec", "template", "spec", "nodeSelector"]),
            ("s/a: b/a: c/", &["metadata", "labels", "a"]),
            ("s/cpu: \"1\"/cpu: \"2\"/", &["spec", "template", "spec", "containers", "web", "resources"]),
        ] {
            let editor = format!("sed -i '{edit}'");
            world.kubectl_with(&["edit", WEB], "", &BTreeMap::from([("EDITOR", editor.as_str())]))?;
            world.is_seen(&declared, edit, path, Some("kubectl-edit")).await?;
        }
        Ok(())
    })
}

fn taken(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.declare(config_map()).await?;
        let mut other = config_map();
        other["data"] = json!({"a": "theirs"});
        other["metadata"]["labels"] = json!({});
        world.take(&other)?;
        world.is_seen(&declared, "force", &["data", "a"], Some("other")).await?;
        // It has the field together with us since then, and what it takes is a change again.
        let owners = world.owners(&declared).await?;
        ensure(owners.hand(&["data", "a"]).is_none(), picture("repaired", &owners))?;
        world.take(&other)?;
        world.is_seen(&declared, "force, again", &["data", "a"], Some("other")).await
    })
}

fn written(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.declare(deployment()).await?;
        let image = &["spec", "template", "spec", "containers", "web", "image"];
        let strategic = r#"{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"a:2"}]}}}}"#;
        world.kubectl(&["patch", WEB, "--patch", strategic])?;
        world.is_seen(&declared, "strategic patch", image, Some("kubectl-patch")).await?;
        world.kubectl(&[
            "patch",
            WEB,
            "--type=merge",
            "--patch",
            r#"{"spec":{"paused":true,"replicas":null}}"#,
        ])?;
        world.is_seen(&declared, "merge patch", &["spec", "replicas"], Some("kubectl-patch")).await?;
        world.kubectl(&["set", "image", WEB, "web=a:3"])?;
        world.is_seen(&declared, "set image", image, Some("kubectl-set")).await?;

        world.kubectl(&["scale", WEB, "--replicas=1"])?;
        world.is_seen(&declared, "scale", &["spec", "replicas"], Some("kubectl")).await?;

        let declared = world.declare(config_map()).await?;
        let mut live: Value = world.live(&declared).await?.into();
        live["data"]["a"] = json!("theirs");
        world.kubectl_on(&["replace", "--field-manager=put", "-f", "-"], &live)?;
        world.is_seen(&declared, "replace", &["data", "a"], Some("put")).await
    })
}

fn removed(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let web = world.declare(deployment()).await?;
        let patch = |path: &str| format!(r#"[{{"op":"remove","path":"{path}"}}]"#);
        world.kubectl(&["label", WEB, "a-"])?;
        world.is_seen(&web, "a label", &["metadata", "labels", "a"], None).await?;
        world.kubectl(&["annotate", WEB, "trueup.dev/declared-"])?;
        world
            .is_seen(&web, "an annotation", &["metadata", "annotations", "trueup.dev/declared"], None)
            .await?;
        world.kubectl(&["set", "env", WEB, "B-"])?;
        world
            .is_seen(&web, "a variable", &["spec", "template", "spec", "containers", "web", "env", "B"], None)
            .await?;
        for path in [
            "/spec/template/spec/nodeSelector",
            "/spec/template/spec/containers/0/ports/1",
            "/spec/template/spec/volumes/1",
        ] {
            world.kubectl(&["patch", WEB, "--type=json", "--patch", &patch(path)])?;
            world.is_seen(&web, path, &["status"], None).await?;
        }

        let keys = world.declare(secret()).await?;
        world.kubectl(&["patch", "secret/keys", "--type=json", "--patch", &patch("/data/a")])?;
        world.is_seen(&keys, "a key of a secret", &["data", "a"], None).await?;
        world.kubectl(&["patch", "secret/keys", "--type=json", "--patch", &patch("/data")])?;
        world.is_seen(&keys, "all keys of a secret", &["data"], None).await?;
        world.kubectl(&["patch", "secret/keys", "--patch", r#"{"stringData":{"b":"other"}}"#])?;
        world.is_seen(&keys, "a key of a secret in words", &["data", "b"], Some("kubectl-patch")).await
    })
}

fn last_keys(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let thing = world.defined().await?;
        let (name, kind) = (format!("things.{}.trueup.dev/a", world.namespace), thing.gvk());
        for path in [
            "/spec/config/x",
            "/spec/deep/a/b/c",
            "/spec/deep/a",
            "/maps/m/x",
            "/lists/l/0",
            "/atomic/x",
            "/set/0",
            "/spec/empty",
        ] {
            let patch = format!(r#"[{{"op":"remove","path":"{path}"}}]"#);
            world.kubectl(&["patch", &name, "--type=json", "--patch", &patch])?;
            world.is_seen(&thing, path, &["metadata"], None).await?;
        }
        let base = |field: &str, value: Value| json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "a"}, field: value});
        for other in [
            base("spec", json!({"config": {"x": "2"}})),
            base("maps", json!({"m": {"x": "2"}})),
            base("atomic", json!({"x": "2"})),
            base("spec", json!({"list": [{"n": "b"}]})),
        ] {
            world.take(&other)?;
            world.is_seen(&thing, &other.to_string(), &["metadata"], None).await?;
        }
        world.take(&base("spec", json!({"config": {"y": "2"}, "more": 1})))?;
        world.kubectl(&[
            "patch",
            &name,
            "--type=json",
            "--patch",
            r#"[{"op":"remove","path":"/spec/config/x"}]"#,
        ])?;
        world
            .is_seen(&thing, "all keys but somebody else's", &["spec", "config", "y"], Some("other"))
            .await?;
        world.kubectl(&["delete", "crd", definition(&world.namespace).0.name(), "--wait=false"])?;
        Ok(())
    })
}

fn cleared(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let declared = world.declare(config_map()).await?;
        let before = world.live(&declared).await?;
        let clear = r#"{"metadata":{"managedFields":[{}]}}"#;
        world.kubectl(&["patch", "configmap/files", "--type=merge", "--patch", clear])?;
        let live = world.live(&declared).await?;
        assert_eq!((live.managed_fields(), &live.value()["data"]), (&[][..], &before.value()["data"]));
        world.is_seen(&declared, "cleared", &["data", "a"], None).await?;

        // Nothing is noted of what is edited after that, until something is applied again.
        world.kubectl(&["patch", "configmap/files", "--type=merge", "--patch", clear])?;
        world.kubectl(&["patch", "configmap/files", "--patch", r#"{"data":{"a":"edited"}}"#])?;
        let owners = world.owners(&declared).await?;
        ensure(owners == Owners::default(), picture("edited", &owners))?;
        let repaired = world.force(&declared).await?;
        assert_eq!(repaired.value()["data"], declared.value()["data"]);
        let owners = Owners::of(&repaired);
        ensure(owners.covers(&declared), picture("repaired", &owners))?;
        let who: Vec<_> = owners.others.iter().map(|other| other.hand.who.as_str()).collect();
        ensure(who == ["before-first-apply"], picture("repaired", &owners))
    })
}

fn added(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let web = world.declare(deployment()).await?;
        world.kubectl(&["label", WEB, "theirs=1"])?;
        world.kubectl(&["set", "env", WEB, "THEIRS=1"])?;
        world.kubectl(&["rollout", "restart", WEB])?;
        let patch = r#"{"spec":{"template":{"spec":{"tolerations":[],"containers":[{"name":"side","image":"b:1"}]}}}}"#;
        world.kubectl(&["patch", WEB, "--patch", patch])?;
        world.is_covered(&web, "added").await?;

        world.kubectl(&["set", "image", WEB, "web=a:1"])?;
        world.kubectl(&["scale", WEB, "--replicas=0"])?;
        world.is_covered(&web, "repeated by updates").await?;
        let same = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "1"}});
        let files = world.declare(config_map()).await?;
        world.take(&same)?;
        world.is_covered(&files, "repeated by apply").await?;
        let owners = world.owners(&files).await?;
        ensure(owners.hand(&["data", "a"]).is_some(), picture("shared", &owners))
    })
}

fn controllers(cluster: &Cluster) -> Result<(), Failed> {
    in_world(cluster, async |world| {
        let mut document = deployment();
        document["spec"]["replicas"] = json!(1);
        let web = world.declare(document).await?;
        until("the controller has seen it", async || {
            let live = world.live(&web).await?;
            let value = live.value();
            let seen = value["status"]["observedGeneration"] == value["metadata"]["generation"];
            Ok(seen && !value["status"]["conditions"].is_null())
        })
        .await?;
        world.is_covered(&web, "a controller").await?;
        let status = r#"{"status":{"conditions":[{"type":"Odd","status":"True"}]}}"#;
        world.kubectl(&["patch", WEB, "--subresource=status", "--patch", status])?;
        world.is_covered(&web, "a status").await?;

        let thing = world.defined().await?;
        let name = format!("things.{}.trueup.dev/a", world.namespace);
        let status = r#"{"status":{"ready":true,"config":{"x":"2"}}}"#;
        world.kubectl(&["patch", &name, "--subresource=status", "--type=merge", "--patch", status])?;
        world.is_covered(&thing, "a status of others").await?;
        let owners = world.owners(&thing).await?;
        assert!(owners.others.is_empty(), "{owners:?}");
        world.kubectl(&["delete", "crd", definition(&world.namespace).0.name(), "--wait=false"])?;
        Ok(())
    })
}
