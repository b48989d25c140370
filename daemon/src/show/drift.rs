//! What has drifted: from which declared line, since when, and what becomes of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use trueup_engine::{
    EnvKey,
    record::{RunRecord, Suspended},
};
use trueup_plan::{
    Action, Cause, Change, FieldChange, How, Plan,
    render::{Style, value_of},
};
use trueup_schema::manifest::{Sync, SyncMode};

use super::{ago, one_line, table::table};
use crate::failure::Failure;

/// One environment, and what was seen of it.
pub(crate) struct Drift {
    pub(crate) key: EnvKey,
    pub(crate) drifted: Result<Drifted, Failure>,
}

/// What runs otherwise than it was applied.
pub(crate) struct Drifted {
    /// What would bring back what was applied.
    pub(crate) plan: Plan,
    pub(crate) sync: Sync,
    pub(crate) suspended: Option<Suspended>,
    /// What was repaired lately, newest first.
    pub(crate) repairs: Vec<RunRecord>,
}

impl Drift {
    /// Returns whether anything has drifted.
    pub(crate) fn is_any(&self) -> bool {
        self.drifted.as_ref().is_ok_and(|drifted| drifted.changes().next().is_some())
    }
}

impl Drifted {
    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.plan.changes.iter().chain(&self.plan.reported)
    }

    /// What becomes of a change: who repairs it and how, or why nobody does.
    fn repair(&self, change: &Change) -> String {
        let how = verb(change);
        if let Some(contest) = self.plan.contested.iter().find(|contest| contest.is_about(change)) {
            return format!("{how}: {contest}");
        }
        let why = match (&self.suspended, self.sync.mode, self.sync.self_heal) {
            (Some(_), ..) => "the environment is suspended",
            (None, SyncMode::Manual, _) => "sync.mode is manual",
            (None, SyncMode::Auto, false) => "sync.selfHeal is off",
            (None, SyncMode::Auto, true) => return how.to_owned(),
        };
        format!("{how}, by `trueup apply`: {why}")
    }
}

/// Returns what repairs a change, in a word or two.
fn verb(change: &Change) -> &'static str {
    match (change.action, change.how) {
        (_, How::Refuse) => "none: it cannot be changed",
        (Action::Create, _) => "create again",
        (Action::Update, How::InPlace) => "in place",
        (Action::Update, How::Roll) => "roll out",
        (Action::Update | Action::Start, How::Restart) => "restart",
        (Action::Update | Action::Replace, _) => "recreate",
        (Action::Start, _) => "start",
        (Action::Run, _) => "run",
        (Action::Delete, _) => "remove",
    }
}

/// Returns a block for each environment.
pub(crate) fn drift(found: &[Drift], style: Style, now: Timestamp) -> String {
    if found.is_empty() {
        return "nothing was applied yet".into();
    }
    found.iter().map(|drift| block(drift, style, now)).collect::<Vec<_>>().join("\n\n")
}

fn block(Drift { key, drifted }: &Drift, style: Style, now: Timestamp) -> String {
    let drifted = match drifted {
        Ok(drifted) => drifted,
        Err(failure) => {
            return format!("{}: cannot be compared: {}", key.environment, one_line(&failure.one_line()));
        }
    };
    let plan = &drifted.plan;
    let count = drifted.changes().count();
    let noun = if count == 1 { "resource has" } else { "resources have" };
    let is = match count {
        0 => "no drift".to_owned(),
        count => format!("{count} {noun} drifted"),
    };
    let mut lines = vec![format!("{}: {is} from {}", key.environment, plan.revision.short())];
    let rows: Vec<_> = drifted.changes().flat_map(|change| rows(drifted, change, style, now)).collect();
    if !rows.is_empty() {
        let head = ["RESOURCE", "FIELD", "DECLARED", "LIVE", "SINCE", "DECLARED AT", "REPAIR"];
        lines.extend(table(head, &rows).lines().map(|line| format!("  {line}")));
    }
    lines.extend(
        plan.foreign.iter().map(|foreign| one_line(&format!("  ! {}: {}", foreign.what, foreign.why))),
    );
    lines.extend(drifted.repairs.iter().map(|run| format!("  repaired {}", repaired(run, now))));
    lines.join("\n")
}

fn rows(drifted: &Drifted, change: &Change, style: Style, now: Timestamp) -> Vec<[String; 7]> {
    let since = change.since.map_or_else(|| "-".to_owned(), |since| ago(since, now));
    let place = |field: Option<&FieldChange>| {
        let place = field.and_then(|field| field.place.as_ref()).or(change.place.as_ref());
        place.map(ToString::to_string).unwrap_or_default()
    };
    let row = |field: Option<&FieldChange>, name: &str, declared: String, live: String| {
        let resource = change.resource.to_string();
        [resource, name.into(), declared, live, since.clone(), place(field), drifted.repair(change)]
    };
    let exists = |is: bool| if is { "yes" } else { "no" }.to_owned();
    match change.action {
        Action::Create | Action::Run => vec![row(None, "exists", exists(true), exists(false))],
        Action::Delete => vec![row(None, "exists", exists(false), exists(true))],
        Action::Update | Action::Replace | Action::Start => {
            let shown = |field: &FieldChange, value: Option<&Value>| {
                value.map_or_else(|| "-".into(), |value| value_of(&field.path, value, style))
            };
            let fields = change.fields.iter().map(|field| {
                let (before, after) = (field.before.as_ref(), field.after.as_ref());
                row(Some(field), &field.path, shown(field, after), shown(field, before))
            });
            fields.collect()
        }
    }
}

/// Says what a run repaired: `web state, network data: 20 s ago, run 41`.
fn repaired(run: &RunRecord, now: Timestamp) -> String {
    let drifted = run.summary.iter().filter(|change| change.cause == Cause::Drift);
    let what = drifted.map(|change| match (change.action, change.fields.as_slice()) {
        (Action::Create | Action::Delete, _) | (_, []) => change.resource.to_string(),
        (_, fields) => format!("{} {}", change.resource, fields.join(" ")),
    });
    let when = match ago(run.started, now).as_str() {
        "now" => "now".to_owned(),
        age => format!("{age} ago"),
    };
    format!("{}: {when}, run {}", what.collect::<Vec<_>>().join(", "), run.id)
}

/// Returns the same facts for programs, with whole values.
pub(crate) fn drift_json(found: &[Drift]) -> Value {
    let environments = found.iter().map(|Drift { key, drifted }| {
        let head = json!({"source": key.source, "name": key.environment});
        let rest = match drifted {
            Ok(drifted) => json!({
                "target": drifted.plan.target,
                "revision": drifted.plan.revision,
                "drifted": drifted.changes().map(|change| of_change(drifted, change)).collect::<Vec<_>>(),
                "foreign": drifted.plan.foreign,
                "repairs": drifted.repairs,
            }),
            Err(failure) => json!({"error": failure.one_line()}),
        };
        merged(head, rest)
    });
    json!({"apiVersion": "trueup.dev/v1", "environments": environments.collect::<Vec<_>>()})
}

fn of_change(drifted: &Drifted, change: &Change) -> Value {
    let repair = json!({"repair": drifted.repair(change)});
    merged(serde_json::to_value(change).unwrap_or_default(), repair)
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
