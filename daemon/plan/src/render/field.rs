//! The lines of one field that changes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    line::Line,
    style::{Marks, Paint, Style},
    value, words,
};
use crate::{Cause, Change, FieldChange};

/// How many fields of one resource are shown.
const MOST_FIELDS: usize = 8;
/// How many lines of a file's difference are shown.
const MOST_LINES: usize = 12;
/// How many unchanged lines stand around a changed one.
const CONTEXT: usize = 1;

/// Returns the lines of a change's fields; a place is said once where several fields share it.
pub(super) fn lines(change: &Change, style: &Style, now: Timestamp) -> Vec<Line> {
    let marks = style.marks();
    let rows: Vec<Row<'_>> = rows(change, marks, now);
    let column = rows.iter().filter(|row| !row.value.is_empty()).map(|row| row.label.chars().count()).max();
    let mut lines = Vec::new();
    let mut before = None;
    for row in rows.iter().take(MOST_FIELDS) {
        let label = format!("{:<1$}", row.label, if row.value.is_empty() { 0 } else { column.unwrap_or(0) });
        let mut line = Line::new().add("      ").add(label);
        if !row.value.is_empty() {
            line = line.add("   ").paint(Paint::Changed, row.value.clone());
        }
        if let Some(note) = &row.note {
            line = line.paint(Paint::Dim, format!("{}{note}", marks.dot));
        }
        let place = row.field.place.as_ref().filter(|place| before != Some(*place));
        before = row.field.place.as_ref();
        lines.push(line.right(place.map(words::place)));
        if let Some(diff) = &row.field.diff {
            lines.extend(excerpt(diff, marks));
        }
    }
    if rows.len() > MOST_FIELDS {
        let more = words::plural(rows.len() - MOST_FIELDS, "more field");
        lines.push(Line::new().paint(Paint::Dim, format!("      {} {more}", marks.ellipsis)));
    }
    lines
}

/// One field on one line.
pub(super) struct Row<'a> {
    pub(super) label: String,
    pub(super) value: String,
    pub(super) note: Option<String>,
    pub(super) field: &'a FieldChange,
}

/// Returns one row a field, the one that forces the rest first. An image that has another name has another
/// id too, which says nothing more. A file that comes or goes is one row, whatever fields it has.
pub(super) fn rows(change: &Change, marks: Marks, now: Timestamp) -> Vec<Row<'_>> {
    let mixed = change.fields.iter().map(|field| field.cause).collect::<BTreeSet<_>>().len() > 1;
    let mut whole = BTreeSet::new();
    let mut rows = Vec::new();
    let mut fields: Vec<&FieldChange> = change.fields.iter().filter(|field| field.path != "state").collect();
    fields.sort_by_key(|field| change.forced_by.as_ref() != Some(&field.path));
    let renamed = fields.iter().any(|field| field.path == "image.reference");
    for field in fields.into_iter().filter(|field| !(renamed && field.path == "image.id")) {
        let (label, mut value) = row(field, marks);
        if let Some((file, word)) = comes_or_goes(field, change) {
            if !whole.insert(file) {
                continue;
            }
            word.clone_into(&mut value);
        }
        let along = (mixed && field.cause == Cause::Drift).then(|| "drift, repaired along".to_owned());
        let hand = field.by.as_ref().map(|hand| words::hand(hand, now));
        let notes: Vec<String> = along.into_iter().chain(hand).collect();
        let note = (!notes.is_empty()).then(|| notes.join(", "));
        rows.push(Row { label, value, note, field });
    }
    rows
}

fn row(field: &FieldChange, marks: Marks) -> (String, String) {
    let secret = [&field.before, &field.after].into_iter().flatten().any(value::is_secret);
    let noun = if secret { "secret" } else { "file" };
    let label = match file(&field.path) {
        Some((path, "digest")) => format!("{noun} {}", value::clean(path)),
        Some((path, inner)) => format!("{noun} {} {}", value::clean(path), value::clean(inner)),
        None if secret => format!("secret {}", value::clean(field.path.trim_end_matches(".digest"))),
        None if field.path == "image.reference" => "image".to_owned(),
        None => value::clean(&field.path),
    };
    if field.diff.is_some() {
        return (label, String::new());
    }
    let shown = |value| value::of_field(&field.path, value, marks.ellipsis);
    let value = match (&field.before, &field.after) {
        (Some(before), Some(after)) if value::is_digest(before) && value::is_digest(after) => {
            format!("changed (digest {} {} {})", shown(before), marks.arrow, shown(after))
        }
        (Some(before), Some(after)) => format!("{} {} {}", shown(before), marks.arrow, shown(after)),
        (None, Some(after)) if value::is_digest(after) => "new".to_owned(),
        (Some(before), None) if value::is_digest(before) => "removed".to_owned(),
        (None, Some(after)) => format!("new: {}", shown(after)),
        (Some(before), None) => format!("removed: {}", shown(before)),
        (None, None) => String::new(),
    };
    (label, value)
}

/// Returns the path of the file that a field is of, and what of it: `files[/etc/a.conf].mode`.
fn file(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("files[")?;
    let end = rest.rfind(']')?;
    Some((&rest[..end], rest[end + 1..].strip_prefix('.')?))
}

/// Returns the file that a field is of, where it is delivered for the first time or no longer.
fn comes_or_goes<'a>(field: &'a FieldChange, change: &'a Change) -> Option<(&'a str, &'static str)> {
    let (name, _) = file(&field.path)?;
    let same = |other: &&FieldChange| file(&other.path).is_some_and(|(other, _)| other == name);
    let digest = change.fields.iter().filter(same).find(|other| other.path.ends_with("].digest"))?;
    match (&digest.before, &digest.after) {
        (None, Some(_)) => Some((name, "new")),
        (Some(_), None) => Some((name, "removed")),
        _ => None,
    }
}

/// Returns the changed lines of a unified diff with a little around them.
fn excerpt(diff: &str, marks: Marks) -> Vec<Line> {
    let all: Vec<&str> = diff.lines().collect();
    let changed = |line: &&str| line.starts_with(['+', '-']);
    let near =
        |at: usize| all[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(all.len())].iter().any(changed);
    let hidden = |line: &str| line.starts_with("@@") || line.starts_with('\\');
    let kept: Vec<&str> =
        (0..all.len()).filter(|at| near(*at) && !hidden(all[*at])).map(|at| all[at]).collect();
    let mut lines: Vec<Line> = kept
        .iter()
        .take(MOST_LINES)
        .map(|line| {
            let (sign, text) = line.split_at(line.len().min(1));
            let paint = match sign {
                "+" => Paint::Created,
                "-" => Paint::Deleted,
                _ => Paint::Dim,
            };
            Line::new().add("        ").paint(paint, format!("{sign} {}", value::code(text)))
        })
        .collect();
    if kept.len() > MOST_LINES {
        let more = words::plural(kept.len() - MOST_LINES, "more line");
        lines.push(Line::new().paint(Paint::Dim, format!("        {} {more}", marks.ellipsis)));
    }
    lines
}
