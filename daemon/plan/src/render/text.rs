//! The plan on a terminal: what changes, why, how, what it interrupts.
//!
//! It is read in three seconds: one line a component, its fields below it, what stays in one line.

use jiff::Timestamp;

use super::{
    field,
    group::{self, Row},
    line::Line,
    style::{Paint, Style},
    value, words,
};
use crate::{Action, Change, Plan, Refusal};

/// The widest column of names; a longer name moves only its own line.
const NAMES: usize = 24;

/// Returns the plan as text, ending with a line break. `now` is what ages are counted from.
pub fn text(plan: &Plan, style: &Style, now: Timestamp) -> String {
    let mut lines = Vec::new();
    let moves = !plan.is_empty() || !plan.reported.is_empty() || !plan.refusals.is_empty();
    if moves {
        lines.push(header(plan, style, now));
        lines.push(Line::new());
        lines.extend(body(plan, style, now));
    } else {
        let revision = words::commit(&plan.revision);
        lines.push(
            Line::new()
                .paint(Paint::Strong, plan.environment.to_string())
                .add(format!("{}in sync at {revision}: nothing to do", style.marks().dot)),
        );
    }
    for foreign in &plan.foreign {
        let (what, why) = (value::clean(&foreign.what), value::clean(&foreign.why));
        lines.push(Line::new().add("  ").paint(Paint::Changed, "! ").add(format!("{what}: {why}")));
    }
    if moves {
        let notes = plan.notes.iter().map(|note| value::clean(note));
        lines.extend(notes.map(|note| Line::new().paint(Paint::Dim, format!("  note: {note}"))));
        lines.push(Line::new());
        lines.extend(refusals(&plan.refusals, style));
        lines.extend(footer(plan, style));
    }
    let mut text = String::new();
    for line in &lines {
        line.draw(style, &mut text);
    }
    text
}

fn header(plan: &Plan, style: &Style, now: Timestamp) -> Line {
    let dot = style.marks().dot;
    let revision = &plan.revision;
    let line = Line::new()
        .paint(Paint::Strong, plan.environment.to_string())
        .add(format!("{dot}{}{dot}", value::clean(&plan.target)));
    if revision.commit == "worktree" {
        return line.add("worktree, not committed");
    }
    let (reference, subject) = (value::clean(&revision.reference), value::clean(&revision.subject));
    line.add(format!("{reference} {} \"{subject}\"", words::commit(revision)))
        .paint(Paint::Dim, format!(", {} ago", words::age(revision.time, now)))
}

fn body(plan: &Plan, style: &Style, now: Timestamp) -> Vec<Line> {
    let (created, rows) = (group::created(&plan.changes), group::rows(&plan.changes));
    let reported = group::rows(&plan.reported);
    let nouns: Vec<String> =
        created.iter().map(|created| words::plural(created.ids.len(), created.noun)).collect();
    let names = rows.iter().chain(&reported).map(|row| &row.name).chain(&nouns);
    let column =
        names.map(|name| name.chars().count()).filter(|width| *width <= NAMES).max().unwrap_or(0) + 3;
    let mut lines = Vec::new();
    for (created, noun) in created.iter().zip(&nouns) {
        let list = created.ids.iter().map(|id| id.name.as_str());
        let room = style.width.saturating_sub(column + 4);
        let line = Line::new().add("  ").paint(Paint::Created, "+ ").add(format!("{noun:<column$}"));
        lines.push(line.add(fitting(list, room, style)));
    }
    for row in &rows {
        lines.push(head(row, column, style, now));
        lines.extend(details(row.change, style, now));
    }
    for row in &reported {
        let drift = words::drift(row.change, now).unwrap_or_default();
        let contest = plan.contested.iter().find(|contest| contest.is_about(row.change));
        let why = contest
            .map_or_else(|| "only reported, because `sync.selfHeal` is off".to_owned(), ToString::to_string);
        let what = format!("{drift}{}{why}", style.marks().dot);
        lines.push(
            Line::new().add("  ").paint(Paint::Changed, "! ").add(format!("{:<column$}", row.name)).add(what),
        );
        lines.extend(field::lines(row.change, style, now));
    }
    match group::unchanged(plan) {
        0 => {}
        count => lines.push(Line::new().paint(Paint::Dim, format!("  = {count} unchanged"))),
    }
    lines
}

fn head(row: &Row<'_>, column: usize, style: &Style, now: Timestamp) -> Line {
    let change = row.change;
    let paint = match change.action {
        Action::Create | Action::Run => Paint::Created,
        Action::Delete => Paint::Deleted,
        Action::Update | Action::Replace | Action::Start => Paint::Changed,
    };
    let name = format!("{:<column$}", row.name);
    let place = change.place.as_ref().filter(|_| is_new(change)).map(words::place);
    Line::new()
        .add("  ")
        .paint(paint, format!("{} {name}", group::sign(change)))
        .add(parts(row, style, now).join(style.marks().dot))
        .right(place)
}

