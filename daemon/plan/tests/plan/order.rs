//! The steps and what each waits for.

use insta::assert_snapshot;
use serde_json::json;
use trueup_plan::{Act, How, Kind, Rule};

use crate::world::{World, id, network, workload};

#[test]
fn a_first_bring_up() {
    let mut world = World::empty();
    world.network("data").service("postgresql", &["data"]).volume("postgresql", "data");
    world.service("haproxy", &["data"]).needs("haproxy", "postgresql");
    world.job("create-role", &["data"]).needs("create-role", "postgresql");
    world.declared("haproxy").fetch = Some(json!({"image": "haproxy"}));
    world.declared("postgresql").fetch = Some(json!({"image": "postgresql"}));
    world.declared("create-role").fetch = Some(json!({"image": "postgresql"}));
    assert_snapshot!(world.steps(), @"
    fetch haproxy
    fetch create-role
    create network data <- fetch create-role, fetch haproxy
    create volume postgresql-data <- fetch create-role, fetch haproxy
    create haproxy <- create network data
    create postgresql <- create network data, create volume postgresql-data
    create create-role <- create network data
    start postgresql <- create postgresql
    verify postgresql <- start postgresql
    start haproxy <- create haproxy, verify postgresql
    run create-role <- create create-role, verify postgresql
    verify haproxy <- start haproxy
    ");
}

#[test]
fn a_recreate_waits_for_what_it_needs_only_to_leave_service() {
    let mut world = World::demo();
    for name in ["postgresql", "haproxy", "prometheus"] {
        world.declared(name).spec["image"]["reference"] = json!("new:1");
    }
    assert_snapshot!(world.steps(), @"
    create haproxy
    create postgresql
    create prometheus
    stop postgresql <- create postgresql
    start postgresql <- stop postgresql
    verify postgresql <- start postgresql
    stop haproxy <- create haproxy, verify postgresql
    stop prometheus <- create prometheus, verify postgresql
    start haproxy <- stop haproxy, verify postgresql
    start prometheus <- stop prometheus, verify postgresql
    verify haproxy <- start haproxy
    verify prometheus <- start prometheus
    ");
}

#[test]
fn a_need_on_what_stays_adds_nothing() {
    let mut world = World::demo();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    assert_snapshot!(world.steps(), @"
    create haproxy
    stop haproxy <- create haproxy
    start haproxy <- stop haproxy
    verify haproxy <- start haproxy
    ");
}

#[test]
fn an_update_in_place_is_verified_when_it_interrupts() {
    let mut world = World::demo();
    world.declared("haproxy").spec["resources"]["cpus"] = json!(1);
    world.declared("prometheus").spec["networks"]["data"]["aliases"] = json!(["metrics"]);
    assert_snapshot!(world.steps(), @"
    update haproxy
    update prometheus
    verify prometheus <- update prometheus
    ");
}

#[test]
fn what_is_no_longer_declared_leaves_last_and_dependents_first() {
    let mut world = World::demo();
    world.service("grafana", &["data"]).needs("grafana", "prometheus").settle();
    world.confirmed = true;
    world.drop_component("grafana").drop_component("prometheus");
    world.desired.resources.remove(&network("control"));
    world.declared("haproxy").spec["networks"] = json!({"data": {"aliases": ["haproxy"]}});
    world.declared("haproxy").needs.retain(|need| need.on != network("control"));
    assert_snapshot!(world.steps(), @"
    update haproxy
    verify haproxy <- update haproxy
    retire grafana <- verify haproxy
    retire prometheus <- retire grafana, verify haproxy
    retire network control <- retire grafana, retire prometheus, verify haproxy
    ");
}

#[test]
fn a_port_of_the_host_is_left_before_it_is_taken() {
    let mut world = World::demo();
    world.declared("haproxy").spec["ports"] = json!({"sql": {"publish": "127.0.0.1:5432"}});
    world.settle();
    world.confirmed = true;
    world.drop_component("haproxy");
    world.service("pgbouncer", &["data"]);
    world.declared("pgbouncer").spec["ports"] = json!({"sql": {"publish": 5432}});
    assert_snapshot!(world.steps(), @"
    retire haproxy
    create pgbouncer
    start pgbouncer <- create pgbouncer, retire haproxy
    verify pgbouncer <- start pgbouncer
    ");
}

#[test]
fn a_cron_is_created_and_never_started() {
    let mut world = World::demo();
    let backup = id(Kind::Cron, "backup", Some("backup"));
    world.declare(backup.clone(), json!({"image": "backup:1", "networks": {"data": {}}}));
    assert_snapshot!(world.steps(), @"create backup");
    world.settle();
    assert!(world.plan().is_empty(), "a cron that does not run is as it should be");
}

#[test]
fn new_replicas_start_side_by_side() {
    let mut world = World::empty();
    world.network("data");
    world.replica("etcd", "etcd", &["data"]).replica("etcd", "etcd-2", &["data"]);
    assert_eq!(world.plan().waves, 4);
}

#[test]
fn a_replaced_network_retires_what_leaves_before_it() {
    let mut world = World::demo();
    world.confirmed = true;
    world.drop_component("haproxy");
    world.desired.resources.get_mut(&network("control")).unwrap().spec["internal"] = json!(true);
    assert_snapshot!(world.steps(), @"
    retire haproxy
    stop prometheus
    create network control <- retire haproxy, stop prometheus
    create prometheus <- create network control, stop prometheus
    start prometheus <- create prometheus
    verify prometheus <- start prometheus
    ");
}

#[test]
fn an_act_carries_what_undoing_it_takes() {
    let mut world = World::demo();
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    let plan = world.plan();
    let Act::Create { replaces: Some(old), .. } = &plan.steps[0].act else { panic!("{:?}", plan.steps) };
    assert_eq!(old.spec["image"]["reference"], "haproxy:1");
    assert_eq!((old.handle.as_str(), old.running), ("handle-of-haproxy", true));
}

#[test]
fn a_stopped_one_that_is_replaced_is_not_stopped_again() {
    let mut world = World::demo();
    world.observed("haproxy").state.running = false;
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    let plan = world.plan();
    assert!(!plan.steps.iter().any(|step| step.key.0 == "stop haproxy"));
    assert_eq!(plan.changes[0].resource, workload("haproxy"));
}

#[test]
fn a_job_that_becomes_a_service_leaves_its_name_first() {
    let mut world = World::demo();
    world.job("web", &["data"]).settle();
    world.drop_component("web").service("web", &["data"]);
    assert_snapshot!(world.steps(), @"
    retire web
    create web <- retire web
    start web <- create web
    verify web <- start web
    ");
    assert_eq!(world.plan().deletes.0, 0, "the component is still there");
}

/// A world with names, as a target has them.
fn named() -> World {
    let mut world = World::demo();
    for name in ["postgresql", "haproxy", "prometheus"] {
        world.declared(name).spec["name"] = json!(format!("demo-{name}"));
    }
    world
        .desired
        .rules
        .entry(Kind::Workload)
        .or_default()
        .insert(0, Rule { path: "name".into(), how: How::InPlace, interrupts: false, reason: None });
    world.settle();
    world
}

#[test]
fn a_name_that_another_one_has_is_left_before_it_is_taken() {
    let mut world = named();
    world.live.resources.remove(&workload("postgresql"));
    world.observed("haproxy").spec["name"] = json!("demo-postgresql");
    assert_snapshot!(world.steps(), @"
    update haproxy
    create postgresql <- update haproxy
    start postgresql <- create postgresql
    verify postgresql <- start postgresql
    ");
}

#[test]
fn of_two_that_have_each_others_name_one_leaves_it_for_a_while() {
    let mut world = named();
    world.observed("haproxy").spec["name"] = json!("demo-prometheus");
    world.observed("prometheus").spec["name"] = json!("demo-haproxy");
    assert_snapshot!(world.steps(), @"
    rename haproxy
    update prometheus <- rename haproxy
    update haproxy <- rename haproxy, update prometheus
    ");
}

#[test]
fn what_is_no_longer_declared_leaves_a_name_that_is_not_its_own() {
    let mut world = named();
    world.confirmed = true;
    world.drop_component("haproxy");
    world.live.resources.remove(&workload("prometheus"));
    world.observed("haproxy").spec["name"] = json!("demo-prometheus");
    assert_snapshot!(world.steps(), @"
    retire haproxy
    create prometheus <- retire haproxy
    start prometheus <- create prometheus
    verify prometheus <- start prometheus
    ");
}
