//! Which rule says how a field is changed.
//!
//! Every field has one: what no rule names is replaced by a new one, which is always right and never quiet.

use crate::{How, Kind, Rule, Rules};

/// How one field is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) how: How,
    pub(crate) interrupts: bool,
    pub(crate) reason: Option<String>,
}

/// Returns the ruling of the first rule whose path is `path` or lies around it.
pub(crate) fn ruling(rules: &Rules, kind: Kind, path: &str) -> Ruling {
    let found = rules.get(&kind).into_iter().flatten().find(|rule| covers(rule, path));
    let ruling = found.map_or(Ruling { how: How::Recreate, interrupts: true, reason: None }, |rule| Ruling {
        how: rule.how,
        interrupts: rule.interrupts,
        reason: rule.reason.clone(),
    });
    // A new volume under the old name would be an empty one.
    if kind.holds_data() && ruling.how != How::InPlace {
        let reason = ruling.reason.or_else(|| Some("its content would be lost".into()));
        return Ruling { how: How::Refuse, interrupts: false, reason };
    }
    ruling
}

fn covers(rule: &Rule, path: &str) -> bool {
    rule.path.is_empty()
        || path
            .strip_prefix(rule.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rule(path: &str, how: How) -> Rule {
        Rule { path: path.into(), how, interrupts: false, reason: None }
    }

    #[test]
    fn the_first_rule_around_a_field_wins() {
        let rules: Rules = BTreeMap::from([(
            Kind::Workload,
            vec![
                rule("resources.cpu", How::InPlace),
                rule("resources", How::Restart),
                rule("", How::Recreate),
            ],
        )]);
        let how = |path| ruling(&rules, Kind::Workload, path).how;
        assert_eq!(how("resources.cpu"), How::InPlace);
        assert_eq!(how("resources.cpus"), How::Restart);
        assert_eq!(how("resources[a.b]"), How::Restart);
        assert_eq!(how("resourcesful"), How::Recreate);
    }

    #[test]
    fn a_field_without_a_rule_takes_a_new_resource() {
        assert_eq!(ruling(&Rules::new(), Kind::Workload, "image").how, How::Recreate);
    }

    #[test]
    fn a_volume_is_never_replaced() {
        let ruling = ruling(&Rules::new(), Kind::Volume, "driver");
        assert_eq!((ruling.how, ruling.reason.as_deref()), (How::Refuse, Some("its content would be lost")));
    }
}
