//! Signals in the middle of a run: it ends in order, and nothing is left half done.

use libtest_mimic::Failed;

use crate::{
    app::{self, Test, in_sync_at, says},
    rig::Engine,
};

pub(super) const TESTS: [Test; 2] = [
    ("ctrl_c_takes_an_apply_back", ctrl_c_takes_an_apply_back),
    ("a_daemon_that_is_stopped_takes_its_run_back_and_converges_later", a_daemon_that_is_stopped),
];

fn ctrl_c_takes_an_apply_back(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let before = lab.picture()?;
    app::write_slow(&lab)?;
    lab.commit("slow")?;
    let apply = lab.start(&["apply", &lab.env, "--yes"])?;
    lab.wait_for_new_container(&before)?;
    let (code, told) = apply.interrupt()?;
    assert_eq!(code, Some(130), "{told}");
    says(&told, &["cancelled", "\n  now ", "\n  next "])?;
    assert_eq!(lab.picture()?, before);
    app::write(&lab, "after")?;
    lab.commit("after")?;
    lab.exits(0, &["apply", &lab.env, "--yes"])?;
    Ok(())
}

fn a_daemon_that_is_stopped(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let before = lab.picture()?;
    app::write_slow(&lab)?;
    lab.commit("slow")?;
    let daemon = lab.daemon()?;
    lab.wait_for_new_container(&before)?;
    daemon.stop()?;
    assert_eq!(lab.picture()?, before);
    app::write(&lab, "after")?;
    let after = lab.commit("after")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the commit after it", in_sync_at(&after)).map(drop)
}
