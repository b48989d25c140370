//! One line a check, with the fix of what is not well.
//!
//! ```text
//! ✓ engine local   20.10.24 (API 1.41) at unix:///var/run/docker.sock
//! ✗ key file       /etc/trueup/age.key: it is readable by others (mode 0644)
//!                  fix: chmod 600 /etc/trueup/age.key
//! ```

use serde_json::{Value, json};
use trueup_plan::render::{
    Style,
    progress::{Sign, text},
};

use crate::doctor::{Finding, State};

/// Returns the findings as text, and how many there are of each kind.
pub(crate) fn doctor(findings: &[Finding], style: &Style) -> String {
    let names: Vec<String> = findings.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (finding, name) in findings.iter().zip(&names) {
        let mark = sign(finding.state).mark(style);
        lines.push(format!("{mark} {name:<width$}   {}", text(&one_line(&finding.text), style)));
        let fix = finding.fix.iter();
        lines.extend(fix.map(|fix| format!("  {:<width$}   fix: {}", "", text(&one_line(fix), style))));
    }
    let [good, attention, bad] = counts(findings);
    lines.push(format!("{good} good, {attention} to look at, {bad} bad; nothing was changed"));
    lines.join("\n")
}

fn name(finding: &Finding) -> String {
    let title = finding.check.title();
    finding.subject.as_ref().map_or_else(|| title.to_owned(), |subject| format!("{title} {subject}"))
}

fn sign(state: State) -> Sign {
    match state {
        State::Good => Sign::Done,
        State::Attention => Sign::Stopped,
        State::Bad => Sign::Failed,
    }
}

fn one_line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn counts(findings: &[Finding]) -> [usize; 3] {
    [State::Good, State::Attention, State::Bad]
        .map(|state| findings.iter().filter(|finding| finding.state == state).count())
}

/// Returns the same facts for programs.
pub(crate) fn doctor_json(findings: &[Finding]) -> Value {
    let [good, attention, bad] = counts(findings);
    json!({
        "apiVersion": "trueup.dev/v1",
        "findings": findings,
        "counts": { "good": good, "attention": attention, "bad": bad },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Check, Of};

    fn findings() -> Vec<Finding> {
        vec![
            Of(Check::Engine, Some("local")).good("20.10.24 (API 1.41)"),
            Of(Check::Disk, None).attention("1 MiB free\nat /x", "free some — soon"),
            Of(Check::KeyFile, None).bad("/k: readable \u{1b}[31mby others", "chmod 600 /k"),
        ]
    }

    #[test]
    fn what_is_not_well_has_its_fix_below() {
        let expected = "\
✓ engine local   20.10.24 (API 1.41)
! disk           1 MiB free at /x
                 fix: free some — soon
✗ key file       /k: readable ?[31mby others
                 fix: chmod 600 /k
1 good, 1 to look at, 1 bad; nothing was changed";
        assert_eq!(doctor(&findings(), &Style::default()).replace('\u{fffd}', "?"), expected);
    }

    #[test]
    fn it_is_read_with_ascii_alone() {
        let text = doctor(&findings(), &Style { ascii: true, ..Style::default() });
        assert!(text.is_ascii() && text.contains("+ engine") && text.contains("x key file"), "{text}");
    }

    #[test]
    fn programs_find_the_same_facts() {
        let value = doctor_json(&findings());
        assert_eq!(value["counts"], json!({"good": 1, "attention": 1, "bad": 1}));
        let expected = json!({"check": "keyFile", "subject": null, "state": "bad",
            "text": "/k: readable \u{1b}[31mby others", "fix": "chmod 600 /k"});
        assert_eq!(value["findings"][2], expected);
    }
}
