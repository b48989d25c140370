//! Which rule says how a field is changed.
//!
//! Every field has one: what no rule names is replaced by a new one, which is always right and never quiet.

use crate::{Desired, How, ResourceId};

/// How one field is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) how: How,
    pub(crate) interrupts: bool,
    pub(crate) reason: Option<String>,
}

/// Returns the ruling of the first rule whose path is `path` or lies around it: of the resource, then of its kind.
pub(crate) fn ruling(desired: &Desired, id: &ResourceId, path: &str) -> Ruling {
    let own = desired.resources.get(id).into_iter().flat_map(|declared| &declared.rules);
    let of_kind = desired.rules.get(&id.kind).into_iter().flatten();
    let found = own.chain(of_kind).find(|rule| is_around(&rule.path, path));
    let ruling = found.map_or(Ruling { how: How::Recreate, interrupts: true, reason: None }, |rule| Ruling {
        how: rule.how,
        interrupts: rule.interrupts,
        reason: rule.reason.clone(),
    });
    // A new one under the old name would be an empty one.
    if id.kind.holds_data() && ruling.how != How::InPlace {
        let reason = ruling.reason.or_else(|| Some("its content would be lost".into()));
        return Ruling { how: How::Refuse, interrupts: false, reason };
    }
    ruling
}

/// Returns whether a path is `path` or lies around it.
pub fn is_around(around: &str, path: &str) -> bool {
    let rest = || path.strip_prefix(around);
    around.is_empty() || rest().is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how(rules: &[(&str, How)], path: &str) -> How {
        let found = rules.iter().find(|(around, _)| is_around(around, path));
        found.map_or(How::Recreate, |(_, how)| *how)
    }

    #[test]
    fn the_first_rule_around_a_field_wins() {
        let rules = [("resources.cpu", How::InPlace), ("resources", How::Restart), ("", How::Recreate)];
        assert_eq!(how(&rules, "resources.cpu"), How::InPlace);
        assert_eq!(how(&rules, "resources.cpus"), How::Restart);
        assert_eq!(how(&rules, "resources[a.b]"), How::Restart);
        assert_eq!(how(&rules, "resourcesful"), How::Recreate);
    }
}
