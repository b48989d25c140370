//! Health checks and jobs: success at once, failure with its reason, no secret in what is shown.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;
use trueup_engine::{Blame, Execute, TargetError};
use trueup_plan::{Act, Kind};

use crate::{
    Test,
    rig::Rig,
    world::{Content::Plain, World, failure, id, in_world, workload},
};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("a_container_is_healthy_by_tcp_http_and_exec", healthy),
        ("a_port_that_refuses_is_named_when_the_time_is_up", refused),
        ("a_container_that_ends_fails_at_once_with_its_log", ended),
        ("a_container_that_runs_again_is_told_with_its_exit_code", runs_again),
        ("a_command_that_fails_is_told_with_its_last_line", exec_fails),
        ("a_look_at_what_runs_is_one_whole_try", one_try),
        ("an_act_that_nobody_waits_for_is_taken_back_after_it_ended", abandoned),
        ("a_wait_ends_when_it_is_cancelled", cancelled),
        ("a_job_runs_to_its_end", job),
        ("a_job_that_fails_tells_its_exit_code", job_fails),
        ("what_runs_by_schedule_is_started_once_at_a_time", cron),
        ("a_container_that_cannot_start_is_the_manifests_matter", cannot_start),
    ]
}

/// Brings everything up; returns the failure that is expected.
async fn up_fails(world: &mut World) -> Result<TargetError, Failed> {
    let acts = world.creation().await?;
    let run = world.next_run();
    match world.execute(&run, &acts).await {
        Ok(()) => Err("it came up".into()),
        Err(error) => Ok(error),
    }
}

fn healthy(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.deliver("http", "/www/ready", Plain("yes\n"), 0);
        world.declare("tcp", json!({"health": {"tcp": {"port": "web"}}}));
        world.declare(
            "http",
            json!({
                "command": ["/bin/httpd", "-f", "-p", "80", "-h", "/www"],
                "health": {"tcp": null, "http": {"port": 80, "path": "/ready"}},
            }),
        );
        world.declare("exec", json!({"health": {"tcp": null, "exec": ["/bin/sh", "-c", "exit 0"]}}));
        world.declare("none", json!({"health": null}));
        world.up().await
    })
}

fn refused(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"health": {"tcp": {"port": 81}, "startup": "5s"}}));
        let error = up_fails(&mut world).await?;
        assert_eq!(error.message, "web was not healthy within 5s: tcp 81 refused the connection");
        world.patch("web", json!({"health": {"tcp": null, "http": {"port": 80, "path": "/none"}}}));
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let act = Act::Verify { probe: desired.resources[&resource].probe.clone().unwrap() };
        let run = world.next_run();
        let error = world.docker.execute(&run, &resource, &act).await.unwrap_err();
        assert_eq!(error.message, "web was not healthy within 5s: http 80/none answered 404");
        Ok(())
    })
}

fn ended(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.content("correct horse battery", true);
        let script = "echo ready to fail; echo token=correct horse battery; exit 7";
        world.declare("web", json!({"command": ["/bin/sh", "-c", script], "health": {"startup": "10m"}}));
        let began = Instant::now();
        let error = up_fails(&mut world).await?;
        assert_eq!(error.message, "web exited with 7 while starting");
        assert_eq!(error.log.first().map(String::as_str), Some("ready to fail"), "{:?}", error.log);
        assert!(!format!("{error:?}").contains("horse"), "{error:?}");
        assert!(began.elapsed() < Duration::from_mins(5));
        Ok(())
    })
}

fn runs_again(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let script = "test -e /again && exec /bin/sleep 1000; touch /again; exit 7";
        world.declare("web", json!({"command": ["/bin/sh", "-c", script], "health": {"startup": "2m"}}));
        let acts = world.creation().await?;
        let run = world.next_run();
        world.execute(&run, &acts).await.expect_err("it ends once");
        // By the last look it runs for good.
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (resource, verify) = acts.last().expect("it is waited for");
            let error = world.docker.execute(&run, resource, verify).await.unwrap_err();
            assert_eq!(error.message, "web exited with 7 while starting");
        }
        Ok(())
    })
}

fn one_try(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world
            .declare("web", json!({"health": {"tcp": null, "exec": ["/bin/sleep", "0.3"], "timeout": "1m"}}));
        world.up().await?;
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let run = world.next_run();
        let mut probe = desired.resources[&resource].probe.clone().unwrap();
        probe.startup = Duration::ZERO;
        let act = Act::Verify { probe: probe.clone() };
        world.docker.execute(&run, &resource, &act).await.map_err(|error| failure(&error))?;
        probe.check = json!({"exec": ["/bin/false"]});
        let error = world.docker.execute(&run, &resource, &Act::Verify { probe }).await.unwrap_err();
        assert_eq!(error.message, "web is not healthy: `/bin/false` exited with 1");
        Ok(())
    })
}

fn abandoned(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({}));
        world.up().await?;
        let before = world.picture().await?;
        world.patch("web", json!({"env": {"LEVEL": "info"}}));
        let acts = world.replacement(&workload("web")).await?;
        for begun in 0..acts.len() - 1 {
            let run = world.next_run();
            world.execute(&run, &acts[..begun].to_vec()).await.map_err(|error| failure(&error))?;
            let (resource, act) = &acts[begun];
            // The call is sent, and nobody waits for its end.
            let call = world.docker.execute(&run, resource, act);
            let _ = tokio::time::timeout(Duration::from_millis(5), call).await;
            world.undo(&run, &acts[..=begun].to_vec()).await?;
            let what = format!("not as it was after act {begun} was left");
            crate::world::same(&what, &before, &world.picture().await?)?;
        }
        Ok(())
    })
}

