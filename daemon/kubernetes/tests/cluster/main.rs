//! The adapter on a real API server: the one that the test rig made (`tests/rig/rig.sh up kubernetes`), or none.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "it is a test program")]

mod ownership;
mod reach;
mod samples;
mod traps;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use world::Cluster;

/// One test of a cluster.
type Test = fn(&Cluster) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(cluster) = Cluster::find() else {
        eprintln!("no cluster: set what `tests/rig/rig.sh env` says after `tests/rig/rig.sh up kubernetes`");
        return ExitCode::SUCCESS;
    };
    let tests = [reach::tests(), ownership::tests(), traps::tests()].concat();
    let trials = tests.into_iter().map(|(name, run)| {
        let cluster = cluster.clone();
        Trial::test(name, move || run(&cluster))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