/// Returns what is said of a row: what is done, with what, why, what it interrupts.
pub(super) fn parts(row: &Row<'_>, style: &Style, now: Timestamp) -> Vec<String> {
    let change = row.change;
    let mut parts = vec![words::what(change)];
    if is_new(change) {
        let shown = change.fields.iter().filter_map(|field| Some((&field.path, field.after.as_ref()?)));
        parts.extend(shown.map(|(path, after)| {
            let text = value::shown(after, style.marks().ellipsis);
            let text = text.split_once('@').map_or(text.as_str(), |(name, _)| name).to_owned();
            if path.ends_with(".publish") { format!("port {text}") } else { text }
        }));
    }
    if row.replicas > 1 {
        let rolling =
            matches!(change.action, Action::Replace | Action::Update) && change.interrupts.is_empty();
        let how = if rolling { ", one after the other" } else { "" };
        parts.push(format!("{}{how}", words::plural(row.replicas, "replica")));
    }
    parts.extend(words::drift(change, now));
    if change.overlaps {
        parts.push("old and new answer side by side meanwhile".to_owned());
    }
    if !change.interrupts.is_empty() {
        parts.push(format!("interrupts {}", value::clean(&change.interrupts.join(", "))));
    }
    parts
}

/// Returns whether a change has no fields to list: what is new says them in its own line.
fn is_new(change: &Change) -> bool {
    change.action == Action::Create
        || (change.action == Action::Run && change.fields.iter().all(|f| f.before.is_none()))
}

fn details(change: &Change, style: &Style, now: Timestamp) -> Vec<Line> {
    let mut lines = if is_new(change) { Vec::new() } else { field::lines(change, style, now) };
    if let Some(preview) = words::preview(change) {
        lines.push(Line::new().paint(Paint::Changed, format!("      {preview}")));
    }
    if let Some(irreversible) = &change.irreversible {
        let text = format!("      cannot be undone: {}", value::clean(irreversible));
        lines.push(Line::new().paint(Paint::Changed, text));
    }
    lines
}

/// Returns as many names as there is room for, and how many more there are.
fn fitting<'a>(names: impl Iterator<Item = &'a str>, room: usize, style: &Style) -> String {
    let names: Vec<&str> = names.collect();
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        if at > 0 && text.len() + comma.len() + name.len() + 10 > room {
            return format!("{text} {} {} more", style.marks().ellipsis, names.len() - at);
        }
        text.extend([comma, name]);
    }
    text
}

fn refusals(refusals: &[Refusal], style: &Style) -> Vec<Line> {
    let cross = style.marks().cross;
    let mut lines = Vec::new();
    for refusal in refusals {
        let line = Line::new().paint(Paint::Deleted, format!("{cross} ")).add(value::clean(&refusal.message));
        lines.push(line);
        let at = refusal.place.as_ref().map(|place| format!("  at: {}", words::place(place)));
        let help = refusal.help.as_ref().map(|help| format!("  help: {}", value::clean(help)));
        lines.extend([at, help].into_iter().flatten().map(|text| Line::new().paint(Paint::Dim, text)));
    }
    lines
}

fn footer(plan: &Plan, style: &Style) -> Vec<Line> {
    let dot = style.marks().dot;
    let rows = group::rows(&plan.changes);
    let (share, limit) = plan.deletes;
    let deleted = if share > 0 { format!(" ({share} % of the {limit} % allowed)") } else { String::new() };
    let mut parts = vec![group::counts(&rows, &deleted)];
    if !plan.steps.is_empty() {
        let (steps, waves) = (words::plural(plan.steps.len(), "step"), words::plural(plan.waves, "wave"));
        parts.push(format!("{steps} in {waves}"));
    }
    parts.push(group::causes(&rows));
    parts.retain(|part| !part.is_empty());
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.push(Line::new().add(parts.join(dot)));
    }
    let short = plan.digest.short();
    let last = if !plan.refusals.is_empty() {
        Line::new().paint(Paint::Deleted, "refused").add(": nothing is changed")
    } else if plan.is_empty() {
        Line::new().add("nothing to do")
    } else {
        let environment = &plan.environment;
        Line::new()
            .add(format!("plan {short}{dot}"))
            .paint(Paint::Dim, format!("to run exactly this: trueup apply {environment} --plan {short}"))
    };
    lines.push(last);
    lines
}