fn exec_fails(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let health = json!({"tcp": null, "exec": ["/bin/sh", "-c", "echo no; exit 3"], "startup": "10s"});
        world.declare("web", json!({"health": health}));
        let error = up_fails(&mut world).await?;
        let expected = "web was not healthy within 10s: `/bin/sh -c echo no; exit 3` exited with 3: no";
        assert_eq!(error.message, expected);
        let hangs = json!({"exec": ["/bin/sleep", "600"], "timeout": "200ms", "startup": "5s"});
        world.patch("web", json!({"health": hangs}));
        let (_, desired) = world.look().await?;
        let resource = workload("web");
        let act = Act::Verify { probe: desired.resources[&resource].probe.clone().unwrap() };
        let run = world.next_run();
        let error = world.docker.execute(&run, &resource, &act).await.unwrap_err();
        let expected = "web was not healthy within 5s: `/bin/sleep 600` still runs after ";
        assert!(error.message.starts_with(expected), "{}", error.message);
        let none = None::<bollard::query_parameters::TopOptions>;
        let processes = world.api.top_processes(&world.engine_name("web"), none).await?;
        let sleeps = |process: &Vec<String>| process.iter().any(|word| word.contains("/bin/sleep 600"));
        let count = |top: bollard::models::ContainerTopResponse| {
            top.processes.unwrap_or_default().iter().filter(|process| sleeps(process)).count()
        };
        assert_eq!(count(processes), 1, "a hanging check was started again");
        // What hangs keeps nobody from another check.
        world.patch("web", json!({"health": {"exec": ["/bin/true"], "timeout": "1m", "startup": "2m"}}));
        let (_, desired) = world.look().await?;
        let act = Act::Verify { probe: desired.resources[&resource].probe.clone().unwrap() };
        world.docker.execute(&run, &resource, &act).await.map_err(|error| failure(&error))
    })
}

fn cancelled(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"health": {"tcp": {"port": 81}, "startup": "60s"}}));
        let acts = world.creation().await?;
        let run = world.next_run();
        let (before, verify) = acts.split_at(acts.len() - 1);
        world.execute(&run, &before.to_vec()).await.map_err(|error| failure(&error))?;
        run.cancel.cancel();
        let error = world.execute(&run, &verify.to_vec()).await.unwrap_err();
        assert_eq!(error.blame, Blame::Cancelled);
        Ok(())
    })
}

fn declare_job(world: &mut World, script: &str) {
    world.declare(
        "migrate",
        json!({"workload": "job", "command": ["/bin/sh", "-c", script], "health": null, "ports": null}),
    );
}

fn job(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        declare_job(&mut world, "echo done");
        world.up().await?;
        let (live, desired) = world.look().await?;
        let resource = id(Kind::Job, "migrate", "migrate");
        assert_eq!(live.resources[&resource].state.exit_code, Some(0));
        assert_eq!(live.resources[&resource].spec, desired.resources[&resource].spec);
        let inputs = desired.resources[&resource].inputs.clone().unwrap();
        world.patch("migrate", json!({"resources": {"memory": "64Mi"}}));
        let (_, desired) = world.look().await?;
        assert_eq!(desired.resources[&resource].inputs, Some(inputs), "a limit is no input");
        Ok(())
    })
}

fn job_fails(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        declare_job(&mut world, "echo cannot; exit 3");
        let error = up_fails(&mut world).await?;
        assert_eq!((error.message.as_str(), error.blame), ("migrate exited with 3", Blame::Manifest));
        assert_eq!(error.log, ["cannot"]);
        Ok(())
    })
}

fn cron(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let spec = json!({"workload": "cron", "schedule": "0 3 * * *", "command": ["/bin/sleep", "1"],
            "health": null, "ports": null});
        world.declare("backup", spec);
        world.up().await?;
        let resource = id(Kind::Cron, "backup", "backup");
        assert!(!world.aside(&resource).await?.running);
        let run = world.next_run();
        let docker = &world.docker;
        let idle = async || docker.idle_cron(&run, &resource).await.map_err(|error| failure(&error));
        let first = idle().await?.ok_or("nothing ran before")?;
        docker.start_cron(&run, &resource, &first).await.map_err(|error| failure(&error))?;
        assert!(idle().await?.is_none(), "it could run twice at a time");
        docker.end_of_cron(&run, &resource, &first).await.map_err(|error| failure(&error))?;

        world.patch("backup", json!({"schedule": "0 4 * * *"}));
        let (live, desired) = world.look().await?;
        assert_eq!(live.resources[&resource].spec["schedule"], "0 3 * * *");
        assert_eq!(desired.resources[&resource].spec["schedule"], "0 4 * * *");
        Ok(())
    })
}

fn cannot_start(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        world.declare("web", json!({"command": ["/no/such/program"]}));
        let error = up_fails(&mut world).await?;
        assert_eq!((error.message.as_str(), error.blame), ("cannot start `web`", Blame::Manifest));
        Ok(())
    })
}
