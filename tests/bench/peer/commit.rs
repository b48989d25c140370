//! From a commit to the container that it changes, by the daemon's own log.

use std::{
    error::Error,
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Row, Way,
    bare::Bare,
    services::{CHANGED, Condition},
    trueup::Trueup,
};
use crate::measure::median;

/// How many commits are made; the median counts.
const COMMITS: usize = 11;

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// A daemon that is stopped when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a commit is to a daemon.
pub(super) struct Commits {
    /// From its end to the end of the run, beside bare calls that do the same.
    pub(super) row: Row,
    /// The milliseconds from its end to the call that starts the new container, without those that the engine took to
    /// stop the old one and to create the new one.
    pub(super) beyond: f64,
}

pub(super) fn measure() -> Result<Commits, Box<dyn Error>> {
    let (mut trueup, mut bare) = (Trueup::new(Condition::Started)?, Bare::new()?);
    trueup.commit(0)?;
    bare.up(0)?;
    let log = trueup.folder().join("log");
    let mut command = trueup.command(&["daemon"]);
    let daemon = Daemon(command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?);
    wait_for_runs(&log, 1)?;
    let (mut beyond, mut whole, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for generation in 1..=COMMITS {
        trueup.commit(generation)?;
        let committed = Timestamp::now();
        let text = wait_for_runs(&log, generation + 1)?;
        let run = Run::last(&text).ok_or_else(|| format!("there is no such run\n{text}"))?;
        beyond.push(milliseconds(run.started, committed) - run.engine);
        whole.push(milliseconds(run.ended, committed));
        floor.push(bare.up(generation)?);
    }
    drop(daemon);
    bare.down()?;
    trueup.down()?;
    let row = Row::new("one service changed, by the daemon".into(), whole, Some(floor), None);
    Ok(Commits { row, beyond: median(beyond) })
}

/// Waits until so many runs have ended; returns the daemon's log.
fn wait_for_runs(log: &Path, count: usize) -> Result<String, Box<dyn Error>> {
    let start = Instant::now();
    loop {
        // Who looks too often takes the processor away from what is measured.
        sleep(Duration::from_millis(200));
        let text = fs::read_to_string(log)?;
        if text.matches("run ends").count() == count {
            return Ok(text);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("run {count} was waited for in vain\n{text}").into());
        }
    }
}

/// What the log says of one run.
struct Run {
    /// When the call that starts the new container was sent.
    started: Timestamp,
    /// The milliseconds that the engine took to create the new container and to stop the old one.
    engine: f64,
    ended: Timestamp,
}

impl Run {
    /// Reads the last run in the log.
    fn last(log: &str) -> Option<Self> {
        let run = &log[log.rfind("run begins")?..];
        let time = |line: &str| line.split_whitespace().next()?.parse::<Timestamp>().ok();
        let find = |word: &str| {
            let line = run.lines().find(|line| line.contains(&format!(": {word} resource={CHANGED} ")))?;
            let seconds: f64 = line.split("seconds=").nth(1)?.split_whitespace().next()?.parse().ok()?;
            Some((time(line)?, seconds))
        };
        let (up, start) = find("started")?;
        let (_, create) = find("created")?;
        let (_, stop) = find("stopped")?;
        Some(Self {
            started: up - SignedDuration::try_from_secs_f64(start).ok()?,
            engine: (create + stop) * 1000.0,
            ended: time(run.lines().find(|line| line.contains("run ends"))?)?,
        })
    }
}

fn milliseconds(to: Timestamp, from: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}
