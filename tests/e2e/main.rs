//! The tests of the whole: the shipped binary against real engines, a real registry and real Git.
//!
//! What the rig could not start is counted as ignored and named; with `CI=true` it is a failure.

mod app;
mod architecture;
mod change;
mod clock;
mod cluster;
mod crash;
mod drift;
mod hostile;
mod inverse;
mod lab;
mod live;
mod ops;
mod outage;
mod people;
mod proxy;
mod queue;
mod random;
mod relay;
mod rig;
mod secrecy;
mod soak;
mod sources;
mod supersede;
mod transaction;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let rig = rig::Rig::find();
    let mut trials = architecture::trials();
    trials.extend(ops::trials());
    for engine in rig.engines() {
        trials.extend(transaction::trials(&engine));
        trials.extend(crash::trials(&engine));
        trials.extend(supersede::trials(&engine));
        trials.extend(inverse::trials(&engine));
        trials.extend(secrecy::trials(&engine));
        trials.extend(live::trials(&engine));
        trials.extend(drift::trials(&engine));
        trials.extend(ops::engine_trials(&engine));
        trials.extend(change::trials(&engine));
        trials.extend(queue::trials(&engine));
        trials.extend(clock::trials(&engine));
    }
    // What follows is the same on every engine: one is enough.
    if let Some(engine) = rig.engines().first() {
        trials.extend(hostile::trials(engine));
        trials.extend(people::trials(engine));
        trials.extend(rig.git().iter().flat_map(|git| sources::trials(engine, git)));
    }
    trials.extend(rig.cluster().iter().flat_map(cluster::trials));
    for (part, reason) in rig.missing() {
        trials.push(missing(part, reason));
    }
    let together = libtest_mimic::run(&arguments, trials);
    let engines = rig.engines();
    let alone = engines.iter().map(|engine| outage::trials(engine).into_iter().chain(soak::trial(engine)));
    let side_by_side = Arguments { test_threads: Some(engines.len().max(1)), ..arguments };
    let alone = libtest_mimic::run(&side_by_side, in_turn(alone.collect()));
    together.exit_if_failed();
    alone.exit();
}

/// Returns one test of each engine, then the next one of each.
fn in_turn(mut each: Vec<impl Iterator<Item = Trial>>) -> Vec<Trial> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(each.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

/// A part of the rig that is not there: ignored on a person's machine, a failure in CI.
fn missing(part: &str, reason: &str) -> Trial {
    let reason = reason.to_owned();
    let in_ci = std::env::var_os("CI").is_some();
    Trial::test(format!("rig has {part} ({reason})"), move || Err(reason.into())).with_ignored_flag(!in_ci)
}
