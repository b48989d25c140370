//! Plans for a target that brings in new versions itself: objects, roll-outs, what it says beforehand.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde_json::json;
use trueup_plan::{Act, Hand, How, Kind, Manner, Needs, Preview, ResourceId, Rule};

use crate::world::{World, ago, id, probe, workload};

fn object(name: &str, component: Option<&str>) -> ResourceId {
    id(Kind::Object, name, component)
}

fn rule(path: &str, how: How) -> Rule {
    Rule { path: path.into(), how, interrupts: how == How::Recreate, reason: None }
}

/// A component of three objects that needs another one, in a namespace, beside a plain object.
fn cluster() -> World {
    let mut world = World::empty();
    world.desired.manner = Manner::Rolling;
    world.desired.target = "kubernetes/lab".into();
    world.desired.rules = BTreeMap::from([
        (Kind::Workload, vec![rule("", How::Roll)]),
        (Kind::Object, vec![rule("", How::InPlace)]),
        (Kind::Base, vec![rule("", How::InPlace)]),
    ]);
    let base = id(Kind::Base, "namespace/demo", None);
    world.declare(base.clone(), json!({"kind": "Namespace"})).probe = Some(probe());
    world.declare(object("service/api", None), json!({"kind": "Service", "spec": {"type": "ClusterIP"}}));
    for component in ["db", "web"] {
        let files = object(&format!("configmap/{component}-files"), Some(component));
        world.declare(files.clone(), json!({"kind": "ConfigMap"}));
        let image =
            json!({"spec": {"containers": {component: {"image": format!("{component}:1")}}, "replicas": 2}});
        let declared = world.declare(workload(component), image);
        declared.probe = Some(probe());
        declared.body = Some(json!({"kind": "Deployment", "metadata": {"name": component}}));
        declared.needs.push(Needs { on: files, ready: false });
    }
    for declared in world.desired.resources.iter_mut().filter(|(id, _)| **id != base).map(|(_, d)| d) {
        declared.needs.push(Needs { on: base.clone(), ready: true });
    }
    world.needs("web", "db");
    world
}

fn settled() -> World {
    let mut world = cluster();
    world.settle();
    for (id, observed) in &mut world.live.resources {
        observed.noun = Some(id.name.split_once('/').map_or("deployment", |(noun, _)| noun).to_owned());
    }
    world
}

#[test]
fn what_is_created_runs_and_waits_for_what_it_needs() {
    assert_snapshot!(cluster().steps(), @"
    create namespace/demo
    verify namespace/demo <- create namespace/demo
    create configmap/db-files <- verify namespace/demo
    create configmap/web-files <- verify namespace/demo
    create service/api <- verify namespace/demo
    create db <- create configmap/db-files, verify namespace/demo
    verify db <- create db
    create web <- create configmap/web-files, verify db, verify namespace/demo
    verify web <- create web
    ");
    assert_snapshot!(cluster().printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      + 2 objects        configmap/db-files, configmap/web-files
      + namespace/demo   create                                   environments/demo/environment.yaml:8:5
      + service/api      create                                   environments/demo/environment.yaml:8:5
      + db               create · db:1                                                components/db.yaml
      + web              create · web:1                                              components/web.yaml

    4 create · 9 steps in 7 waves · intent 4
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn what_is_sent_is_the_body_and_not_what_is_compared() {
    let mut world = settled();
    world.observed("web").body = Some(json!({"kind": "Deployment", "old": true}));
    world.declared("web").spec["spec"]["replicas"] = json!(3);
    let plan = world.plan();
    let Act::Update { before, after, fields } = &plan.steps[0].act else { panic!("{:?}", plan.steps) };
    assert_eq!(before.spec, json!({"kind": "Deployment", "old": true}));
    assert_eq!(after["metadata"]["name"], "web");
    assert_eq!(fields, &["spec.replicas"]);
}

#[test]
fn a_new_version_is_rolled_out_and_dependents_wait_for_it() {
    let mut world = settled();
    for name in ["db", "web"] {
        world.declared(name).spec["spec"]["containers"][name]["image"] = json!(format!("{name}:2"));
    }
    assert_snapshot!(world.steps(), @"
    update db
    verify db <- update db
    update web <- verify db
    verify web <- update web
    ");
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ db    roll out, because the image changed
          spec.containers.db.image   db:1 → db:2                                      components/db.yaml
      ~ web   roll out, because the image changed
          spec.containers.web.image   web:1 → web:2                                  components/web.yaml
      = 2 unchanged

    2 change · 4 steps in 4 waves · intent 2
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn what_cannot_be_changed_there_is_made_anew_under_its_name() {
    let mut world = settled();
    world.declared("web").rules = vec![rule("spec.selector", How::Recreate)];
    world.declared("web").spec["spec"]["selector"] = json!({"app": "web"});
    world.declared("web").irreversible = Some("its pods and their names".into());
    assert_snapshot!(world.steps(), @"
    create web
    verify web <- create web
    ");
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ web   recreate, because spec.selector.app was added
          spec.selector.app   new: web                                               components/web.yaml
          cannot be undone: its pods and their names
      = 3 unchanged

    1 change · 2 steps in 2 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn who_changed_a_field_is_named() {
    let mut world = settled();
    world.observed("web").spec["spec"]["replicas"] = json!(5);
    let hand = Hand { who: "kubectl-edit".into(), at: Some(ago(180)) };
    world.observed("web").hands.insert("spec.replicas".into(), hand);
    world.drifted("web", ago(180));
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ web   roll out, because spec.replicas changed · drift, for 3 min
          spec.replicas   5 → 2 · by kubectl-edit, 3 min ago                         components/web.yaml
      = 3 unchanged

    1 change · 2 steps in 2 waves · drift 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn what_the_target_would_refuse_is_refused_before_anything_is_touched() {
    let mut world = settled();
    let service = object("service/api", None);
    world.desired.resources.get_mut(&service).unwrap().spec["spec"]["type"] = json!("External");
    let why = "spec.type: unsupported value".to_owned();
    world.live.previews.insert(service.clone(), Preview::Refused { why });
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ service/api   in place
          spec.type   ClusterIP → External                        environments/demo/environment.yaml:8:5
      = 3 unchanged

    ✗ `service/api` would be refused: spec.type: unsupported value
      at: environments/demo/environment.yaml:8:5
    1 change · intent 1
    refused: nothing is changed
    "#);
    world.live.previews.insert(service, Preview::Unknown { why: "a webhook has no dry run".into() });
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ service/api   in place
          spec.type   ClusterIP → External                        environments/demo/environment.yaml:8:5
          not verified: a webhook has no dry run
      = 3 unchanged

    1 change · 1 step in 1 wave · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn plain_objects_count_where_deletes_are_counted() {
    let mut world = settled();
    world.desired.resources.retain(|id, _| id.component.is_none() && id.kind != Kind::Object);
    assert_snapshot!(world.printed(), @r#"
    demo · kubernetes/lab · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      - configmap/db-files    delete the configmap
      - configmap/web-files   delete the configmap
      - service/api           delete the service
      - db                    delete the deployment
      - web                   delete the deployment
      = 1 unchanged

    ✗ 3 of 4 components and objects would be deleted (75 %), more than the 30 % of `sync.maxDeletes`
      help: if that is meant: `trueup apply demo --confirm-deletes`
    5 delete (75 % of the 30 % allowed) · intent 5
    refused: nothing is changed
    "#);
    world.confirmed = true;
    assert_snapshot!(world.steps(), @"
    retire service/api
    retire web
    retire configmap/web-files <- retire web
    retire db <- retire web
    retire configmap/db-files <- retire db
    ");
}
