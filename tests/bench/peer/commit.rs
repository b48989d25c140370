//! From a commit to the start of the container that it changes, by the daemon's own log.

use std::{
    error::Error,
    fs::{self, File},
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Way,
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

/// Returns the milliseconds from the end of `git commit` to the call that starts the new container, without those that
/// the engine took to stop the old one and to create the new one.
pub(crate) fn measure() -> Result<f64, Box<dyn Error>> {
    let mut trueup = Trueup::new(Condition::Started)?;
    trueup.commit(0)?;
    let log = trueup.folder().join("log");
    let mut command = trueup.command(&["daemon"]);
    let daemon = Daemon(command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?);
    let mut ends = 0;
    let mut times = Vec::new();
    for generation in 0..=COMMITS {
        if generation > 0 {
            trueup.commit(generation)?;
        }
        let committed = Timestamp::now();
        ends += 1;
        let start = Instant::now();
        let text = loop {
            // Who looks too often takes the processor away from what is measured.
            sleep(Duration::from_millis(200));
            let text = fs::read_to_string(&log)?;
            if text.matches("run ends").count() == ends {
                break text;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("generation {generation} was waited for in vain\n{text}").into());
            }
        };
        if generation > 0 {
            times.push(beyond(&text, committed).ok_or_else(|| format!("there is no such step\n{text}"))?);
        }
    }
    drop(daemon);
    trueup.down()?;
    Ok(median(times))
}

/// Reads the last run in the log.
fn beyond(log: &str, committed: Timestamp) -> Option<f64> {
    let run = &log[log.rfind("run begins")?..];
    let find = |word: &str| {
        let line = run.lines().find(|line| line.contains(&format!(": {word} resource={CHANGED} ")))?;
        let ended: Timestamp = line.split_whitespace().next()?.parse().ok()?;
        let seconds: f64 = line.split("seconds=").nth(1)?.split_whitespace().next()?.parse().ok()?;
        Some((ended, seconds * 1000.0))
    };
    let (started, start) = find("started")?;
    let (_, create) = find("created")?;
    let (_, stop) = find("stopped")?;
    Some(started.duration_since(committed).as_secs_f64() * 1000.0 - start - create - stop)
}
