//! What was run, newest first.

use jiff::Timestamp;
use serde_json::{Value, json};
use trueup_engine::{Outcome, record::RunRecord};
use trueup_plan::Action;

use super::{ago, table::table};

/// Returns the table.
pub(crate) fn history(runs: &[RunRecord], now: Timestamp) -> String {
    if runs.is_empty() {
        return "nothing was run yet".into();
    }
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            [
                run.id.to_string(),
                run.env.environment.to_string(),
                ago(run.started, now),
                run.revision.short().to_owned(),
                run.outcome.as_ref().map_or("running", Outcome::word).to_owned(),
                took(run),
                run.trigger.to_string(),
                why(run),
            ]
        })
        .collect();
    table(["RUN", "ENVIRONMENT", "AGO", "REVISION", "OUTCOME", "TOOK", "ASKED BY", "WHAT"], &rows)
}

fn took(run: &RunRecord) -> String {
    let Some(ended) = run.ended else { return "-".into() };
    let millis = ended.as_millisecond() - run.started.as_millisecond();
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

/// What a run did, or why it failed, in one line.
fn why(run: &RunRecord) -> String {
    match &run.outcome {
        Some(outcome) if outcome.fault().is_some() => {
            outcome.fault().map(|fault| fault.error.message.replace('\n', " ")).unwrap_or_default()
        }
        _ => changes(run),
    }
}

fn changes(run: &RunRecord) -> String {
    let count =
        |wanted: &[Action]| run.summary.iter().filter(|change| wanted.contains(&change.action)).count();
    let parts: Vec<_> = [
        (count(&[Action::Create]), "created"),
        (count(&[Action::Update, Action::Replace, Action::Start]), "changed"),
        (count(&[Action::Run]), "run"),
        (count(&[Action::Delete]), "deleted"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    let subject = &run.revision.subject;
    if parts.is_empty() { subject.clone() } else { format!("{} · {subject}", parts.join(", ")) }
}

/// Returns the same facts for programs.
pub(crate) fn history_json(runs: &[RunRecord]) -> Value {
    json!({ "apiVersion": "trueup.dev/v1", "runs": runs })
}
