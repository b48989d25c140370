//! Twenty services brought up, looked at and changed: by trueup, by Docker Compose, and by bare calls of the engine's
//! API, which nobody can be faster than. All on the engine `DOCKER_HOST`, in turn, in one run.

mod bare;
mod commit;
mod compose;
mod services;
mod trueup;

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    process::{Command, Stdio},
};

use serde::Serialize;

use self::{bare::Bare, compose::Compose, services::Condition, trueup::Trueup};
use crate::{measure::median, say};

/// How often everything is done; the median counts.
const ROUNDS: usize = 5;

/// One way to have the services.
trait Way {
    fn name(&self) -> &'static str;

    /// Brings the services to a generation; returns how many milliseconds that took.
    fn up(&mut self, generation: usize) -> Result<f64, Box<dyn Error>>;

    /// Removes everything that it made.
    fn down(&mut self) -> Result<(), Box<dyn Error>>;
}

/// One task: medians of milliseconds, and of what was divided round by round.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    task: String,
    floor: Option<f64>,
    compose: Option<f64>,
    trueup: f64,
    to_floor: Option<f64>,
    to_compose: Option<f64>,
}

impl Row {
    fn new(task: String, trueup: Vec<f64>, floor: Option<Vec<f64>>, compose: Option<Vec<f64>>) -> Self {
        // What else the machine does meets all of a round.
        let ratio =
            |other: &Vec<f64>| median(trueup.iter().zip(other).map(|(ours, other)| ours / other).collect());
        let (to_floor, to_compose) = (floor.as_ref().map(ratio), compose.as_ref().map(ratio));
        Self {
            task,
            floor: floor.map(median),
            compose: compose.map(median),
            trueup: median(trueup),
            to_floor,
            to_compose,
        }
    }

    fn say(&self) {
        let whole =
            |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"));
        let ratio =
            |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"));
        say(&format!(
            "{:<42} {:>9} {:>9} {:>9.0} {:>9} {:>9}",
            self.task,
            whole(self.floor),
            whole(self.compose),
            self.trueup,
            ratio(self.to_floor),
            ratio(self.to_compose)
        ));
    }
}

/// What is measured of each way, by task.
type Times = BTreeMap<(usize, &'static str), Vec<f64>>;

const TASKS: [&str; 3] = ["from nothing", "nothing to do", "one service changed"];

/// Measures both conditions, prints a table, and writes it as JSON to the file `TRUEUP_BENCH_JSON`.
pub(crate) fn compare() -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for condition in [Condition::Started, Condition::Healthy] {
        rows.extend(measure(condition)?);
    }
    let commits = commit::measure()?;
    rows.push(commits.row);
    say(&format!(
        "{:<42} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "milliseconds, medians", "floor", "Compose", "trueup", "/ floor", "/ Compose"
    ));
    rows.iter().for_each(Row::say);
    let beyond = commits.beyond;
    say(&format!(
        "from the end of `git commit` to the start call: {beyond:.0} ms beyond the engine's stop and create"
    ));
    if let Some(file) = env::var_os("TRUEUP_BENCH_JSON") {
        let all = serde_json::json!({"tasks": rows, "commitToStartBeyondEngine": beyond, "unit": "ms"});
        fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    Ok(())
}

/// Measures one condition: round by round, and in each round way by way, so that what else the machine does meets all.
fn measure(condition: Condition) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut ways: Vec<Box<dyn Way>> =
        vec![Box::new(Compose::new(condition)?), Box::new(Trueup::new(condition)?)];
    if condition == Condition::Started {
        ways.push(Box::new(Bare::new()?));
    }
    let mut times = Times::new();
    for way in &mut ways {
        way.down()?;
    }
    for round in 0..ROUNDS {
        for way in &mut ways {
            // Even generations are brought up, odd ones are changes.
            let tasks = [way.up(0)?, way.up(0)?, way.up(1)?];
            way.down()?;
            for (task, took) in tasks.into_iter().enumerate() {
                times.entry((task, way.name())).or_default().push(took);
            }
            say(&format!("{condition}, round {round}, {}: {tasks:.0?}", way.name()));
        }
    }
    let mut of = |task, name| times.remove(&(task, name));
    let rows = TASKS.iter().enumerate().map(|(task, what)| {
        let what = format!("{what}, dependencies {condition}");
        Some(Row::new(what, of(task, "trueup")?, of(task, "floor"), Some(of(task, "Compose")?)))
    });
    rows.collect::<Option<_>>().ok_or_else(|| "each way was measured".into())
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?} ended with {}: {why}", output.status).into())
}
