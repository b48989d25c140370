//! Plain objects on a real API server: previewed by it, applied as one transaction, taken back.

use std::{fs, process::Command};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{in_sync_at, json, says},
    lab::{Lab, text_of},
    rig::{Cluster, Engine},
};

type Test = (&'static str, fn(&Cluster) -> Result<(), Failed>);

const TESTS: [Test; 9] = [
    ("objects_are_applied_and_nothing_is_left_to_do", applied),
    ("what_anybody_changes_is_told_with_who_and_repaired", drift),
    ("what_the_api_server_would_refuse_is_refused_before_anything_is_touched", refused),
    ("a_run_that_fails_is_taken_back_and_held", taken_back),
    ("what_cannot_be_changed_is_made_anew", immutable),
    ("what_is_declared_no_longer_is_deleted_and_what_others_own_is_not_touched", pruned),
    ("the_daemon_applies_a_commit_and_repairs_at_its_interval", followed),
    ("an_environment_that_moves_leaves_nothing_behind", moved),
    ("what_a_cluster_cannot_have_is_told_at_its_line", impossible),
];

pub(crate) fn trials(cluster: &Cluster) -> Vec<Trial> {
    let trial = |(name, test): Test| {
        let cluster = cluster.clone();
        Trial::test(format!("kubernetes::{name}"), move || test(&cluster))
    };
    TESTS.into_iter().map(trial).collect()
}

const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {mode: fast, limit: \"10\"}
";

const API: &str = "apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: api}
  ports:
    - {name: http, port: 80, targetPort: 8080}
    - {name: metrics, port: 9000}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 0
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
        - {name: api, image: example.org/api:1, resources: {limits: {cpu: 1000m, memory: 65536Ki}}}
";

/// A world whose environment is a namespace of its own.
struct World {
    lab: Lab,
    cluster: Cluster,
}

impl World {
    fn new(cluster: &Cluster) -> Result<Self, Failed> {
        let world = Self { lab: Lab::new(&Engine::away())?, cluster: cluster.clone() };
        let (lab, env) = (&world.lab, &world.lab.env);
        let target = format!("rig: {{kubernetes: {{kubeconfig: {}}}}}", cluster.kubeconfig);
        lab.configure("local: {docker: \"tcp://127.0.0.1:1\"}", &target)?;
        lab.environment("  components: []\n  manifests: [objects]\n  sync: {maxDeletes: 50%}\n")?;
        lab.replace_in_environment("docker: local", &format!("kubernetes: rig, namespace: {env}"))?;
        world.kubectl(&["create", "namespace", env])?;
        lab.write("objects/settings.yaml", SETTINGS)?;
        lab.write("objects/api.yaml", API)?;
        Ok(world)
    }

    /// Returns a world whose first commit is applied.
    fn applied(cluster: &Cluster) -> Result<Self, Failed> {
        let world = Self::new(cluster)?;
        world.lab.commit("first")?;
        world.lab.succeed(&["apply", &world.lab.env, "--yes"])?;
        Ok(world)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new(&self.cluster.kubectl);
        text_of(command.args(["--kubeconfig", &self.cluster.kubeconfig, "-n", &self.lab.env]).args(arguments))
    }

    /// Changes one setting by hand.
    fn set(&self, key: &str, value: &str) -> Result<(), Failed> {
        let patch = serde_json::json!({"data": {key: value}}).to_string();
        self.kubectl(&["patch", "configmap", "settings", "--type", "merge", "-p", &patch]).map(drop)
    }

    fn object(&self, name: &str) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.kubectl(&["get", name, "-o", "json", "--show-managed-fields"])?)?)
    }

    fn is_in_sync(&self) -> Result<(), Failed> {
        says(&self.lab.exits(0, &["plan", &self.lab.env, "--detailed-exitcode"])?, &["nothing to do"])
    }

    /// Returns how often the API server was asked to write to this namespace by this name of a program.
    fn writes(&self) -> Result<usize, Failed> {
        let text = fs::read_to_string(&self.cluster.audit)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_write = |event: &Value| {
            event["objectRef"]["namespace"] == self.lab.env.as_str()
                && ["patch", "delete", "create", "update"].iter().any(|verb| event["verb"] == *verb)
                && event["requestURI"].as_str().is_some_and(|uri| uri.contains("fieldManager=trueup"))
                && !event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun"))
        };
        Ok(lines.filter(is_write).count())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubectl(&["delete", "namespace", &self.lab.env, "--wait=false"]).ok();
    }
}

