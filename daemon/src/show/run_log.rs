//! One run, step by step.

use jiff::Timestamp;
use serde_json::{Value, json};
use trueup_engine::{
    Outcome,
    record::{Entry, Logged, RunRecord},
};

use super::one_line;

/// Returns the run and its journal as text.
pub(crate) fn run_log(run: &RunRecord, journal: &[Logged]) -> String {
    let mut lines = vec![
        format!("run {} of {} · {} · {}", run.id, run.env, run.revision, run.revision.author),
        format!("  asked by {} at {}", run.trigger, run.started),
        format!("  plan {} · {} changes", run.plan.short(), run.summary.len()),
    ];
    lines.extend(
        journal
            .iter()
            .map(|logged| format!("  {:>9}  {}", offset(run.started, logged.at), entry(&logged.entry))),
    );
    let outcome = run.outcome.as_ref().map_or("still running, or its process died", Outcome::word);
    lines.push(format!("  {outcome}"));
    if let Some(fault) = run.outcome.as_ref().and_then(Outcome::fault) {
        lines.push(format!("  {}", fault.error.message));
        lines.extend(fault.error.causes.iter().map(|cause| format!("    because: {cause}")));
        lines.extend(fault.error.log.iter().map(|line| format!("      {line}")));
    }
    lines.iter().map(|line| one_line(line)).collect::<Vec<_>>().join("\n")
}

fn offset(start: Timestamp, at: Timestamp) -> String {
    let millis = (at.as_millisecond() - start.as_millisecond()).max(0);
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Begin { step } => format!("{step}"),
        Entry::Done { step, took } => format!("{step}: done in {:.1} s", took.as_secs_f64()),
        Entry::RollBack { fault } => format!("going back: {fault}"),
        Entry::Undone { step } => format!("{step}: taken back"),
        Entry::Keep { fault } => format!("keeping what was done: {fault}"),
        Entry::Supersede => "a newer revision takes over".into(),
        Entry::Finished { step } => format!("{step}: cleaned up"),
        Entry::Left { fault } => super::left(fault),
    }
}

/// Returns the same facts for programs.
pub(crate) fn run_log_json(run: &RunRecord, journal: &[Logged]) -> Value {
    json!({ "apiVersion": "trueup.dev/v1", "run": run, "journal": journal })
}
