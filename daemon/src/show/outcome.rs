//! How a run ended: what happened, where it comes from, what is true now, what to do.

use serde_json::{Value, json};
use trueup_engine::{Blame, Fault, Outcome};
use trueup_plan::{Change, Plan};

use crate::reconcile::Conclusion;

/// Returns how a reconciliation ended, for a person.
pub(crate) fn conclusion(conclusion: &Conclusion, plan: &Plan) -> String {
    let env = &plan.environment;
    match conclusion {
        Conclusion::InSync => format!("{env}: in sync at {}, nothing to do", plan.revision.short()),
        Conclusion::Waits(wait) => {
            let help = wait.help(env.as_str()).map_or(String::new(), |help| format!("\n  next    {help}"));
            format!("{env}: {wait}{help}")
        }
        Conclusion::Ran { run, outcome, took } => {
            let seconds = format!("{:.1} s", took.as_secs_f64());
            match outcome {
                Outcome::Applied => {
                    let noun = if plan.changes.len() == 1 { "change" } else { "changes" };
                    format!(
                        "{env}: applied {} in {seconds}, {} {noun} · run {run}",
                        plan.revision,
                        plan.changes.len()
                    )
                }
                other => ended(plan, other, &seconds, *run),
            }
        }
    }
}

/// The lines of a run that was not applied.
fn ended(plan: &Plan, outcome: &Outcome, seconds: &str, run: trueup_engine::RunId) -> String {
    let env = &plan.environment;
    let mut lines = vec![format!("{env}: {} · run {run}", headline(plan, outcome, seconds))];
    if let Some(fault) = outcome.fault() {
        lines.push(format!("  {}", fault.error.message));
        lines.extend(fault.error.causes.iter().map(|cause| format!("    because: {cause}")));
        if !fault.error.log.is_empty() {
            lines.push("    its last log lines:".into());
            lines.extend(fault.error.log.iter().map(|line| format!("      {line}")));
        }
        lines.extend(origin(plan, fault).map(|from| format!("  from    {from}")));
    }
    if let Outcome::RollbackFailed { left, .. } = outcome {
        lines.extend(left.iter().map(|fault| format!("  stuck   {}", fault.error.message)));
    }
    lines.push(format!("  now     {}", now(plan, outcome)));
    lines.push(format!("  next    {}", next(plan, outcome)));
    lines.join("\n")
}

fn headline(plan: &Plan, outcome: &Outcome, seconds: &str) -> String {
    let before =
        plan.applied.as_ref().map_or("where it was".to_owned(), |revision| revision.short().to_owned());
    match outcome {
        Outcome::RolledBack { fault } if is_retried(fault) => {
            format!("rolled back to {before} after {seconds}")
        }
        Outcome::RolledBack { .. } => format!("rolled back to {before} after {seconds}, and held"),
        Outcome::RollbackFailed { .. } => {
            format!("failed after {seconds}, and the way back to {before} failed too")
        }
        Outcome::Kept { .. } => format!("failed after {seconds} and was kept as it is, and held"),
        Outcome::Blocked { .. } => "blocked before anything was touched".into(),
        Outcome::Cancelled => format!("cancelled after {seconds}, back to {before}"),
        other => other.word().to_owned(),
    }
}

/// The line that the failed thing was declared at.
fn origin(plan: &Plan, fault: &Fault) -> Option<String> {
    let resource = fault.resource.as_ref()?;
    let change = plan.changes.iter().find(|change| change.resource == *resource)?;
    let place = place_of(change)?;
    Some(format!("{place}, at {}", plan.revision))
}

fn place_of(change: &Change) -> Option<&trueup_schema::Place> {
    let forced = change.fields.iter().find(|field| Some(&field.path) == change.forced_by.as_ref());
    forced.and_then(|field| field.place.as_ref()).or(change.place.as_ref())
}

/// Whether nothing is held for it: it was the doing of nobody, or of the world.
fn is_retried(fault: &Fault) -> bool {
    matches!(fault.error.blame, Blame::Away | Blame::Moved)
}

fn now(plan: &Plan, outcome: &Outcome) -> String {
    match outcome {
        Outcome::RolledBack { .. } | Outcome::Cancelled | Outcome::Interrupted => {
            "everything is as it was before the run".into()
        }
        Outcome::Blocked { .. } => "nothing was changed".into(),
        Outcome::RollbackFailed { .. } => format!("part of `{}` is not as it was", plan.environment),
        Outcome::Kept { .. } | Outcome::Superseded | Outcome::Applied => "what was done stays".into(),
    }
}

fn next(plan: &Plan, outcome: &Outcome) -> String {
    let env = &plan.environment;
    match outcome {
        Outcome::Blocked { fault } => {
            fault.error.help.clone().unwrap_or_else(|| "put it right, or commit a fix".into())
        }
        Outcome::RollbackFailed { .. } => {
            format!("put right what is stuck; the way back is tried again with the next `trueup apply {env}`")
        }
        Outcome::RolledBack { fault } if is_retried(fault) => format!("`trueup apply {env}` to try again"),
        Outcome::Cancelled | Outcome::Interrupted => format!("`trueup apply {env}` to try again"),
        _ => format!("commit a fix, or `trueup env release {env} --reason ...` to try the same again"),
    }
}

/// Returns the same facts for programs.
pub(crate) fn conclusion_json(conclusion: &Conclusion, plan: &Plan) -> Value {
    let (word, run, outcome, why) = match conclusion {
        Conclusion::InSync => ("inSync", None, None, None),
        Conclusion::Waits(wait) => ("waits", None, None, Some(wait.to_string())),
        Conclusion::Ran { run, outcome, .. } => {
            ("ran", Some(run), Some(outcome), outcome.fault().map(ToString::to_string))
        }
    };
    json!({
        "apiVersion": "trueup.dev/v1",
        "environment": plan.environment,
        "revision": plan.revision,
        "plan": plan.digest,
        "conclusion": word,
        "run": run,
        "outcome": outcome,
        "why": why,
    })
}
