//! What one check has found. A value: nothing is asked here.

use serde::Serialize;
use trueup_schema::Severity;

use crate::failure::Failure;

/// How it stands with what was checked; the order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// It works, and somebody should look at it.
    Attention,
    /// Something will fail.
    Bad,
}

/// What is checked. The names are stable: programs know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Check {
    Configuration,
    Store,
    Reserve,
    Disk,
    RuntimeDir,
    KeyFile,
    Source,
    TokenFile,
    Manifests,
    Environment,
    Secrets,
    Engine,
    Cluster,
    Limits,
    Events,
    EngineDisk,
    Clock,
    Network,
    Subnets,
}

impl Check {
    /// Returns its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Store => "store",
            Self::Reserve => "reserve",
            Self::Disk => "disk",
            Self::RuntimeDir => "runtime dir",
            Self::KeyFile => "key file",
            Self::Source => "source",
            Self::TokenFile => "token file",
            Self::Manifests => "manifests",
            Self::Environment => "environment",
            Self::Secrets => "secrets",
            Self::Engine => "engine",
            Self::Cluster => "cluster",
            Self::Limits => "limits",
            Self::Events => "events",
            Self::EngineDisk => "engine disk",
            Self::Clock => "clock",
            Self::Network => "network",
            Self::Subnets => "subnets",
        }
    }
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    /// Which one, where there may be several: a source, a target, an environment.
    pub(crate) subject: Option<String>,
    pub(crate) state: State,
    /// What was found, in one line.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) fix: Option<String>,
}

/// A check of one thing, whose findings are made here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<'a>(pub(crate) Check, pub(crate) Option<&'a str>);

impl Of<'_> {
    /// All is well.
    pub(crate) fn good(self, text: impl Into<String>) -> Finding {
        self.found(State::Good, text.into(), None)
    }

    /// Somebody should look at it.
    pub(crate) fn attention(self, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.found(State::Attention, text.into(), Some(fix.into()))
    }

    /// Something will fail.
    pub(crate) fn bad(self, text: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.found(State::Bad, text.into(), Some(fix.into()))
    }

    /// What failed; each mistake of a report is a finding with its place.
    pub(crate) fn failed(self, failure: &Failure) -> Vec<Finding> {
        let Some(report) = &failure.report else {
            let text = [&[failure.message.clone()][..], &failure.causes].concat().join(": ");
            let fix = (!failure.hints.is_empty()).then(|| failure.hints.join("; "));
            return vec![self.found(State::Bad, text, fix)];
        };
        let state = |severity| if severity == Severity::Error { State::Bad } else { State::Attention };
        let problems = report.problems.iter();
        problems
            .map(|problem| {
                let text = format!("{}: {}", problem.place, problem.message);
                self.found(state(problem.severity), text, problem.help.clone())
            })
            .collect()
    }

    /// There was no answer in time.
    pub(crate) fn late(self) -> Finding {
        let text = format!("no answer within {} s", super::DEADLINE.as_secs());
        self.found(State::Bad, text, Some("see whether what it asks hangs or is overloaded".to_owned()))
    }

    fn found(self, state: State, text: String, fix: Option<String>) -> Finding {
        Finding { check: self.0, subject: self.1.map(str::to_owned), state, text, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_its_fix() {
        let mut failure = Failure::new(Kind::Target, "the engine does not answer").hint("start it");
        failure.causes.push("connection refused".into());
        let [finding] = &Of(Check::Engine, Some("local")).failed(&failure)[..] else { panic!("one") };
        assert_eq!(finding.text, "the engine does not answer: connection refused");
        assert_eq!((finding.state, finding.fix.as_deref()), (State::Bad, Some("start it")));
    }

    #[test]
    fn each_mistake_of_a_report_is_a_finding_with_its_place() {
        let path = "trueup-daemon.yaml".parse().unwrap();
        let limits = trueup_schema::Limits::default();
        let report = trueup_schema::read::<crate::config::Config>(&path, b"a: 1\nstateDr: 2\n", &limits);
        let findings = Of(Check::Configuration, None).failed(&report.map(drop).unwrap_err().into());
        assert_eq!(findings.len(), 2);
        assert!(findings[1].text.starts_with("trueup-daemon.yaml:2:1: "), "{findings:?}");
        assert!(findings[1].fix.as_ref().is_some_and(|fix| fix.contains("stateDir")), "{findings:?}");
    }
}
