//! The plan for a pull request.

use jiff::Timestamp;

use crate::Plan;

/// Returns the plan as GitHub-flavoured Markdown, ending with a line break.
pub fn markdown(plan: &Plan, now: Timestamp) -> String {
    let text = super::text(plan, &super::Style::default(), now);
    format!("### Plan for `{}`\n\n```diff\n{text}```\n", plan.environment)
}
