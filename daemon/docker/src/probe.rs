//! Waits until a container works, with trueup's own checks: at once, then soon, then at the interval.
//!
//! A container that ends or starts again while it is waited for has failed: nothing is gained by waiting on.

use std::{collections::HashMap, fmt, net::Ipv4Addr, sync::Arc, time::Duration};

use bollard::{
    container::LogOutput,
    models::ContainerInspectResponse,
    query_parameters::{EventsOptionsBuilder, LogsOptionsBuilder},
};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use trueup_engine::{Blame, Redactor, RunContext, TargetError};
use trueup_plan::{Probe, ResourceId};
use trueup_schema::manifest::Span;

use crate::{
    Docker,
    body::engine_network,
    container::{id_of, run_of},
    failure::moved,
    names::engine_name,
    spec::{Check, from_spec},
};

/// The first pause between two tries.
const SOON: Duration = Duration::from_millis(50);

/// How long an engine may take to say what it remembers.
const REMEMBERS: Duration = Duration::from_secs(3);

/// How many lines of a log a failure shows.
const LOG_LINES: usize = 10;

/// How much of an answer is kept.
pub(crate) const ANSWER: usize = 1024;

impl Docker {
    /// Waits until a container works, for as long as its start may take.
    pub(crate) async fn verify(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        probe: &Probe,
    ) -> Result<(), TargetError> {
        let check: Check = from_spec(&probe.check)?;
        let name = engine_name(&run.identity, resource);
        let deadline = Instant::now() + probe.startup;
        let mut first = None;
        let mut seen = Seen::default();
        let mut pause = SOON;
        let mut reason = None;
        loop {
            let Some(found) = self.checked(run, &name, probe).await? else {
                return Err(moved(format!("the container `{name}` is gone")));
            };
            let starts = *first.get_or_insert_with(|| starts_before(run, &found));
            if let Some(end) = end_of(&found, starts) {
                let end = match end {
                    End::StartedAgain => self.last_exit(&found).await.map_or(end, End::Exited),
                    end => end,
                };
                return Err(self.unwell(run, &found, format!("{resource} {end}{}", when(probe))).await);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // A probe without a start-up time is one look at what runs: it has the time of one try.
            let patience =
                if probe.startup.is_zero() { probe.timeout } else { probe.timeout.min(left.max(SOON)) };
            let tried = match &check {
                // A look at what runs has no time to watch it for a while.
                Check::Stable(span) if !probe.startup.is_zero() => seen.stable(&found, *span, Instant::now()),
                check => self.try_once(run, &found, check, patience).await,
            };
            let Err(why) = tried else { return Ok(()) };
            // A try that was cut short by the deadline says less than the one before it.
            let is_cut = patience < probe.timeout;
            let why = reason.take().filter(|_| is_cut).unwrap_or(why);
            if Instant::now() + pause >= deadline {
                let message = match probe.startup {
                    Duration::ZERO => format!("{resource} is not healthy: {why}"),
                    within => format!("{resource} was not healthy within {}: {why}", Span(within)),
                };
                return Err(self.unwell(run, &found, message).await);
            }
            reason = Some(why);
            run.progress.tell(resource, &format!("waiting for {check}"));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = run.cancel.cancelled() => {
                    return Err(TargetError::new(Blame::Cancelled, format!("the wait for {resource} was cancelled")));
                }
            }
            pause = (pause * 2).min(probe.interval).max(SOON);
        }
    }

    /// Returns the container that is checked: for one look at what runs, as it is known.
    async fn checked(
        &self,
        run: &RunContext,
        name: &str,
        probe: &Probe,
    ) -> Result<Option<Arc<ContainerInspectResponse>>, TargetError> {
        let known = || self.mirror().container(&run.identity.key(), name);
        match probe.startup.is_zero().then(known).flatten() {
            Some(known) => Ok(Some(known)),
            None => Ok(self.container(name).await?.map(Arc::new)),
        }
    }

