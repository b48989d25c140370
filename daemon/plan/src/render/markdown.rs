//! The plan for a pull request: the same facts, with what is long folded away.
//!
//! What comes from a repository stands in code spans and fenced blocks that it cannot close, so it
//! can neither mention people nor draw links.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    Style, field,
    group::{self, Row},
    text, value, words,
};
use crate::Plan;

/// Returns the plan as GitHub-flavoured Markdown, ending with a line break.
pub fn markdown(plan: &Plan, now: Timestamp) -> String {
    let mut page = format!("### {} on {}\n\n", plan.environment, code(&plan.target));
    let _ = writeln!(page, "{} {}\n", code(&words::commit(&plan.revision)), code(&plan.revision.subject));
    let (created, rows) = (group::created(&plan.changes), group::rows(&plan.changes));
    for refusal in &plan.refusals {
        let place = refusal.place.as_ref().map(|place| format!(" ({})", code(&words::place(place))));
        let _ = writeln!(page, "> **refused** {}{}", code(&refusal.message), place.unwrap_or_default());
        if let Some(help) = &refusal.help {
            let _ = writeln!(page, "> help: {}", code(help));
        }
        page.push_str(">\n\n");
    }
    if plan.is_empty() && plan.reported.is_empty() {
        page.push_str("In sync: nothing to do.\n");
    } else {
        page.push_str("| | what | how | interrupts |\n|---|---|---|---|\n");
    }
    for created in &created {
        let names: Vec<&str> = created.ids.iter().map(|id| id.name.as_str()).collect();
        let noun = words::plural(created.ids.len(), created.noun);
        let _ = writeln!(page, "| `+` | {noun} | create {} | |", cell(&names.join(", ")));
    }
    let reported = group::rows(&plan.reported);
    for row in &rows {
        table_row(&mut page, row, group::sign(row.change), now);
    }
    for row in &reported {
        table_row(&mut page, row, '!', now);
    }
    match group::unchanged(plan) {
        0 => {}
        count => {
            let _ = writeln!(page, "\n{count} unchanged");
        }
    }
    for row in rows.iter().chain(&reported) {
        details(&mut page, row, now);
    }
    let foreign = plan.foreign.iter().map(|foreign| format!("{}: {}", foreign.what, foreign.why));
    for note in plan.notes.iter().cloned().chain(foreign) {
        let _ = writeln!(page, "\n- {}", code(&note));
    }
    if !plan.is_empty() {
        let _ = writeln!(page, "\n{}", summary(plan, &rows));
    }
    page
}

fn table_row(page: &mut String, row: &Row<'_>, sign: char, now: Timestamp) {
    let mut parts = text::parts(row, &Style::default(), now);
    parts.retain(|part| !part.starts_with("interrupts "));
    if sign == '!' {
        parts.push("only reported".to_owned());
    }
    let interrupts = row.change.interrupts.join(", ");
    let interrupts = if interrupts.is_empty() { String::new() } else { cell(&interrupts) };
    let _ =
        writeln!(page, "| `{sign}` | {} | {} | {interrupts} |", cell(&row.name), cell(&parts.join(" · ")));
}

/// Writes the fields of one change, folded, with the differences of its files.
fn details(page: &mut String, row: &Row<'_>, now: Timestamp) {
    let rows = field::rows(row.change, Style::default().marks(), now);
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n<details><summary>{}</summary>\n", row.name);
    for row in rows {
        let place = row.field.place.as_ref().map(|place| format!(" ({})", code(&words::place(place))));
        let value = if row.value.is_empty() { String::new() } else { format!(": {}", code(&row.value)) };
        let note = row.note.map(|note| format!(", {note}")).unwrap_or_default();
        let _ = writeln!(page, "- {}{value}{note}{}", code(&row.label), place.unwrap_or_default());
        if let Some(diff) = &row.field.diff {
            let fence = "`".repeat(longest_run(diff).max(2) + 1);
            let lines: String = diff.lines().map(|line| value::code(line) + "\n").collect();
            let _ = writeln!(page, "\n{fence}diff\n{lines}{fence}\n");
        }
    }
    page.push_str("\n</details>\n");
}

fn summary(plan: &Plan, rows: &[Row<'_>]) -> String {
    let (share, limit) = plan.deletes;
    let deleted = if share > 0 { format!(" ({share} % of the {limit} % allowed)") } else { String::new() };
    let steps = words::plural(plan.steps.len(), "step");
    let parts = [
        group::counts(rows, &deleted),
        format!("{steps} in {}", words::plural(plan.waves, "wave")),
        group::causes(rows),
        format!("plan `{}`", plan.digest.short()),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// Returns the text as a code span that nothing in it can end.
fn code(text: &str) -> String {
    let text = value::clean(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// Returns the text as a code span inside of a table, where `|` ends a cell even in code.
fn cell(text: &str) -> String {
    code(&text.replace('|', "\\|"))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
