//! What a run tells while it works: one line a resource on a terminal, log lines elsewhere.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use trueup_engine::Progress;
use trueup_plan::ResourceId;

/// Lines of a terminal, one for each resource that is being worked on.
pub(crate) struct Bars {
    all: MultiProgress,
    lines: Mutex<BTreeMap<ResourceId, ProgressBar>>,
}

/// Log lines.
pub(crate) struct Log;

/// Returns log lines.
pub(crate) fn log() -> Arc<dyn Progress> {
    Arc::new(Log)
}

/// Returns what fits standard error: bars on a terminal, else log lines.
pub(crate) fn here() -> Arc<dyn Progress> {
    if std::io::stderr().is_terminal() { Arc::new(Bars::new()) } else { Arc::new(Log) }
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), lines: Mutex::default() }
    }
}

impl Progress for Bars {
    fn tell(&self, resource: &ResourceId, text: &str) {
        // A panic while a line was drawn leaves the lines usable.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(resource.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template("  {spinner} {prefix:16} {wide_msg} {elapsed}");
            let bar = ProgressBar::new_spinner().with_prefix(resource.to_string());
            let bar = self.all.add(bar.with_style(style.expect("the template is valid")));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        line.set_message(text.to_owned());
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.values().for_each(ProgressBar::finish_and_clear);
    }
}

impl Progress for Log {
    fn tell(&self, resource: &ResourceId, text: &str) {
        tracing::debug!(%resource, "{text}");
    }
}
