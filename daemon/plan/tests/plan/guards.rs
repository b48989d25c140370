//! What forbids a plan, printed.

use insta::assert_snapshot;
use serde_json::json;
use trueup_plan::{Foreign, Owner, Wait};

use crate::world::{UID, World, volume, workload};

fn refused(world: &World) -> String {
    let plan = world.plan();
    assert!(!plan.refusals.is_empty() && plan.steps.is_empty(), "a refused plan has no steps");
    world.printed()
}

#[test]
fn more_deletes_than_allowed_are_refused_until_confirmed() {
    let mut world = World::demo();
    world.drop_component("haproxy");
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      - haproxy   delete the container
      = 2 unchanged

    ✗ 1 of 3 components would be deleted (33 %), more than the 30 % of `sync.maxDeletes`
      help: if that is meant: `trueup apply demo --confirm-deletes`
    1 delete (33 % of the 30 % allowed) · intent 1
    refused: nothing is changed
    "#);
    world.confirmed = true;
    assert!(world.plan().refusals.is_empty() && !world.plan().steps.is_empty());
}

#[test]
fn fewer_replicas_are_no_deleted_component() {
    let mut world = World::demo();
    world.replica("web", "web", &["data"]).replica("web", "web-2", &["data"]).settle();
    world.desired.resources.retain(|id, _| id.name != "web-2");
    assert!(world.plan().refusals.is_empty());
    assert_eq!(world.plan().deletes.0, 0);
}

#[test]
fn an_empty_source_deletes_nothing() {
    let mut world = World::demo();
    world.desired.resources.clear();
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      - network control   delete the network
      - network data      delete the network
      - haproxy           delete the container
      - postgresql        delete the container; its volume postgresql-data stays
      - prometheus        delete the container

    ✗ `3f9c2ab` declares nothing any more, and 3 are there
      help: if that is meant: `trueup env destroy demo`, or `trueup apply demo --confirm-deletes`
    5 delete (100 % of the 30 % allowed) · intent 5
    refused: nothing is changed
    "#);
}

#[test]
fn what_another_store_owns_is_not_touched() {
    let mut world = World::demo();
    world.observed("haproxy").owner =
        Owner { store: "store-b".into(), env_uid: "ffff".into(), run: "9".into() };
    world.declared("haproxy").spec["image"]["reference"] = json!("haproxy:2");
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      = 2 unchanged

    ✗ `haproxy` is not ours: it belongs to the store `store-b`
      help: `trueup env adopt demo` takes it over
    refused: nothing is changed
    "#);
}

#[test]
fn what_was_adopted_keeps_the_name_of_its_lost_store_and_is_ours() {
    let mut world = World::demo();
    world.observed("haproxy").owner = Owner { store: "lost".into(), env_uid: UID.into(), run: "9".into() };
    assert!(world.plan().is_empty() && world.plan().refusals.is_empty());
}

#[test]
fn what_an_environment_of_the_same_name_owns_is_not_deleted() {
    let mut world = World::demo();
    world.observed("haproxy").owner.env_uid = "ffff".into();
    world.drop_component("haproxy");
    let plan = world.plan();
    assert!(plan.is_empty());
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      = 2 unchanged

    ✗ `haproxy` is not ours: it is of another environment of this name, `ffff`
      help: `trueup env adopt demo` takes it over
    refused: nothing is changed
    "#);
}

#[test]
fn a_name_that_is_taken_is_refused_and_a_guest_is_reported() {
    let mut world = World::demo();
    let foreign = |what: &str, why: &str, blocks| Foreign { what: what.into(), why: why.into(), blocks };
    world.live.foreign = vec![
        foreign("container web", "it is in the zone data, and nobody declared it", false),
        foreign("container demo-etcd", "it has the name of `etcd`", true),
    ];
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      = 3 unchanged
      ! container web: it is in the zone data, and nobody declared it

    ✗ `container demo-etcd` stands in the way: it has the name of `etcd`
      help: remove it, or take it over with `trueup env adopt demo`
    refused: nothing is changed
    "#);
    world.live.foreign.pop();
    assert_snapshot!(world.printed(), @"
    demo · in sync at 3f9c2ab: nothing to do
      ! container web: it is in the zone data, and nobody declared it
    ");
}

#[test]
fn a_field_that_cannot_be_changed_is_refused_with_its_reason() {
    let mut world = World::demo();
    world.desired.resources.get_mut(&volume("postgresql", "data")).unwrap().spec["driver"] = json!("nfs");
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      ! volume postgresql-data   cannot be changed
          driver   local → nfs                                                components/postgresql.yaml
      = 3 unchanged

    ✗ `volume postgresql-data`: `driver` cannot change from `local` to `nfs`: a migration is a job that you declare
      at: components/postgresql.yaml
      help: set it back to `local`, or declare a new volume and a job that moves the data
    1 change · intent 1
    refused: nothing is changed
    "#);
}

#[test]
fn a_cycle_is_printed() {
    let mut world = World::demo();
    world.needs("postgresql", "haproxy");
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      = 3 unchanged

    ✗ what needs each other never starts: haproxy -> postgresql -> haproxy
      at: components/haproxy.yaml
      help: remove one of these `dependsOn`
    refused: nothing is changed
    "#);
    world.settle();
    let refusal = world.plan().refusals.remove(0);
    assert_eq!(
        Wait::Refused(refusal).to_string(),
        "refused by cycle: what needs each other never starts: haproxy -> postgresql -> haproxy"
    );
}

#[test]
fn a_refused_plan_still_says_what_it_would_change() {
    let mut world = World::demo();
    world.drop_component("haproxy");
    assert_eq!(world.plan().changes[0].resource, workload("haproxy"));
}

#[test]
fn two_resources_of_one_name_are_refused() {
    let mut world = World::demo();
    world.replica("a", "a", &["data"]).replica("a", "a-2", &["data"]).service("a-2", &["data"]);
    assert_snapshot!(refused(&world), @r#"
    demo · docker/local · main 3f9c2ab "haproxy: allow more connections", 2 min ago

      + a     create · a:1 · 2 replicas                                                components/a.yaml
      + a-2   create · a-2:1                                                         components/a-2.yaml
      = 3 unchanged

    ✗ `a` and `a-2` both need the name `a-2`
      at: components/a-2.yaml
      help: rename one of the components
    2 create · intent 2
    refused: nothing is changed
    "#);
}
