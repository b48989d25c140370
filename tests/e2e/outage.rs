//! The engine dies in the middle of a run, alone or together with the daemon. These tests have an engine to themselves.

use std::{fs, process::Command, time::Duration};

use libtest_mimic::{Failed, Trial};

use crate::{
    crash::{SCENARIOS, Scenario, at_journal_writes, converges, prepared, write_five},
    lab::text_of,
    random::Random,
    rig::Engine,
};

/// How often the engine is killed in one test.
const KILLS: usize = 3;

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    let alone = engine.clone();
    let name = format!("{}::crash::of_the_engine_during_an_update", engine.name);
    let alone = Trial::test(name, move || engine_killed_during_update(&alone));
    let together = SCENARIOS.map(|(name, scenario)| {
        let name = format!("{}::crash::of_engine_and_daemon_at_journal_writes_of_{name}", engine.name);
        let engine = engine.clone();
        Trial::test(name, move || at_journal_writes(&engine, scenario, KILLS, kill_and_restart))
    });
    [alone].into_iter().chain(together).collect()
}

/// Kills the engine, and starts it again.
fn kill_and_restart(engine: &Engine) -> Result<(), Failed> {
    let pid = fs::read_to_string(&engine.pid_file)?;
    text_of(Command::new("kill").args(["-9", pid.trim()]))?;
    text_of(Command::new("sh").args(["-c", &engine.restart]))?;
    Ok(())
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
