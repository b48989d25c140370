//! One queue of names: what asks for an environment while it waits is one entry, what asks while it runs is
//! one more turn afterwards, and no environment has two turns at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use trueup_engine::{Backoff, EnvKey, Trigger};

/// When an environment wants its next turn, if nothing asks for it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// After this time.
    After(Duration),
    /// Later and later, until a turn ends otherwise.
    Backoff,
}

/// How long an environment rests whose target fails.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    parallel: usize,
}

#[derive(Default)]
struct State {
    /// What asked first, of each environment that waits.
    waiting: BTreeMap<EnvKey, Trigger>,
    /// The order in which they came.
    order: Vec<EnvKey>,
    running: BTreeSet<EnvKey>,
    /// When a timer asks.
    due: BTreeMap<EnvKey, Instant>,
    /// How often in a row a turn wanted to back off.
    failures: BTreeMap<EnvKey, u32>,
}

impl Queue {
    /// Makes an empty queue for so many turns at a time.
    pub(crate) fn new(parallel: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), parallel: parallel.max(1) }
    }

    /// Asks for a turn of an environment.
    pub(crate) fn push(&self, key: EnvKey, trigger: Trigger) {
        let mut state = self.state();
        if !state.waiting.contains_key(&key) {
            state.order.push(key.clone());
            state.waiting.insert(key, trigger);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Gives turns until `cancel`, then waits for those that are going on.
    pub(crate) async fn work<F, T>(&self, cancel: &CancellationToken, turn: F)
    where
        F: Fn(EnvKey, Trigger) -> T,
        T: Future<Output = Next> + Send + 'static,
    {
        let mut turns = JoinSet::new();
        loop {
            while let Some((key, trigger)) = self.take(Instant::now()) {
                let ended = key.clone();
                let going = turn(key, trigger);
                turns.spawn(async move { (ended, going.await) });
            }
            let due = self.state().due.values().min().copied();
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.changed.notified() => {}
                () = at(due) => {}
                Some(ended) = turns.join_next() => match ended {
                    Ok((key, next)) => self.ended(&key, next),
                    Err(error) => tracing::error!(%error, "a turn ended by a mistake of ours"),
                },
            }
        }
        while turns.join_next().await.is_some() {}
    }

    /// Takes the environment that has waited longest, has no turn, and finds room.
    fn take(&self, now: Instant) -> Option<(EnvKey, Trigger)> {
        let mut state = self.state();
        let due: Vec<_> =
            state.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            state.due.remove(&key);
            if !state.waiting.contains_key(&key) {
                state.order.push(key.clone());
                state.waiting.insert(key, Trigger::Timer);
            }
        }
        if state.running.len() >= self.parallel {
            return None;
        }
        let position = state.order.iter().position(|key| !state.running.contains(key))?;
        let key = state.order.remove(position);
        let trigger = state.waiting.remove(&key)?;
        state.due.remove(&key);
        state.running.insert(key.clone());
        Some((key, trigger))
    }

    fn ended(&self, key: &EnvKey, next: Next) {
        let mut state = self.state();
        state.running.remove(key);
        let pause = match next {
            Next::After(pause) => {
                state.failures.remove(key);
                pause
            }
            Next::Backoff => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                BACKOFF.jittered(*failures)
            }
        };
        state.due.insert(key.clone(), Instant::now() + pause);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn key(name: &str) -> EnvKey {
        EnvKey { source: "lab".parse().unwrap(), environment: name.parse().unwrap() }
    }

    /// Pushes every name `times`, lets the queue work for a second, and returns how many turns there were
    /// and how many of them at the same moment.
    async fn turns(names: &[&str], times: usize, parallel: usize, next: Next) -> (usize, usize) {
        let queue = Queue::new(parallel);
        for name in names.iter().cycle().take(names.len() * times) {
            queue.push(key(name), Trigger::Commit);
        }
        let (cancel, count) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.cancel();
        });
        queue
            .work(&cancel, |_, _| {
                let (count, now, most) = (Arc::clone(&count), Arc::clone(&now), Arc::clone(&most));
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    count.fetch_add(1, Ordering::SeqCst);
                    next
                }
            })
            .await;
        (count.load(Ordering::SeqCst), most.load(Ordering::SeqCst))
    }

    const LATER: Next = Next::After(Duration::from_secs(60));

    #[tokio::test(start_paused = true)]
    async fn fifty_requests_for_one_environment_are_one_turn() {
        assert_eq!(turns(&["a"], 50, 4, LATER).await, (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn environments_run_side_by_side_up_to_the_limit() {
        assert_eq!(turns(&["a", "b", "c", "d"], 1, 2, LATER).await, (4, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_interval_asks_again() {
        let (count, most) = turns(&["a"], 1, 4, Next::After(Duration::from_millis(100))).await;
        assert!((4..=6).contains(&count) && most == 1, "{count} turns, {most} at once");
    }
}