    /// Tries a check once; says why it failed.
    async fn try_once(
        &self,
        run: &RunContext,
        found: &ContainerInspectResponse,
        check: &Check,
        patience: Duration,
    ) -> Result<(), String> {
        match check {
            Check::Exec(command) => self.try_exec(run, found, command, patience).await,
            Check::Stable(_) => Ok(()),
            Check::Tcp { zone, port } => {
                let address = address(run, found, zone);
                connect(address, *port, patience).await.map(drop).map_err(|why| format!("tcp {port} {why}"))
            }
            Check::Http { zone, port, path } => {
                let address = address(run, found, zone);
                let asked = timeout(patience, ask(address, *port, path, patience)).await;
                let answered =
                    asked.unwrap_or_else(|_| Err(format!("did not answer within {}", Span(patience))));
                answered.map_err(|why| format!("http {port}{path} {why}"))
            }
        }
    }

    /// Returns a failure of a container, with the end of its log.
    pub(crate) async fn unwell(
        &self,
        run: &RunContext,
        found: &ContainerInspectResponse,
        message: String,
    ) -> TargetError {
        let redactor = Redactor::new(&run.materials);
        let lines = self.last_lines(id_of(found), LOG_LINES).await.unwrap_or_default();
        let log = lines.iter().map(|line| redactor.line(line)).collect();
        TargetError { log, ..TargetError::new(Blame::Manifest, message) }
    }

    /// Returns with which code a container, which runs again, ended last; none when the engine does not remember.
    async fn last_exit(&self, found: &ContainerInspectResponse) -> Option<i64> {
        let started: Timestamp = found.state.as_ref()?.started_at.as_ref()?.parse().ok()?;
        // Until its latest start: an end in the future is waited for.
        let until = format!("{}.{:09}", started.as_second(), started.subsec_nanosecond());
        let filters = HashMap::from([("container", vec![id_of(found)]), ("event", vec!["die"])]);
        let options = EventsOptionsBuilder::new().since("0").until(&until).filters(&filters).build();
        let ends = self.api().events(Some(options)).try_collect::<Vec<_>>();
        // Also where the engine's clock was set back.
        let ends = timeout(REMEMBERS, ends).await.ok()?.ok()?;
        ends.last()?.actor.as_ref()?.attributes.as_ref()?.get("exitCode")?.parse().ok()
    }

    /// Returns the last lines of a container's output.
    pub(crate) async fn last_lines(&self, id: &str, count: usize) -> Result<Vec<String>, TargetError> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&count.to_string()).build();
        let mut stream = std::pin::pin!(self.api().logs(id, Some(options)));
        let mut text = String::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| self.failed("read the log of a container", &error))?;
            text.push_str(&text_of(&part));
        }
        let lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
        Ok(lines[lines.len().saturating_sub(count)..].to_vec())
    }
}

pub(crate) fn text_of(output: &LogOutput) -> String {
    String::from_utf8_lossy(output.as_ref()).into_owned()
}

/// Returns how often a container had been started again when the wait began. One that this run created
/// was never.
fn starts_before(run: &RunContext, found: &ContainerInspectResponse) -> i64 {
    if run_of(found) == run.run.to_string() { 0 } else { found.restart_count.unwrap_or(0) }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OutOfMemory,
    Exited(i64),
    /// It runs again, and does not tell any more how it ended.
    StartedAgain,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::StartedAgain => f.write_str("ended and was started again"),
        }
    }
}

/// Returns how a container ended, or none while it runs.
fn end_of(found: &ContainerInspectResponse, starts: i64) -> Option<End> {
    let state = found.state.as_ref()?;
    let again = found.restart_count.unwrap_or(0) > starts || state.restarting == Some(true);
    let runs = state.running == Some(true) && state.restarting != Some(true);
    if runs && !again {
        return None;
    }
    Some(match state.exit_code.unwrap_or(0) {
        _ if state.oom_killed == Some(true) => End::OutOfMemory,
        _ if runs => End::StartedAgain,
        code => End::Exited(code),
    })
}

/// Returns when a container ended: a look without time to start in is at what runs already.
fn when(probe: &Probe) -> &'static str {
    if probe.startup.is_zero() { "" } else { " while starting" }
}

