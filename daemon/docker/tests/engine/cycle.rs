//! Create, replace, update and retire, and the way back from each.

use std::{path::Path, time::Duration};

use bollard::{
    models::{EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest},
    query_parameters::RenameContainerOptionsBuilder,
};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use trueup_docker::ContainerSpec;
use trueup_engine::{Blame, Execute, RunContext};
use trueup_plan::{Act, Kind, Live};

use crate::{
    Test,
    rig::Rig,
    world::{
        Acts,
        Content::{Hidden, Plain},
        World, failure, id, in_world, same, workload,
    },
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("what_was_created_reads_back_as_declared", reads_back),
        ("a_replacement_that_is_taken_back_leaves_everything_as_it_was", replace_and_undo),
        ("a_replacement_can_be_taken_back_from_every_point", undo_from_every_point),
        ("a_replacement_that_somebody_renamed_is_taken_back", renamed_meanwhile),
        ("a_container_that_waits_to_be_restarted_is_replaced_and_brought_back", between_restarts),
        ("a_committed_replacement_leaves_nothing_behind", replace_and_finish),
        ("a_first_bring_up_that_is_taken_back_leaves_nothing", bring_up_and_undo),
        ("limits_and_networks_change_in_place_and_back", update_and_undo),
        ("networks_of_others_are_left_in_place_and_joined_again", other_networks),
        ("what_somebody_removed_before_its_update_is_made_again", update_of_removed),
        ("what_was_made_again_for_one_run_goes_with_the_run_before_it", made_again_for_a_later_run),
        ("what_somebody_removed_and_cannot_be_made_again_is_left_to_the_next_plan", update_of_lost),
        ("a_limit_is_taken_away_in_place", remove_limits),
        ("with_start_first_the_new_one_takes_the_second_address", start_first),
        ("what_is_retired_comes_back", retire_and_undo),
        ("a_network_is_replaced_and_made_again", replace_network),
        ("a_kept_container_that_somebody_removed_is_made_again", made_again),
        ("a_kept_container_is_made_again_on_the_network_that_was_made_again", made_again_on_an_old_network),
        ("a_container_that_was_stopped_is_started_and_stopped_again", start_and_undo),
        ("a_container_that_the_engine_has_lost_is_made_again", lost_to_engine),
        ("the_last_one_leaves_a_network_alone_where_the_engine_needs_that", last_one_leaves),
    ]
}

/// Declares something of every field that reads back.
fn rich(world: &mut World) {
    world.declare(
        "web",
        json!({
            "workload": "stateful",
            "env": {"LEVEL": "debug", "PATH": "/bin"},
            "labels": {"team": "a.b"},
            "volumes": [{"name": "data", "path": "/data", "owner": "70:71"}],
            "ports": [{"name": "web", "port": 80, "publish": null}],
            "resources": {"cpu": "500m", "memory": "64Mi", "pids": 50},
            "workingDir": "/tmp",
            "stopGrace": "1500ms",
            "readOnly": true,
            "docker": {
                "ulimits": {"nofile": {"soft": 1000, "hard": 2000}},
                "capAdd": ["net_admin"], "capDrop": ["MKNOD"], "init": true, "shmSize": "32Mi",
                "tmpfs": ["/scratch:size=1m", "/tmp"], "sysctls": {"net.core.somaxconn": "200"},
                "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
            },
        }),
    );
    world.deliver("web", "/etc/app.conf", Plain("a = 1\n"), 0);
    world.deliver("web", "/run/secret", Hidden("correct horse battery"), 65534);
    world.declare("plain", json!({"command": null, "args": ["sleep", "600"], "ports": null, "health": null}));
}

async fn nothing_to_do(world: &World) -> Result<(), Failed> {
    let (live, desired) = world.look().await?;
    let specs = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
    let is = specs(live.resources.iter().map(|(id, one)| (format!("{id:?}"), one.spec.clone())).collect());
    let wanted =
        specs(desired.resources.iter().map(|(id, one)| (format!("{id:?}"), one.spec.clone())).collect());
    same("live and declared differ", &is, &wanted)?;
    if live.foreign.is_empty() { Ok(()) } else { Err(format!("{:?}", live.foreign).into()) }
}

