//! Logs: text or JSON lines on standard error, one span a run.

use tracing_subscriber::{EnvFilter, Registry, filter::LevelFilter, fmt, prelude::*, reload};

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
    warn_of_filter();
    Level(level)
}

/// The environment variable that says what is logged.
const FILTER: &str = "TRUEUP_LOG";

/// The clients of targets would log whole requests and answers, secrets in them.
const SILENT: [&str; 4] = ["bollard=off", "kube_client=off", "tower=off", "hyper_util=off"];

/// Returns what is logged.
fn filter(default: &str) -> EnvFilter {
    let wanted = std::env::var(FILTER).ok().and_then(|text| parse(&text).ok().flatten());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new(default));
    let silent = SILENT.into_iter().map(|directive| directive.parse().expect("it is a valid directive"));
    silent.fold(filter, EnvFilter::add_directive)
}

/// Reads a filter; none where nothing is said. A word that is no level would be the name of a module that logs, and
/// nothing else would be logged.
fn parse(text: &str) -> Result<Option<EnvFilter>, String> {
    let words = || text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let is_bare = |word: &str| word.chars().all(|c| c.is_alphanumeric() || "_-:".contains(c));
    let is_known = |word: &str| word.parse::<LevelFilter>().is_ok() || word.starts_with("trueup");
    if words().next().is_none() {
        return Ok(None);
    }
    if let Some(stray) = words().find(|word| is_bare(word) && !is_known(word)) {
        return Err(format!("`{stray}` is no level"));
    }
    EnvFilter::try_new(text).map(Some).map_err(|error| error.to_string())
}

/// Says that the filter cannot be read, and that the configured level counts.
fn warn_of_filter() {
    if let Some(wrong) = std::env::var(FILTER).ok().and_then(|text| parse(&text).err()) {
        tracing::warn!("{FILTER} is not followed: {wrong}; write a level, or such as `trueup=trace,info`");
    }
}

/// Starts logging of a command, which shows its answer itself: warnings only, unless `TRUEUP_LOG` says so.
pub(crate) fn start_quiet() {
    let filter = filter("warn");
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false).without_time();
    tracing_subscriber::registry().with(filter).with(layer).init();
    warn_of_filter();
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_filter_that_would_silence_everything_is_none() {
        assert_eq!(parse("banana").unwrap_err(), "`banana` is no level");
        assert!(parse("trueup=loud").is_err());
        for good in ["debug", "OFF", "trueup=trace,info", "trueup_git", "trueup[run]=debug"] {
            assert!(parse(good).is_ok_and(|filter| filter.is_some()), "{good}");
        }
        assert!(parse(" ").is_ok_and(|filter| filter.is_none()));
    }
}
