//! How long ago, as a person says it.

use jiff::Timestamp;
use trueup_engine::{Holder, RunId};

/// Returns `now`, `40 s`, `2 min`, `3 h` or `5 d`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    match seconds {
        i64::MIN..=0 => "now".into(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Says who has an environment, with which run and for how long: `the daemon, run 41, since 2 s`.
pub(crate) fn holder(holder: &Holder, run: Option<RunId>, now: Timestamp) -> String {
    let run = run.map_or_else(String::new, |run| format!(", run {run}"));
    let since = match ago(holder.since, now).as_str() {
        "now" => "less than 1 s".to_owned(),
        ago => ago.to_owned(),
    };
    format!("{}{run}, since {since}", holder.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_unit_that_fits() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let before = |seconds: i64| ago(Timestamp::from_second(1_000_000_000 - seconds).unwrap(), now);
        assert_eq!([before(-5), before(40), before(150)], ["now", "40 s", "2 min"]);
        assert_eq!([before(3 * 3_600), before(5 * 86_400)], ["3 h", "5 d"]);
    }

    #[test]
    fn who_has_an_environment_is_one_line() {
        let since = Timestamp::from_second(1_000_000_000).unwrap();
        let daemon = Holder { pid: 7, what: "the daemon".into(), since };
        let later = Timestamp::from_second(1_000_000_002).unwrap();
        assert_eq!(holder(&daemon, Some(RunId(41)), later), "the daemon, run 41, since 2 s");
        assert_eq!(holder(&daemon, None, since), "the daemon, since less than 1 s");
    }
}
