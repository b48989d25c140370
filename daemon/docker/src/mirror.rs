//! What is known of an engine, kept current by its events: a question whose answer cannot have changed is
//! not asked again.
//!
//! ```text
//!            look ── ask ──▶ known? ── yes ─▶ answer                    question.rs: what is asked
//!                              │ no                                     memo.rs: what is known
//!                              ▼                                        state.rs: by whom
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
    time::Instant,
};

use bollard::models::ContainerInspectResponse;
use tokio::sync::OnceCell;
use trueup_engine::{
    EnvKey, Identity, Notices, TargetError,
    notice::{self, Change},
};

pub(crate) use question::Question;
pub(crate) use stream::Events;

use crate::{facts::Engine, sight::inspected_name};
use event::Event;
use files::Files;
use state::State;

/// What is known of an engine.
#[derive(Default)]
pub(crate) struct Mirror {
    state: Mutex<State>,
    notices: Arc<Notices>,
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
        self.notices.forget(key);
        if let Some(uid) = uid {
            self.files.unwatch(&uid);
        }
    }

    /// Waits for changes; returns the environments that should be looked at.
    pub(crate) async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        self.notices.changed().await
    }

    /// Begins a look of an environment.
    pub(crate) fn look(&self, identity: &Identity) -> Look<'_> {
        let key = identity.key();
        self.notices.look(&key);
        self.state().look(identity);
        Look { mirror: self, key }
    }

    /// Says that an act of our own goes on until what is returned is dropped.
    pub(crate) fn act(self: &Arc<Self>, key: EnvKey) -> Acting {
        Acting { _echoes: self.notices.act(key.clone()), mirror: Arc::clone(self), key }
    }

    /// Says that the events are heard until what is returned is dropped.
    fn hear(&self, why: Change) -> Hearing<'_> {
        self.state().begin_hearing();
        self.notices.tell_all(why);
        Hearing(self)
    }

    /// Takes note of an event, and tells whom it concerns.
    fn tell(&self, event: &Event) {
        let concerned = self.state().hear(event);
        self.notices.tell(&concerned, Instant::now());
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
    /// Ends after the doubt, so that what is told as an echo is asked anew.
    _echoes: notice::Acting,
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.mirror.state().end_act(&self.key);
    }
}
