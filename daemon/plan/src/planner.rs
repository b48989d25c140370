//! From desired, live and applied to a plan.
//!
//! Three differences, never mixed: **intent** is applied → desired, **drift** is applied → live, and
//! what is done is live → desired. Every field that differs says which of the first two it is.

use crate::{Applied, Desired, Live, Plan, PlanDigest};

/// Everything that a plan is made of.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What the revision declares.
    pub desired: &'a Desired,
    /// What runs.
    pub live: &'a Live,
    /// What the store knows of the revision that was applied last; none on the first apply and when the
    /// store was lost.
    pub applied: Option<&'a Applied>,
    /// Who plans: what others own is not touched.
    pub identity: Ownership<'a>,
    /// The texts of plain files, for their diffs.
    pub texts: &'a dyn Texts,
    /// Whether a person has confirmed that the plan may delete more than `maxDeletes`, or everything.
    pub budget_confirmed: bool,
}

/// The owner's labels of what may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership<'a> {
    /// The store's id.
    pub store: &'a str,
    /// The environment's uid.
    pub env_uid: &'a str,
}

/// The texts behind digests.
pub trait Texts {
    /// Returns the text of that digest; none for secrets, for bytes that are no text, and for what is not known.
    fn text(&self, digest: &str) -> Option<&str>;
}

/// No texts at all: every changed file is shown by its digest.
pub struct NoTexts;

impl Texts for NoTexts {
    fn text(&self, _: &str) -> Option<&str> {
        None
    }
}

/// Returns what brings `live` to `desired`, in which order, and what forbids it.
pub fn plan(input: &Input<'_>) -> Plan {
    Plan {
        environment: input.desired.environment.clone(),
        target: input.desired.target.clone(),
        revision: input.desired.revision.clone(),
        applied: input.applied.map(|applied| applied.revision.clone()),
        digest: PlanDigest(String::new()),
        desired_digest: String::new(),
        changes: Vec::new(),
        unchanged: Vec::new(),
        steps: Vec::new(),
        waves: 0,
        refusals: Vec::new(),
        reported: Vec::new(),
        foreign: input.live.foreign.clone(),
        notes: input.desired.notes.clone(),
        deletes: (0, input.desired.max_deletes.0),
    }
}
