//! Follows the events of an engine.

use std::{io, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use trueup_engine::{Backoff, TargetError, notice::Change};

use super::{event, stream::Events};
use crate::Docker;

/// How long an engine is left alone whose events cannot be heard.
const PATIENCE: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(30) };

/// How long answers are believed at most. The engine is silent about some things, such as a stopped container
/// that joins a network or a program that writes into its own files, and a connection over a network may have died
/// unnoticed.
const AUDIT: Duration = Duration::from_mins(10);

/// How long an engine may be silent before it is asked whether it still answers, and how long that may take.
const SILENCE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// How the hearing of events ended.
enum End {
    /// By the engine or the connection.
    Lost(io::Error),
    /// To begin anew.
    Audit,
}

impl Docker {
    /// Keeps what is known of the engine current until `cancel`. One task an engine does it.
    pub(crate) async fn keep_current(&self, cancel: &CancellationToken) {
        let mut failures = 0;
        let mut why = Change::Echo;
        loop {
            let began = Instant::now();
            let end = tokio::select! {
                end = self.hear(why) => end,
                () = cancel.cancelled() => return,
            };
            why = match &end {
                Ok(End::Audit) => Change::Echo,
                _ => Change::Foreign,
            };
            // A stream that held for a while is no failure in a row.
            failures = if began.elapsed() > PATIENCE.longest { 0 } else { failures + 1 };
            match end {
                Ok(End::Audit) => continue,
                Ok(End::Lost(error)) => {
                    tracing::warn!(engine = %self.endpoint(), %error, "its events are not heard");
                    // How they stand is not known any more, and should be told to be so.
                    self.mirror().notices.tell_all(Change::Foreign);
                }
                Err(error) => {
                    tracing::debug!(engine = %self.endpoint(), %error, "its events cannot be heard");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PATIENCE.jittered(failures)) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Hears the events until they end.
    async fn hear(&self, why: Change) -> Result<End, TargetError> {
        let info = self.api().info().await;
        let info = info.map_err(|error| self.failed("ask the engine for its time", &error))?;
        let time = info.system_time.and_then(|time| time.parse().ok()).unwrap_or_else(Timestamp::now);
        let since = format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
        self.count_request();
        let mut events = match Events::open(self.endpoint(), &since).await {
            Ok(events) => events,
            Err(error) => return Ok(End::Lost(error)),
        };
        let _hearing = self.mirror().hear(why);
        tracing::debug!(engine = %self.endpoint(), "its events are heard");
        let audit = Instant::now() + AUDIT;
        loop {
            let silent = Instant::now() + SILENCE.0;
            let line = match timeout_at(audit.min(silent), events.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return Ok(End::Lost(io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(Err(error)) => return Ok(End::Lost(error)),
                Err(_) if Instant::now() >= audit => return Ok(End::Audit),
                Err(_) => match self.still_answers().await {
                    Ok(()) => continue,
                    Err(error) => return Ok(End::Lost(error)),
                },
            };
            let Some(event) = event::read(&line) else { continue };
            self.mirror().tell(&event);
        }
    }

    /// Fails unless the engine answers: one that hangs keeps its connections open.
    async fn still_answers(&self) -> io::Result<()> {
        let ping = timeout(SILENCE.1, self.api().ping()).await?;
        ping.map(drop).map_err(io::Error::other)
    }
}