fn reads_back(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        rich(&mut world);
        world.up().await?;
        nothing_to_do(&world).await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}, "docker": {"init": false}}));
        let (live, desired) = world.look().await?;
        let resource = workload("web");
        assert_ne!(live.resources[&resource].spec, desired.resources[&resource].spec);
        Ok(())
    })
}

fn replace_and_undo(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        rich(&mut world);
        world.up().await?;
        let before = world.picture().await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        world.deliver("web", "/etc/app.conf", Plain("a = 2\n"), 0);
        let acts = world.replacement(&workload("web")).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        assert_ne!(before, world.picture().await?);
        world.undo(&run, &acts).await?;
        same("not as it was", &before, &world.picture().await?)
    })
}

/// It holds the addresses that the one before it needs, whatever it is called.
fn renamed_meanwhile(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let before = world.picture().await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let acts = world.replacement(&workload("web")).await?;
        for done in 1..=acts.len() {
            let (run, first) = (world.next_run(), acts[..done].to_vec());
            world.execute(&run, &first).await.map_err(|error| failure(&error))?;
            let name = world.engine_name("web");
            let mine = RenameContainerOptionsBuilder::new().name(&format!("{name}.mine")).build();
            world.api.rename_container(&name, mine).await?;
            world.undo(&run, &first).await?;
            same(&format!("not as it was, after {done} acts"), &before, &world.picture().await?)?;
        }
        Ok(())
    })
}

/// It has no sandbox meanwhile, without which Engine 20.10 renames nothing.
fn between_restarts(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"command": ["/bin/false"], "health": null}));
        let run = world.next_run();
        let unverified = |mut acts: Acts| {
            acts.retain(|(_, act)| !matches!(act, Act::Verify { .. }));
            acts
        };
        let acts = unverified(world.creation().await?);
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        let web = workload("web");
        let before = world.aside(&web).await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let acts = unverified(world.replacement(&web).await?);
        for done in 1..=acts.len() {
            let (run, first) = (world.next_run(), acts[..done].to_vec());
            waits_to_be_restarted(&world, &before.handle).await?;
            world.execute(&run, &first).await.map_err(|error| failure(&error))?;
            if done == 1 {
                waits_to_be_restarted(&world, &before.handle).await?;
            }
            world.undo(&run, &first).await?;
            assert_eq!(before, world.aside(&web).await?, "not as it was, after {done} acts");
        }
        Ok(())
    })
}

/// Comes back when a container, which ends again and again, waits to be started.
async fn waits_to_be_restarted(world: &World, container: &str) -> Result<(), Failed> {
    for _ in 0..1000 {
        if world.inspect(container).await?["State"]["Status"] == "restarting" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("`{container}` does not wait to be restarted").into())
}

fn undo_from_every_point(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.deliver("web", "/run/secret", Hidden("correct horse battery"), 0);
        world.up().await?;
        let before = world.picture().await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let acts = world.replacement(&workload("web")).await?;
        for done in 0..=acts.len() {
            let run = world.next_run();
            let first = acts[..done].to_vec();
            world.execute(&run, &first).await.map_err(|error| failure(&error))?;
            // A crash between an act and its record: the next one may have been begun, too.
            let begun = acts[..(done + 1).min(acts.len())].to_vec();
            world.undo(&run, &begun).await?;
            same(&format!("not as it was after {done} acts"), &before, &world.picture().await?)?;
        }
        Ok(())
    })
}

fn replace_and_finish(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        rich(&mut world);
        world.up().await?;
        let old = world.aside(&workload("web")).await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        world.deliver("web", "/etc/app.conf", Plain("a = 2\n"), 0);
        let acts = world.replacement(&workload("web")).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.finish(&run, &acts).await?;
        nothing_to_do(&world).await?;
        assert!(world.inspect(&old.handle).await.is_err());
        let generations =
            std::fs::read_dir(world.folder.path().join("state/files").join(&world.identity.uid).join("web"))?;
        assert_eq!(generations.count(), 1, "the old generation is still there");
        Ok(())
    })
}

