//! What stands in the way: found before anything is touched, and named.

use std::collections::BTreeMap;

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, RenameContainerOptionsBuilder},
};
use libtest_mimic::Failed;
use serde_json::json;
use trueup_docker::{Docker, Locality, Settings};
use trueup_engine::{Blame, Estate, Execute, Observe, RunContext, TargetError};
use trueup_plan::{Act, Desired, Kind, Live, Plan, PlanDigest, Step, StepKey};
use trueup_schema::Subnet;

use crate::{
    Test,
    rig::Rig,
    world::{
        Acts,
        Content::{Hidden, Plain},
        IMAGE, World, failure, id, in_world, workload,
    },
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("a_port_that_is_taken_is_found_before", port_taken),
        ("a_subnet_in_use_names_who_uses_it", subnet_taken),
        ("a_subnet_that_somebody_takes_meanwhile_is_not_chosen_again", subnet_taken_meanwhile),
        ("a_volume_driver_that_does_not_exist_is_found_before", no_driver),
        ("a_name_that_a_stranger_has_blocks", name_taken),
        ("a_volume_that_a_destroyed_environment_left_is_taken_over", volume_left),
        ("a_stranger_in_a_zone_is_reported_or_detached", stranger),
        ("a_stranger_that_is_gone_need_not_come_back", stranger_gone),
        ("a_container_with_copied_labels_is_reported_and_never_the_real_one", copied_labels),
        ("another_container_than_planned_is_not_touched", moved),
        ("what_is_gone_in_the_middle_of_a_run_is_planned_again", gone_meanwhile),
        ("an_engine_that_is_down_is_said_to_be", unreachable),
        ("a_remote_engine_takes_plain_files_and_refuses_secrets", remote),
        ("an_environment_is_known_by_its_labels", adoptable),
    ]
}

fn plan_of(world: &World, acts: Acts) -> Plan {
    let steps = acts.into_iter().enumerate().map(|(at, (resource, act))| Step {
        key: StepKey(at.to_string()),
        resource,
        act,
        after: std::collections::BTreeSet::new(),
        timeout: std::time::Duration::from_mins(1),
    });
    Plan {
        environment: world.identity.environment.clone(),
        target: "docker/local".into(),
        revision: world.wanted().resolved.revision,
        applied: None,
        digest: PlanDigest("0".into()),
        desired_digest: "0".into(),
        changes: Vec::new(),
        unchanged: Vec::new(),
        steps: steps.collect(),
        waves: 1,
        refusals: Vec::new(),
        reported: Vec::new(),
        contested: Vec::new(),
        foreign: Vec::new(),
        notes: Vec::new(),
        deletes: (0, 30),
    }
}

async fn preflight(world: &mut World) -> Result<Result<(), TargetError>, Failed> {
    let plan = plan_of(world, world.creation().await?);
    let run = world.next_run();
    Ok(world.docker.preflight(&run, &plan).await)
}

fn port_taken(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let publish = |port: &str| json!({"ports": [{"name": "web", "port": 80, "publish": port}]});
        world.declare("web", publish(&format!("127.0.0.1:{port}")));
        let error = preflight(&mut world).await?.unwrap_err();
        assert!(error.message.ends_with("is already taken by a process of the host"), "{error:?}");
        assert_eq!(error.blame, Blame::Target);
        drop(listener);
        preflight(&mut world).await?.map_err(|error| failure(&error))?;
        world.up().await?;
        world.declare("other", publish(&port.to_string()));
        let error = preflight(&mut world).await?.unwrap_err();
        assert!(error.message.contains(&format!("by container `{}`", world.engine_name("web"))), "{error:?}");
        // The one that is replaced makes room.
        world.components.remove("other");
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let plan = plan_of(&world, world.replacement(&workload("web")).await?);
        let run = world.next_run();
        world.docker.preflight(&run, &plan).await.map_err(|error| failure(&error))?;
        // A port that is taken in the meantime is the engine's answer to the start.
        world.declare("late", publish(&port.to_string()));
        let acts = world.creation().await?;
        let error = world.execute(&run, &acts).await.unwrap_err();
        assert_eq!(error.blame, Blame::Target, "{error:?}");
        Ok(())
    })
}

