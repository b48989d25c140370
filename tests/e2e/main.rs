//! The tests of the whole: the shipped binary against real engines, a real registry and real Git.
//!
//! What the rig could not start is counted as ignored and named; with `CI=true` it is a failure.

mod app;
mod architecture;
mod change;
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
    }
    // What follows is the same on every engine: one is enough.
    if let Some(engine) = rig.engines().first() {
        trials.extend(hostile::trials(engine));
        trials.extend(people::trials(engine));
        trials.extend(rig.git().iter().flat_map(|git| sources::trials(engine, git)));
    }
    for (part, reason) in rig.missing() {
        trials.push(missing(part, reason));
    }
    let together = libtest_mimic::run(&arguments, trials);
    let mut alone: Vec<_> = rig.engines().iter().flat_map(outage::trials).collect();
    alone.extend(rig.engines().iter().flat_map(soak::trials));
    let one_by_one = Arguments { test_threads: Some(1), ..arguments };
    let alone = libtest_mimic::run(&one_by_one, alone);
    together.exit_if_failed();
    alone.exit();
}

/// A part of the rig that is not there: ignored on a person's machine, a failure in CI.
fn missing(part: &str, reason: &str) -> Trial {
    let reason = reason.to_owned();
    let in_ci = std::env::var_os("CI").is_some();
    Trial::test(format!("rig has {part} ({reason})"), move || Err(reason.into())).with_ignored_flag(!in_ci)
}