fn bring_up_and_undo(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        rich(&mut world);
        let acts = world.creation().await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.undo(&run, &acts).await?;
        let nothing = json!({"containers": [], "networks": [], "volumes": []});
        same("something is left", &nothing, &world.picture().await?)?;
        let files = world.folder.path().join("run").join(&world.identity.uid).join("web");
        assert!(!files.exists(), "secret files are left");
        Ok(())
    })
}

fn update_act(old: trueup_plan::Aside, after: Value, fields: &[&str]) -> Act {
    Act::Update { before: old, after, fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

/// An engine chooses the address in a network whose subnet it chose, and lets nobody else do so.
fn other_networks(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let resource = workload("web");
        let mine = world.engine_name("mine");
        let made = NetworkCreateRequest { name: mine.clone(), ..NetworkCreateRequest::default() };
        world.api.create_network(made).await?;
        for (network, aliases) in [("bridge", None), (mine.as_str(), Some(vec!["web.mine".to_owned()]))] {
            let endpoint_config = Some(EndpointSettings { aliases, ..EndpointSettings::default() });
            let request = NetworkConnectRequest { container: world.engine_name("web"), endpoint_config };
            world.api.connect_network(network, request).await?;
        }
        let ended = async {
            let (before, desired) = world.look().await?;
            // What a plan compares is what has a value.
            let joined = &before.resources[&resource].spec["networks"]["other:bridge"];
            assert_eq!(joined["undeclared"], true, "{joined}");
            let after = desired.resources[&resource].spec.clone();
            let act = update_act(world.aside(&resource).await?, after, &["networks"]);
            let (run, acts) = (world.next_run(), vec![(resource.clone(), act)]);
            world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
            let (live, desired) = world.look().await?;
            assert_eq!(live.resources[&resource].spec, desired.resources[&resource].spec);
            world.undo(&run, &acts).await?;
            let networks = |live: &Live| live.resources[&resource].spec["networks"].clone();
            same("another network", &networks(&before), &networks(&world.look().await?.0))
        };
        let ended = ended.await;
        world
            .api
            .disconnect_network(
                &mine,
                NetworkDisconnectRequest { container: world.engine_name("web"), force: None },
            )
            .await?;
        world.api.remove_network(&mine).await?;
        ended
    })
}

fn update_and_undo(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"resources": {"memory": "64Mi", "cpu": "500m", "pids": 50}}));
        world.up().await?;
        let before = world.picture().await?;
        let name = world.engine_name("web");
        let started = world.inspect(&name).await?["State"]["StartedAt"].clone();
        world.patch(
            "web",
            json!({"resources": {"memory": "96Mi", "cpu": "250m", "pids": 60}, "restart": "no"}),
        );
        let domain = json!({"domain": "other.example"});
        world.environment.as_object_mut().unwrap().extend(domain.as_object().unwrap().clone());
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let after = desired.resources[&resource].spec.clone();
        let act = update_act(
            world.aside(&resource).await?,
            after,
            &["resources.memory", "restart", "networks.data.aliases"],
        );
        let acts = vec![(resource, act)];
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        nothing_to_do(&world).await?;
        assert_eq!(started, world.inspect(&name).await?["State"]["StartedAt"], "it was restarted");
        world.undo(&run, &acts).await?;
        same("not as it was", &before, &world.picture().await?)
    })
}

/// Plans an update of `web`, and removes `web` before it is done.
async fn removed_before_update(world: &mut World) -> Result<trueup_plan::Aside, Failed> {
    world.declare("web", json!({"resources": {"memory": "64Mi"}}));
    world.deliver("web", "/run/secret", Hidden("correct horse battery"), 0);
    world.up().await?;
    let old = world.aside(&workload("web")).await?;
    world.remove(&old.handle).await?;
    Ok(old)
}

