//! One act of a plan: what it does, after what, and how it is undone.
//!
//! An act holds everything that undoing it takes, so that a journal of acts is enough to go back,
//! also after a crash. An undo trusts what it observes: it also undoes an act that was only begun.
//!
//! ```text
//! act      execute                         undo                        finish (after the commit record)
//! Fetch    get the image                   -                           -
//! Create   (set the old one aside,) create remove, (put the old back)  remove what was set aside
//! Stop     stop                            start                       -
//! Start    start                           stop                        -
//! Restart  restart                         -                           -
//! Update   write the fields                write the old fields        -
//! Run      run a job to its end            -                           -
//! Verify   wait until ready                -                           -
//! Retire   stop, set aside                 put back, start             remove
//! ```
//!
//! What somebody else removed meanwhile is made again from its configuration, and started if it was running.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Probe, ResourceId, Spec};

/// The name of a step, unique in its plan and the same in every run of it: `create haproxy`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepKey(pub String);

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One act, and what must be done before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub key: StepKey,
    /// What it is done to.
    pub resource: ResourceId,
    /// What is done.
    pub act: Act,
    /// The steps that come first.
    pub after: BTreeSet<StepKey>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A live resource that an act changes, as it was when the plan was made. An act refuses when the
/// handle is no longer the one that is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aside {
    /// What the target calls it.
    pub handle: String,
    /// Its configuration, to make it again where it cannot be kept.
    pub spec: Spec,
    /// Whether it was running.
    pub running: bool,
}

/// What is done. The verbs are those of any target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Act {
    /// Gets what a resource needs before anything is touched.
    Fetch {
        /// What, in the words of the target.
        what: Spec,
    },
    /// Creates a resource, not started; a live one of the same name is set aside first.
    Create {
        /// Its configuration.
        spec: Spec,
        /// The one that it replaces.
        replaces: Option<Aside>,
    },
    /// Changes fields of a live resource.
    Update {
        /// The resource as it was.
        before: Aside,
        /// Its configuration afterwards.
        after: Spec,
        /// The paths that differ.
        fields: Vec<String>,
    },
    /// Stops a running resource that is replaced.
    Stop {
        /// The resource as it was.
        old: Aside,
    },
    /// Starts what was created, or what should be running.
    Start {
        /// The resource that was found not running; none for one that this plan created.
        old: Option<Aside>,
    },
    /// Stops and starts a resource, which is the same afterwards, so that its undo does nothing. A target
    /// with a rule that changes fields by a restart would have to restart again on the way back.
    Restart {
        /// The resource as it was.
        old: Aside,
    },
    /// Runs a job to its end, which must be a success.
    Run {
        /// The digest of its inputs, recorded when it has succeeded.
        inputs: String,
    },
    /// Waits until a resource works.
    Verify {
        /// How to tell.
        probe: Probe,
    },
    /// Takes a resource out of service that is no longer declared; it is removed when all succeeded.
    Retire {
        /// The resource as it was.
        old: Aside,
    },
}
