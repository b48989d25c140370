//! What happens to an environment beside its commits.

use libtest_mimic::Failed;

use crate::{
    lab::{Daemon, Lab},
    outage::{kill_and_restart, restart},
    rig::Engine,
};

/// One way to change a container by hand, by its name.
type ByHand = (&'static str, fn(&Lab, &str) -> Result<(), Failed>);

/// Pausing is first, for it is left out where [`by_hand`] says so.
const BY_HAND: [ByHand; 9] = [
    ("pause", |lab, name| client(lab, &["pause", name])),
    ("stop", |lab, name| client(lab, &["stop", "-t", "0", name])),
    ("kill", |lab, name| client(lab, &["kill", name])),
    ("rm", |lab, name| client(lab, &["rm", "-f", name])),
    ("update", |lab, name| client(lab, &["update", "--memory", "96m", "--memory-swap", "96m", name])),
    ("network disconnect", |lab, name| client(lab, &["network", "disconnect", &zone(lab), name])),
    ("network connect", |lab, name| client(lab, &["network", "connect", "bridge", name])),
    ("rename", |lab, name| client(lab, &["rename", name, &format!("{name}-mine")])),
    ("a guest", guest),
];

/// Returns what may be done by hand. Engine 20.10 never answers again about a container that is paused while a check
/// begins in it, until somebody thaws it.
pub(super) fn by_hand(engine: &Engine) -> &'static [ByHand] {
    if engine.name == "engine20" { &BY_HAND[1..] } else { &BY_HAND }
}

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