fn subnet_taken(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let name = format!("{}x", world.identity.environment);
        let subnet = world.environment["zones"]["inside"]["subnet"].as_str().unwrap().to_owned();
        let other = network_with(&world, &subnet).await?;
        world.declare("web", json!({}));
        let outcome = preflight(&mut world).await;
        world.api.remove_network(&other).await?;
        let error = outcome?.unwrap_err();
        assert!(error.message.contains(&format!("of network `{name}`")), "{error:?}");
        assert_eq!(error.blame, Blame::Target);
        Ok(())
    })
}

fn subnet_taken_meanwhile(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let first = world.settings.subnet_pool[0];
        let [_, _, piece, _] = first.address.octets();
        world.settings.subnet_pool.push(Subnet { address: [10, 216, piece, 0].into(), prefix: 24 });
        world.reach_by(&rig.engine);
        world.declare("web", json!({}));
        let acts = world.creation().await?;
        let other = network_with(&world, &first.to_string()).await?;
        let run = world.next_run();
        let outcome = world.execute(&run, &acts).await;
        world.api.remove_network(&other).await?;
        let error = outcome.unwrap_err();
        assert_eq!(error.blame, Blame::Moved, "{error:?}");
        world.undo(&run, &acts).await?;
        world.up().await?;
        let (live, _) = world.look().await?;
        let zone = id(Kind::Network, "data", "");
        assert_eq!(live.resources[&zone].spec["subnet"], format!("10.216.{piece}.0/24"));
        Ok(())
    })
}

/// Makes a network that is not ours; returns its id.
async fn network_with(world: &World, subnet: &str) -> Result<String, Failed> {
    let pool = bollard::models::IpamConfig { subnet: Some(subnet.to_owned()), ..Default::default() };
    let ipam = bollard::models::Ipam { config: Some(vec![pool]), ..Default::default() };
    let request = bollard::models::NetworkCreateRequest {
        name: format!("{}x", world.identity.environment),
        ipam: Some(ipam),
        ..Default::default()
    };
    Ok(world.api.create_network(request).await?.id)
}

fn no_driver(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let volumes = json!([{"name": "data", "path": "/data", "driver": "nosuchdriver"}]);
        world.declare("web", json!({"workload": "stateful", "volumes": volumes}));
        let error = preflight(&mut world).await?.unwrap_err();
        assert!(error.message.contains("no volume driver `nosuchdriver`"), "{error:?}");
        Ok(())
    })
}

/// Makes a container that is not ours.
async fn strange_container(world: &World, name: &str) -> Result<String, Failed> {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(vec!["sleep".into(), "600".into()]),
        ..Default::default()
    };
    Ok(world.api.create_container(Some(options), body).await?.id)
}

fn name_taken(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        let stranger = strange_container(&world, &world.engine_name("web")).await?;
        let looked = world.look().await;
        let checked = preflight(&mut world).await;
        world.remove(&stranger).await?;
        let (live, _) = looked?;
        assert!(live.foreign.iter().any(|foreign| foreign.blocks), "{:?}", live.foreign);
        assert!(checked?.unwrap_err().message.contains("that trueup did not create"));
        Ok(())
    })
}

fn volume_left(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let volumes = json!([{"name": "data", "path": "/data"}]);
        world.declare("web", json!({"workload": "stateful", "volumes": volumes}));
        world.up().await?;
        world.docker.destroy(&world.identity, false).await.map_err(|error| failure(&error))?;
        let name = world.engine_name("web-data");
        world.identity.uid = world.identity.uid.chars().rev().collect();
        let volume = id(Kind::Volume, "web-data", "web");
        let note = format!("volume `{name}` is taken over");
        let is_noted = |desired: &Desired| desired.notes.iter().any(|said| said.starts_with(&note));
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&volume].owner.env_uid, world.identity.uid);
        assert!(is_noted(&desired), "{:?}", desired.notes);
        world.up().await?;
        assert!(!is_noted(&world.look().await?.1), "it is said once");
        world.docker.destroy(&world.identity, false).await.map_err(|error| failure(&error))?;
        // Not by another store.
        let store = std::mem::replace(&mut world.identity.store, "another".into());
        world.identity.uid = "00".into();
        let (live, _) = world.look().await?;
        assert!(
            live.foreign.iter().any(|foreign| foreign.blocks && foreign.what == format!("volume {name}"))
        );
        world.identity.store = store;
        world.docker.destroy(&world.identity, true).await.map_err(|error| failure(&error))?;
        assert!(!world.look().await?.0.resources.contains_key(&volume));
        Ok(())
    })
}

