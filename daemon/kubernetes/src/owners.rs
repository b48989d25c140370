//! Who has which fields of an object.

use jiff::Timestamp;
use serde_json::Value;

use crate::{fieldset::FieldSet, object::Object};

/// The manager under which all is applied.
pub const MANAGER: &str = "trueup";

/// Who has which fields of an object: its `managedFields`, the status left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// What was applied, and nobody has changed, taken or removed since.
    pub ours: FieldSet,
    /// What other managers have, as the object lists them.
    pub others: Vec<Other>,
}

/// A manager beside us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Who it is.
    pub hand: Hand,
    /// What it has.
    pub fields: FieldSet,
}

/// Who wrote a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// What the manager calls itself: `kubectl-edit`.
    pub who: String,
    /// When it wrote last.
    pub at: Option<Timestamp>,
}

/// Returns whether we have applied an object. Others copy labels to what they make of it: controllers, and people.
pub(crate) fn is_applied_by_us(object: &Object) -> bool {
    let is_ours = |entry: &Value| entry["manager"] == MANAGER && entry["operation"] == "Apply";
    object.managed_fields().iter().any(is_ours)
}

impl Owners {
    /// Reads the owners of an object's fields.
    pub fn of(object: &Object) -> Self {
        let mut owners = Self::default();
        for entry in object.managed_fields() {
            owners.read(entry);
        }
        let others = owners.fields_of_others();
        owners.ours.hollow_out(object, &others);
        owners
    }

    /// Adds an entry. One that is written in an unknown way is nobody's: what it covers is not known to be ours.
    fn read(&mut self, entry: &Value) {
        let text = |key: &str| entry[key].as_str();
        let Some(fields) = FieldSet::parse(&entry["fieldsV1"]) else { return };
        match (text("manager"), text("operation"), text("subresource")) {
            (_, _, Some("status")) => {}
            (Some(MANAGER), Some("Apply"), None) => self.ours = self.ours.union(&fields),
            (who, _, _) => {
                let at = text("time").and_then(|time| time.parse().ok());
                let hand = Hand { who: who.unwrap_or("unknown").to_owned(), at };
                self.others.push(Other { hand, fields });
            }
        }
    }

    fn fields_of_others(&self) -> FieldSet {
        self.others.iter().fold(FieldSet::default(), |all, other| all.union(&other.fields))
    }

    /// Returns whether every leaf of an apply configuration is still ours.
    pub fn covers(&self, declared: &Object) -> bool {
        self.ours.covers(declared.value(), &self.fields_of_others())
    }

    /// Returns who else has the field at this path, the field around it or one inside it: whoever wrote last.
    pub fn hand(&self, path: &[&str]) -> Option<&Hand> {
        let touching = self.others.iter().filter(|other| other.fields.touches(path));
        touching.map(|other| &other.hand).max_by_key(|hand| hand.at)
    }
}

#[cfg(test)]
mod tests;
