//! Logs: text or JSON lines on standard error, one span a run.

use tracing_subscriber::{EnvFilter, Registry, fmt, prelude::*, reload};

use crate::config::{Log, LogFormat, LogLevel};

/// What is logged from now on.
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Sets the level, which `TRUEUP_LOG` overrides.
    pub(crate) fn set(&self, level: LogLevel) {
        // It fails only after logging has ended.
        let _set = self.0.reload(filter(level.as_str()));
    }
}

/// Starts logging. `TRUEUP_LOG` overrides the configured level (`debug`, `trueup=trace,info`).
pub(crate) fn start(log: &Log) -> Level {
    let (filter, level) = reload::Layer::new(filter(log.level.as_str()));
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false))
            .init(),
        LogFormat::Json => registry
            .with(
                fmt::layer().json().flatten_event(true).with_current_span(true).with_writer(std::io::stderr),
            )
            .init(),
    }
    Level(level)
}

/// Returns what is logged. The engine's client would log whole requests, exposed secrets in them.
fn filter(default: &str) -> EnvFilter {
    let filter = EnvFilter::try_from_env("TRUEUP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    filter.add_directive("bollard=off".parse().expect("it is a valid directive"))
}

/// Starts logging of a command, which shows its answer itself: warnings only, unless `TRUEUP_LOG` says so.
pub(crate) fn start_quiet() {
    let filter = filter("warn");
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false).without_time();
    tracing_subscriber::registry().with(filter).with(layer).init();
}
