//! What the daemon counts as it happens: turns, runs, and how long they took. What the store knows is not
//! counted here.
//!
//! Every series is there from the moment its environment is known, so that the first increase is seen, and
//! goes with it. No label comes from a repository but the names of environments.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use trueup_engine::{EnvKey, Outcome, Trigger, record::Durations};

/// Seconds, from what a look takes to what a bring-up with its images takes.
const BUCKETS: [f64; 13] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];

/// How a run can end, as a label says it.
const OUTCOMES: [&str; 8] = [
    "applied",
    "rolled_back",
    "rollback_failed",
    "kept",
    "blocked",
    "cancelled",
    "interrupted",
    "superseded",
];

/// What can ask the daemon for a turn, as a label says it.
const TRIGGERS: [&str; 7] = ["commit", "poll", "timer", "drift", "start", "reload", "decision"];

/// One part of the work, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading a new commit from Git.
    Fetch,
    /// Looking at what runs.
    Observe,
    /// Opening secrets, compiling and comparing.
    Plan,
    /// Checks before anything is touched.
    Preflight,
    /// Getting images.
    Pull,
    /// Steps, with their waits for health.
    Apply,
    /// The way back.
    Rollback,
    /// Removing what was kept for the way back.
    Finish,
}

impl Phase {
    const ALL: [Self; 8] = [
        Self::Fetch,
        Self::Observe,
        Self::Plan,
        Self::Preflight,
        Self::Pull,
        Self::Apply,
        Self::Rollback,
        Self::Finish,
    ];

    fn label(self) -> PhaseLabel {
        let phase = match self {
            Self::Fetch => "fetch",
            Self::Observe => "observe",
            Self::Plan => "plan",
            Self::Preflight => "preflight",
            Self::Pull => "pull",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
        };
        PhaseLabel { phase }
    }
}

/// The environment that a series is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EnvLabels {
    source: String,
    environment: String,
}

