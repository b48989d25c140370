//! The words of a plan: why, how, since when, how many.

use jiff::Timestamp;
use trueup_schema::{Place, Revision};

use super::value;
use crate::{Action, Cause, Change, Hand, How, Kind, Preview};

/// Returns how long ago something was, in the largest unit that fits: `20 s`, `2 min`, `3 h`, `3 d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns the commit as people name it: seven characters, or `worktree`.
pub(super) fn commit(revision: &Revision) -> String {
    let whole = revision.commit == "worktree";
    value::clean(if whole { &revision.commit } else { revision.short() })
}

/// Returns where something was written; a whole file has no line, a line of a delivered file no column.
pub(super) fn place(place: &Place) -> String {
    let file = value::clean(place.file.as_str());
    match (place.line, place.column) {
        (1, 1) => file,
        (line, 1) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    }
}

/// Returns what is done and what for: `recreate, because a file changed`.
pub(super) fn what(change: &Change) -> String {
    let because = |verb: &str| match &change.forced_by {
        Some(path) => format!("{verb}, because {}", reason(change, path)),
        None => verb.to_owned(),
    };
    match (change.action, change.how) {
        (_, How::Refuse) => "cannot be changed".to_owned(),
        (Action::Create, _) if change.cause == Cause::Drift => {
            "create again, because it is missing".to_owned()
        }
        (Action::Create, _) => "create".to_owned(),
        (Action::Start, How::Restart) => format!("restart, because it {}", condition(change)),
        (Action::Start, _) => format!("start, because it {}", condition(change)),
        (Action::Run, _) => "run once".to_owned(),
        (Action::Replace, _) => because("recreate"),
        (Action::Update, How::Restart) => because("restart"),
        (Action::Update, How::Roll) => because("roll out"),
        (Action::Update, _) if change.fields.iter().any(|field| field.path == "state") => {
            format!("in place, then start, because it {}", condition(change))
        }
        (Action::Update, _) => "in place".to_owned(),
        (Action::Delete, _) => delete(change),
    }
}

fn delete(change: &Change) -> String {
    let noun = match (&change.noun, change.resource.kind) {
        (Some(noun), _) => value::clean(noun),
        (None, Kind::Network | Kind::Volume) => change.resource.kind.to_string(),
        (None, _) => "container".to_owned(),
    };
    let what = format!("delete the {noun}");
    match change.keeps.as_slice() {
        [] => what,
        [one] => format!("{what}; its {one} stays"),
        more => format!("{what}; its {} stay", more.join(", ")),
    }
}

/// Returns the condition of what should run and does not: `exited (137)`.
fn condition(change: &Change) -> String {
    let state = change.fields.iter().find(|field| field.path == "state");
    let text = state.and_then(|field| field.before.as_ref()).and_then(|before| before.as_str());
    match text {
        None | Some("stopped") => "is stopped".to_owned(),
        Some(text) if text.starts_with("paused") => format!("is {}", value::clean(text)),
        Some(text) => value::clean(text),
    }
}

/// Returns why a field forces more than a change in place.
fn reason(change: &Change, path: &str) -> String {
    let Some(field) = change.fields.iter().find(|field| field.path == path) else {
        return match path.strip_prefix("networks") {
            Some(name) => format!("network {} is replaced", name.trim_matches(['.', '[', ']'])),
            None => format!("{} changed", value::clean(path)),
        };
    };
    if path == "state" {
        return format!("it {}", condition(change));
    }
    let done = match (&field.before, &field.after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let secret = [&field.before, &field.after].into_iter().flatten().any(value::is_secret);
    let (first, last) = (path.split(['.', '[']).next(), path.rsplit('.').next());
    let word = match first.filter(|_| last != Some("image")).or(last).unwrap_or(path) {
        "files" if secret => "a secret".to_owned(),
        "files" => "a file".to_owned(),
        "image" => "the image".to_owned(),
        "command" => "the command".to_owned(),
        _ => value::clean(path),
    };
    let was = if done == "changed" { "" } else { "was " };
    format!("{word} {was}{done}")
}

/// Returns who wrote a field, and when: `by kubectl-edit, 3 min ago`.
pub(super) fn hand(hand: &Hand, now: Timestamp) -> String {
    let ago = hand.at.map(|at| format!(", {} ago", age(at, now))).unwrap_or_default();
    format!("by {}{ago}", value::clean(&hand.who))
}

/// Returns what is not known of a change that the target could not be asked about in full.
pub(super) fn preview(change: &Change) -> Option<String> {
    match change.preview.as_ref()? {
        Preview::Verified | Preview::Refused { .. } => None,
        Preview::SchemaOnly { why } => Some(format!("only its form was checked: {}", value::clean(why))),
        Preview::Unknown { why } => Some(format!("not verified: {}", value::clean(why))),
    }
}

/// Returns what drift there is and for how long; nothing for what the author changed.
pub(super) fn drift(change: &Change, now: Timestamp) -> Option<String> {
    let age = change.since.map(|since| age(since, now));
    match (change.cause, change.action) {
        (Cause::Drift, action) => Some(match (age, action) {
            (None, _) => "drift".to_owned(),
            (Some(age), Action::Start | Action::Create) => format!("drift, {age} ago"),
            (Some(age), _) => format!("drift, for {age}"),
        }),
        (Cause::Unknown, Action::Update | Action::Replace) => Some("cause unknown".into()),
        _ => None,
    }
}
