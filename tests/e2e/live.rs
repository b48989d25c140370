//! The daemon hears of what somebody changes on the engine: it is repaired at once, not at the next interval.

use libtest_mimic::{Failed, Trial};

use crate::{
    app::{self, in_sync_at, trials as app_trials},
    lab::Lab,
    rig::Engine,
};

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app_trials(engine, "live", &[("what_somebody_stops_or_removes_is_back_at_once", repaired_at_once)])
}

fn repaired_at_once(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.environment("  zones:\n    data: {}\n  sync: {interval: 24h}\n  components: [app]\n")?;
    let commit = lab.commit("first")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    let app = format!("{}-app", lab.env);
    for what in [&["kill"][..], &["stop", "-t", "0"], &["rm", "-f"]] {
        let mut arguments = what.to_vec();
        arguments.push(&app);
        lab.docker(&arguments)?;
        let runs = || {
            let containers = lab.containers()?;
            let state = containers.get(&format!("/{app}")).map(|container| container["State"].clone());
            Ok(state.is_some_and(|state| state["Running"] == true))
        };
        lab.wait_until(&format!("the repair after `docker {}`", what[0]), runs)?;
        // Long before the interval is over.
        lab.wait_for("the status after the repair", in_sync_at(&commit))?;
    }
    Ok(())
}
