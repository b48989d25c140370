//! Repairs that somebody undoes each time, and repairs that fail: the next one waits.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use trueup_plan::{Action, Cause, Contest, ResourceId};

use crate::{Backoff, Blame, Fault, Outcome, record::RunRecord};

/// How far back repairs count.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// How long a repair that failed rests.
const REST: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(5) };

/// How many runs it takes to know how long a repair rests: after so many failures the wait is the longest.
pub const RUNS: u32 = 10;

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

/// Returns until when nothing is repaired after repairs that failed in a row, and why the newest one did. `runs` are
/// the last ones of one environment, newest first. What asks for the repair does not end the rest: it may be what the
/// failed one itself has caused.
pub fn rest(runs: &[RunRecord], now: Timestamp) -> Option<(Timestamp, &Fault)> {
    let mut failures = runs.iter().map_while(failure);
    let (ended, fault) = failures.next()?;
    let count = u32::try_from(1 + failures.count()).unwrap_or(u32::MAX);
    let until = ended + SignedDuration::try_from(REST.after(count)).ok()?;
    // What is yet to come is from before the clock was set back.
    (ended..until).contains(&now).then_some((until, fault))
}

/// Returns when and why a run failed to repair; none when that was nobody's doing.
fn failure(run: &RunRecord) -> Option<(Timestamp, &Fault)> {
    let is_repair = !run.summary.is_empty() && run.summary.iter().all(|change| change.cause == Cause::Drift);
    let fault = run.outcome.as_ref().and_then(Outcome::fault);
    let is_nobodys =
        |fault: &&Fault| matches!(fault.error.blame, Blame::Moved | Blame::Away | Blame::Cancelled);
    let fault = fault.filter(|fault| !is_nobodys(fault))?;
    is_repair.then_some((run.ended?, fault))
}

#[cfg(test)]
mod tests {
    use trueup_plan::{How, Kind, PlanDigest};
    use trueup_schema::Revision;

    use super::*;
    use crate::{
        EnvKey, RunId, Trigger,
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

    fn failed_repair(second: i64, blame: Blame) -> RunRecord {
        let outcome = Outcome::RolledBack { fault: Fault::of_run(blame, "it does not start") };
        RunRecord { outcome: Some(outcome), ..repair(second) }
    }

    #[test]
    fn a_repair_that_failed_was_not_done() {
        let mut runs: Vec<_> = [400, 300, 200].map(repair).into();
        runs[1] = failed_repair(300, Blame::Manifest);
        assert_eq!(contested(&runs, 2, at(401))[0].repairs, 2);
        assert_eq!(contested(&runs, 3, at(401)), []);
    }

    #[test]
    fn repairs_that_fail_rest_longer_each_time() {
        let failures = |count: i64| -> Vec<_> {
            (1..=count).rev().map(|n| failed_repair(10 * n, Blame::Manifest)).collect()
        };
        for (count, seconds) in [(1, 1), (2, 2), (3, 4), (10, 300), (30, 300)] {
            let (runs, last) = (failures(count), 10 * count);
            let (until, fault) = rest(&runs, at(last)).unwrap();
            assert_eq!((until, fault.error.message.as_str()), (at(last + seconds), "it does not start"));
            assert_eq!(rest(&runs, until), None);
        }
        assert_eq!(rest(&failures(9), at(9)), None, "the clock was set back");
    }

    #[test]
    fn only_repairs_that_failed_in_a_row_rest() {
        let failed = failed_repair(100, Blame::Manifest);
        assert_eq!(rest(&[repair(101), failed.clone()], at(101)), None, "the newest was applied");
        assert_eq!(rest(&[failed_repair(101, Blame::Moved), failed.clone()], at(101)), None, "planned anew");
        let (until, _) = rest(&[failed.clone(), repair(99), failed.clone()], at(100)).unwrap();
        assert_eq!(until, at(101));
        let mut wanted = failed;
        wanted.summary[0].cause = Cause::Intent;
        assert_eq!(rest(&[wanted], at(100)), None, "that one is held");
    }
}
