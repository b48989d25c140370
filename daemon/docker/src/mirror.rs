//! What is known of an engine, kept current by its events: a question whose answer cannot have changed is
//! not asked again.
//!
//! ```text
//!            look ── ask ──▶ known? ── yes ─▶ answer                    question.rs: what is asked
//!                              │ no                                     memo.rs: what is known
//!                              ▼                                        state.rs: by whom, and who is told
//!   acts ─ doubt ─▶ memo ◀─ record ─ the engine
//!                    ▲
//!   events ─ doubt ──┴── concerned ─▶ changed: environments to look at  stream.rs, event.rs, follow.rs, files.rs
//! ```
//!
//! While nobody hears the events nothing is known, and every question goes to the engine: so it is for the
//! command line.

mod event;
mod files;
mod follow;
mod memo;
mod question;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bollard::models::ContainerInspectResponse;
use tokio::sync::{Notify, OnceCell};
use trueup_engine::{EnvKey, Identity, TargetError};

pub(crate) use question::Question;
pub use state::Change;
pub(crate) use stream::Events;

use crate::{Docker, facts::Engine, sight::inspected_name};
use files::Files;
use state::State;

/// How long nothing more must have happened before a change is told, and how long that is waited for at most:
/// what one deed causes comes in several events, and a look between them would see half of it.
const SETTLE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(500));

/// What is known of an engine.
#[derive(Default)]
pub(crate) struct Mirror {
    state: Mutex<State>,
    bell: Notify,
    files: Files,
}

impl Mirror {
    fn state(&self) -> MutexGuard<'_, State> {
        // No change of the state stops half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the events are heard.
    pub(crate) fn hears(&self) -> bool {
        self.state().hears()
    }

    /// Returns where what the engine says of itself is kept until the next doubt about it.
    pub(crate) fn engine(&self) -> Arc<OnceCell<Engine>> {
        self.state().engine()
    }

    /// Forgets an environment, and watches its folders no more.
    pub(crate) fn forget(&self, key: &EnvKey) {
        let uid = self.state().forget(key);
        if let Some(uid) = uid {
            self.files.unwatch(&uid);
        }
    }

    /// Makes every environment look again.
    fn tell_all(&self) {
        self.state().tell_all(Change::Foreign);
        self.bell.notify_one();
    }

    /// Begins a look of an environment.
    pub(crate) fn look(&self, identity: &Identity) -> Look<'_> {
        self.state().look(identity);
        Look { mirror: self, key: identity.key() }
    }

    /// Says that an act of our own goes on until what is returned is dropped.
    pub(crate) fn act(self: &Arc<Self>, key: EnvKey) -> Acting {
        self.state().begin_act(&key);
        Acting { mirror: Arc::clone(self), key }
    }

    /// Says that the events are heard until what is returned is dropped.
    fn hear(&self, why: Change) -> Hearing<'_> {
        self.state().begin_hearing(why);
        self.bell.notify_one();
        Hearing(self)
    }

    /// Returns a container of the environment by its name, when how it is now is known.
    pub(crate) fn container(&self, key: &EnvKey, name: &str) -> Option<Arc<ContainerInspectResponse>> {
        let has_name = |found: &Option<Arc<ContainerInspectResponse>>| {
            found.as_ref().is_some_and(|found| inspected_name(found) == name)
        };
        self.state().find(key, has_name).flatten()
    }
}

/// A look of one environment.
#[derive(Clone)]
pub(crate) struct Look<'a> {
    mirror: &'a Mirror,
    key: EnvKey,
}

impl Look<'_> {
    /// Returns whether answers are remembered: the events are heard.
    pub(crate) fn is_remembered(&self) -> bool {
        self.mirror.hears()
    }

    /// Returns the known answer, or what `call` answers.
    pub(crate) async fn ask<T: Clone + Send + Sync + 'static>(
        &self,
        question: Question,
        call: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        let asked = self.mirror.state().ask(&self.key, &question);
        let ticket = match asked {
            Ok(answer) => return Ok(answer),
            Err(ticket) => ticket,
        };
        let answer = call.await?;
        if let Some(ticket) = ticket {
            self.mirror.state().record(&question, ticket, answer.clone());
        }
        Ok(answer)
    }
}

/// Events that are heard.
struct Hearing<'a>(&'a Mirror);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.state().end_hearing();
    }
}

/// An act of our own that goes on.
pub(crate) struct Acting {
    mirror: Arc<Mirror>,
    key: EnvKey,
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.mirror.state().end_act(&self.key, Instant::now());
    }
}

impl Docker {
    /// Waits for changes that [`Docker::follow`] hears of; returns the environments that should be looked at.
    pub async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        loop {
            let bell = &self.mirror().bell;
            bell.notified().await;
            let first = Instant::now();
            while tokio::time::timeout(SETTLE.0, bell.notified()).await.is_ok() && first.elapsed() < SETTLE.1
            {
            }
            let changed = self.mirror().state().take_changed();
            if !changed.is_empty() {
                return changed;
            }
        }
    }
}
