//! What the store knows of the revision that was applied last.
//!
//! It is a memory, not a proof: what runs may have moved since. It only ever says why a field differs,
//! never whether it does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trueup_schema::Revision;

use crate::{Desired, ResourceId};

/// The revision that was applied last, and what it declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The commit.
    pub revision: Revision,
    /// What it declared, in the words of the target.
    pub desired: Desired,
    /// When its run was committed.
    pub at: Timestamp,
    /// Since when a resource is known to differ from it.
    #[serde(with = "crate::resource::as_list")]
    pub drift_since: BTreeMap<ResourceId, Timestamp>,
}
