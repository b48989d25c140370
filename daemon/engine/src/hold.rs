//! Why an environment waits although its desired state is not what runs.
//!
//! A desired state that was rolled back is not tried again by itself; another one is.

use jiff::Timestamp;
use trueup_plan::{Plan, Wait};
use trueup_schema::Revision;

use crate::{
    Blame, Fault, Outcome,
    record::{Hold, HoldKind, Suspended},
};

/// Returns the hold that keeps the desired state of that digest from being applied by itself.
pub fn waiting<'a>(holds: &'a [Hold], desired: &str) -> Option<&'a Hold> {
    let person = holds.iter().find(|hold| matches!(hold.kind, HoldKind::Person { .. }));
    person.or_else(|| {
        holds
            .iter()
            .find(|hold| matches!(&hold.kind, HoldKind::Automatic { desired: held, .. } if held == desired))
    })
}

/// Returns the hold that begins when a run of `plan` ends so.
///
/// What the world or a signal caused is planned again. What the target refused before anything was
/// touched is tried again with back-off; after something was touched it is held, because each further
/// try would interrupt again. A repair is never held, but rests (see [`crate::repair::rest`]): what it
/// brings back has worked before, and without it nothing ever does again.
pub fn after(outcome: &Outcome, plan: &Plan, now: Timestamp) -> Option<Hold> {
    if plan.is_repair() {
        return None;
    }
    let (fault, blocked) = match outcome {
        Outcome::RolledBack { fault } if !matches!(fault.error.blame, Blame::Moved | Blame::Away) => {
            (fault, false)
        }
        Outcome::Kept { fault } => (fault, false),
        Outcome::Blocked { fault } if fault.error.blame == Blame::Manifest => (fault, true),
        _ => return None,
    };
    Some(Hold {
        kind: HoldKind::Automatic { desired: plan.desired_digest.clone(), blocked },
        revision: plan.revision.clone(),
        why: why(fault),
        since: now,
    })
}

fn why(fault: &Fault) -> String {
    fault.error.message.clone()
}

impl Hold {
    /// Returns why nothing moves.
    pub fn wait(&self) -> Wait {
        let (revision, why) = (self.revision.clone(), self.why.clone());
        match &self.kind {
            HoldKind::Automatic { blocked: true, .. } => Wait::Blocked { revision, why, retries: false },
            HoldKind::Automatic { .. } => Wait::Held { revision, why, by: None },
            HoldKind::Person { who, reason } => {
                Wait::Held { revision, why: reason.clone(), by: Some(who.clone()) }
            }
        }
    }

    /// Returns whether it takes the place of `other` in a store.
    pub fn replaces(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (HoldKind::Person { .. }, HoldKind::Person { .. }) => true,
            (HoldKind::Automatic { desired: a, .. }, HoldKind::Automatic { desired: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl Suspended {
    /// Returns why nothing moves.
    pub fn wait(&self) -> Wait {
        Wait::Suspended { by: self.who.clone(), reason: self.reason.clone() }
    }
}

impl Outcome {
    /// Says in one line how a run to `revision` ended.
    pub fn line(&self, revision: &Revision) -> String {
        let commit = revision.short();
        match self {
            Self::Blocked { fault } => Wait::Blocked {
                revision: revision.clone(),
                why: fault.error.message.clone(),
                retries: fault.error.blame != Blame::Manifest,
            }
            .to_string(),
            Self::RolledBack { fault } => format!("{commit} was rolled back: {}", fault.error.message),
            Self::RollbackFailed { fault, left } => {
                let stuck = left.first().map_or_else(String::new, |fault| fault.error.one_line());
                format!("{commit} failed ({}), and so did the way back: {stuck}", fault.error.message)
            }
            Self::Kept { fault } => format!("{commit} failed and was kept: {}", fault.error.message),
            Self::Applied | Self::Cancelled | Self::Interrupted | Self::Superseded => {
                format!("{commit}: {}", self.word())
            }
        }
    }
}
