//! How each field of a network, volume or container is changed.

use trueup_plan::{How, Kind, Rule, Rules};

/// One row: the kinds that it is for, the path, how, and whether that interrupts.
type Row = (&'static [Kind], &'static str, How, bool);

const CONTAINERS: &[Kind] = &[Kind::Workload, Kind::Job, Kind::Cron];

/// The first row that matches wins. The engine's `update` takes limits and the restart policy; networks
/// are joined and left while a container runs, which cuts the connections over that network; of all
/// else the engine keeps what it was created with.
const TABLE: &[Row] = &[
    (CONTAINERS, "name", How::InPlace, false),
    (CONTAINERS, "resources", How::InPlace, false),
    (CONTAINERS, "restart", How::InPlace, false),
    (CONTAINERS, "networks", How::InPlace, true),
    (CONTAINERS, "schedule", How::Recreate, false),
    (CONTAINERS, "missedRuns", How::Recreate, false),
    (CONTAINERS, "", How::Recreate, true),
    (&[Kind::Network], "foreign", How::InPlace, false),
    (&[Kind::Network], "", How::Recreate, true),
    (&[Kind::Volume], "", How::Refuse, false),
];

/// Why a volume is not changed.
const VOLUME: &str = "a volume keeps its driver; declare a new volume and a job that copies the data into it";

/// Returns the rules of this target.
pub(crate) fn rules() -> Rules {
    let mut rules = Rules::new();
    for (kinds, path, how, interrupts) in TABLE {
        for kind in *kinds {
            let reason = (*how == How::Refuse).then(|| VOLUME.to_owned());
            let rule = Rule { path: (*path).to_owned(), how: *how, interrupts: *interrupts, reason };
            rules.entry(*kind).or_default().push(rule);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_last_rule_for_all_other_fields() {
        let rules = rules();
        for kind in [Kind::Network, Kind::Volume, Kind::Workload, Kind::Job, Kind::Cron] {
            assert_eq!(rules[&kind].last().unwrap().path, "", "{kind}");
        }
    }

    /// Taking back a restart does nothing, which is right only while no field needs one.
    #[test]
    fn no_field_is_changed_by_a_restart() {
        assert!(rules().values().flatten().all(|rule| rule.how != How::Restart));
    }

    #[test]
    fn a_limit_changes_in_place_and_a_volumes_driver_is_refused() {
        let rules = rules();
        assert_eq!(rules[&Kind::Workload][0].how, How::InPlace);
        assert_eq!(rules[&Kind::Volume][0].how, How::Refuse);
        assert!(rules[&Kind::Volume][0].reason.is_some());
    }
}