/// Since when a container was seen to run without another start, by this machine's own clock: the engine's
/// may be another one.
#[derive(Default)]
struct Seen {
    started_at: Option<String>,
    since: Option<Instant>,
}

impl Seen {
    fn stable(&mut self, found: &ContainerInspectResponse, span: Span, now: Instant) -> Result<(), String> {
        let started_at = found.state.as_ref().and_then(|state| state.started_at.clone());
        if self.started_at != started_at {
            *self = Self { started_at, since: None };
        }
        let runs = now.duration_since(*self.since.get_or_insert(now));
        if runs >= span.0 { Ok(()) } else { Err(format!("it has run for {} ms only", runs.as_millis())) }
    }
}

/// Returns the address of a container in a zone.
fn address(run: &RunContext, found: &ContainerInspectResponse, zone: &str) -> Option<Ipv4Addr> {
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    networks.get(&engine_network(&run.identity, zone))?.ip_address.as_deref()?.parse().ok()
}

async fn connect(address: Option<Ipv4Addr>, port: u16, patience: Duration) -> Result<TcpStream, String> {
    let Some(address) = address else { return Err("has no address".to_owned()) };
    match timeout(patience, TcpStream::connect((address, port))).await {
        Err(_) => Err(format!("did not answer within {}", Span(patience))),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err("refused the connection".to_owned())
        }
        Ok(Err(error)) => Err(format!("cannot be reached: {error}")),
    }
}

/// Sends a request and reads the status line (RFC 9112, section 4).
async fn ask(address: Option<Ipv4Addr>, port: u16, path: &str, patience: Duration) -> Result<(), String> {
    let mut stream = connect(address, port, patience).await?;
    let host = address.map(|address| address.to_string()).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: trueup\r\nConnection: close\r\n\r\n"
    );
    let broken = |error: std::io::Error| format!("broke off: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    let mut buffer = [0; ANSWER];
    while !answer.contains(&b'\n') && answer.len() < ANSWER {
        let length = stream.read(&mut buffer).await.map_err(broken)?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..length]);
    }
    match status(&answer) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("answered {code}")),
        None => Err("did not answer in HTTP".to_owned()),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(answer);
    let mut words = line.lines().next()?.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"SSH-2.0-x\r\n"), None);
        assert_eq!(status(b""), None);
    }

    #[test]
    fn a_container_is_stable_by_our_clock_whatever_the_engines_says() {
        let (span, now) = ("3s".parse().unwrap(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        for started_at in ["1999-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
            let mut found = state(true, 0, 0);
            found.state.as_mut().unwrap().started_at = Some(started_at.into());
            let mut seen = Seen::default();
            assert!(seen.stable(&found, span, now).is_err());
            assert_eq!(seen.stable(&found, span, after(2)).unwrap_err(), "it has run for 2000 ms only");
            assert_eq!(seen.stable(&found, span, after(3)), Ok(()));
            found.state.as_mut().unwrap().started_at = Some("2000-01-01T00:00:00Z".into());
            assert!(seen.stable(&found, span, after(4)).is_err(), "it was started again");
        }
    }

    fn state(running: bool, restarts: i64, exit_code: i64) -> ContainerInspectResponse {
        ContainerInspectResponse {
            restart_count: Some(restarts),
            state: Some(ContainerState {
                running: Some(running),
                exit_code: Some(exit_code),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_container_that_ended_or_started_again_has_failed() {
        assert_eq!(end_of(&state(true, 0, 0), 0), None);
        assert_eq!(end_of(&state(true, 3, 0), 3), None);
        assert_eq!(end_of(&state(false, 0, 3), 0), Some(End::Exited(3)));
        assert_eq!(end_of(&state(true, 1, 0), 0), Some(End::StartedAgain));
        let mut waits = state(true, 1, 1);
        waits.state.as_mut().unwrap().restarting = Some(true);
        assert_eq!(end_of(&waits, 0), Some(End::Exited(1)));
    }
}
