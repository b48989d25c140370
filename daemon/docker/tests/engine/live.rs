//! What is known stays current by the engine's events: what somebody changes is told within a second, and
//! the next look shows it; a look at what nobody changed asks the engine nothing.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use trueup_docker::Locality;
use trueup_engine::{EnvKey, Execute, TargetError, Watch, notice::Change};
use trueup_plan::{Act, Live, Probe};

use crate::{
    Test,
    counter::Counter,
    rig::Rig,
    world::{Content::Plain, IMAGE, World, failure, in_world, workload},
};

/// How long a change may take to be told on a machine that does other things too; a second on one that does not.
const TOLD: Duration = Duration::from_mins(1);

/// How many containers a first look is at.
const CONTAINERS: usize = 25;

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![
        ("live::a_look_at_what_nobody_changed_asks_nothing", no_calls),
        ("live::a_first_look_asks_for_each_thing_once", cold_calls),
        ("live::whatever_somebody_changes_is_told_and_seen", changes_are_seen),
        ("live::what_trueup_did_itself_is_seen_at_once", own_acts),
        ("live::a_stream_that_broke_is_taken_up_again", reconnects),
        ("live::probes_by_exec_cost_nothing", exec_is_free),
        ("live::a_changed_image_is_told_and_seen", images),
        ("live::files_in_containers_of_a_remote_engine_are_read_back", uploads),
    ]
}

/// A followed engine behind a counting proxy.
struct Followed {
    world: World,
    counter: Counter,
    engine: String,
    _follower: DropGuard,
}

fn followed<F>(rig: &Rig, test: impl FnOnce(Followed) -> F) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>>,
{
    let declare = |world: &mut World| {
        world.declare("web", json!({"workload": "stateful", "volumes": [{"name": "data", "path": "/data"}]}));
    };
    followed_with(rig, declare, test)
}

/// With what `declare` wants.
fn followed_with<F>(
    rig: &Rig,
    declare: impl FnOnce(&mut World),
    test: impl FnOnce(Followed) -> F,
) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>>,
{
    in_world(rig, async |mut world| {
        declare(&mut world);
        let counter = Counter::start(&rig.engine, &world.folder.path().join("counter.sock"));
        world.reach_by(&counter.address());
        world.up().await?;
        let cancel = CancellationToken::new();
        let (docker, token) = (world.docker.clone(), cancel.clone());
        tokio::spawn(async move { docker.follow(&token).await });
        let followed =
            Followed { world, counter, engine: rig.engine.clone(), _follower: cancel.drop_guard() };
        // That the stream has begun is told to whoever has looked before.
        followed.told().await?;
        followed.quiet().await?;
        test(followed).await
    })
}

impl Followed {
    /// Returns what is told next.
    async fn told(&self) -> Result<Change, Failed> {
        let key = self.world.identity.key();
        let told = tokio::time::timeout(TOLD, self.next_of(&key)).await;
        told.map_err(|_| "nothing was told".into())
    }

    async fn next_of(&self, key: &EnvKey) -> Change {
        loop {
            if let Some(change) = self.world.docker.changed().await.remove(key) {
                return change;
            }
        }
    }

    /// Looks until everything is known.
    async fn quiet(&self) -> Result<Live, Failed> {
        let mut told = 0;
        loop {
            let late = tokio::time::timeout(Duration::from_millis(600), self.told()).await;
            let (live, _) = self.world.look().await?;
            told += 1;
            if late.is_err() || told > 50 {
                self.counter.take();
                return Ok(live);
            }
        }
    }

    /// Returns the calls since the last time that no other test can be the cause of: it makes networks and
    /// tags images too, and a registry tells no events.
    fn calls(&self) -> Vec<String> {
        let others = [" /networks ", " /images/", " /distribution/"];
        let is_ours = |call: &String| !others.iter().any(|other| call.contains(other));
        self.counter.take().into_iter().filter(is_ours).collect()
    }

    async fn look(&self) -> Result<Value, Failed> {
        let (live, _) = self.world.look().await?;
        Ok(picture(&live))
    }

