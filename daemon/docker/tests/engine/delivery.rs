//! Files and secrets: readable in the container, on no disk in plaintext, a changed byte is a change.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use libtest_mimic::Failed;
use serde_json::json;
use trueup_docker::{ContainerSpec, EnvValue};
use trueup_plan::Kind;

use crate::{
    Test,
    rig::Rig,
    world::{
        Content::{Hidden, Plain},
        World, failure, id, in_world, workload,
    },
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("a_file_has_its_bytes_mode_and_owner_in_the_container", file),
        ("a_secret_file_is_in_memory_and_nowhere_under_the_engine", secret),
        ("a_changed_byte_is_a_change", changed_byte),
        ("a_file_that_somebody_changed_on_the_host_is_drift", tampered),
        ("a_file_that_is_gone_from_the_host_or_has_other_rights_is_drift", gone_or_opened),
        ("an_exposed_secret_is_compared_by_its_digest", exposed),
        ("a_new_volume_gets_its_owner_and_an_old_one_keeps_its_own", volume_owner),
        ("a_file_inside_of_a_volume_is_refused", inside_volume),
    ]
}

/// A secret that no engine ever gets to see.
const SECRET: &str = "correct-horse-battery-staple-4711";

/// Another one, which its component wants in its environment.
const EXPOSED: &str = "shown-to-the-engine-4712";

/// Declares a component whose check reads a file as its user.
fn reader(world: &mut World, script: &str, user: &str) {
    let health = json!({"tcp": null, "exec": ["/bin/sh", "-c", script], "startup": "2m"});
    world.declare("web", json!({"user": user, "health": health, "command": ["/bin/sleep", "600"]}));
}

fn file(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let script = "test \"$(cat /etc/app/a.conf)\" = a && test \"$(stat -c %a:%u:%g /etc/app/a.conf)\" = 444:7:7 \
            && ! touch /etc/app/a.conf";
        reader(&mut world, script, "12345");
        world.deliver("web", "/etc/app/a.conf", Plain("a\n"), 7);
        world.up().await
    })
}

fn secret(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let script =
            format!("test \"$(cat /run/password)\" = {} && test $(id -u) = 7", "$(cat /run/password)");
        reader(&mut world, &script, "7");
        world.deliver("web", "/run/password", Hidden(SECRET), 7);
        world.up().await?;
        let runtime = world.folder.path().join("run");
        let kind = Command::new("stat").args(["-f", "-c", "%T"]).arg(&runtime).output()?;
        assert_eq!(String::from_utf8_lossy(&kind.stdout).trim(), "tmpfs");
        let inspect = world.inspect(&world.engine_name("web")).await?;
        assert!(!inspect.to_string().contains(SECRET));
        let root = world.api.info().await?.docker_root_dir.unwrap();
        assert!(!holds(Path::new(&root), SECRET), "the secret is under {root}");
        assert!(holds(&runtime, SECRET), "the search does not find what is there");
        Ok(())
    })
}

/// Returns whether a file under `folder` holds `text`.
fn holds(folder: &Path, text: &str) -> bool {
    let found = Command::new("grep").args(["-rqF", "--", text]).arg(folder).status();
    found.is_ok_and(|status| status.success())
}

fn changed_byte(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.deliver("web", "/run/password", Hidden(SECRET), 0);
        world.up().await?;
        world.deliver("web", "/run/password", Hidden("correct-horse-battery-staple-4712"), 0);
        let (live, desired) = world.look().await?;
        let (is, wanted) =
            (&live.resources[&workload("web")].spec, &desired.resources[&workload("web")].spec);
        assert_ne!(is["files"], wanted["files"]);
        assert!(!wanted.to_string().contains("horse"));
        let acts = world.replacement(&workload("web")).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.finish(&run, &acts).await?;
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        assert!(!holds(&world.folder.path().join("run"), SECRET), "the old secret is still there");
        Ok(())
    })
}

fn tampered(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.deliver("web", "/etc/a.conf", Plain("a = 1\n"), 0);
        world.up().await?;
        let inspect = world.inspect(&world.engine_name("web")).await?;
        let source = inspect["Mounts"][0]["Source"].as_str().unwrap().to_owned();
        fs::write(&source, "a = 2\n")?;
        let (live, desired) = world.look().await?;
        assert_ne!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        let acts = world.replacement(&workload("web")).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.finish(&run, &acts).await?;
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&workload("web")].spec, desired.resources[&workload("web")].spec);
        Ok(())
    })
}