fn update_of_removed(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let old = removed_before_update(&mut world).await?;
        world.patch("web", json!({"resources": {"memory": "96Mi"}}));
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let act = update_act(old, desired.resources[&resource].spec.clone(), &["resources.memory"]);
        let acts = vec![(resource.clone(), act)];
        let run = world.next_run();
        let error = world.execute(&run, &acts).await.unwrap_err();
        assert_eq!(error.blame, Blame::Moved, "{error:?}");
        world.undo_once(&run, &acts).await?;
        world.patch("web", json!({"resources": {"memory": "64Mi"}}));
        nothing_to_do(&world).await?;
        let again = world.aside(&resource).await?;
        assert!(again.running);
        world.undo_once(&run, &acts).await?;
        assert_eq!(again, world.aside(&resource).await?, "it was made twice");
        Ok(())
    })
}

/// Both runs are taken back, the later one first, as those are that took over from each other.
fn made_again_for_a_later_run(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"resources": {"memory": "64Mi"}}));
        world.up().await?;
        let (before, resource) = (world.picture().await?, workload("web"));
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let replacement = world.replacement(&resource).await?;
        let first = world.next_run();
        world.execute(&first, &replacement).await.map_err(|error| failure(&error))?;
        let new = world.aside(&resource).await?;
        world.remove(&new.handle).await?;
        let mut after = new.spec.clone();
        after["resources"]["memory"] = json!(96 << 20);
        let update = vec![(resource, update_act(new, after, &["resources.memory"]))];
        let second = world.next_run();
        world.execute(&second, &update).await.unwrap_err();
        world.undo_once(&second, &update).await?;
        world.undo(&first, &replacement).await?;
        same("not as it was", &before, &world.picture().await?)
    })
}

fn update_of_lost(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let mut old = removed_before_update(&mut world).await?;
        old.spec["image"]["reference"] = json!("trueup-test/pruned:1");
        let after = old.spec.clone();
        let acts = vec![(workload("web"), update_act(old, after, &["resources.memory"]))];
        let run = world.next_run();
        world.execute(&run, &acts).await.unwrap_err();
        world.undo(&run, &acts).await?;
        let acts = world.creation().await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        nothing_to_do(&world).await
    })
}

fn remove_limits(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"resources": {"memory": "64Mi", "cpu": "500m", "pids": 50}}));
        world.up().await?;
        let before = world.picture().await?;
        world.patch("web", json!({"resources": null}));
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let act = update_act(
            world.aside(&resource).await?,
            desired.resources[&resource].spec.clone(),
            &["resources"],
        );
        let acts = vec![(resource, act)];
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        nothing_to_do(&world).await?;
        world.undo(&run, &acts).await?;
        same("not as it was", &before, &world.picture().await?)
    })
}

fn start_first(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"update": "startFirst"}));
        world.up().await?;
        nothing_to_do(&world).await?;
        let resource = workload("web");
        for level in ["info", "warn", "error"] {
            let before = world.picture().await?;
            let old: ContainerSpec = serde_json::from_value(world.aside(&resource).await?.spec)?;
            world.patch("web", json!({"env": {"LEVEL": level}}));
            let mut acts = world.replacement(&resource).await?;
            // Create, start, verify, and only then stop the old one.
            let stop = acts.remove(1);
            acts.push(stop);
            let run = world.next_run();
            world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
            world.undo(&run, &acts).await?;
            same("not as it was", &before, &world.picture().await?)?;
            let run = world.next_run();
            world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
            world.finish(&run, &acts).await?;
            nothing_to_do(&world).await?;
            let new: ContainerSpec = serde_json::from_value(world.aside(&resource).await?.spec)?;
            assert_eq!(new.networks["data"].address, old.networks["data"].standby);
            assert_eq!(new.networks["data"].standby, old.networks["data"].address);
        }
        Ok(())
    })
}

