//! How fast trueup is: beside its peer and the floor, and as there is more that a commit did not touch.
//!
//! ```text
//! tests/bench.sh                                   # all of it, with what it needs
//! cargo bench -p trueup-tests                      # growth: each layout, at 10 and at 1,000 environments, without an engine
//! cargo bench -p trueup-tests -- own 1000          # one of them, in this process
//! cargo bench -p trueup-tests -- daemon-own 1000   # the daemon: TRUEUP_BINARY on the engine DOCKER_HOST
//! cargo bench -p trueup-tests -- peer              # beside TRUEUP_BENCH_COMPOSE and bare calls
//! ```
//!
//! Each measurement of growth has a process of its own, so that its peak memory is its own.

mod daemon;
mod measure;
mod peer;
mod repository;

use std::{
    env,
    error::Error,
    io::Read,
    process::{Command, Stdio},
};

use measure::Measured;
use repository::Catalogue;

type Anything = Result<(), Box<dyn Error>>;

const LAYOUTS: [(&str, Catalogue); 2] = [("shared", Catalogue::Shared(100)), ("own", Catalogue::Own)];
const SIZES: [usize; 2] = [10, 1_000];

fn main() -> Anything {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [layout, environments] => {
            let of_daemon = layout.strip_prefix("daemon-");
            let wanted = of_daemon.unwrap_or(layout);
            let (_, catalogue) = LAYOUTS
                .into_iter()
                .find(|(name, _)| *name == wanted)
                .ok_or("say `shared` or `own`, or one of them after `daemon-`")?;
            let measure = if of_daemon.is_some() { daemon::measure } else { measure::measure };
            let measured = measure(environments.parse()?, catalogue)?;
            say(&serde_json::to_string(&measured)?);
            Ok(())
        }
        [] => LAYOUTS.into_iter().try_for_each(|(layout, _)| compare(layout)),
        ["peer"] => peer::compare(),
        [layout] => compare(layout),
        _ => Err("say nothing, or a layout and a number of environments".into()),
    }
}

/// Measures a layout at both sizes, each in its own process.
fn compare(layout: &str) -> Anything {
    let [small, large] = SIZES.map(|environments| child(layout, environments));
    let (small, large) = (small?, large?);
    say(&format!("{layout}: {small}"));
    say(&format!("{layout}: {large}"));
    for (what, before) in &small.commits {
        let after = large.commits.get(what).copied().unwrap_or(f64::NAN);
        let ratio = after / before;
        say(&format!("{layout}: a commit to {what}: {before:.2} ms and {after:.2} ms, ratio {ratio:.2}"));
    }
    Ok(())
}

fn child(layout: &str, environments: usize) -> Result<Measured, Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?)
        .args([layout, &environments.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut text = String::new();
    child.stdout.take().ok_or("it is a pipe")?.read_to_string(&mut text)?;
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{layout} {environments} ended with {status}").into());
    }
    Ok(serde_json::from_str(&text)?)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn say(line: &str) {
    println!("{line}");
}