impl From<&EnvKey> for EnvLabels {
    fn from(key: &EnvKey) -> Self {
        Self { source: key.source.to_string(), environment: key.environment.to_string() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    source: String,
    environment: String,
    outcome: &'static str,
}

impl RunLabels {
    fn new(key: &EnvKey, outcome: &'static str) -> Self {
        Self { source: key.source.to_string(), environment: key.environment.to_string(), outcome }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TriggerLabel {
    trigger: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// What the daemon counts as it happens.
#[derive(Debug)]
pub(crate) struct Meter {
    registry: Registry,
    turns: Family<TriggerLabel, Counter>,
    runs: Family<RunLabels, Counter>,
    run_duration: Histograms<EnvLabels>,
    phase_duration: Histograms<PhaseLabel>,
    /// The environments that have series.
    known: Mutex<BTreeSet<EnvKey>>,
}

impl Default for Meter {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut meter = Self {
            registry: Registry::with_prefix("trueup"),
            turns: Family::default(),
            runs: Family::default(),
            run_duration: Family::new_with_constructor(histogram),
            phase_duration: Family::new_with_constructor(histogram),
            known: Mutex::default(),
        };
        for trigger in TRIGGERS {
            drop(meter.turns.get_or_create(&TriggerLabel { trigger }));
        }
        for phase in Phase::ALL {
            drop(meter.phase_duration.get_or_create(&phase.label()));
        }
        meter.register();
        meter
    }
}

impl Meter {
    fn register(&mut self) {
        let build = Info::new(Build { version: env!("CARGO_PKG_VERSION") });
        let all = &mut self.registry;
        all.register("build", "What runs", build);
        all.register(
            "turns",
            "Turns that environments had, by what asked for them first",
            self.turns.clone(),
        );
        all.register("runs", "Runs of this daemon, by how they ended", self.runs.clone());
        all.register_with_unit(
            "run_duration",
            "How long the runs of this daemon took",
            Unit::Seconds,
            self.run_duration.clone(),
        );
        all.register_with_unit(
            "phase_duration",
            "How long the parts of reading, planning and applying a commit took",
            Unit::Seconds,
            self.phase_duration.clone(),
        );
    }

    /// Counts a turn.
    pub(crate) fn turned(&self, trigger: &Trigger) {
        let trigger = match trigger {
            Trigger::Commit => "commit",
            Trigger::Poll => "poll",
            Trigger::Timer => "timer",
            Trigger::Drift => "drift",
            Trigger::Start => "start",
            Trigger::Reload => "reload",
            Trigger::Decision => "decision",
            // A person's run is a process of its own.
            Trigger::Cli { .. } | Trigger::Rollback { .. } => return,
        };
        self.turns.get_or_create(&TriggerLabel { trigger }).inc();
    }

    /// Counts a run that has ended.
    pub(crate) fn ran(&self, key: &EnvKey, outcome: &Outcome, took: Duration, phases: &Durations) {
        self.known().insert(key.clone());
        self.runs.get_or_create(&RunLabels::new(key, label(outcome))).inc();
        self.run_duration.get_or_create(&key.into()).observe(took.as_secs_f64());
        for (phase, took) in [
            (Phase::Preflight, phases.preflight),
            (Phase::Pull, phases.fetch),
            (Phase::Apply, phases.apply),
            (Phase::Rollback, phases.rollback),
            (Phase::Finish, phases.finish),
        ] {
            // What did not take place took no time.
            if !took.is_zero() {
                self.took(phase, took);
            }
        }
    }

    /// Adds how long a part of the work took.
    pub(crate) fn took(&self, phase: Phase, took: Duration) {
        self.phase_duration.get_or_create(&phase.label()).observe(took.as_secs_f64());
    }

    /// Gives each of these environments its series, and takes them from all others.
    pub(crate) fn keep(&self, environments: &BTreeSet<EnvKey>) {
        let mut known = self.known();
        for gone in known.extract_if(.., |key| !environments.contains(key)) {
            for outcome in OUTCOMES {
                self.runs.remove(&RunLabels::new(&gone, outcome));
            }
            self.run_duration.remove(&(&gone).into());
        }
        for key in environments {
            for outcome in OUTCOMES {
                drop(self.runs.get_or_create(&RunLabels::new(key, outcome)));
            }
            drop(self.run_duration.get_or_create(&key.into()));
        }
        known.extend(environments.iter().cloned());
    }

    /// Returns everything that was counted.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeSet<EnvKey>> {
        // An insertion cannot leave the set half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::RolledBack { .. } => "rolled_back",
        Outcome::RollbackFailed { .. } => "rollback_failed",
        Outcome::Kept { .. } => "kept",
        Outcome::Blocked { .. } => "blocked",
        Outcome::Cancelled => "cancelled",
        Outcome::Interrupted => "interrupted",
        Outcome::Superseded => "superseded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(meter: &Meter) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, meter.registry()).unwrap();
        text
    }

    fn key(name: &str) -> EnvKey {
        EnvKey { source: "platform".parse().unwrap(), environment: name.parse().unwrap() }
    }

    #[test]
    fn a_run_is_counted_by_its_outcome_with_the_phases_that_it_had() {
        let meter = Meter::default();
        let phases = Durations { apply: Duration::from_secs(2), ..Durations::default() };
        meter.ran(&key("demo"), &Outcome::Applied, Duration::from_secs(3), &phases);
        let text = shown(&meter);
        for line in [
            r#"trueup_runs_total{source="platform",environment="demo",outcome="applied"} 1"#,
            r#"trueup_run_duration_seconds_sum{source="platform",environment="demo"} 3.0"#,
            r#"trueup_phase_duration_seconds_count{phase="apply"} 1"#,
            r#"trueup_phase_duration_seconds_count{phase="rollback"} 0"#,
        ] {
            assert!(text.contains(line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn what_is_known_has_its_series_from_the_start_and_what_is_gone_has_none() {
        let meter = Meter::default();
        meter.ran(&key("gone"), &Outcome::Superseded, Duration::ZERO, &Durations::default());
        assert!(shown(&meter).contains("gone"));
        meter.keep(&BTreeSet::from([key("demo")]));
        let text = shown(&meter);
        assert!(!text.contains("gone"), "{text}");
        for outcome in OUTCOMES {
            let line = format!(r#"environment="demo",outcome="{outcome}"}} 0"#);
            assert!(text.contains(&line), "`{line}` is not in:\n{text}");
        }
    }

    #[test]
    fn every_trigger_of_the_daemon_has_its_label() {
        use Trigger::{Commit, Decision, Drift, Poll, Reload, Start, Timer};
        let meter = Meter::default();
        for trigger in [Commit, Poll, Timer, Drift, Start, Reload, Decision] {
            meter.turned(&trigger);
        }
        let text = shown(&meter);
        let counted: Vec<_> = text.lines().filter(|line| line.starts_with("trueup_turns_total")).collect();
        assert_eq!(counted.len(), TRIGGERS.len());
        assert!(counted.iter().all(|line| line.ends_with(" 1")), "{text}");
    }
}
