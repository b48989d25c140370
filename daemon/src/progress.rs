//! What a run tells while it works: lines on standard error for a person, log lines of the daemon.
//!
//! A line of a step that ended stays; on a terminal the steps that go on stand below, with their time.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use trueup_engine::{Blame, Progress, RunId, TargetError};
use trueup_plan::{
    Plan, ResourceId, Step,
    render::{
        Style,
        progress::{self, Sign},
    },
};

/// How often the time of a step that goes on is drawn.
const TICK: Duration = Duration::from_millis(100);

/// What a person reads while a run works.
struct Lines {
    style: Style,
    /// How wide the names are.
    width: AtomicUsize,
    /// The steps that go on; none where standard error is no terminal.
    going: Option<Going>,
}

/// The lines at the bottom of a terminal, one for each resource that is being worked on.
#[derive(Default)]
struct Going {
    all: MultiProgress,
    lines: Mutex<BTreeMap<ResourceId, ProgressBar>>,
}

/// Log lines.
struct Log;

/// Returns log lines.
pub(crate) fn log() -> Arc<dyn Progress> {
    Arc::new(Log)
}

/// Returns what a person reads on standard error.
pub(crate) fn here(style: Style) -> Arc<dyn Progress> {
    let going = std::io::stderr().is_terminal().then(Going::default);
    Arc::new(Lines { style, width: AtomicUsize::default(), going })
}

impl Lines {
    /// Writes a line that stays, above the steps that go on.
    #[expect(clippy::let_underscore_must_use, reason = "a closed standard error leaves nobody to tell")]
    fn write(&self, line: &str) {
        let _ = match &self.going {
            Some(going) => going.all.println(line),
            None => writeln!(std::io::stderr().lock(), "{line}"),
        };
    }

    fn write_end(&self, step: &Step, sign: Sign, said: &str, took: Duration) {
        if let Some(line) = self.going.as_ref().and_then(|going| going.lines().remove(&step.resource)) {
            line.finish_and_clear();
        }
        let name = (step.resource.to_string(), self.width.load(Ordering::Relaxed));
        self.write(&progress::ended(sign, (&name.0, name.1), said, took, &self.style));
    }

    /// Returns how a step is drawn that goes on: `~ haproxy   waiting for tcp 5432   2.4 of 30 s`.
    fn drawn(&self, step: &Step) -> ProgressStyle {
        let of = progress::patience(step).map_or_else(String::new, |most| format!(" of {}", most.as_secs()));
        let took = move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            write!(to, "{:.1}{of} s", state.elapsed().as_secs_f64()).ok();
        };
        let (mark, width) = (Sign::Going.mark(&self.style), progress::TEXT_WIDTH);
        let template = format!("  {mark} {{prefix}}   {{msg:{width}!}}   {{took}}");
        ProgressStyle::with_template(&template).expect("the template is valid").with_key("took", took)
    }
}

impl Progress for Lines {
    fn planned(&self, run: RunId, plan: &Plan) {
        self.width.store(progress::name_width(plan), Ordering::Relaxed);
        self.write(&progress::title(plan, &run, &self.style));
    }

    fn begun(&self, step: &Step) {
        let Some(going) = &self.going else { return };
        let width = self.width.load(Ordering::Relaxed);
        let bar = ProgressBar::new_spinner().with_prefix(format!("{:<width$}", step.resource.to_string()));
        let bar = going.all.add(bar.with_style(self.drawn(step)).with_message(progress::doing(step)));
        bar.enable_steady_tick(TICK);
        if let Some(before) = going.lines().insert(step.resource.clone(), bar) {
            before.finish_and_clear();
        }
    }

    fn tell(&self, resource: &ResourceId, text: &str) {
        if let Some(line) = self.going.as_ref().and_then(|going| going.lines().get(resource).cloned()) {
            line.set_message(progress::text(text, &self.style));
        }
    }

    fn ended(&self, step: &Step, took: Duration, error: Option<&TargetError>) {
        match error {
            None => self.write_end(step, Sign::Done, &progress::done(step), took),
            Some(error) if error.blame == Blame::Cancelled => {
                self.write_end(step, Sign::Stopped, "not waited for any more", took);
            }
            Some(error) => self.write_end(step, Sign::Failed, &error.message, took),
        }
    }

    fn undone(&self, step: &Step, took: Duration, error: Option<&TargetError>) {
        match error {
            None => {
                self.write_end(step, Sign::TakenBack, &format!("taken back: {}", progress::done(step)), took);
            }
            Some(error) => self.write_end(step, Sign::Failed, &error.message, took),
        }
    }
}

impl Going {
    fn lines(&self) -> std::sync::MutexGuard<'_, BTreeMap<ResourceId, ProgressBar>> {
        // A panic while a line was drawn leaves the lines usable.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.lines().values().for_each(ProgressBar::finish_and_clear);
    }
}

impl Progress for Log {
    fn tell(&self, resource: &ResourceId, text: &str) {
        tracing::debug!(%resource, "{text}");
    }

    fn ended(&self, step: &Step, took: Duration, error: Option<&TargetError>) {
        let (resource, seconds) = (&step.resource, took.as_secs_f64());
        match error {
            None => tracing::info!(%resource, seconds, "{}", progress::done(step)),
            Some(error) if error.blame == Blame::Cancelled => {
                tracing::info!(%resource, seconds, "not waited for any more");
            }
            Some(error) => {
                tracing::warn!(%resource, seconds, step = %step.key, "failed: {}", error.one_line());
            }
        }
    }

    fn undone(&self, step: &Step, took: Duration, error: Option<&TargetError>) {
        let (resource, seconds) = (&step.resource, took.as_secs_f64());
        match error {
            None => tracing::info!(%resource, seconds, step = %step.key, "taken back"),
            Some(error) => {
                let why = error.one_line();
                tracing::warn!(%resource, seconds, step = %step.key, "cannot be taken back: {why}");
            }
        }
    }
}
