//! The wall clock jumps while the daemon runs: commits are applied, drift is repaired, nothing is done twice.
//!
//! The daemon gets its time from libfaketime, which is given another offset while it runs; its timers go by the
//! monotonic clock, which nobody can set. How a schedule takes it is tested in `daemon/src/controller/schedule.rs`:
//! it waits by a timer of the kernel, which goes by the real clock.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, in_sync_at, json, trials as app_trials},
    lab::Lab,
    rig::Engine,
};

/// Where Debian's package `faketime` has it, for programs with several threads.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// How far the daemon's clock is ahead, in hours, one after the other.
const JUMPS: [i64; 4] = [1, 0, -1, 0];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app_trials(engine, "clock", &[("that_jumps_an_hour_both_ways_is_lived_through", jumps)])
}

fn set_clock(lab: &Lab, hours: i64) -> Result<(), Failed> {
    let new = lab.path("clock.new");
    std::fs::write(&new, format!("{:+}\n", hours * 3_600))?;
    Ok(std::fs::rename(new, lab.path("clock"))?)
}

/// Writes the component `app`; a repair of it is tried twice in ten minutes.
fn write(lab: &Lab, word: &str) -> Result<(), Failed> {
    app::write(lab, word)?;
    lab.environment("  zones:\n    data: {}\n  sync: {interval: 10m, maxRepairs: 2}\n  components: [app]\n")
}

fn newest_run(lab: &Lab) -> Result<Value, Failed> {
    Ok(json(lab, &["history", &lab.env])?["runs"][0].clone())
}

/// Fails unless a run began when the daemon's clock was so far ahead.
fn began_at(run: &Value, hours: i64) -> Result<(), Failed> {
    let started: Timestamp = run["started"].as_str().ok_or("a run has a start")?.parse()?;
    let off = started.duration_since(Timestamp::now()) - SignedDuration::from_hours(hours);
    if off.abs() < SignedDuration::from_mins(20) {
        return Ok(());
    }
    Err(format!("the clock was to be {hours} h ahead, and the run began at {started}").into())
}

fn jumps(engine: &Engine) -> Result<(), Failed> {
    if !Path::new(LIBRARY).exists() {
        return Err("it needs the Debian package faketime".into());
    }
    let lab = Lab::new(engine)?;
    write(&lab, "first")?;
    let mut commit = lab.commit("first")?;
    set_clock(&lab, 0)?;
    let clock = lab.path("clock");
    let mut daemon = lab.daemon_with(&[
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().ok_or("the path is UTF-8")?),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])?;
    lab.wait_for("the first commit", in_sync_at(&commit))?;
    for hours in JUMPS {
        set_clock(&lab, hours)?;
        let last = newest_run(&lab)?["id"].clone();
        lab.docker(&["kill", &format!("{}-app", lab.env)])?;
        lab.wait_until(&format!("the repair at {hours} h"), || Ok(newest_run(&lab)?["id"] != last))?;
        lab.wait_for(&format!("the status at {hours} h"), in_sync_at(&commit))?;
        began_at(&newest_run(&lab)?, hours)?;
        write(&lab, &format!("{hours} h after {commit}"))?;
        commit = lab.commit(&format!("{hours} h"))?;
        lab.wait_for(&format!("the commit at {hours} h"), in_sync_at(&commit))?;
        began_at(&newest_run(&lab)?, hours)?;
    }
    let history = json(&lab, &["history", &lab.env])?;
    let runs = history["runs"].as_array().ok_or("history lists runs")?;
    let is_well = |run: &&Value| run["outcome"]["outcome"] == "applied" && !run["ended"].is_null();
    let expected = 1 + 2 * JUMPS.len();
    assert_eq!((runs.len(), runs.iter().filter(is_well).count()), (expected, expected), "{history:#}");
    assert!(!daemon.ended()?);
    daemon.stop()
}
