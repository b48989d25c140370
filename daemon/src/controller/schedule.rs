//! What a schedule says next. A function of the times alone: nothing is waited for here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use jiff::Timestamp;
use trueup_schema::manifest::MissedRuns;

/// How late a run may begin and is still on time.
const ON_TIME: Duration = Duration::from_mins(1);

/// How far a clock is set back at most whose times come a second time.
const SET_BACK: Duration = Duration::from_hours(24);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing before this time.
    At(Timestamp),
    /// The run of this time, now.
    Run(Timestamp),
    /// Nothing for this time: its run was missed, and missed runs are left out.
    LeaveOut(Timestamp),
    /// Nothing ever again.
    Never,
}

/// Returns what is next of a schedule that has dealt with everything up to `last`.
///
/// A clock that was set back repeats no time, because what comes next comes after `last`. Of several times that are
/// over only the newest counts: a run of yesterday is none today.
pub(crate) fn next(cron: &Cron, missed: MissedRuns, last: Timestamp, now: Timestamp) -> Next {
    let Some(due) = after(cron, last) else { return Next::Never };
    if due > now {
        return Next::At(due);
    }
    let due = before(cron, now).map_or(due, |newest| newest.max(due));
    let late = Duration::try_from(now.duration_since(due)).unwrap_or_default();
    match missed {
        MissedRuns::Skip if late > ON_TIME => Next::LeaveOut(due),
        MissedRuns::Skip | MissedRuns::Run => Next::Run(due),
    }
}

/// Returns whether the last time that was dealt with is of a clock that was far ahead once: that must not end the
/// schedule until then.
pub(crate) fn is_of_wrong_clock(last: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(last.duration_since(now)).is_ok_and(|ahead| ahead > SET_BACK)
}

/// Returns the first time after another one.
fn after(cron: &Cron, time: Timestamp) -> Option<Timestamp> {
    of(&cron.find_next_occurrence(&at(time)?, false).ok()?)
}

/// Returns the last time that is not after another one.
fn before(cron: &Cron, time: Timestamp) -> Option<Timestamp> {
    of(&cron.find_previous_occurrence(&at(time)?, true).ok()?)
}

fn at(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.as_second(), 0)
}

fn of(time: &DateTime<Utc>) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn hourly(missed: MissedRuns, last: &str, now: &str) -> Next {
        next(&"0 * * * *".parse().unwrap(), missed, time(last), time(now))
    }

    #[test]
    fn each_time_is_run_once() {
        assert_eq!(hourly(MissedRuns::Run, "10:00:00", "10:00:00"), Next::At(time("11:00:00")));
        assert_eq!(hourly(MissedRuns::Run, "10:00:00", "10:59:59"), Next::At(time("11:00:00")));
        assert_eq!(hourly(MissedRuns::Run, "10:00:00", "11:00:00"), Next::Run(time("11:00:00")));
        assert_eq!(hourly(MissedRuns::Skip, "10:00:00", "11:00:30"), Next::Run(time("11:00:00")));
    }

    #[test]
    fn of_several_that_were_missed_the_newest_is_run_or_none() {
        assert_eq!(hourly(MissedRuns::Run, "03:00:00", "11:20:00"), Next::Run(time("11:00:00")));
        assert_eq!(hourly(MissedRuns::Skip, "03:00:00", "11:20:00"), Next::LeaveOut(time("11:00:00")));
    }

    #[test]
    fn a_clock_that_jumps_an_hour_doubles_and_loses_nothing() {
        // Back: eleven has run, and comes a second time.
        assert_eq!(hourly(MissedRuns::Run, "11:00:00", "10:10:00"), Next::At(time("12:00:00")));
        assert_eq!(hourly(MissedRuns::Run, "11:00:00", "11:00:00"), Next::At(time("12:00:00")));
        // Forward: twelve never came.
        assert_eq!(hourly(MissedRuns::Run, "11:00:00", "12:10:00"), Next::Run(time("12:00:00")));
    }

    #[test]
    fn only_a_clock_that_was_far_ahead_was_wrong() {
        let ahead = |text: &str| is_of_wrong_clock(text.parse().unwrap(), time("10:10:00"));
        assert!(ahead("2035-01-01T00:00:00Z"));
        assert!(!ahead("2026-03-02T10:10:00Z"));
        assert!(!ahead("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn what_has_no_next_time_ends() {
        let never = next(&"0 0 30 2 *".parse().unwrap(), MissedRuns::Run, time("03:00:00"), time("04:00:00"));
        assert_eq!(never, Next::Never);
    }
}
