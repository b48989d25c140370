//! Every difference between what is declared and what runs, a line a field.

use serde_json::{Value, json};
use trueup_plan::{Action, Change, diff};
use trueup_schema::Place;

use super::table::table;
use crate::reconcile::Proposal;

/// One field that differs.
struct Row {
    resource: String,
    field: String,
    live: Option<Value>,
    declared: Option<Value>,
    cause: String,
    place: Option<Place>,
}

/// The differences of a proposal, those that are only reported last.
fn rows(proposal: &Proposal) -> Vec<Row> {
    let changes = proposal.plan.changes.iter().chain(&proposal.plan.reported);
    changes.flat_map(|change| of_change(proposal, change)).collect()
}

fn of_change(proposal: &Proposal, change: &Change) -> Vec<Row> {
    let row = |field: String, live, declared, place| Row {
        resource: change.resource.to_string(),
        field,
        live,
        declared,
        cause: format!("{:?}", change.cause).to_lowercase(),
        place,
    };
    let declared = proposal.desired.resources.get(&change.resource);
    match (change.action, declared) {
        (Action::Delete, _) | (_, None) => {
            vec![row("exists".into(), Some(true.into()), Some(false.into()), change.place.clone())]
        }
        (Action::Create, Some(declared)) => diff::diff(&Value::Null, &declared.spec)
            .into_iter()
            .map(|new| {
                let path = new.path();
                let place = declared.places.find(&path).cloned();
                row(path, None, new.after, place)
            })
            .collect(),
        (_, Some(_)) => {
            let fields = change.fields.iter();
            fields.map(|f| row(f.path.clone(), f.before.clone(), f.after.clone(), f.place.clone())).collect()
        }
    }
}

/// Returns the table.
pub(crate) fn differences(proposal: &Proposal) -> String {
    let rows = rows(proposal);
    if rows.is_empty() {
        return format!("{}: no difference from {}", proposal.plan.environment, proposal.plan.revision);
    }
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.resource.clone(),
                row.field.clone(),
                shown(row.live.as_ref()),
                shown(row.declared.as_ref()),
                row.cause.clone(),
                row.place.as_ref().map(ToString::to_string).unwrap_or_default(),
            ]
        })
        .collect();
    table(["RESOURCE", "FIELD", "LIVE", "DECLARED", "CAUSE", "DECLARED AT"], &lines)
}

/// The longest value that is shown whole, in characters.
const LONGEST: usize = 48;

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Returns the same facts for programs, with whole values.
pub(crate) fn differences_json(proposal: &Proposal) -> Value {
    let fields: Vec<_> = rows(proposal)
        .into_iter()
        .map(|row| {
            json!({
                "resource": row.resource,
                "field": row.field,
                "live": row.live,
                "declared": row.declared,
                "cause": row.cause,
                "place": row.place,
            })
        })
        .collect();
    json!({
        "apiVersion": "trueup.dev/v1",
        "environment": proposal.plan.environment,
        "revision": proposal.plan.revision,
        "differences": fields,
    })
}
