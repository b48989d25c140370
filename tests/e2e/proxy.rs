//! A proxy in front of the engine's socket, which can hold back one answer for ever.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use libtest_mimic::Failed;

/// What the proxy counts and holds.
#[derive(Default)]
struct State {
    /// The answer to hold: that of the n-th request that changes something.
    hold: Option<u64>,
    seen: u64,
    held: bool,
}

/// The proxy; its threads end with the test program.
pub(crate) struct Proxy {
    path: PathBuf,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Listens at `path` and passes everything on to the engine at `unix://…`.
    pub(crate) fn start(engine: &str, path: &Path) -> Result<Self, Failed> {
        let engine = engine.trim_start_matches("unix://").to_owned();
        fs::remove_file(path).ok();
        let listener = UnixListener::bind(path)?;
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let pairs = listener.incoming().flatten().map(|client| (client, UnixStream::connect(&engine)));
            pairs.for_each(|(client, server)| server.map_or((), |server| pass(client, &server, &shared)));
        });
        Ok(Self { path: path.to_owned(), state })
    }

    /// Returns the address for `targets.local.docker`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Counts from 1 again, and holds the answer of that request.
    pub(crate) fn hold_answer(&self, call: u64) {
        *lock(&self.state.0) = State { hold: Some(call), ..State::default() };
    }

    /// Waits until the answer is held; returns whether that happened.
    pub(crate) fn wait_until_held(&self, patience: Duration) -> bool {
        let state = lock(&self.state.0);
        let waited = self.state.1.wait_timeout_while(state, patience, |state| !state.held);
        waited.unwrap_or_else(PoisonError::into_inner).0.held
    }

    /// Holds nothing any more.
    pub(crate) fn release(&self) {
        *lock(&self.state.0) = State::default();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes bytes both ways; a request's answer begins with the first byte that the engine sends after it.
fn pass(client: UnixStream, server: &UnixStream, state: &Arc<(Mutex<State>, Condvar)>) {
    let (Ok(mut from_client), Ok(mut to_client)) = (client.try_clone(), client.try_clone()) else { return };
    let (Ok(mut to_server), Ok(mut from_server)) = (server.try_clone(), server.try_clone()) else { return };
    let hold_here = Arc::new(Mutex::new(false));
    let (up, down) = (Arc::clone(state), Arc::clone(state));
    let hold_next = Arc::clone(&hold_here);
    thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(count @ 1..) = from_client.read(&mut bytes) {
            if changes_something(&bytes[..count]) {
                let mut state = lock(&up.0);
                state.seen += 1;
                *hold_next.lock().unwrap_or_else(PoisonError::into_inner) = state.hold == Some(state.seen);
            }
            if to_server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        to_server.shutdown(std::net::Shutdown::Write).ok();
    });
    thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut bytes) {
            if *hold_here.lock().unwrap_or_else(PoisonError::into_inner) {
                lock(&down.0).held = true;
                down.1.notify_all();
                return;
            }
            if to_client.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        client.shutdown(std::net::Shutdown::Both).ok();
    });
}

/// Whether these bytes begin a request that changes something. Health checks by exec do not count.
fn changes_something(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let line = head.lines().next().unwrap_or_default();
    (line.starts_with("POST ") || line.starts_with("DELETE ")) && !line.contains("/exec")
}
