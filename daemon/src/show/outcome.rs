//! How a run ended: what happened, where it comes from, what is true now, what to do.

use serde_json::{Value, json};
use trueup_engine::{Blame, Fault, Outcome};
use trueup_plan::{Act, Plan};
use trueup_schema::Place;

use super::one_line;
use crate::reconcile::{Conclusion, Proposal};

/// Returns how a reconciliation ended, for a person.
pub(crate) fn conclusion(conclusion: &Conclusion, proposal: &Proposal) -> String {
    let plan = &proposal.plan;
    let env = &plan.environment;
    match conclusion {
        Conclusion::InSync => format!("{env}: in sync at {}, nothing to do", plan.revision.short()),
        Conclusion::Waits { wait, .. } => {
            let help = wait.help(env.as_str()).map_or(String::new(), |help| format!("\n  next    {help}"));
            format!("{env}: {}{help}", one_line(&wait.to_string()))
        }
        Conclusion::Ran { run, outcome, took, left } => {
            let seconds = format!("{:.1} s", took.as_secs_f64());
            match outcome {
                Outcome::Applied => {
                    let noun = if plan.changes.len() == 1 { "change" } else { "changes" };
                    let applied = format!(
                        "{env}: applied {} in {seconds}, {} {noun} · run {run}",
                        one_line(&plan.revision.to_string()),
                        plan.changes.len()
                    );
                    let warnings = left.iter().map(|fault| format!("\n  warning: {}", self::left(fault)));
                    std::iter::once(applied).chain(warnings).collect()
                }
                other => ended(proposal, other, &seconds, *run),
            }
        }
    }
}

/// Says what a run that succeeded could not clean up.
pub(crate) fn left(fault: &Fault) -> String {
    format!("{}; it is cleaned up before the next run", one_line(&fault.error.one_line()))
}

/// The lines of a run that was not applied.
fn ended(proposal: &Proposal, outcome: &Outcome, seconds: &str, run: trueup_engine::RunId) -> String {
    let plan = &proposal.plan;
    let env = &plan.environment;
    let mut lines = vec![format!("{env}: {} · run {run}", headline(plan, outcome, seconds))];
    if let Some(fault) = outcome.fault() {
        lines.push(format!("  {}", fault.error.message));
        lines.extend(fault.error.causes.iter().map(|cause| format!("    because: {cause}")));
        if !fault.error.log.is_empty() {
            lines.push("    its last log lines:".into());
            lines.extend(fault.error.log.iter().map(|line| format!("      {line}")));
        }
        lines.extend(origin(proposal, fault).map(|from| format!("  from    {from}")));
    }
    if let Outcome::RollbackFailed { left, .. } = outcome {
        lines.extend(left.iter().map(|fault| format!("  stuck   {}", fault.error.one_line())));
    }
    lines.push(format!("  now     {}", now(plan, outcome)));
    lines.push(format!("  next    {}", next(plan, outcome)));
    lines.iter().map(|line| one_line(line)).collect::<Vec<_>>().join("\n")
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

/// The line that what failed comes from.
fn origin(proposal: &Proposal, fault: &Fault) -> Option<String> {
    let place = place(proposal, fault)?;
    Some(format!("{place}, at {}", proposal.plan.revision))
}

/// Returns the line that changed; for a check that failed without one, the line of the check.
fn place<'a>(proposal: &'a Proposal, fault: &Fault) -> Option<&'a Place> {
    let resource = fault.resource.as_ref()?;
    let step = proposal.plan.steps.iter().find(|step| Some(&step.key) == fault.step.as_ref());
    let is_check = step.is_some_and(|step| matches!(step.act, Act::Verify { .. }));
    let change = proposal.plan.changes.iter().find(|change| change.resource == *resource)?;
    let forced = change.fields.iter().find(|field| Some(&field.path) == change.forced_by.as_ref());
    let declared = proposal.desired.resources.get(resource).filter(|_| is_check);
    let check = || declared.and_then(|declared| declared.places.find("health"));
    forced.and_then(|field| field.place.as_ref()).or_else(check).or(change.place.as_ref())
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
    let none: &[Fault] = &[];
    let (word, run, outcome, why, left) = match conclusion {
        Conclusion::InSync => ("inSync", None, None, None, none),
        Conclusion::Waits { wait, .. } => ("waits", None, None, Some(wait.to_string()), none),
        Conclusion::Ran { run, outcome, left, .. } => {
            ("ran", Some(run), Some(outcome), outcome.fault().map(ToString::to_string), left.as_slice())
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
        "left": left,
    })
}