fn gone_or_opened(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.deliver("web", "/etc/a.conf", Plain("a = 1\n"), 0);
        world.deliver("web", "/run/password", Hidden(SECRET), 0);
        world.up().await?;
        let inspect = world.inspect(&world.engine_name("web")).await?;
        let mounts = inspect["Mounts"].as_array().cloned().unwrap_or_default();
        let source = |path: &str| {
            let mount = mounts.iter().find(|mount| mount["Destination"] == path);
            mount.and_then(|mount| mount["Source"].as_str()).unwrap_or_default().to_owned()
        };
        let (plain, secret) = (source("/etc/a.conf"), source("/run/password"));
        let opened = || fs::set_permissions(&secret, fs::Permissions::from_mode(0o666));
        let given = || chown(&plain, Some(7), None);
        let changes: [(&str, &dyn Fn() -> std::io::Result<()>); 4] = [
            ("/etc/a.conf", &|| fs::remove_file(&plain)),
            ("/run/password", &|| fs::remove_file(&secret)),
            ("/run/password", &opened),
            ("/etc/a.conf", &given),
        ];
        for (path, change) in changes {
            change()?;
            let (live, desired) = world.look().await?;
            let of = |spec: &trueup_plan::Spec| spec["files"][path].clone();
            let web = workload("web");
            assert_ne!(of(&live.resources[&web].spec), of(&desired.resources[&web].spec), "{path}");
            let (run, acts) = (world.next_run(), world.replacement(&web).await?);
            world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
            world.finish(&run, &acts).await?;
            let (live, desired) = world.look().await?;
            assert_eq!(live.resources[&web].spec, desired.resources[&web].spec, "{path}");
        }
        Ok(())
    })
}

fn exposed(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        reader(&mut world, &format!("test \"$TOKEN\" = {EXPOSED}"), "0");
        let digest = world.content(EXPOSED, true);
        let deliveries = world.deliveries.entry("web".parse().unwrap()).or_default();
        deliveries.exposed.insert("TOKEN".to_owned(), digest.clone());
        world.up().await?;
        let (live, desired) = world.look().await?;
        let spec = &live.resources[&workload("web")].spec;
        assert_eq!(spec, &desired.resources[&workload("web")].spec);
        assert!(!spec.to_string().contains(EXPOSED));
        assert!(desired.notes.iter().any(|note| note.contains("TOKEN")), "{:?}", desired.notes);
        // What nobody declares any more may still be a secret.
        world.deliveries.clear();
        let (live, _) = world.look().await?;
        let spec: ContainerSpec = serde_json::from_value(live.resources[&workload("web")].spec.clone())?;
        assert_eq!(spec.env["TOKEN"], EnvValue::Secret(digest));
        Ok(())
    })
}

fn volume_owner(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let health = json!({"tcp": null, "exec": ["/bin/sh", "-c", "touch /bin/x /data/x"], "startup": "2m"});
        let volumes = json!([
            {"name": "data", "path": "/data", "owner": "70:71"},
            {"name": "copy", "path": "/bin", "owner": "70:71"},
        ]);
        world.declare(
            "web",
            json!({"workload": "stateful", "user": "70", "health": health, "volumes": volumes}),
        );
        world.up().await?;
        world.patch(
            "web",
            json!({"volumes": [
                {"name": "data", "path": "/data", "owner": "80:80"},
                {"name": "copy", "path": "/bin", "owner": "70:71"},
            ]}),
        );
        let (live, desired) = world.look().await?;
        let volume = id(Kind::Volume, "web-data", "web");
        assert_eq!(live.resources[&volume].spec, desired.resources[&volume].spec);
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let acts = world.replacement(&workload("web")).await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.map_err(|error| failure(&error))?;
        world.undo(&run, &acts).await?;
        let left = world.picture().await?;
        assert_eq!(left["volumes"].as_array().map(Vec::len), Some(2), "a volume is gone");
        Ok(())
    })
}

fn inside_volume(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let volumes = json!([{"name": "data", "path": "/data"}]);
        world.declare("web", json!({"workload": "stateful", "volumes": volumes}));
        world.deliver("web", "/data/a.conf", Plain("a\n"), 0);
        let refused = world.look().await.err().ok_or("it was not refused")?;
        let message = format!("{:?}", refused.message());
        assert!(message.contains("is inside of volume `data`"), "{message}");
        Ok(())
    })
}