fn retire_and_undo(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.declare("other", json!({}));
        world.up().await?;
        let before = world.picture().await?;
        let old = world.aside(&workload("web")).await?;
        let acts = vec![(workload("web"), Act::Retire { old: old.clone() })];
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.undo(&run, &acts).await?;
        same("not as it was", &before, &world.picture().await?)?;
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.finish(&run, &acts).await?;
        assert!(world.inspect(&old.handle).await.is_err());
        world.components.remove("web");
        nothing_to_do(&world).await
    })
}

fn replace_network(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let mut before = world.picture().await?;
        let (run, acts) = replaced_network(&mut world).await?;
        let (live, desired) = world.look().await?;
        for resource in [&id(Kind::Network, "data", ""), &workload("web")] {
            same("not as declared", &live.resources[resource].spec, &desired.resources[resource].spec)?;
        }
        world.undo(&run, &acts).await?;
        let mut after = world.picture().await?;
        // The plan says that the network is replaced: its id, time and run are others.
        for picture in [&mut before, &mut after] {
            for field in ["Id", "Created", "Labels"] {
                picture["networks"][0][field] = Value::Null;
            }
        }
        same("not as it was", &before, &after)
    })
}

/// Replaces the network of `web`, and `web` around it; returns what did that.
async fn replaced_network(world: &mut World) -> Result<(RunContext, Acts), Failed> {
    world.environment["zones"]["data"]["internal"] = json!(true);
    let (_, desired) = world.look().await?;
    let zone = id(Kind::Network, "data", "");
    let resource = workload("web");
    let old = world.aside(&resource).await?;
    let declared = &desired.resources[&resource];
    let create = |spec: &Value, replaces| Act::Create { spec: spec.clone(), replaces: Some(replaces) };
    let acts = vec![
        (resource.clone(), Act::Stop { old: old.clone() }),
        (zone.clone(), create(&desired.resources[&zone].spec, world.aside(&zone).await?)),
        (resource.clone(), create(&declared.spec, old)),
        (resource.clone(), Act::Start { old: None }),
        (resource.clone(), Act::Verify { probe: declared.probe.clone().unwrap() }),
    ];
    let run = world.next_run();
    world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
    Ok((run, acts))
}

fn made_again(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        rich(&mut world);
        world.up().await?;
        let resource = workload("web");
        for begun in 1..=4 {
            let old = world.aside(&resource).await?;
            world.patch("web", json!({"env": {"LEVEL": "info"}}));
            let acts = world.replacement(&resource).await?[..begun].to_vec();
            let run = world.next_run();
            world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
            world.remove(&old.handle).await?;
            world.undo_once(&run, &acts).await?;
            world.patch("web", json!({"env": {"LEVEL": "debug"}}));
            nothing_to_do(&world).await?;
            let again = world.aside(&resource).await?;
            assert!(again.running, "it does not run after {begun} acts were taken back");
            world.undo_once(&run, &acts).await?;
            assert_eq!(again, world.aside(&resource).await?, "it was made twice");
        }
        Ok(())
    })
}

fn made_again_on_an_old_network(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let resource = workload("web");
        let old = world.aside(&resource).await?;
        let (run, acts) = replaced_network(&mut world).await?;
        world.remove(&old.handle).await?;
        world.undo_once(&run, &acts).await?;
        world.environment["zones"]["data"]["internal"] = json!(false);
        nothing_to_do(&world).await?;
        assert!(world.aside(&resource).await?.running);
        Ok(())
    })
}

fn start_and_undo(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.deliver("web", "/run/secret", Hidden("correct horse battery"), 0);
        world.up().await?;
        let resource = workload("web");
        let old = world.aside(&resource).await?;
        let run = world.next_run();
        let stop = Act::Stop { old };
        world.docker.execute(&run, &resource, &stop).await.map_err(|error| failure(&error))?;
        let before = world.picture().await?;
        // A reboot empties what is in memory.
        let secrets = world.folder.path().join("run").join(&world.identity.uid);
        std::fs::remove_dir_all(&secrets)?;
        let stopped = world.aside(&resource).await?;
        assert!(!stopped.running);
        let acts = vec![(resource.clone(), Act::Start { old: Some(stopped) })];
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        assert!(world.aside(&resource).await?.running);
        world.undo(&run, &acts).await?;
        same("not as it was", &before, &world.picture().await?)
    })
}

