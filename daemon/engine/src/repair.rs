//! Repairs that somebody undoes each time: the next one waits.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use trueup_plan::{Action, Cause, Contest, ResourceId};

use crate::{Outcome, record::RunRecord};

/// How far back repairs count.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// One kind of repair.
type Repair<'a> = (&'a ResourceId, Action, Option<&'a str>);

/// Returns what was repaired `most` times or more within [`WINDOW`], and when it is repaired again. `runs` are
/// those of one environment since then, newest first.
pub fn contested(runs: &[RunRecord], most: usize, now: Timestamp) -> Vec<Contest> {
    // What is yet to come is from before the clock was set back.
    let is_recent = |run: &&RunRecord| (run.started..run.started + WINDOW).contains(&now);
    let was_applied = |run: &&RunRecord| run.outcome == Some(Outcome::Applied);
    let recent = runs.iter().filter(is_recent).filter(was_applied);
    let mut times: BTreeMap<Repair<'_>, Vec<Timestamp>> = BTreeMap::new();
    for (run, change) in recent.flat_map(|run| run.summary.iter().map(move |change| (run, change))) {
        if change.cause != Cause::Drift {
            continue;
        }
        let fields = change.fields.iter().map(|field| Some(field.as_str()));
        let none = change.fields.is_empty().then_some(None);
        for field in fields.chain(none) {
            times.entry((&change.resource, change.action, field)).or_default().push(run.started);
        }
    }
    let contest = |((resource, action, field), times): (Repair<'_>, Vec<Timestamp>)| {
        Some(Contest {
            resource: resource.clone(),
            action,
            field: field.map(str::to_owned),
            repairs: times.len(),
            minutes: u32::try_from(WINDOW.as_mins()).unwrap_or(u32::MAX),
            until: *times.get(most.checked_sub(1)?)? + WINDOW,
        })
    };
    times.into_iter().filter_map(contest).collect()
}

#[cfg(test)]
mod tests {
    use trueup_plan::{How, Kind, PlanDigest};
    use trueup_schema::Revision;

    use super::*;
    use crate::{
        Blame, EnvKey, Fault, RunId, Trigger,
        record::{ChangeSummary, Durations},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn web() -> ResourceId {
        ResourceId { kind: Kind::Workload, name: "web".into(), component: "web".parse().ok() }
    }

    /// A run that starts `web`, which had drifted.
    fn repair(second: i64) -> RunRecord {
        let start = ChangeSummary {
            resource: web(),
            action: Action::Start,
            how: How::InPlace,
            cause: Cause::Drift,
            fields: vec!["state".into()],
        };
        RunRecord {
            id: RunId(second),
            env: EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() },
            revision: Revision {
                commit: "c".into(),
                reference: "main".into(),
                author: "a".into(),
                subject: "s".into(),
                time: at(0),
            },
            plan: PlanDigest("p".into()),
            desired: "d".into(),
            trigger: Trigger::Drift,
            started: at(second),
            ended: Some(at(second)),
            outcome: Some(Outcome::Applied),
            summary: vec![start],
            durations: Durations::default(),
            jobs_run: Vec::new(),
        }
    }

    #[test]
    fn the_same_repair_waits_after_it_was_done_too_often() {
        let runs: Vec<_> = [400, 300, 200, 100].map(repair).into();
        assert_eq!(contested(&runs, 5, at(401)), []);
        let contest = &contested(&runs, 3, at(401))[0];
        assert_eq!((contest.repairs, contest.until), (4, at(200) + WINDOW));
        assert_eq!((&contest.resource, contest.field.as_deref()), (&web(), Some("state")));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait_until_it_is_as_late_again() {
        let runs: Vec<_> = [100, 3_900, 3_800, 3_700].map(repair).into();
        assert_eq!(contested(&runs, 2, at(3_901)).len(), 1);
        assert_eq!(contested(&runs, 2, at(101)), []);
    }

    #[test]
    fn what_is_long_ago_or_was_wanted_does_not_count() {
        let runs: Vec<_> = [900, 300, 200].map(repair).into();
        assert_eq!(contested(&runs, 2, at(901)), [], "only one is within ten minutes");
        let mut runs: Vec<_> = [400, 300].map(repair).into();
        runs[0].summary[0].cause = Cause::Intent;
        assert_eq!(contested(&runs, 2, at(401)), []);
        runs[0].summary[0].cause = Cause::Drift;
        runs[0].summary[0].fields = vec!["resources.memory".into()];
        assert_eq!(contested(&runs, 2, at(401)), [], "they are different repairs");
    }

    #[test]
    fn a_repair_that_failed_was_not_done() {
        let mut runs: Vec<_> = [400, 300, 200].map(repair).into();
        let fault = Fault::of_run(Blame::Manifest, "it does not start");
        runs[1].outcome = Some(Outcome::RolledBack { fault });
        assert_eq!(contested(&runs, 2, at(401))[0].repairs, 2);
        assert_eq!(contested(&runs, 3, at(401)), []);
    }
}
