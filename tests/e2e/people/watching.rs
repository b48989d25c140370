//! `trueup status --watch`: what has changed is shown when it has, until nobody looks any more.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::{
    app::{self, Test},
    lab::Lab,
    rig::Engine,
};

pub(super) const TESTS: [Test; 3] = [
    ("a_terminal_is_drawn_again_in_place_until_ctrl_c", a_terminal_is_drawn_again),
    ("a_program_gets_one_line_a_change", one_line_a_change),
    ("a_watch_ends_when_nobody_reads_it", nobody_reads),
];

fn suspend(lab: &Lab) -> Result<(), Failed> {
    lab.exits(0, &["env", "suspend", &lab.env, "--reason", "lunch"]).map(drop)
}

fn a_terminal_is_drawn_again(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let mut watch = lab.start_on_terminal(&["status", "--watch"])?;
    let mut printed = watch.output()?;
    printed.until("the first table", |text| text.contains("Synced"))?;
    suspend(&lab)?;
    let text = printed.until("the second table", |text| text.contains("lunch"))?;
    // The cursor goes up, and what it meets is wiped.
    assert!(text.contains("A\r\u{1b}[2K"), "{text:?}");
    watch.type_in("\u{3}")?;
    assert_eq!(watch.end()?, Some(130));
    Ok(())
}

fn one_line_a_change(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let mut watch = lab.start(&["status", &lab.env, "--watch", "-o", "json"])?;
    let mut printed = watch.output()?;
    printed.until("the first line", |text| text.ends_with('\n'))?;
    suspend(&lab)?;
    let text = printed.until("the second line", |text| text.ends_with('\n') && text.contains("lunch"))?;
    let lines: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let synced: Vec<_> = lines.iter().map(|line| &line["environments"][0]["sync"]).collect();
    assert_eq!(synced, ["Synced", "Suspended"]);
    let (code, _) = watch.interrupt()?;
    assert_eq!(code, Some(130));
    Ok(())
}

fn nobody_reads(engine: &Engine) -> Result<(), Failed> {
    let lab = app::applied(engine)?;
    let mut watch = lab.start(&["status", "--watch"])?;
    watch.close_output()?;
    suspend(&lab)?;
    assert_eq!(watch.end()?, Some(0));
    Ok(())
}