/// Stops `slow`, then `fast` before the former has ended; returns whether `fast` ended first.
async fn overtakes(world: &mut World) -> Result<bool, Failed> {
    let run = world.next_run();
    let (slow, fast) = (world.aside(&workload("slow")).await?, world.aside(&workload("fast")).await?);
    let stop = async |name: &str, old, pause| {
        tokio::time::sleep(pause).await;
        world.docker.execute(&run, &workload(name), &Act::Stop { old }).await.map_err(|error| failure(&error))
    };
    let late = Duration::from_millis(400);
    tokio::try_join!(stop("slow", slow, Duration::ZERO), stop("fast", fast, late))?;
    let mut ended = Vec::new();
    for name in ["slow", "fast"] {
        let found = world.inspect(&world.engine_name(name)).await?;
        let at = found["State"]["FinishedAt"].as_str().unwrap().to_owned();
        ended.push(at.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?);
    }
    Ok(ended[1] < ended[0])
}

fn last_one_leaves(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let deaf =
            json!({"command": ["sleep", "600"], "stopSignal": "SIGTERM", "stopGrace": "2s", "health": null});
        world.declare("slow", deaf);
        world.declare("fast", json!({}));
        world.declare("stays", json!({}));
        world.up().await?;
        if !overtakes(&mut world).await? {
            return Err("one that is not the last one waited".into());
        }
        world.remove(&world.engine_name("stays")).await?;
        for name in ["slow", "fast"] {
            let old = Some(world.aside(&workload(name)).await?);
            let run = world.next_run();
            let start = vec![(workload(name), Act::Start { old })];
            world.execute(&run, &start).await.map_err(|error| failure(&error))?;
        }
        let is_mended = rig.name != "engine20";
        match overtakes(&mut world).await? {
            overtook if overtook == is_mended => Ok(()),
            true => Err("the last one left while another one was leaving".into()),
            false => Err("the last one waited although the engine needs no such thing".into()),
        }
    })
}

/// Leaves for a stopped container what an engine leaves that is killed in the middle of its start.
fn lose(rig: &Rig, handle: &str) -> Result<(), Failed> {
    let socket = Path::new(rig.engine.trim_start_matches("unix://"));
    let tasks = "exec/containerd/daemon/io.containerd.runtime.v2.task/moby";
    let task = socket.parent().ok_or("a socket is in a folder")?.join(tasks).join(handle);
    Ok(std::fs::create_dir(task)?)
}

fn lost_to_engine(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let web = workload("web");
        let run = world.next_run();
        // On the way back.
        let old = world.aside(&web).await?;
        let stop = vec![(web.clone(), Act::Stop { old: old.clone() })];
        world.execute(&run, &stop).await.map_err(|error| failure(&error))?;
        lose(rig, &old.handle)?;
        world.undo(&run, &stop).await?;
        let again = world.aside(&web).await?;
        assert!(again.running && again.handle != old.handle && again.spec == old.spec);
        // As a repair, and its way back.
        let stop = vec![(web.clone(), Act::Stop { old: again.clone() })];
        world.execute(&run, &stop).await.map_err(|error| failure(&error))?;
        lose(rig, &again.handle)?;
        let start = vec![(web.clone(), Act::Start { old: Some(world.aside(&web).await?) })];
        let run = world.next_run();
        world.execute(&run, &start).await.map_err(|error| failure(&error))?;
        let repaired = world.aside(&web).await?;
        assert!(repaired.running && repaired.handle != again.handle && repaired.spec == old.spec);
        world.undo(&run, &start).await?;
        assert!(!world.aside(&web).await?.running);
        Ok(())
    })
}
