//! The plan on a terminal: what changes, why, how, what it interrupts.

use jiff::Timestamp;

use super::Style;
use crate::Plan;

/// Returns the plan as text, ending with a line break. `now` is what ages are counted from.
pub fn text(plan: &Plan, style: &Style, now: Timestamp) -> String {
    let _ = (style, now);
    format!("{} · {}\n", plan.environment, plan.target)
}
