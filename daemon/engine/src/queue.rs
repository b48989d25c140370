//! The one queue of every trigger: names of environments, each with why it was asked for.
//!
//! The first request starts at once; those that come while it runs are done together afterwards. One
//! name never runs twice at the same moment. What fails by its target waits longer each time; a fresh
//! request ends that wait, a routine one does not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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
    /// Names that may run now, in the order in which they came.
    ready: VecDeque<K>,
    /// Names that wait for the end of a back-off.
    later: BTreeSet<(Instant, K)>,
    running: BTreeMap<K, CancellationToken>,
}

#[derive(Debug)]
struct Waiting<W> {
    why: Vec<W>,
    failures: u32,
    place: Place,
}

/// Where a name waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: nobody has asked for it, or it runs.
    Nowhere,
    Ready,
    Later(Instant),
}

impl<W> Default for Waiting<W> {
    fn default() -> Self {
        Self { why: Vec::new(), failures: 0, place: Place::Nowhere }
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
        ready: VecDeque::new(),
        later: BTreeSet::new(),
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
                    None if turns.is_empty() && self.ready.is_empty() && self.later.is_empty() => break,
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
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.later.pop_first().expect("it was just found");
            self.put(key, Place::Ready);
        }
        let key = self.ready.pop_front()?;
        let waiting = self.waiting.get_mut(&key).expect("a name that is ready waits");
        waiting.place = Place::Nowhere;
        let (why, failures) = (std::mem::take(&mut waiting.why), waiting.failures);
        let newer = CancellationToken::new();
        self.running.insert(key.clone(), newer.clone());
        Some(Turn { key, why, failures, newer })
    }

    /// Returns when the first back-off is over.
    fn next_wake(&self) -> Option<Instant> {
        let is_full = self.running.len() >= self.parallel;
        self.later.first().filter(|_| !is_full).map(|(at, _)| *at)
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
        Depth { waiting: self.ready.len(), resting: self.later.len(), running: self.running.len() }
    }

    fn note_request(&mut self, request: Request<K, W>) {
        let Request { key, why, urgency } = request;
        let running = self.running.get(&key);
        let waiting = self.waiting.entry(key.clone()).or_default();
        if !waiting.why.contains(&why) {
            waiting.why.push(why);
        }
        if urgency == Urgency::Fresh {
            waiting.failures = 0;
            if let Place::Later(at) = waiting.place {
                self.later.remove(&(at, key.clone()));
                waiting.place = Place::Nowhere;
            }
            if let Some(newer) = running {
                newer.cancel();
            }
        }
        if waiting.place == Place::Nowhere && running.is_none() {
            self.put(key, Place::Ready);
        }
    }

    /// Puts a name, which waits nowhere else, to where it waits.
    fn put(&mut self, key: K, place: Place) {
        self.waiting.entry(key.clone()).or_default().place = place;
        match place {
            Place::Nowhere => {}
            Place::Ready => self.ready.push_back(key),
            Place::Later(at) => {
                self.later.insert((at, key));
            }
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
            } else {
                self.put(key, Place::Ready);
            }
            return;
        }
        // What asked for the turn that failed still asks.
        let since = std::mem::replace(&mut waiting.why, why);
        waiting.why.extend(since.into_iter().filter(|why| !waiting.why.contains(why)).collect::<Vec<_>>());
        let mut place = Place::Ready;
        if !newer.is_cancelled() {
            waiting.failures += 1;
            let first_again = next == Next::Again && waiting.failures == 1;
            if !first_again {
                place = Place::Later(Instant::now() + self.backoff.jittered(waiting.failures));
            }
        }
        self.put(key, place);
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
