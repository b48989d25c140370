//! Drift that comes back after each repair: somebody, or something, does not want what is declared.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Action, Change, ResourceId};

/// A field that was repaired so often that the next repair waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contest {
    /// The resource.
    pub resource: ResourceId,
    /// How it was repaired.
    pub action: Action,
    /// The field's path; none for a change without fields, such as a deletion.
    pub field: Option<String>,
    /// How often it was repaired.
    pub repairs: usize,
    /// Within how many minutes.
    pub minutes: u32,
    /// When it is repaired again.
    pub until: Timestamp,
}

impl Contest {
    /// Returns whether a change would be that repair once more, perhaps with others.
    pub fn is_about(&self, change: &Change) -> bool {
        fields(change).any(|field| self.is_of(change, field))
    }

    fn is_of(&self, change: &Change, field: Option<&str>) -> bool {
        self.resource == change.resource && self.action == change.action && self.field.as_deref() == field
    }
}

/// Returns whether a change would repair nothing but what is contested.
pub(crate) fn is_contested(change: &Change, contests: &[Contest]) -> bool {
    fields(change).all(|field| contests.iter().any(|contest| contest.is_of(change, field)))
}

/// Returns the paths of the fields of a change; one that is none when it has no fields.
fn fields(change: &Change) -> impl Iterator<Item = Option<&str>> {
    let none = change.fields.is_empty().then_some(None);
    change.fields.iter().map(|field| Some(field.path.as_str())).chain(none)
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.until.strftime("%H:%M:%S UTC");
        write!(f, "repaired {} times in {} min, now waiting until {until}", self.repairs, self.minutes)
    }
}
