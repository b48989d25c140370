//! Follows one source: a local repository by its file events, a remote one by a cheap question.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use trueup_engine::{Source, Store, Trigger, Urgency};
use trueup_git::{GitSource, Watch};
use trueup_schema::{Cache, SourceName};

use super::{Daemon, checkout::Published};
use crate::{config, failure::Failure, meter::Phase, publish, world::git_failure};

/// How long a source that cannot be read is left alone, at first and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What is followed, and how.
#[derive(Default)]
pub(crate) struct Followers(Mutex<BTreeMap<SourceName, Following>>);

/// A source that is followed, or was.
struct Following {
    source: config::Source,
    limits: config::Limits,
    stop: CancellationToken,
    looks: Arc<Looks>,
    task: JoinHandle<()>,
}

/// The looks at a source, by number.
struct Looks {
    begun: AtomicU64,
    ended: watch::Sender<u64>,
    /// Rung by who does not want to wait for the next one.
    asked: Notify,
}

impl Looks {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: AtomicU64::new(0), ended: watch::Sender::new(0), asked: Notify::new() })
    }

    /// Waits for a look that begins now or later.
    async fn one_more(&self) {
        let next = self.begun.load(Ordering::SeqCst) + 1;
        let mut ended = self.ended.subscribe();
        self.asked.notify_one();
        ended.wait_for(|ended| *ended >= next).await.ok();
    }
}

