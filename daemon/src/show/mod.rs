//! What people see: text without colour needed, or JSON with the same facts and stable names.

mod ago;
mod differences;
mod doctor;
mod drift;
mod history;
mod line;
mod outcome;
mod run_log;
mod status;
mod table;

use std::io::{IsTerminal, Write};

use serde::Serialize;

pub(crate) use ago::{ago, holder};
pub(crate) use differences::{differences, differences_json};
pub(crate) use doctor::{doctor, doctor_json};
pub(crate) use drift::{Drift, Drifted, drift, drift_json};
pub(crate) use history::{history, history_json};
pub(crate) use line::{lines, one_line};
pub(crate) use outcome::{conclusion, conclusion_json, left};
pub(crate) use run_log::{run_log, run_log_json};
pub(crate) use status::{Row, Standing, status, status_json};
use trueup_plan::render::Style;

use crate::{
    args::{Color, Global, Output},
    failure::{Failure, Kind},
};

/// Where data goes: standard output, in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) output: Output,
    color: Color,
}

impl Screen {
    pub(crate) fn new(global: &Global) -> Self {
        Self { output: global.output, color: global.color }
    }

    /// Returns how plans are drawn.
    pub(crate) fn style(self) -> Style {
        self.style_of(std::io::stdout().is_terminal())
    }

    /// Returns how the progress of a run is drawn: on standard error.
    pub(crate) fn progress_style(self) -> Style {
        self.style_of(std::io::stderr().is_terminal())
    }

    fn style_of(self, is_terminal: bool) -> Style {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| std::env::var(name).ok());
        let ascii = is_terminal && !utf8.is_some_and(|name| name.to_lowercase().contains("utf"));
        Style { color, ascii, ..Style::default() }
    }

    /// Prints a text and a line's end.
    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        self.print_on(text).map(drop)
    }

    /// Prints a text and a line's end; returns whether somebody still reads.
    #[expect(clippy::unused_self, reason = "whoever prints data has a screen")]
    pub(crate) fn print_on(self, text: &str) -> Result<bool, Failure> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| {
            if text.is_empty() || text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") }
        });
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true).map_err(|error| Failure::of(Kind::User, &error)),
        }
    }

    /// Prints a value as JSON, with its API version first.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| Failure::of(Kind::Internal, &error))?;
        self.print(&text)
    }

    /// Prints one of two forms: text for people, or a value as JSON.
    pub(crate) fn either<T: Serialize>(
        self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> T,
    ) -> Result<(), Failure> {
        match self.output {
            Output::Text => self.print(&text()),
            Output::Json => self.json(&json()),
            Output::Yaml | Output::Markdown => {
                Err(Failure::new(Kind::User, "this command prints `text` or `json`")
                    .hint("use `-o text` or `-o json`"))
            }
        }
    }
}
