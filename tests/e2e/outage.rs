//! The engine dies in the middle of a run, alone or together with the daemon. These tests have an engine to themselves.

use std::{fs, io::Write, path::Path, process::Command, thread::sleep, time::Duration};

use libtest_mimic::{Failed, Trial};

use crate::{
    app::{self, in_sync_at, says},
    crash::{SCENARIOS, Scenario, at_journal_writes, converges, prepared, write_five},
    lab::{Lab, text_of},
    random::Random,
    rig::Engine,
};

/// How often the engine is killed in one test.
const KILLS: usize = 3;

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    let mut trials = vec![engine.alone("crash::of_the_engine_during_an_update", engine_killed_during_update)];
    trials.extend(SCENARIOS.map(|(name, scenario)| {
        let name = format!("crash::of_engine_and_daemon_at_journal_writes_of_{name}");
        engine.alone(&name, move |engine| at_journal_writes(engine, scenario, KILLS, kill_and_restart))
    }));
    trials.push(engine.alone("outage::an_engine_that_is_away_is_lived_through", engine_away));
    trials.push(engine.alone("outage::an_engine_that_hangs_is_told_to_be_away", engine_hangs));
    trials.push(engine.alone("outage::a_full_disk_under_the_store_is_lived_through", full_disk));
    trials
}

/// Kills the engine, and starts it again.
pub(crate) fn kill_and_restart(engine: &Engine) -> Result<(), Failed> {
    let pid = fs::read_to_string(&engine.pid_file)?;
    text_of(Command::new("kill").args(["-9", pid.trim()]))?;
    restart(engine)
}

/// Starts the engine again; one that runs is asked to stop before, as a service manager does it.
pub(crate) fn restart(engine: &Engine) -> Result<(), Failed> {
    text_of(Command::new("sh").args(["-c", &engine.restart])).map(drop)
}

fn engine_killed_during_update(engine: &Engine) -> Result<(), Failed> {
    let mut random = Random::printed(&format!("{} engine killed", engine.name));
    let lab = prepared(engine, Scenario::Update)?;
    // The update takes about three seconds; the moments are spread over it.
    let moments = random.sample((1..=30).map(|n| Duration::from_millis(100 * n)).collect(), KILLS);
    for (n, moment) in moments.into_iter().enumerate() {
        write_five(&lab, n + 1, false)?;
        lab.commit(&format!("generation {}", n + 1))?;
        let daemon = lab.daemon()?;
        // Not a wait for something to be true: the moment of the kill is what is tried.
        std::thread::sleep(moment);
        kill_and_restart(engine)?;
        daemon.stop()?;
        converges(&lab, Scenario::Update)
            .map_err(|error| format!("killed after {moment:?}: {}", error.message().unwrap_or("?")))?;
    }
    Ok(())
}

/// How long the engine is away: `TRUEUP_OUTAGE` seconds.
fn outage() -> Duration {
    let seconds = std::env::var("TRUEUP_OUTAGE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

fn engine_away(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let first = lab.git(&["rev-parse", "HEAD"])?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first look", in_sync_at(&first))?;
    let pid = fs::read_to_string(&engine.pid_file)?;
    text_of(Command::new("kill").args(["-9", pid.trim()]))?;
    let told = (|| {
        app::write(&lab, "second")?;
        let second = lab.commit("second")?;
        let status = lab.wait_for("the outage", |status| status["sync"] == "Unknown")?;
        says(status["why"].as_str().unwrap_or_default(), &["the engine at", "does not answer"])?;
        // Not a wait for something to be true: how long it is away is what is tried.
        sleep(outage());
        Ok::<_, Failed>(second)
    })();
    // The next test needs it, whatever came of this one.
    restart(engine)?;
    let second = told?;
    lab.wait_for("the commit of meanwhile", |status| {
        in_sync_at(&second)(status) && status["health"] == "Healthy"
    })?;
    assert!(!daemon.ended()?);
    daemon.stop()
}

/// It keeps its connections open and says nothing.
fn engine_hangs(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let first = lab.git(&["rev-parse", "HEAD"])?;
    let daemon = lab.daemon()?;
    lab.wait_for("the first look", in_sync_at(&first))?;
    let pid = fs::read_to_string(&engine.pid_file)?;
    let send = |signal: &str| text_of(Command::new("kill").args([signal, pid.trim()]));
    send("-STOP")?;
    let told = lab.wait_for("the silence", |status| status["sync"] == "Unknown");
    let asked = lab.exits(1, &["plan", &lab.env]);
    send("-CONT")?;
    let status = told?;
    says(status["why"].as_str().unwrap_or_default(), &["the engine at", "does not answer"])?;
    says(&asked?, &["the engine at", "does not answer"])?;
    lab.wait_for("the engine to go on", in_sync_at(&first))?;
    daemon.stop()
}

/// A small file system of its own, which goes with it.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Result<Self, Failed> {
        fs::create_dir_all(folder)?;
        text_of(Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(folder))?;
        Ok(Self(folder))
    }

    /// Writes until there is no room.
    fn fill(&self) -> Result<(), Failed> {
        let mut file = fs::File::create(self.0.join("filler"))?;
        for size in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    fn empty(&self) -> Result<(), Failed> {
        Ok(fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

fn full_disk(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    let state = lab.path("state");
    let disk = SmallDisk::mount(&state)?;
    app::write(&lab, "first")?;
    let first = lab.commit("first")?;
    let mut daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    let before = lab.picture()?;
    disk.fill()?;
    app::write(&lab, "second")?;
    let second = lab.commit("second")?;
    lab.wait_until("the full disk to be told", || Ok(lab.daemon_log().contains("the disk of the store")))?;
    assert_eq!(lab.picture()?, before, "something was changed that nothing could be written down of");
    assert!(!daemon.ended()?);
    disk.empty()?;
    lab.wait_for("the commit, once there is room", in_sync_at(&second))?;
    daemon.stop()
}