impl Followers {
    /// Looks at a source at once, and waits for the end of that or of following it.
    pub(crate) async fn look_now(&self, source: &SourceName) {
        let following = {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(source).map(|following| (Arc::clone(&following.looks), following.stop.clone()))
        };
        if let Some((looks, stop)) = following {
            tokio::select! {
                () = looks.one_more() => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

/// Follows every source of the configuration, and no other one. What is followed as it should be goes on; what
/// is to be followed otherwise begins anew, with `trigger`, when the look that goes on has ended.
pub(crate) fn follow_all(daemon: &Arc<Daemon>, trigger: &Trigger) {
    let world = daemon.world();
    let limits = &world.config.limits;
    // No change of the map stops half-way.
    let mut all = daemon.followers.0.lock().unwrap_or_else(PoisonError::into_inner);
    for following in all.values().filter(|following| !world.config.sources.contains(&following.source)) {
        following.stop.cancel();
    }
    for source in &world.config.sources {
        let is_as_it_should_be = |following: &Following| {
            !following.stop.is_cancelled() && following.source == *source && following.limits == *limits
        };
        if all.get(&source.name).is_some_and(is_as_it_should_be) {
            continue;
        }
        let before = all.remove(&source.name).map(|before| {
            before.stop.cancel();
            before.task
        });
        let stop = daemon.cancel.child_token();
        let looks = Looks::new();
        let task =
            follow(Arc::clone(daemon), source.clone(), trigger.clone(), stop.clone(), Arc::clone(&looks));
        let task = daemon.tasks.spawn(async move {
            // Both would write the same mirror.
            if let Some(before) = before {
                before.await.ok();
            }
            task.await;
        });
        let following = Following { source: source.clone(), limits: limits.clone(), stop, looks, task };
        all.insert(source.name.clone(), following);
    }
}

/// Follows a source until it is told to stop.
async fn follow(
    daemon: Arc<Daemon>,
    source: config::Source,
    mut trigger: Trigger,
    stop: CancellationToken,
    looks: Arc<Looks>,
) {
    let mut pause = PATIENCE.0;
    let mut follower = Follower {
        daemon: &daemon,
        source: &source,
        git: None,
        commit: None,
        cache: Cache::default(),
        asked: false,
    };
    loop {
        let number = looks.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let wait = match follower.look(&trigger).await {
            Ok(()) => {
                pause = PATIENCE.0;
                source.interval.0
            }
            Err(failure) => {
                tracing::warn!(source = %source.name, "cannot read the source: {failure}");
                // The source was read when it is the commit that is wrong: the next one is not kept waiting.
                pause = if failure.is_report() { PATIENCE.0 } else { (pause * 2).min(PATIENCE.1) };
                let wait = if failure.is_report() { source.interval.0 } else { pause };
                follower.unreadable(failure, &trigger).await;
                wait
            }
        };
        looks.ended.send_replace(number);
        trigger = tokio::select! {
            () = stop.cancelled() => break,
            () = looks.asked.notified() => Trigger::Poll,
            () = follower.hint() => Trigger::Commit,
            () = tokio::time::sleep(wait) => Trigger::Poll,
        };
    }
    if !daemon.world().config.sources.iter().any(|configured| configured.name == source.name) {
        daemon.checkouts.forget(&source.name);
    }
}

struct Follower<'a> {
    daemon: &'a Daemon,
    source: &'a config::Source,
    git: Option<(GitSource, Option<Watch>)>,
    commit: Option<String>,
    cache: Cache,
    /// Whether its environments were asked for a turn; from then on each has a timer.
    asked: bool,
}

impl Follower<'_> {
    /// Looks for a new commit and queues the environments that it has.
    async fn look(&mut self, trigger: &Trigger) -> Result<(), Failure> {
        if self.git.is_none() {
            let git = self.daemon.world().git(self.source)?;
            let watch = git.watch().map_err(|error| git_failure(&error))?;
            self.git = Some((git, watch));
        }
        let Some((git, _)) = &self.git else { return Ok(()) };
        let head = git.head().await.map_err(|error| git_failure(&error))?;
        self.daemon.checkouts.note_read(&self.source.name);
        if self.commit.as_ref() == Some(&head) {
            return Ok(());
        }
        let began = Instant::now();
        let fetched = git.fetch().await.map_err(|error| git_failure(&error));
        self.daemon.meter.took(Phase::Fetch, began.elapsed());
        let read = match fetched {
            Ok(snapshot) => {
                tracing::info!(source = %self.source.name, revision = %snapshot.revision, "new commit");
                self.queue(snapshot, trigger).await
            }
            Err(failure) => Err(failure),
        };
        // What is wrong with a commit is wrong each time: only another one is looked at again.
        if read.as_ref().map_or_else(Failure::is_report, |()| true) {
            self.commit = Some(head);
        }
        read
    }

    /// Writes down why the source cannot be read, until a commit of it was.
    async fn unreadable(&mut self, failure: Failure, trigger: &Trigger) {
        // Once the source can be read again its commit is told to be the newest, also when it is the same.
        if !failure.is_report() {
            self.commit = None;
        }
        let (source, daemon) = (&self.source.name, self.daemon);
        // Whose turn ends from here on sees it.
        daemon.checkouts.set_trouble(source, failure);
        if let Some(trouble) = daemon.checkouts.trouble(source) {
            publish::unreadable(&daemon.store, source, &trouble).await;
        }
        if !std::mem::replace(&mut self.asked, true) {
            self.queue_known(trigger).await;
        }
    }

    /// Asks for a turn of each environment that is known from before: what runs is looked after without Git.
    async fn queue_known(&self, trigger: &Trigger) {
        let known = match self.daemon.store.observations().await {
            Ok(known) => known,
            Err(error) => {
                return tracing::error!(error = &error as &dyn std::error::Error, "the store cannot be read");
            }
        };
        for key in known.into_keys() {
            if key.source == self.source.name && self.source.follows(&key.environment) {
                self.daemon.queue.put(key, trigger.clone(), Urgency::Fresh);
            }
        }
    }

    /// Asks for a turn of each environment that a commit may say something new of; the others count as compared
    /// with it.
    async fn queue(&mut self, snapshot: trueup_schema::Snapshot, trigger: &Trigger) -> Result<(), Failure> {
        let (source, store) = (&self.source.name, &self.daemon.store);
        let published = self.daemon.checkouts.publish(source, snapshot, &mut self.cache);
        let Published { checkout, changed, vanished, .. } = &published;
        let catalogue = checkout.catalogue.as_ref().map_err(|report| Failure::from(report.clone()))?;
        self.asked = true;
        for name in changed.iter().filter(|name| self.source.follows(name)) {
            let key = crate::world::World::key(self.source, name);
            self.daemon.queue.put(key, trigger.clone(), Urgency::Fresh);
        }
        tracing::info!(source = %source, revision = %checkout.snapshot.revision, environments = changed.len(), "commit is read");
        let vanished = match vanished {
            Some(names) => names.clone(),
            None => publish::vanished(store, source, catalogue).await?,
        };
        let behind = changed.union(&vanished).cloned().collect();
        let behind = published.is_rest_settled.then_some(&behind);
        store.advance(source, &checkout.snapshot.revision, behind).await?;
        for name in &vanished {
            let key = crate::world::World::key(self.source, name);
            self.daemon.queue.put(key, trigger.clone(), Urgency::Fresh);
        }
        Ok(())
    }

    /// Waits for a change of a local repository; for ever for a remote one.
    async fn hint(&mut self) {
        match &mut self.git {
            Some((_, Some(watch))) => {
                if watch.changed().await.is_none() {
                    std::future::pending::<()>().await;
                }
            }
            _ => std::future::pending().await,
        }
    }
}
