//! The steps of a run while they are done: one line each.
//!
//! ```text
//!   ✓ prometheus   memory 512Mi                          0.0 s
//!   ~ haproxy      waiting for tcp 5432                  2.4 of 30 s
//! ```

use std::{fmt, time::Duration};

use super::{
    line::{Line, ascii},
    style::{Paint, Style},
    value,
};
use crate::{Act, Plan, Spec, Step, diff::diff};

/// How many fields of one update are named.
const MOST_FIELDS: usize = 2;
/// How wide the text is, before the time.
pub const TEXT_WIDTH: usize = 38;

/// How it stands with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It goes on.
    Going,
    /// It was done.
    Done,
    /// It failed.
    Failed,
    /// It was ended because another one failed, or because somebody stopped the run.
    Stopped,
    /// It was taken back.
    TakenBack,
}

impl Sign {
    /// Returns the sign before the name, in its colour.
    pub fn mark(self, style: &Style) -> String {
        let mut text = String::new();
        self.line(style).draw(style, &mut text);
        text.trim_end_matches('\n').to_owned()
    }

    fn line(self, style: &Style) -> Line {
        let marks = style.marks();
        match self {
            Self::Going => Line::new().paint(Paint::Changed, "~"),
            Self::Done => Line::new().paint(Paint::Created, marks.tick),
            Self::Failed => Line::new().paint(Paint::Deleted, marks.cross),
            Self::Stopped => Line::new().paint(Paint::Changed, "!"),
            Self::TakenBack => Line::new().paint(Paint::Changed, "-"),
        }
    }
}

/// Returns the line that stands above the steps: `demo 9b1c7e02 · run 41`.
pub fn title(plan: &Plan, run: &dyn fmt::Display, style: &Style) -> String {
    format!("{} {}{}run {run}", plan.environment, plan.digest.short(), style.marks().dot)
}

/// Returns how wide the names of a plan's resources are.
pub fn name_width(plan: &Plan) -> usize {
    plan.steps.iter().map(|step| step.resource.to_string().chars().count()).max().unwrap_or_default()
}

/// Returns the line of a step that ended, without its end; its name is as wide as `width`.
pub fn ended(sign: Sign, (name, width): (&str, usize), said: &str, took: Duration, style: &Style) -> String {
    let time = format!("{:.1} s", took.as_secs_f64());
    let mut line = String::from("  ");
    sign.line(style)
        .add(format!(" {name:<width$}   {:<TEXT_WIDTH$}   ", text(said, style)))
        .paint(Paint::Dim, time)
        .draw(style, &mut line);
    line.truncate(line.trim_end_matches('\n').len());
    line
}

/// Returns the first line of what is said about a step, without anything that moves a cursor.
pub fn text(said: &str, style: &Style) -> String {
    let clean = value::clean(said.lines().next().unwrap_or_default());
    if style.ascii { ascii(&clean) } else { clean }
}

/// Returns what a step did, as it is said afterwards: `memory 512Mi`, `started`.
pub fn done(step: &Step) -> String {
    match &step.act {
        Act::Fetch { what } => fetched("pulled", what),
        Act::Create { .. } => "created".to_owned(),
        Act::Update { before, after, fields } => updated(&before.spec, after, fields),
        Act::Stop { .. } => "stopped".to_owned(),
        Act::Start { .. } => "started".to_owned(),
        Act::Restart { .. } => "restarted".to_owned(),
        Act::Run { .. } => "ran to its end".to_owned(),
        Act::Verify { .. } => "healthy".to_owned(),
        Act::Retire { .. } => "out of service".to_owned(),
    }
}

/// Returns what a step does, as it is said meanwhile.
pub fn doing(step: &Step) -> String {
    match &step.act {
        Act::Fetch { what } => fetched("pulling", what),
        Act::Create { .. } => "creating".to_owned(),
        Act::Update { before, after, fields } => updated(&before.spec, after, fields),
        Act::Stop { .. } | Act::Retire { .. } => "stopping".to_owned(),
        Act::Start { .. } => "starting".to_owned(),
        Act::Restart { .. } => "restarting".to_owned(),
        Act::Run { .. } => "running".to_owned(),
        Act::Verify { .. } => "waiting until it is healthy".to_owned(),
    }
}