    /// Runs the engine's client, past the proxy.
    fn docker(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = Command::new("docker").args(["-H", &self.engine]).args(arguments).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(format!("docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Waits until a look shows something else than `before` and the same as the engine says itself.
    async fn sees_another(&self, what: &str, before: &Value) -> Result<Value, Failed> {
        let began = std::time::Instant::now();
        loop {
            self.told().await.map_err(|_| format!("{what}: nothing was told"))?;
            let now = self.look().await?;
            if now != *before {
                eprintln!("  {what}: seen after {} ms", began.elapsed().as_millis());
                self.quiet().await?;
                return self.agrees(what).await;
            }
        }
    }

    /// Fails unless what is known is what an engine says that is asked anew.
    async fn agrees(&self, what: &str) -> Result<Value, Failed> {
        let known = self.look().await?;
        let calls = self.calls();
        let asked = picture(&self.world.look_anew().await?);
        self.counter.take();
        if !calls.is_empty() {
            return Err(format!("{what}: asked for {calls:?}").into());
        }
        crate::world::same(what, &asked, &known)?;
        Ok(known)
    }
}

/// What was seen, as one value; without the subnets of others, which come and go with other tests.
fn picture(live: &Live) -> Value {
    let mut facts = live.facts.clone();
    facts["subnets"] = Value::Null;
    let things: BTreeMap<String, Value> = live
        .resources
        .iter()
        .map(|(id, one)| {
            let state = format!("{:?}", one.state);
            (format!("{id:?}"), json!({"handle": one.handle, "spec": one.spec, "state": state}))
        })
        .collect();
    json!({"things": things, "foreign": format!("{:?}", live.foreign), "facts": facts})
}

fn no_calls(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |live| {
        let mut tries = 0;
        loop {
            for _ in 0..20 {
                live.look().await?;
            }
            let calls = live.counter.take();
            tries += 1;
            // What another test did meanwhile may have cost a call.
            match calls.as_slice() {
                [] => break,
                _ if tries == 10 => return Err(format!("20 looks asked for {calls:?}").into()),
                _ => {}
            }
        }
        // A check that tries once needs no look either.
        let (_, desired) = live.world.look().await?;
        let probe = desired.resources[&workload("web")].probe.clone().unwrap();
        let once = Act::Verify { probe: Probe { startup: Duration::ZERO, ..probe } };
        let run = live.world.run();
        // Whether it succeeds depends on where the test runs.
        let _ = live.world.docker.execute(&run, &workload("web"), &once).await;
        let calls = live.counter.take();
        if calls.iter().any(|call| call.contains("/json")) {
            return Err(format!("a check asked for {calls:?}").into());
        }
        Ok(())
    })
}

/// What goes through the engine is told; what a program writes there is seen by whoever asks anew.
fn uploads(rig: &Rig) -> Result<(), Failed> {
    let declare = |world: &mut World| {
        world.settings.locality = Locality::Remote;
        // The proxy carries no stream of an exec.
        world.declare("web", json!({"health": null}));
        world.deliver("web", "/etc/a.conf", Plain("a\n"), 7);
        world.deliver("web", "/etc/b.conf", Plain("b\n"), 7);
    };
    followed_with(rig, declare, async |live| {
        let digests = |live: &Live| live.resources[&workload("web")].spec["files"].clone();
        let (first, desired) = live.world.look().await?;
        assert_eq!(digests(&first), desired.resources[&workload("web")].spec["files"]);
        assert!(live.calls().is_empty(), "what was read once is known");
        let (id, read) = (first.resources[&workload("web")].handle.clone(), first.as_of);
        assert!(read.is_some());
        let path = live.world.folder.path().join("mine.conf");
        fs::write(&path, "mine\n")?;
        live.docker(&["cp", &path.to_string_lossy(), &format!("{id}:/etc/a.conf")])?;
        live.told().await?;
        let changed = live.quiet().await?;
        assert_ne!(digests(&changed)["/etc/a.conf"], digests(&first)["/etc/a.conf"]);
        assert_eq!(digests(&changed)["/etc/b.conf"], digests(&first)["/etc/b.conf"]);
        assert!(changed.as_of > read);
        for (deed, is_there) in [("echo mine > /etc/b.conf", true), ("rm /etc/b.conf", false)] {
            let before = digests(&live.world.look_anew().await?);
            live.docker(&["exec", &id, "sh", "-c", deed])?;
            let after = digests(&live.world.look_anew().await?);
            assert_eq!(after.get("/etc/b.conf").is_some(), is_there, "{deed}: {after}");
            assert_ne!(before.get("/etc/b.conf"), after.get("/etc/b.conf"), "{deed}");
        }
        // One that is written all the time, while it is read, has no content to be right about.
        let writes = "while :; do head -c 900000 /dev/zero > /etc/b.conf; done";
        live.docker(&["exec", "-d", &id, "sh", "-c", writes])?;
        for _ in 0..20 {
            let after = digests(&live.world.look_anew().await?);
            assert_ne!(after.get("/etc/b.conf"), digests(&first).get("/etc/b.conf"));
        }
        Ok(())
    })
}

fn cold_calls(rig: &Rig) -> Result<(), Failed> {
    in_world(rig, async |mut world| {
        let counter = Counter::start(&rig.engine, &world.folder.path().join("counter.sock"));
        world.reach_by(&counter.address());
        for number in 0..CONTAINERS {
            world.declare(&format!("web{number}"), json!({}));
        }
        world.up().await?;
        let mut took = Vec::new();
        for _ in 0..5 {
            world.reach_by(&counter.address());
            counter.take();
            let began = Instant::now();
            world.look().await?;
            took.push(began.elapsed().as_millis());
            let calls = counter.take();
            assert_eq!(world.docker.requests(), calls.len() as u64, "what it counts itself");
            // Version, info, three lists; the containers; one image.
            if calls.len() > 6 + CONTAINERS + 1 {
                return Err(format!("asked for {calls:#?}").into());
            }
        }
        took.sort_unstable();
        let calls = world.docker.requests();
        eprintln!("  {CONTAINERS} containers, a first look: {calls} calls, {} ms (median of 5)", took[2]);
        Ok(())
    })
}

fn changes_are_seen(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |mut live| {
        let web = live.world.engine_name("web");
        let (data, inside) = (live.world.engine_name("data"), live.world.engine_name("inside"));
        let guest = live.world.engine_name("guest");
        let file = live.world.folder.path().join("file");
        std::fs::write(&file, "x")?;
        let (file, into) = (file.display().to_string(), format!("{web}:/tmp"));
        let renamed = format!("{web}.mine");
        let volume = format!("{web}-data");
        let mut before = live.look().await?;
        let changes: [(&str, Vec<&str>); 17] = [
            ("kill", vec!["kill", &web]),
            ("start", vec!["start", &web]),
            ("stop", vec!["stop", "-t", "0", &web]),
            ("start again", vec!["start", &web]),
            ("pause", vec!["pause", &web]),
            ("unpause", vec!["unpause", &web]),
            ("limits", vec!["update", "--memory", "96m", "--memory-swap", "96m", &web]),
            ("rename", vec!["rename", &web, &renamed]),
            ("rename back", vec!["rename", &renamed, &web]),
            ("disconnect", vec!["network", "disconnect", &inside, &web]),
            ("connect without alias", vec!["network", "connect", &inside, &web]),
            ("foreign network", vec!["network", "connect", "bridge", &web]),
            ("guest", vec!["run", "-d", "--name", &guest, "--network", &data, IMAGE, "sleep", "600"]),
            ("guest gone", vec!["rm", "-f", &guest]),
            ("rm", vec!["rm", "-f", &web]),
            ("volume rm", vec!["volume", "rm", &volume]),
            ("network rm", vec!["network", "rm", &inside]),
        ];
        for (what, arguments) in &changes {
            live.docker(arguments)?;
            before = live.sees_another(what, &before).await?;
        }
        // What else is in a container than its files is not compared: that it changed is told all the same.
        live.world.up().await?;
        live.quiet().await?;
        live.docker(&["cp", &file, &into])?;
        match live.told().await? {
            Change::Foreign | Change::Echo => Ok(()),
        }
    })
}

fn own_acts(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |mut live| {
        let resource = workload("web");
        let acts = live.world.replacement(&resource).await?;
        let run = live.world.next_run();
        for (resource, act) in acts.iter().take(3) {
            live.world
                .docker
                .execute(&run, resource, act)
                .await
                .map_err(|error: TargetError| failure(&error))?;
            // At once, before any event can have come.
            let known = live.look().await?;
            let asked = picture(&live.world.look_anew().await?);
            crate::world::same(&format!("after {act:?}"), &asked, &known)?;
        }
        live.world.undo(&run, &acts).await?;
        let known = live.look().await?;
        crate::world::same("after the undo", &picture(&live.world.look_anew().await?), &known)?;
        match live.told().await? {
            Change::Echo => Ok(()),
            Change::Foreign => Err("the run's own events were taken for somebody else's".into()),
        }
    })
}

