//! What will change, why, how and in which order. Pure: no I/O, no clock, no target's words.
//!
//! ```text
//! Desired ─┐
//! Live ────┼─ plan ─→ Plan { changes, steps, refusals } ─→ text, JSON, Markdown
//! Applied ─┘
//! ```
//!
//! A resource's configuration is a JSON object that the target's adapter compiled from the manifests
//! and read back from what runs; the two are compared field by field. Secrets are digests in it.

pub mod applied;
mod change;
pub mod contest;
pub mod desired;
pub mod diff;
pub mod digest;
mod file;
mod guard;
pub mod live;
mod order;
pub mod plan;
pub mod planner;
pub mod render;
pub mod resource;
mod rule;
pub mod step;
pub mod why;

pub use applied::Applied;
pub use contest::Contest;
pub use desired::{Declared, Desired, Manner, Needs, Probe, Rule, Rules};
pub use digest::desired_digest;
pub use live::{Foreign, Hand, Live, Observed, Owner, Preview, State};
pub use plan::{Action, Cause, Change, FieldChange, Plan, PlanDigest, Refusal};
pub use planner::{Input, NoTexts, Ownership, Texts, plan};
pub use resource::{How, Kind, ResourceId, Spec};
pub use rule::is_around;
pub use step::{Act, Aside, Step, StepKey};
pub use why::Wait;