fn applied(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::new(cluster)?;
    world.lab.commit("first")?;
    let env = &world.lab.env;
    let plan = world.lab.succeed(&["plan", env])?;
    says(
        &plan,
        &["+ configmap/settings", "+ deployment/api", "example.org/api:1", "objects/api.yaml:10", "3 create"],
    )?;
    assert_eq!(world.writes()?, 0, "a preview writes nothing");
    world.lab.succeed(&["apply", env, "--yes"])?;
    world.is_in_sync()?;
    let service = world.object("service/api")?;
    assert_eq!(service["spec"]["ports"][1]["port"], 9000);
    assert_eq!(service["metadata"]["labels"]["app.kubernetes.io/managed-by"], "trueup");
    let writes = world.writes()?;
    world.lab.succeed(&["apply", env, "--yes"])?;
    assert_eq!(world.writes()?, writes, "what is as declared is not written");
    // One object changes, and no other is written.
    let before = world.object("deployment/api")?;
    world.lab.replace_in("objects/settings.yaml", "fast", "faster")?;
    world.lab.commit("second")?;
    world.lab.succeed(&["apply", env, "--yes"])?;
    assert_eq!(world.writes()?, writes + 1);
    assert_eq!(world.object("deployment/api")?, before);
    world.is_in_sync()
}

fn drift(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    world.kubectl(&["scale", "deployment", "api", "--replicas", "3"])?;
    world.set("mode", "slow")?;
    world.kubectl(&["label", "service", "api", "trueup.dev/env-uid-"])?;
    let told = lab.succeed(&["drift", env])?;
    says(&told, &["3 resources have drifted", "data.mode", "fast", "slow", "objects/settings.yaml:4"])?;
    says(&told, &["spec.replicas", "roll out", "metadata.labels[trueup.dev/env-uid]"])?;
    says(&lab.succeed(&["plan", env])?, &["slow → fast", "by kubectl-patch"])?;
    lab.succeed(&["apply", env, "--yes"])?;
    assert_eq!(world.object("deployment/api")?["spec"]["replicas"], 0);
    assert_eq!(world.object("configmap/settings")?["data"]["mode"], "fast");
    // What nobody declared is nobody's matter.
    world.kubectl(&["annotate", "service", "api", "somebody/was=here"])?;
    world.set("more", "1")?;
    world.is_in_sync()?;
    assert_eq!(world.object("configmap/settings")?["data"]["more"], "1");
    Ok(())
}

fn refused(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    let (before, writes) = (world.object("configmap/settings")?, world.writes()?);
    lab.replace_in("objects/settings.yaml", "fast", "faster")?;
    lab.replace_in("objects/api.yaml", "port: 9000", "port: 90000")?;
    lab.commit("a port that there is not")?;
    let told = lab.exits(3, &["apply", env, "--yes"])?;
    says(&told, &["refused by admission", "service/api", "spec.ports[1].port", "between 1 and 65535"])?;
    lab.replace_in("objects/api.yaml", "port: 90000", "prot: 9000")?;
    lab.commit("a field that there is not")?;
    says(&lab.exits(3, &["apply", env, "--yes"])?, &["refused by admission", "prot"])?;
    assert_eq!((world.object("configmap/settings")?, world.writes()?), (before, writes));
    Ok(())
}

fn taken_back(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    world.kubectl(&["create", "quota", "nothing", "--hard=pods=0"])?;
    world.set("mode", "slow")?;
    lab.replace_in("objects/settings.yaml", "fast", "faster")?;
    lab.replace_in("objects/api.yaml", "replicas: 0", "replicas: 1")?;
    lab.write("objects/new.yaml", &SETTINGS.replace("name: settings", "name: new"))?;
    lab.commit("pods that the quota forbids")?;
    let told = lab.exits(4, &["apply", env, "--yes"])?;
    says(&told, &["rolled back", "deployment/api", "exceeded quota"])?;
    assert_eq!(world.object("configmap/settings")?["data"]["mode"], "slow", "as it was is not as declared");
    assert_eq!(world.object("deployment/api")?["spec"]["replicas"], 0);
    assert!(world.object("configmap/new").is_err(), "it was made by the run that failed");
    says(&lab.succeed(&["status", env])?, &["Held"])?;
    lab.git(&["revert", "--no-edit", "HEAD"])?;
    says(&lab.succeed(&["plan", env])?, &["slow → fast", "drift"])?;
    lab.succeed(&["apply", env, "--yes"])?;
    world.is_in_sync()
}