fn copied_labels(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let name = world.engine_name("web");
        let real = world.inspect(&name).await?;
        let body = ContainerCreateBody {
            image: Some(IMAGE.into()),
            labels: serde_json::from_value(real["Config"]["Labels"].clone())?,
            ..Default::default()
        };
        let fake = world.engine_name("fake");
        let options = CreateContainerOptionsBuilder::new().name(&fake).build();
        world.api.create_container(Some(options), body).await?;
        let is_told = |live: &Live| {
            let mut told = live.foreign.iter().filter(|foreign| foreign.what == format!("container {fake}"));
            told.any(|foreign| !foreign.blocks && foreign.why.contains("carries the labels of `web`"))
        };
        let handle = |live: &Live| live.resources.get(&workload("web")).map(|web| web.handle.clone());
        let (live, _) = world.look().await?;
        assert!(is_told(&live), "{:?}", live.foreign);
        assert_eq!(handle(&live).as_deref(), real["Id"].as_str());
        // Under another name it is still the real one, and not when it is gone.
        let mine = RenameContainerOptionsBuilder::new().name(&format!("{name}.mine")).build();
        world.api.rename_container(&name, mine).await?;
        let (live, _) = world.look().await?;
        assert_eq!(handle(&live).as_deref(), real["Id"].as_str());
        world.remove(&format!("{name}.mine")).await?;
        let (live, _) = world.look().await?;
        assert!(is_told(&live), "{:?}", live.foreign);
        assert_eq!(handle(&live), None);
        Ok(())
    })
}

fn stranger(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let name = format!("{}stranger", world.identity.environment);
        let stranger = strange_container(&world, &name).await?;
        let outcome = detach(&mut world, &stranger).await;
        world.remove(&stranger).await?;
        outcome
    })
}

fn stranger_gone(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let name = format!("{}stranger", world.identity.environment);
        let stranger = strange_container(&world, &name).await?;
        let detached = detached(&mut world, &stranger).await;
        world.remove(&stranger).await?;
        let (run, acts) = detached?;
        world.undo(&run, &acts).await?;
        // Nor is the whole network a reason to give up.
        world.docker.destroy(&world.identity, false).await.map_err(|error| failure(&error))?;
        world.undo(&run, &acts).await
    })
}

async fn detach(world: &mut World, stranger: &str) -> Result<(), Failed> {
    let (run, acts) = detached(world, stranger).await?;
    let zone = &acts[0].0;
    let (live, desired) = world.look().await?;
    assert_eq!(live.resources[zone].spec, desired.resources[zone].spec);
    world.undo(&run, &acts).await?;
    let (live, desired) = world.look().await?;
    assert_ne!(live.resources[zone].spec, desired.resources[zone].spec);
    Ok(())
}

/// Puts a container into a zone and has it detached; returns what did that.
async fn detached(world: &mut World, stranger: &str) -> Result<(RunContext, Acts), Failed> {
    world.api.start_container(stranger, None::<bollard::query_parameters::StartContainerOptions>).await?;
    let request =
        bollard::models::NetworkConnectRequest { container: stranger.to_owned(), endpoint_config: None };
    world.api.connect_network(&world.engine_name("data"), request).await?;
    let (live, _) = world.look().await?;
    assert_eq!(live.foreign.len(), 1, "{:?}", live.foreign);
    assert!(!live.foreign[0].blocks);
    world.environment["zones"]["data"]["foreign"] = json!("disconnect");
    let (live, desired) = world.look().await?;
    let zone = id(Kind::Network, "data", "");
    assert_ne!(live.resources[&zone].spec, desired.resources[&zone].spec);
    let act = Act::Update {
        before: world.aside(&zone).await?,
        after: desired.resources[&zone].spec.clone(),
        fields: vec!["foreign".into()],
    };
    let acts = vec![(zone, act)];
    let run = world.next_run();
    world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
    Ok((run, acts))
}

