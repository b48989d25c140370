//! Every kind of change, printed.

use insta::assert_snapshot;
use serde_json::json;
use trueup_plan::{
    Action, Contest, Kind, State, Wait,
    render::{Style, json as as_json, markdown, text},
};
use trueup_schema::manifest::Update;

use crate::world::{World, ago, id, network, now, place, volume, workload};

#[test]
fn nothing_to_do() {
    let world = World::demo();
    assert!(world.plan().is_empty());
    assert_snapshot!(world.printed(), @"demo · in sync at 3f9c2ab: nothing to do");
}

#[test]
fn a_changed_file_recreates_and_shows_its_lines() {
    let mut world = World::demo();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:5e1f00", "files/haproxy/haproxy.cfg:1:1");
    world.settle();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:09ab00", "files/haproxy/haproxy.cfg:1:1");
    world
        .texts
        .insert("sha256:5e1f00".into(), "global\n  daemon\n  maxconn 200\n  user x\n  group y\n".into());
    world
        .texts
        .insert("sha256:09ab00".into(), "global\n  daemon\n  maxconn 400\n  user x\n  group y\n".into());
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because a file changed · interrupts postgresql:5432
          file /etc/haproxy.cfg                                              files/haproxy/haproxy.cfg:3
                daemon
            -   maxconn 200
            +   maxconn 400
                user x
      = 2 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn a_changed_secret_shows_only_its_digest() {
    let mut world = World::demo();
    world.file("prometheus", "/run/secrets/password", "keyed:5e1f77aa", "environments/demo/secrets/p.age");
    world.settle();
    world.file("prometheus", "/run/secrets/password", "keyed:09ab33cc", "environments/demo/secrets/p.age");
    // Even a text that somebody gave for it is not looked at.
    world.texts.insert("keyed:5e1f77aa".into(), "hunter2\n".into());
    world.texts.insert("keyed:09ab33cc".into(), "hunter3\n".into());
    assert!(!serde_json::to_string(&as_json(&world.plan())).unwrap().contains("hunter"));
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ prometheus   recreate, because a secret changed
          secret /run/secrets/password   changed (digest 5e1f… → 09ab…)  environments/demo/secrets/p.age
      = 2 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn files_come_and_go_in_one_line_each() {
    let mut world = World::demo();
    world.file("haproxy", "/etc/old.cfg", "sha256:5e1f00", "files/old.cfg:1:1");
    world.settle();
    world.declared("haproxy").spec["files"] = json!({});
    world.file("haproxy", "/etc/new.cfg", "sha256:09ab00", "files/new.cfg:1:1");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because a file was added · interrupts postgresql:5432
          file /etc/new.cfg   new                                                          files/new.cfg
          file /etc/old.cfg   removed                                                      files/old.cfg
      = 2 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn intent_and_drift_stand_side_by_side() {
    let mut world = World::demo();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    world
        .declared("haproxy")
        .places
        .0
        .insert("image.reference".into(), place("components/haproxy.yaml:6:10"));
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    world
        .declared("prometheus")
        .places
        .0
        .insert("resources.memory".into(), place("components/prometheus.yaml:31:12"));
    world.drifted("prometheus", ago(180));
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy      recreate, because the image changed · interrupts postgresql:5432
          image   haproxy:1 → haproxy:2                                     components/haproxy.yaml:6:10
      ~ prometheus   in place · drift, for 3 min
          resources.memory   512Mi → 1Gi                                components/prometheus.yaml:31:12
      = 1 unchanged

    2 change · 5 steps in 4 waves · intent 1, drift 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn an_image_is_named_or_else_its_id_is_shown() {
    let mut world = World::demo();
    let image = |name: &str, id: &str| json!({"reference": name, "id": format!("sha256:{}", id.repeat(32))});
    world.declared("haproxy").spec["image"] = image("haproxy:1@sha256:aabbccdd", "aa");
    world.declared("prometheus").spec["image"] = image("prometheus:1", "aa");
    world.settle();
    world.declared("haproxy").spec["image"] = image("haproxy:2@sha256:ddeeff00", "bb");
    world.declared("prometheus").spec["image"] = image("prometheus:1", "bb");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy      recreate, because the image changed · interrupts postgresql:5432
          image   haproxy:1@aabb… → haproxy:2@ddee…                              components/haproxy.yaml
      ~ prometheus   recreate, because the image changed
          image.id   changed (digest aaaa… → bbbb…)                           components/prometheus.yaml
      = 1 unchanged

    2 change · 8 steps in 4 waves · intent 2
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn drift_of_a_changed_component_is_repaired_along() {
    let mut world = World::demo();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    world.observed("haproxy").spec["env"] = json!({"DEBUG": "1"});
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because the image changed · interrupts postgresql:5432
          image       haproxy:1 → haproxy:2                                      components/haproxy.yaml
          env.DEBUG   removed: 1 · drift, repaired along
      = 2 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn drift_is_only_reported_without_self_heal() {
    let mut world = World::demo();
    world.repairs = false;
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    world.drifted("prometheus", ago(180));
    let plan = world.plan();
    assert!(plan.is_empty() && plan.steps.is_empty());
    assert_eq!(Wait::for_drift(&plan).unwrap().to_string(), "drift in 1 resource, sync.selfHeal is off");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ! prometheus   drift, for 3 min · only reported, because `sync.selfHeal` is off
          resources.memory   512Mi → 1Gi                                      components/prometheus.yaml
      = 2 unchanged

    nothing to do
    "#);
}

#[test]
fn drift_that_comes_back_after_each_repair_waits() {
    let mut world = World::demo();
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    let contest = Contest {
        resource: world.find("prometheus"),
        action: Action::Update,
        field: Some("resources.memory".into()),
        repairs: 5,
        minutes: 10,
        until: now(),
    };
    world.contested.push(contest.clone());
    assert_eq!(
        Wait::for_drift(&world.plan()).unwrap().to_string(),
        "prometheus was repaired 5 times in 10 min, now waiting until 14:05:00 UTC"
    );
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ! prometheus   drift · repaired 5 times in 10 min, now waiting until 14:05:00 UTC
          resources.memory   512Mi → 1Gi                                      components/prometheus.yaml
      = 2 unchanged

    nothing to do
    "#);
    // What the author wants does not wait.
    let declared = world.declared("prometheus").spec.clone();
    world.declared("prometheus").spec["resources"]["memory"] = json!(256 << 20);
    assert!(world.plan().reported.is_empty());
    world.declared("prometheus").spec = declared;
    // Nor does another field, and what waited goes with it.
    world.observed("prometheus").spec["restart"] = json!("always");
    assert_eq!(world.plan().changes.len(), 1);
}

#[test]
fn without_self_heal_an_intended_change_repairs_the_drift_of_its_component() {
    let mut world = World::demo();
    world.repairs = false;
    world.declared("prometheus").spec["resources"]["cpus"] = json!(2);
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ prometheus   in place
          resources.cpus     new: 2                                           components/prometheus.yaml
          resources.memory   512Mi → 1Gi · drift, repaired along
      = 2 unchanged

    1 change · 1 step in 1 wave · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn what_stopped_is_started() {
    let mut world = World::demo();
    let state = &mut world.observed("postgresql").state;
    (state.running, state.exit_code, state.since) = (false, Some(137), Some(ago(20)));
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ postgresql   start, because it exited (137) · drift, 20 s ago
      = 2 unchanged

    1 start · 2 steps in 2 waves · drift 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    start postgresql
    verify postgresql <- start postgresql
    ");
}

#[test]
fn what_is_paused_is_restarted() {
    let mut world = World::demo();
    world.observed("postgresql").state.paused = true;
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ postgresql   restart, because it is paused · drift
      = 2 unchanged

    1 start · 2 steps in 2 waves · drift 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    restart postgresql
    verify postgresql <- restart postgresql
    ");
}

#[test]
fn what_is_missing_is_created_again() {
    let mut world = World::demo();
    world.live.resources.remove(&workload("haproxy"));
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      + haproxy   create again, because it is missing · haproxy:1 · drift        components/haproxy.yaml
      = 2 unchanged

    1 create · 3 steps in 3 waves · drift 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn what_stopped_and_changed_is_both() {
    let mut world = World::demo();
    world.observed("haproxy").state.running = false;
    world.declared("haproxy").spec["restart"] = json!("no");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   in place, then start, because it is stopped
          restart   unless-stopped → no                                          components/haproxy.yaml
      = 2 unchanged

    1 change · 3 steps in 3 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    update haproxy
    start haproxy <- update haproxy
    verify haproxy <- start haproxy
    ");
}

#[test]
fn a_field_that_takes_a_restart() {
    let mut world = World::demo();
    world.declared("haproxy").spec["reload"] = json!(2);
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   restart, because reload was added · interrupts postgresql:5432
          reload   new: 2                                                        components/haproxy.yaml
      = 2 unchanged

    1 change · 3 steps in 3 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    update haproxy
    restart haproxy <- update haproxy
    verify haproxy <- restart haproxy
    ");
}

#[test]
fn a_removed_component_leaves_its_volume() {
    let mut world = World::demo();
    for name in ["etcd", "grafana", "minio", "nessie"] {
        world.service(name, &["control"]);
    }
    world.volume("etcd", "data").settle();
    world.drop_component("etcd");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      - etcd   delete the container; its volume etcd-data stays
      = 6 unchanged

    1 delete (14 % of the 30 % allowed) · 1 step in 1 wave · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn without_prune_what_is_no_longer_declared_stays() {
    let mut world = World::demo();
    world.desired.prune = false;
    world.drop_component("haproxy");
    world.declared("prometheus").spec["resources"]["cpus"] = json!(2);
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ prometheus   in place
          resources.cpus   new: 2                                             components/prometheus.yaml
      = 1 unchanged
      note: haproxy is no longer declared and stays, because `sync.prune` is off

    1 change · 1 step in 1 wave · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn a_volume_without_its_component_is_a_note() {
    let mut world = World::demo();
    world.volume("haproxy", "old").settle();
    world.desired.resources.remove(&volume("haproxy", "old"));
    assert!(world.plan().is_empty());
    assert_eq!(world.plan().notes, ["volume haproxy-old is no longer declared and stays"]);
}

#[test]
fn a_new_environment_is_short() {
    let mut world = World::empty();
    for zone in ["control", "data", "management", "storage"] {
        world.network(zone);
    }
    for name in [
        "alertmanager",
        "etcd",
        "haproxy",
        "node-exporter",
        "postgresql",
        "postgresql-exporter",
        "prometheus",
    ] {
        world.service(name, &["data"]);
        world.declared(name).spec["image"]["reference"] =
            json!(format!("demo/{name}:12@sha256:{}", "ab".repeat(32)));
    }
    world.volume("etcd", "data").volume("postgresql", "data").volume("prometheus", "tsdb");
    world.declared("haproxy").spec["ports"] = json!({"sql": {"port": 5432, "publish": "5432"}});
    world.job("create-role", &["data"]).needs("create-role", "postgresql");
    world.declared("create-role").irreversible = Some("the database and the role that it creates".into());
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      + 4 networks            control, data, management, storage
      + 3 volumes             etcd-data, postgresql-data, prometheus-tsdb
      + alertmanager          create · demo/alertmanager:12                 components/alertmanager.yaml
      + create-role           run once · create-role:1                       components/create-role.yaml
          cannot be undone: the database and the role that it creates
      + etcd                  create · demo/etcd:12                                 components/etcd.yaml
      + haproxy               create · demo/haproxy:12 · port 5432               components/haproxy.yaml
      + node-exporter         create · demo/node-exporter:12               components/node-exporter.yaml
      + postgresql            create · demo/postgresql:12                     components/postgresql.yaml
      + postgresql-exporter   create · demo/postgresql-exporter:12   components/postgresql-exporter.yaml
      + prometheus            create · demo/prometheus:12                     components/prometheus.yaml

    7 create, 1 run · 30 steps in 5 waves · intent 8
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn forty_unchanged_components_take_one_line() {
    let mut world = World::demo();
    for number in 0..38 {
        world.service(&format!("service-{number}"), &["data"]);
    }
    world.settle();
    world.declared("haproxy").spec["command"] = json!(["haproxy", "-f", "/etc/my config"]);
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because the command was added · interrupts postgresql:5432
          command   new: haproxy -f '/etc/my config'                             components/haproxy.yaml
      = 40 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn replicas_take_one_line_and_follow_each_other() {
    let mut world = World::empty();
    world.network("data");
    for name in ["web", "web-2", "web-3"] {
        world.replica("web", name, &["data"]);
    }
    world.settle();
    for name in ["web", "web-2", "web-3"] {
        world.declared(name).spec["image"]["reference"] = json!("web:2");
    }
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ web   recreate, because the image changed · 3 replicas, one after the other
          image   web:1 → web:2                                                      components/web.yaml

    1 change · 12 steps in 10 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    create web
    create web-2
    create web-3
    stop web <- create web
    start web <- stop web
    verify web <- start web
    stop web-2 <- create web-2, verify web
    start web-2 <- stop web-2, verify web
    verify web-2 <- start web-2
    stop web-3 <- create web-3, verify web-2
    start web-3 <- stop web-3, verify web-2
    verify web-3 <- start web-3
    ");
}

#[test]
fn start_first_interrupts_nothing() {
    let mut world = World::demo();
    world.declared("haproxy").update = Update::StartFirst;
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because the image changed · old and new answer side by side meanwhile
          image   haproxy:1 → haproxy:2                                          components/haproxy.yaml
      = 2 unchanged

    1 change · 4 steps in 4 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    create haproxy
    start haproxy <- create haproxy
    verify haproxy <- start haproxy
    stop haproxy <- verify haproxy
    ");
}

#[test]
fn a_job_runs_once_for_its_inputs() {
    let mut world = World::demo();
    world.job("migrate", &["data"]).needs("migrate", "postgresql").settle();
    let migrate = id(Kind::Job, "migrate", Some("migrate"));
    world.live.resources.remove(&migrate);
    assert!(world.plan().is_empty(), "a missing finished container is no drift");

    world.settle();
    let declared = world.declared("migrate");
    (declared.done, declared.inputs) = (false, Some("other".into()));
    declared.spec["image"]["reference"] = json!("migrate:2");
    declared.irreversible = Some("the tables that it changes".into());
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      + migrate   run once
          image   migrate:1 → migrate:2                                          components/migrate.yaml
          cannot be undone: the tables that it changes
      = 3 unchanged

    1 run · 2 steps in 2 waves · intent 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    create migrate
    run migrate <- create migrate
    ");
}

#[test]
fn a_network_that_is_replaced_takes_what_is_attached_along() {
    let mut world = World::demo();
    let declared = world.desired.resources.get_mut(&network("data")).unwrap();
    declared.spec["internal"] = json!(true);
    declared.places.0.insert("internal".into(), place("environments/demo/environment.yaml:12:40"));
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ network data   recreate, because internal changed
          internal   false → true                               environments/demo/environment.yaml:12:40
      ~ haproxy        recreate, because network data is replaced · interrupts postgresql:5432
      ~ postgresql     recreate, because network data is replaced · interrupts sql:5432
      ~ prometheus     recreate, because network data is replaced

    4 change · 13 steps in 8 waves · intent 4
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
    assert_snapshot!(world.steps(), @"
    stop haproxy
    stop prometheus
    stop postgresql <- stop haproxy, stop prometheus
    create network data <- stop haproxy, stop postgresql, stop prometheus
    create haproxy <- create network data, stop haproxy
    create postgresql <- create network data, stop postgresql
    create prometheus <- create network data, stop prometheus
    start postgresql <- create postgresql
    verify postgresql <- start postgresql
    start haproxy <- create haproxy, verify postgresql
    start prometheus <- create prometheus, verify postgresql
    verify haproxy <- start haproxy
    verify prometheus <- start prometheus
    ");
}

#[test]
fn without_a_record_nobody_knows_why() {
    let mut world = World::demo();
    world.applied = None;
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy   recreate, because the image changed · cause unknown · interrupts postgresql:5432
          image   haproxy:1 → haproxy:2                                          components/haproxy.yaml
      = 2 unchanged

    1 change · 4 steps in 4 waves · unknown 1
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn in_ascii_and_in_colour_it_says_the_same() {
    let mut world = World::demo();
    world.desired.revision.subject = "größer\u{1b}[2J".into();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    let plan = world.plan();
    let colourless = text(&plan, &Style::default(), now());
    let ascii = text(&plan, &Style { ascii: true, ..Style::default() }, now());
    assert!(ascii.is_ascii());
    assert!(!colourless.contains('\u{1b}'), "a subject cannot write to the terminal");
    let colored = text(&plan, &Style { color: true, ..Style::default() }, now());
    assert_eq!(without_colour(&colored), colourless);
    assert_snapshot!(ascii.replace(plan.digest.short(), "########"), @r#"
    demo - docker/local - main 3f9c2ab "gr??er?[2J", 2 min ago

      ~ haproxy   recreate, because the image changed - interrupts postgresql:5432
          image   haproxy:1 -> haproxy:2                                         components/haproxy.yaml
      = 2 unchanged

    1 change - 4 steps in 4 waves - intent 1
    plan ######## - to run exactly this: trueup apply demo --plan ########
    "#);
}

fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}

#[test]
fn for_a_pull_request() {
    let mut world = World::demo();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:5e1f00", "files/haproxy/haproxy.cfg:1:1");
    world.settle();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:09ab00", "files/haproxy/haproxy.cfg:1:1");
    world.texts.insert("sha256:5e1f00".into(), "# ```\nmaxconn 200\n".into());
    world.texts.insert("sha256:09ab00".into(), "# ```\nmaxconn 400\n".into());
    world.desired.revision.subject = "thanks @ada `code` </details>".into();
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    let plan = world.plan();
    assert_snapshot!(markdown(&plan, now()).replace(plan.digest.short(), "########"), @"
    ### demo on `docker/local`

    `3f9c2ab` ``thanks @ada `code` </details>``

    | | what | how | interrupts |
    |---|---|---|---|
    | `~` | `haproxy` | `recreate, because a file changed` | `postgresql:5432` |
    | `~` | `prometheus` | `in place · drift` |  |

    1 unchanged

    <details><summary>haproxy</summary>

    - `file /etc/haproxy.cfg` (`files/haproxy/haproxy.cfg:2`)

    ````diff
    @@ -1,2 +1,2 @@
     # ```
    -maxconn 200
    +maxconn 400
    ````


    </details>

    <details><summary>prometheus</summary>

    - `resources.memory`: `512Mi → 1Gi` (`components/prometheus.yaml`)

    </details>

    2 change · 5 steps in 4 waves · intent 1, drift 1 · plan `########`
    ");
}

#[test]
fn for_a_pull_request_that_is_refused() {
    let mut world = World::demo();
    world.repairs = false;
    world.desired.notes.push("volume sizes are advisory: the local driver has none".into());
    world.observed("prometheus").spec["resources"]["memory"] = json!(512 << 20);
    world.drop_component("haproxy");
    let plan = world.plan();
    assert_snapshot!(markdown(&plan, now()).replace(plan.digest.short(), "########"), @"
    ### demo on `docker/local`

    `3f9c2ab` `haproxy: allow more connections`

    > **refused** `` 1 of 3 components would be deleted (33 %), more than the 30 % of `sync.maxDeletes` ``
    > help: `` if that is meant: `trueup apply demo --confirm-deletes` ``
    >

    | | what | how | interrupts |
    |---|---|---|---|
    | `-` | `haproxy` | `delete the container` |  |
    | `!` | `prometheus` | `in place · drift · only reported` |  |

    1 unchanged

    <details><summary>prometheus</summary>

    - `resources.memory`: `512Mi → 1Gi` (`components/prometheus.yaml`)

    </details>

    - `volume sizes are advisory: the local driver has none`

    1 delete (33 % of the 30 % allowed) · 0 steps in 0 waves · intent 1 · plan `########`
    ");
}

#[test]
fn what_a_hold_waits_for_is_one_line() {
    let revision = World::demo().desired.revision;
    let waits = [
        Wait::Held {
            revision: revision.clone(),
            why: "haproxy was not healthy within 30 s".into(),
            by: None,
        },
        Wait::Held { revision: revision.clone(), why: "too slow".into(), by: Some("ada".into()) },
        Wait::Suspended { by: "ada".into(), reason: Some("migration tonight".into()) },
        Wait::ManualMode { plan: "9b1c7e02".into() },
        Wait::Blocked { revision: revision.clone(), why: "port 5432 is taken".into(), retries: true },
        Wait::Blocked { revision, why: "the image `x` does not exist".into(), retries: false },
    ];
    let lines: Vec<String> =
        waits.iter().map(|wait| format!("{wait}\n    {}", wait.help("demo").unwrap_or_default())).collect();
    assert_snapshot!(lines.join("\n"), @"
    held, because 3f9c2ab was rolled back: haproxy was not healthy within 30 s
        commit a fix, or `trueup env release demo --reason ...` to try the same again
    held by ada at 3f9c2ab: too slow
        `trueup env release demo --reason ...` to follow the branch again
    suspended by ada: migration tonight
        `trueup env resume demo`
    sync.mode is manual, plan 9b1c7e02 waits to be applied
        `trueup apply demo --plan 9b1c7e02`
    3f9c2ab is blocked, nothing was changed, tried again: port 5432 is taken
        
    3f9c2ab is blocked, nothing was changed, waits for a new commit: the image `x` does not exist
        commit a fix
    ");
}

#[test]
fn long_texts_are_cut() {
    let mut world = World::demo();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:5e1f00", "files/haproxy/haproxy.cfg:1:1");
    world.settle();
    world.file("haproxy", "/etc/haproxy.cfg", "sha256:09ab00", "files/haproxy/haproxy.cfg:1:1");
    let lines = |word: &str| (0..40).map(|number| format!("{word} {number}")).collect::<Vec<_>>().join("\n");
    world.texts.insert("sha256:5e1f00".into(), lines("before"));
    world.texts.insert("sha256:09ab00".into(), lines("after"));
    let labels: serde_json::Map<_, _> =
        (0..9).map(|number| (format!("l{number}"), json!("x".repeat(80)))).collect();
    world.declared("prometheus").spec["labels"] = labels.into();
    assert_snapshot!(world.printed(), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ~ haproxy      recreate, because a file changed · interrupts postgresql:5432
          file /etc/haproxy.cfg                                                files/haproxy/haproxy.cfg
            - before 0
            - before 1
            - before 2
            - before 3
            - before 4
            - before 5
            - before 6
            - before 7
            - before 8
            - before 9
            - before 10
            - before 11
            … 68 more lines
      ~ prometheus   recreate, because labels.l0 was added
          labels.l0   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  components/prometheus.yaml
          labels.l1   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l2   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l3   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l4   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l5   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l6   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          labels.l7   new: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          … 1 more field
      = 1 unchanged

    2 change · 8 steps in 4 waves · intent 2
    plan ######## · to run exactly this: trueup apply demo --plan ########
    "#);
}

#[test]
fn a_change_that_heals_a_network_makes_what_is_attached_again() {
    let mut world = World::demo();
    world.repairs = false;
    world.live.resources.remove(&network("data"));
    world.observed("haproxy").state.running = false;
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    assert_snapshot!(world.steps(), @"
    create network data
    create haproxy <- create network data
    start haproxy <- create haproxy
    verify haproxy <- start haproxy
    ");
    assert!(world.plan().reported.is_empty(), "the network is made, because the change needs it");
}

#[test]
fn as_json_it_has_a_version() {
    let plan = World::demo().plan();
    let value = as_json(&plan);
    assert_eq!((&value["apiVersion"], &value["kind"]), (&json!("trueup.dev/v1"), &json!("Plan")));
    assert_eq!(serde_json::from_value::<trueup_plan::Plan>(value).unwrap(), plan);
}

#[test]
fn a_drift_begins_with_the_last_end_of_what_should_run() {
    let mut world = World::demo();
    world.drifted("haproxy", ago(180));
    let state =
        |paused, seconds| State { running: paused, paused, since: Some(ago(seconds)), ..State::default() };
    for (paused, seconds, since) in [(false, 10, 10), (false, 900, 180), (true, 10, 180)] {
        world.observed("haproxy").state = state(paused, seconds);
        assert_eq!(world.plan().changes[0].since, Some(ago(since)));
    }
    world.applied.as_mut().unwrap().drift_since.clear();
    assert_eq!(world.plan().changes[0].since, None, "a pause has no time");
}
