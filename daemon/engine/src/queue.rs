//! The one queue of every trigger: names of environments, each with why it was asked for.
//!
//! The first request starts at once; those that come while it runs are done together afterwards. One
//! name never runs twice at the same moment. What fails by its target waits longer each time; a fresh
//! request ends that wait, a routine one does not.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    future::Future,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::Backoff;

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A timer or a poll without news: it joins what waits.
    Routine,
    /// Something is new, or a person asks: it does not wait for a back-off.
    Fresh,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is done, whether it succeeded or has to wait for something new.
    Rest,
    /// The target failed: it is tried again after a wait.
    Retry,
    /// The world moved meanwhile: it is done again at once, but each time in a row after a wait.
    Again,
}

/// One turn of a name.
#[derive(Debug)]
pub struct Turn<K, W> {
    /// The name.
    pub key: K,
    /// Why it was asked for, in the order in which it came, each once.
    pub why: Vec<W>,
    /// How many turns before it failed in a row.
    pub failures: u32,
    /// Says that a fresh request for the same name has come meanwhile.
    pub newer: CancellationToken,
}

/// How many names stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Names with a request that could run now.
    pub waiting: usize,
    /// Names with a request whose back-off is not over.
    pub resting: usize,
    /// Names that have their turn.
    pub running: usize,
}

/// Where requests are put.
#[derive(Debug)]
pub struct Queue<K, W>(mpsc::UnboundedSender<Message<K, W>>);

impl<K, W> Clone for Queue<K, W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
enum Message<K, W> {
    Request(Request<K, W>),
    Depth(oneshot::Sender<Depth>),
    Parallel(usize),
}

#[derive(Debug)]
struct Request<K, W> {
    key: K,
    why: W,
    urgency: Urgency,
}

impl<K, W> Queue<K, W> {
    /// Asks for a turn of `key`. After [`Turns::serve`] has ended nobody listens any more.
    pub fn put(&self, key: K, why: W, urgency: Urgency) {
        let _heard = self.0.send(Message::Request(Request { key, why, urgency }));
    }

    /// Returns how many names stand where, as soon as the loop that gives them their turns says so: an answer
    /// shows that it goes on. `None` when it has ended.
    pub async fn depth(&self) -> Option<Depth> {
        let (answer, depth) = oneshot::channel();
        self.0.send(Message::Depth(answer)).ok()?;
        depth.await.ok()
    }

    /// Sets how many names run at the same moment. Those that run go on.
    pub fn set_parallel(&self, parallel: usize) {
        let _heard = self.0.send(Message::Parallel(parallel));
    }
}

/// The other end of a [`Queue`].
#[derive(Debug)]
pub struct Turns<K, W> {
    messages: mpsc::UnboundedReceiver<Message<K, W>>,
    /// How many names run at the same moment.
    parallel: usize,
    backoff: Backoff,
    waiting: BTreeMap<K, Waiting<W>>,
    /// Names with a request, in the order in which they came.
    order: VecDeque<K>,
    running: BTreeMap<K, CancellationToken>,
}

#[derive(Debug)]
struct Waiting<W> {
    why: Vec<W>,
    failures: u32,
    not_before: Option<Instant>,
}

impl<W> Default for Waiting<W> {
    fn default() -> Self {
        Self { why: Vec::new(), failures: 0, not_before: None }
    }
}

/// Returns a queue whose names run in parallel up to a limit.
pub fn queue<K, W>(parallel: usize, backoff: Backoff) -> (Queue<K, W>, Turns<K, W>) {
    let (sender, messages) = mpsc::unbounded_channel();
    let turns = Turns {
        messages,
        parallel: parallel.max(1),
        backoff,
        waiting: BTreeMap::new(),
        order: VecDeque::new(),
        running: BTreeMap::new(),
    };
    (Queue(sender), turns)
}

