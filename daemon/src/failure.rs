//! One failure at the edge: its kind decides the prefix, the retry and the exit code.

use std::{fmt, process::ExitCode};

use trueup_engine::{Blame, RecoverError, StoreError, TargetError};
use trueup_schema::Report;

use crate::show::lines;

/// Whose matter a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a person asked for cannot be done.
    User,
    /// The operator's configuration, or a manifest.
    Config,
    /// A guard, a hold, a lock or a stale plan.
    Refused,
    /// Git or the engine; tried again with back-off.
    Target,
    /// The run failed, and so did the way back.
    Stranded,
    /// A signal.
    Interrupted,
    /// A mistake of ours.
    Internal,
}

/// What went wrong, for a person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// What went wrong; several lines where the places of mistakes are listed.
    pub(crate) message: String,
    /// What lies behind it, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do about it.
    pub(crate) hints: Vec<String>,
    /// The mistakes in what was read; `message` is all of them, with their own `error:` prefixes.
    pub(crate) report: Option<Report>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), report: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says of a setting of the configuration that it is wrong, and which one it is.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.kind = Kind::Config;
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// A failure with the chain of an error behind it.
    pub(crate) fn of(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut failure = Self::new(kind, error.to_string());
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // A transparent error is its own cause.
            if text != failure.message {
                failure.causes.push(text);
            }
            next = cause.source();
        }
        failure
    }

    /// Returns whether it is what was read that is wrong.
    pub(crate) fn is_report(&self) -> bool {
        self.report.is_some()
    }

    /// Returns the message as one line, for a table.
    pub(crate) fn one_line(&self) -> String {
        let first = self.message.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        match self.causes.first() {
            Some(cause) => format!("{first}: {cause}"),
            None => first.to_owned(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::User | Kind::Config | Kind::Target | Kind::Internal => 1,
            Kind::Refused => 3,
            Kind::Stranded => 5,
            Kind::Interrupted => 130,
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        let mut failure = Self::new(Kind::Config, format!("{report} · nothing was changed"));
        failure.report = Some(report);
        failure
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = if matches!(error, StoreError::Lease(_)) { Kind::Refused } else { Kind::Target };
        let failure = Self::of(kind, &error);
        match error.help() {
            Some(help) => failure.hint(help),
            None => failure,
        }
    }
}

impl From<RecoverError> for Failure {
    fn from(error: RecoverError) -> Self {
        let failure = Self::of(Kind::Stranded, &error);
        failure.hint("it is tried again before anything new is planned; `trueup logs` shows what is left")
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let kind = match error.blame {
            Blame::Manifest => Kind::Config,
            Blame::Target | Blame::Away | Blame::TimedOut => Kind::Target,
            Blame::Moved => Kind::Refused,
            Blame::Cancelled => Kind::Interrupted,
        };
        let mut failure = Self::new(kind, error.message);
        failure.causes = error.causes;
        failure.hints.extend(error.help);
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_report() {
            return f.write_str(&lines(&self.message));
        }
        write!(f, "error: {}", lines(&self.message))?;
        for cause in &self.causes {
            write!(f, "\n  because: {}", lines(cause))?;
        }
        for hint in &self.hints {
            write!(f, "\n  help: {}", lines(hint))?;
        }
        Ok(())
    }
}

/// Tells what went wrong and returns the exit code. A command returns its own code where it is not 0.
#[expect(clippy::print_stderr, reason = "this is the edge: errors go to standard error")]
pub(crate) fn exit(result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Shows a usage error, or the help or version that was asked for.
#[expect(clippy::let_underscore_must_use, reason = "a closed pipe leaves nobody to tell")]
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 64 } else { 0 })
}
