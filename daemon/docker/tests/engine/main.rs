//! The adapter on real engines: the ones that the test rig made, or none.
//!
//! An engine that lives in a network namespace of its own is tested from inside of it: the test binary
//! starts itself there once more.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "it is a test program")]

mod counter;
mod cycle;
mod delivery;
mod images;
mod live;
mod obstacles;
mod rig;
mod waiting;
mod world;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use rig::Rig;

/// One test of one engine.
type Test = fn(&Rig) -> Result<(), Failed>;

/// Says which engine the process is for, once it is in its namespace.
const INSIDE: &str = "TRUEUP_TEST_INSIDE";

fn tests() -> Vec<(&'static str, Test)> {
    [cycle::tests(), waiting::tests(), delivery::tests(), images::tests(), obstacles::tests(), live::tests()]
        .concat()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let inside = std::env::var(INSIDE).ok();
    let mut trials = Vec::new();
    let mut failed = false;
    for name in ["engine20", "engine29"] {
        if inside.as_deref().is_some_and(|inside| inside != name) {
            continue;
        }
        match Rig::find(name) {
            Ok(rig) if rig.namespace.is_some() && inside.is_none() => failed |= !run_inside(&rig),
            Ok(rig) => trials.extend(tests().into_iter().map(|(test, run)| {
                let rig = rig.clone();
                Trial::test(format!("{name}::{test}"), move || run(&rig))
            })),
            Err(why) => {
                eprintln!("{name}: skipped, {why}");
                let skipped = tests().into_iter().map(|(test, _)| {
                    Trial::test(format!("{name}::{test}"), || Ok(())).with_ignored_flag(true)
                });
                trials.extend(skipped);
            }
        }
    }
    failed |= libtest_mimic::run(&arguments, trials).has_failed();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs the tests of an engine from inside of its network namespace.
fn run_inside(rig: &Rig) -> bool {
    let namespace = rig.namespace.as_deref().unwrap_or_default();
    let status = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{namespace}"))
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &rig.name)
        .status();
    status.is_ok_and(|status| status.success())
}
