//! What happens to an environment beside its commits.

use libtest_mimic::Failed;

use crate::{
    lab::{Daemon, Lab},
    outage::{kill_and_restart, restart},
};

/// One way to change a container by hand, by its name.
type ByHand = (&'static str, fn(&Lab, &str) -> Result<(), Failed>);

pub(super) const BY_HAND: [ByHand; 9] = [
    ("stop", |lab, name| client(lab, &["stop", "-t", "0", name])),
    ("kill", |lab, name| client(lab, &["kill", name])),
    ("rm", |lab, name| client(lab, &["rm", "-f", name])),
    ("pause", pause),
    ("update", |lab, name| client(lab, &["update", "--memory", "96m", "--memory-swap", "96m", name])),
    ("network disconnect", |lab, name| client(lab, &["network", "disconnect", &zone(lab), name])),
    ("network connect", |lab, name| client(lab, &["network", "connect", "bridge", name])),
    ("rename", |lab, name| client(lab, &["rename", name, &format!("{name}-mine")])),
    ("a guest", guest),
];

/// One way to kill something, by its name.
type Kill = (&'static str, fn(&Lab, &mut Option<Daemon>) -> Result<(), Failed>);

pub(super) const KILLS: [Kill; 4] = [
    ("the daemon", |lab, daemon| again(lab, daemon, || Ok(()))),
    ("the engine", |lab, _| kill_and_restart(&lab.engine)),
    ("both", |lab, daemon| again(lab, daemon, || kill_and_restart(&lab.engine))),
    ("a restart of the engine", |lab, _| restart(&lab.engine)),
];

fn client(lab: &Lab, arguments: &[&str]) -> Result<(), Failed> {
    lab.docker(arguments).map(drop)
}

fn zone(lab: &Lab) -> String {
    format!("{}-data", lab.env)
}

/// Pauses it while no check begins in it, which Engine 20.10 would wait for for ever.
fn pause(lab: &Lab, name: &str) -> Result<(), Failed> {
    lab.settle()?;
    client(lab, &["pause", name])
}

/// A container that nobody declared.
fn guest(lab: &Lab, beside: &str) -> Result<(), Failed> {
    let (name, label, zone) = (format!("{beside}.guest"), lab.label(), zone(lab));
    let begin = ["run", "-d", "--name", &name, "--label", &label, "--network", &zone];
    client(lab, &[&begin[..], &["trueup-test/busybox:1", "sleep", "600"]].concat())
}

/// Kills the daemon, and starts it again after something else.
fn again(
    lab: &Lab,
    daemon: &mut Option<Daemon>,
    meanwhile: impl Fn() -> Result<(), Failed>,
) -> Result<(), Failed> {
    if let Some(daemon) = daemon.take() {
        daemon.kill();
    }
    meanwhile()?;
    *daemon = Some(lab.daemon()?);
    Ok(())
}