fn moved(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let mut old = world.aside(&workload("web")).await?;
        old.handle = "0".repeat(64);
        let before = world.picture().await?;
        let (_, desired) = world.look().await?;
        let spec = desired.resources[&workload("web")].spec.clone();
        let run = world.next_run();
        for act in [
            Act::Create { spec: spec.clone(), replaces: Some(old.clone()) },
            Act::Create { spec: spec.clone(), replaces: None },
            Act::Stop { old: old.clone() },
            Act::Start { old: Some(old.clone()) },
            Act::Start { old: None },
            Act::Restart { old: old.clone() },
            Act::Retire { old: old.clone() },
            Act::Update { before: old.clone(), after: spec, fields: vec!["resources".into()] },
        ] {
            let error = world.docker.execute(&run, &workload("web"), &act).await.unwrap_err();
            assert_eq!(error.blame, Blame::Moved, "{act:?}: {error:?}");
        }
        crate::world::same("it was touched", &before, &world.picture().await?)
    })
}

fn gone_meanwhile(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        let acts = world.creation().await?;
        let (create, spec) = acts
            .iter()
            .enumerate()
            .find_map(|(at, (id, act))| match act {
                Act::Create { spec, .. } if id.kind == Kind::Workload => Some((at, spec.clone())),
                _ => None,
            })
            .ok_or("nothing is created")?;
        let run = world.next_run();
        world.execute(&run, &acts[..create].to_vec()).await.map_err(|error| failure(&error))?;
        let creates = |change: fn(&mut serde_json::Value)| {
            let mut spec = spec.clone();
            change(&mut spec);
            let acts = [Act::Create { spec, replaces: None }, Act::Start { old: None }];
            acts.map(|act| (workload("web"), act)).to_vec()
        };
        let pruned = creates(|spec| spec["image"]["reference"] = json!("trueup-test/pruned:1"));
        let first = creates(|spec| spec["networks"] = json!({"gone": {"aliases": [], "address": null}}));
        let second = creates(|spec| {
            spec["networks"]["other:gone"] = json!({"aliases": [], "address": null});
        });
        for acts in [pruned, first, second] {
            let error = world.execute(&run, &acts).await.unwrap_err();
            assert_eq!(error.blame, Blame::Moved, "{error:?}");
            world.undo(&run, &acts).await?;
        }
        Ok(())
    })
}

fn unreachable(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |world| {
        let path = world.folder.path().join("down.sock");
        drop(std::os::unix::net::UnixListener::bind(&path)?);
        let endpoint = format!("unix://{}", path.display());
        let docker = Docker::connect(&endpoint.parse().unwrap(), Settings::default()).unwrap();
        let error = docker.observe(&world.identity, &world.wanted()).await.unwrap_err();
        assert_eq!(error.message, format!("the engine at {endpoint} does not answer"));
        assert_eq!(error.blame, Blame::Away);
        Ok(())
    })
}

fn remote(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let settings = Settings { locality: Locality::Remote, ..Settings::default() };
        world.docker = Docker::connect(&rig.engine.parse().unwrap(), settings).unwrap();
        world.environment["zones"]["data"]["subnet"] = json!("10.214.251.0/24");
        let script = "test \"$(cat /etc/a.conf)\" = a && test \"$(stat -c %a:%u /etc/a.conf)\" = 444:7";
        let exec = json!({"tcp": null, "exec": ["/bin/sh", "-c", script], "startup": "2m"});
        world.declare("web", json!({"health": exec}));
        world.deliver("web", "/etc/a.conf", Plain("a\n"), 7);
        world.up().await?;
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        world.deliver("web", "/run/password", Hidden("correct-horse-battery"), 0);
        world.patch("web", json!({"health": {"exec": null, "tcp": {"port": 80}}}));
        let refused = format!("{:?}", world.look().await.err().ok_or("it was not refused")?.message());
        assert!(refused.contains("secret file `/run/password` cannot be delivered"), "{refused}");
        assert!(refused.contains("network namespace"), "{refused}");
        Ok(())
    })
}

fn adoptable(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let found =
            world.docker.adoptable(&world.identity.environment).await.map_err(|error| failure(&error))?;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].owner.as_str(), &found[0].uid), ("test", &world.identity.uid));
        assert_eq!(found[0].things.len(), 3);
        let counted: BTreeMap<&str, usize> =
            found[0].things.iter().fold(BTreeMap::new(), |mut counts, thing| {
                *counts.entry(thing.split(' ').next().unwrap()).or_default() += 1;
                counts
            });
        assert_eq!(counted, BTreeMap::from([("container", 1), ("network", 2)]));
        world.docker.destroy(&world.identity, false).await.map_err(|error| failure(&error))?;
        let found =
            world.docker.adoptable(&world.identity.environment).await.map_err(|error| failure(&error))?;
        assert!(found.is_empty());
        Ok(())
    })
}