impl<K, W> Turns<K, W>
where
    K: Ord + Clone + Debug + Send + 'static,
    W: PartialEq + Clone + Send + 'static,
{
    /// Gives each name its turns until `cancel`; then no turn begins, and those that run end.
    pub async fn serve<F, Fut>(mut self, cancel: &CancellationToken, work: F)
    where
        F: Fn(Turn<K, W>) -> Fut,
        Fut: Future<Output = Next> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut turns: BTreeMap<Id, (K, Vec<W>)> = BTreeMap::new();
        loop {
            while let Some(turn) = self.next_turn() {
                let (key, why) = (turn.key.clone(), turn.why.clone());
                turns.insert(tasks.spawn(work(turn)).id(), (key, why));
            }
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(ended) = tasks.join_next_with_id() => self.note_end(&mut turns, ended),
                message = self.messages.recv() => match message {
                    Some(message) => self.note_message(message),
                    None if turns.is_empty() && self.order.is_empty() => break,
                    // Nobody can ask any more; what was asked for is still done.
                    None => self.note_closed(&mut tasks, &mut turns, wake).await,
                },
                () = sleep_until(wake) => {},
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn note_closed(
        &mut self,
        tasks: &mut JoinSet<Next>,
        turns: &mut BTreeMap<Id, (K, Vec<W>)>,
        wake: Option<Instant>,
    ) {
        tokio::select! {
            Some(ended) = tasks.join_next_with_id() => self.note_end(turns, ended),
            () = sleep_until(wake) => {},
        }
    }

    /// Takes the first name that may run now.
    fn next_turn(&mut self) -> Option<Turn<K, W>> {
        if self.running.len() >= self.parallel {
            return None;
        }
        let now = Instant::now();
        let may = |key: &K| {
            let due = self.waiting.get(key).is_some_and(|w| w.not_before.is_none_or(|at| at <= now));
            due && !self.running.contains_key(key)
        };
        let at = self.order.iter().position(may)?;
        let key = self.order.remove(at).expect("it was just found");
        let waiting = self.waiting.get_mut(&key).expect("a name in the order waits");
        waiting.not_before = None;
        let (why, failures) = (std::mem::take(&mut waiting.why), waiting.failures);
        let newer = CancellationToken::new();
        self.running.insert(key.clone(), newer.clone());
        Some(Turn { key, why, failures, newer })
    }

    /// Returns when the first back-off of a name that does not run is over.
    fn next_wake(&self) -> Option<Instant> {
        if self.running.len() >= self.parallel {
            return None;
        }
        let waits = self.order.iter().filter(|key| !self.running.contains_key(*key));
        waits.filter_map(|key| self.waiting.get(key)?.not_before).min()
    }

    fn note_message(&mut self, message: Message<K, W>) {
        match message {
            Message::Request(request) => self.note_request(request),
            Message::Parallel(parallel) => self.parallel = parallel.max(1),
            // Who asked may not wait any more.
            Message::Depth(answer) => drop(answer.send(self.depth())),
        }
    }

    fn depth(&self) -> Depth {
        let now = Instant::now();
        let idle = self.order.iter().filter(|key| !self.running.contains_key(*key));
        let rests =
            |key: &&K| self.waiting.get(*key).is_some_and(|w| w.not_before.is_some_and(|at| at > now));
        let (resting, waiting): (Vec<_>, Vec<_>) = idle.partition(rests);
        Depth { waiting: waiting.len(), resting: resting.len(), running: self.running.len() }
    }

    fn note_request(&mut self, request: Request<K, W>) {
        let Request { key, why, urgency } = request;
        let waiting = self.waiting.entry(key.clone()).or_default();
        if !waiting.why.contains(&why) {
            waiting.why.push(why);
        }
        if urgency == Urgency::Fresh {
            (waiting.failures, waiting.not_before) = (0, None);
            if let Some(newer) = self.running.get(&key) {
                newer.cancel();
            }
        }
        if !self.order.contains(&key) {
            self.order.push_back(key);
        }
    }

    fn note_end(&mut self, turns: &mut BTreeMap<Id, (K, Vec<W>)>, ended: Result<(Id, Next), JoinError>) {
        let (id, next) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a turn of the queue ended by itself");
            (error.id(), Next::Retry)
        });
        let (key, why) = turns.remove(&id).expect("every task has its turn");
        let newer = self.running.remove(&key).expect("what ended was running");
        let waiting = self.waiting.entry(key.clone()).or_default();
        if next == Next::Rest {
            waiting.failures = 0;
            if waiting.why.is_empty() {
                self.waiting.remove(&key);
            }
            return;
        }
        // What asked for the turn that failed still asks.
        let since = std::mem::replace(&mut waiting.why, why);
        waiting.why.extend(since.into_iter().filter(|why| !waiting.why.contains(why)).collect::<Vec<_>>());
        if !newer.is_cancelled() {
            waiting.failures += 1;
            let first_again = next == Next::Again && waiting.failures == 1;
            let wait = self.backoff.jittered(waiting.failures);
            waiting.not_before = (!first_again).then(|| Instant::now() + wait);
        }
        if !self.order.contains(&key) {
            self.order.push_back(key);
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