fn reconnects(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |live| {
        let before = live.look().await?;
        live.counter.take();
        live.counter.cut();
        live.docker(&["pause", &live.world.engine_name("web")])?;
        // Nothing of what happened meanwhile is missed, whether the stream is there again or not.
        let now = live.look().await?;
        if now == before {
            return Err("the pause was not seen".into());
        }
        if live.told().await? != Change::Foreign {
            return Err("a lost stream is no echo".into());
        }
        // It may be another engine by now.
        live.look().await?;
        if !live.calls().iter().any(|call| call.contains("/version")) {
            return Err("the engine was not asked what it is".into());
        }
        live.quiet().await?;
        live.agrees("after the stream was cut").await?;
        live.docker(&["unpause", &live.world.engine_name("web")])?;
        live.sees_another("unpause", &now).await.map(drop)
    })
}

fn exec_is_free(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |live| {
        for _ in 0..5 {
            live.docker(&["exec", &live.world.engine_name("web"), "true"])?;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        live.look().await?;
        let calls = live.calls();
        if calls.is_empty() { Ok(()) } else { Err(format!("asked for {calls:?}").into()) }
    })
}

fn images(rig: &Rig) -> Result<(), Failed> {
    followed(rig, async |mut live| {
        let reference = format!("trueup-live/{}:1", live.world.identity.environment);
        live.docker(&["tag", IMAGE, &reference])?;
        live.world.declare("tagged", json!({"image": reference}));
        live.look().await?;
        let before = live.quiet().await?;
        live.docker(&["tag", "trueup-test/busybox:2", &reference])?;
        let now = live.sees_another("tag", &picture(&before)).await?;
        live.docker(&["rmi", &reference])?;
        live.sees_another("untag", &now).await.map(drop)
    })
}