/// Returns how long a step waits at most, where a manifest says so.
pub fn patience(step: &Step) -> Option<Duration> {
    match &step.act {
        Act::Verify { probe } => Some(probe.startup),
        _ => None,
    }
}

fn fetched(verb: &str, what: &Spec) -> String {
    let name = what.get("reference").and_then(Spec::as_str);
    name.map_or_else(|| verb.to_owned(), |name| format!("{verb} {}", value::shown(&name.into(), "..")))
}

/// Returns the fields that are written with their new values, the first few of them.
fn updated(before: &Spec, after: &Spec, fields: &[String]) -> String {
    let differences = diff(before, after);
    let written = differences.iter().filter(|difference| fields.contains(&difference.path()));
    let mut words: Vec<String> = written
        .map(|difference| {
            let name = difference.keys.last().map(String::as_str).unwrap_or_default();
            match &difference.after {
                Some(new) if value::is_digest(new) => format!("{name} changed"),
                Some(new) => format!("{name} {}", value::of_field(name, new, "..")),
                None => format!("{name} removed"),
            }
        })
        .collect();
    let more = words.len().saturating_sub(MOST_FIELDS);
    words.truncate(MOST_FIELDS);
    match (words.is_empty(), more) {
        (true, _) => "changed in place".to_owned(),
        (false, 0) => words.join(", "),
        (false, more) => format!("{}, {more} more", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::{Aside, Kind, ResourceId, StepKey};

    fn update(before: &Spec, after: &Spec, fields: &[&str]) -> Step {
        let old = Aside { handle: "1".into(), spec: before.clone(), running: true };
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        Step {
            key: StepKey("update prometheus".into()),
            resource: ResourceId { kind: Kind::Workload, name: "prometheus".into(), component: None },
            act: Act::Update { before: old, after: after.clone(), fields },
            after: BTreeSet::new(),
            timeout: Duration::from_mins(1),
        }
    }

    #[test]
    fn an_update_names_the_fields_that_it_writes() {
        let (before, after) =
            (json!({"resources": {"memory": 1 << 30}}), json!({"resources": {"memory": 1 << 29}}));
        assert_eq!(done(&update(&before, &after, &["resources.memory"])), "memory 512Mi");
        assert_eq!(done(&update(&before, &after, &[])), "changed in place");
        let many = json!({"a": 1, "b": 2, "c": 3, "d": 4});
        assert_eq!(done(&update(&json!({}), &many, &["a", "b", "c", "d"])), "a 1, b 2, 2 more");
    }

    #[test]
    fn a_secret_is_no_more_than_a_word() {
        let digest = format!("keyed:{}", "5e".repeat(32));
        let (before, after) = (json!({"env": {"PASSWORD": "x"}}), json!({"env": {"PASSWORD": digest}}));
        assert_eq!(done(&update(&before, &after, &["env.PASSWORD"])), "PASSWORD changed");
    }

    #[test]
    fn a_line_is_read_without_colour_and_with_ascii_alone() {
        let plain = Style::default();
        let line = |sign, text, style: &Style| {
            ended(sign, ("prometheus", 10), text, Duration::from_millis(42), style)
        };
        assert_eq!(
            line(Sign::Done, "memory 512Mi", &plain),
            "  ✓ prometheus   memory 512Mi                             0.0 s"
        );
        let ascii = Style { ascii: true, ..plain };
        assert_eq!(
            line(Sign::Failed, "it said “no”\nand more", &ascii),
            "  x prometheus   it said ?no?                             0.0 s"
        );
        let color = Style { color: true, ..plain };
        assert!(line(Sign::Done, "started", &color).starts_with("  \x1b[32m✓\x1b[0m prometheus   started"));
    }
}