fn immutable(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    let uid = world.object("deployment/api")?["metadata"]["uid"].clone();
    lab.replace_in("objects/api.yaml", "matchLabels: {app: api}", "matchLabels: {app: api, tier: x}")?;
    lab.replace_in("objects/api.yaml", "labels: {app: api}}", "labels: {app: api, tier: x}}")?;
    lab.commit("another selector")?;
    let plan = lab.succeed(&["plan", env])?;
    says(&plan, &["recreate, because spec.selector.matchLabels.tier was added", "cannot be undone"])?;
    lab.succeed(&["apply", env, "--yes"])?;
    let deployment = world.object("deployment/api")?;
    assert_ne!(deployment["metadata"]["uid"], uid);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"]["tier"], "x");
    world.is_in_sync()
}

fn pruned(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    world.kubectl(&["create", "configmap", "somebodys", "--from-literal=a=1"])?;
    // Controllers and people copy labels to what they make of an object.
    let mut copy = world.object("configmap/settings")?;
    copy["metadata"]["name"] = "copy".into();
    for made in ["uid", "resourceVersion", "managedFields", "creationTimestamp"] {
        copy["metadata"].as_object_mut().ok_or("it has metadata")?.remove(made);
    }
    fs::write(lab.path("copy.json"), copy.to_string())?;
    world.kubectl(&["create", "-f", &lab.path("copy.json").display().to_string()])?;
    world.is_in_sync()?;
    lab.git(&["rm", "-q", "objects/settings.yaml"])?;
    lab.write("objects/theirs.yaml", &SETTINGS.replace("name: settings", "name: somebodys"))?;
    lab.commit("without settings, with what is somebody's")?;
    let told = lab.exits(3, &["apply", env, "--yes"])?;
    says(&told, &["configmap/somebodys", "stands in the way"])?;
    lab.git(&["rm", "-q", "objects/theirs.yaml"])?;
    lab.commit("without settings")?;
    says(&lab.succeed(&["plan", env])?, &["- configmap/settings", "delete the configmap", "2 unchanged"])?;
    lab.succeed(&["apply", env, "--yes"])?;
    assert!(world.object("configmap/settings").is_err(), "it is declared no longer");
    assert_eq!(json(lab, &["status", env])?["environments"][0]["sync"], "Synced");
    assert_eq!(world.object("configmap/somebodys")?["data"]["a"], "1");
    lab.succeed(&["env", "destroy", env, "--yes", "--reason", "the test ends"])?;
    assert!(world.object("service/api").is_err(), "its environment was destroyed");
    world.object("configmap/copy")?;
    world.object("configmap/somebodys").map(drop)
}

fn followed(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::new(cluster)?;
    let lab = &world.lab;
    lab.replace_in_environment("sync: {", "sync: {interval: 1s, ")?;
    let first = lab.commit("first")?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    world.set("mode", "slow")?;
    lab.wait_until("the repair", || Ok(world.object("configmap/settings")?["data"]["mode"] == "fast"))?;
    lab.replace_in("objects/settings.yaml", "fast", "faster")?;
    let second = lab.commit("second")?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    assert_eq!(world.object("configmap/settings")?["data"]["mode"], "faster");
    daemon.stop()
}

fn moved(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::applied(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    let other = format!("{env}-other");
    world.kubectl(&["create", "namespace", &other])?;
    lab.replace_in_environment(&format!("namespace: {env}"), &format!("namespace: {other}"))?;
    lab.commit("another namespace")?;
    says(&lab.succeed(&["plan", env])?, &["+ service/api", &format!("- service/{env}/api")])?;
    lab.succeed(&["apply", env, "--yes", "--confirm-deletes"])?;
    let moved = world.kubectl(&["get", "service", "api", "-n", &other]).is_ok();
    world.kubectl(&["delete", "namespace", &other, "--wait=false"])?;
    assert!(moved && world.object("service/api").is_err(), "it is there, and no longer here");
    Ok(())
}

fn impossible(cluster: &Cluster) -> Result<(), Failed> {
    let world = World::new(cluster)?;
    let (lab, env) = (&world.lab, &world.lab.env);
    lab.write("objects/more.yaml", "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\n")?;
    lab.write("objects/there.yaml", &SETTINGS.replace("{name: settings}", "{name: a, namespace: default}"))?;
    lab.commit("what is not to be had")?;
    let told = lab.exits(1, &["plan", env])?;
    says(&told, &["objects/more.yaml:1:1", "the cluster has no kind Thing (example.org/v1)"])?;
    says(&told, &["objects/there.yaml:1:1", "outside of the environment's namespace"])?;
    assert_eq!(world.writes()?, 0);
    Ok(())
}
