//! Which environments should be looked at because their target has changed, and whether that was our own doing.
//!
//! What one deed causes comes in several pieces of news, and a look between them would see half of it: so a change
//! is told once nothing more happens. Told is only who has looked: nobody else has seen anything that may have changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::EnvKey;

/// How long nothing more must have happened before a change is told, and how long that is waited for at most.
const SETTLE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(500));

/// How late news of an act of our own may come.
const ECHO: Duration = Duration::from_secs(1);

/// How a change came about, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// While trueup itself worked on the environment, or right after: most likely its own doing.
    Echo,
    /// By somebody else.
    Foreign,
}

/// The environments that look at a target, and which of them have to be told.
#[derive(Debug, Default)]
pub struct Notices {
    readers: Mutex<BTreeMap<EnvKey, Reader>>,
    bell: Notify,
}

/// An environment that looks at a target.
#[derive(Debug, Default)]
struct Reader {
    /// How many acts of our own are under way.
    acting: u32,
    acted: Option<Instant>,
    /// What it has to be told.
    changed: Option<Change>,
}

impl Reader {
    fn change(&self, now: Instant) -> Change {
        let echoes = self.acted.is_some_and(|acted| now.duration_since(acted) < ECHO);
        if self.acting > 0 || echoes { Change::Echo } else { Change::Foreign }
    }

    fn tell(&mut self, change: Change) {
        self.changed = self.changed.max(Some(change));
    }
}

impl Notices {
    fn readers(&self) -> MutexGuard<'_, BTreeMap<EnvKey, Reader>> {
        // No change of a reader stops half-way.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a look of an environment: it is told from now on.
    pub fn look(&self, key: &EnvKey) {
        self.readers().entry(key.clone()).or_default();
    }

    /// Forgets an environment, with what it was to be told.
    pub fn forget(&self, key: &EnvKey) {
        self.readers().remove(key);
    }

    /// Says that an act of our own goes on until what is returned is dropped.
    pub fn act(self: &Arc<Self>, key: EnvKey) -> Acting {
        if let Some(reader) = self.readers().get_mut(&key) {
            reader.acting += 1;
        }
        Acting { notices: Arc::clone(self), key }
    }

    /// Says that something has changed that these environments are about.
    pub fn tell<'a>(&self, keys: impl IntoIterator<Item = &'a EnvKey>, now: Instant) {
        let mut readers = self.readers();
        for key in keys {
            if let Some(reader) = readers.get_mut(key) {
                reader.tell(reader.change(now));
                self.bell.notify_one();
            }
        }
    }

    /// Says that everything may have changed.
    pub fn tell_all(&self, why: Change) {
        self.readers().values_mut().for_each(|reader| reader.tell(why));
        self.bell.notify_one();
    }

    /// Returns who has to be told, once.
    pub fn take(&self) -> BTreeMap<EnvKey, Change> {
        let mut readers = self.readers();
        let told =
            |(key, reader): (&EnvKey, &mut Reader)| reader.changed.take().map(|change| (key.clone(), change));
        readers.iter_mut().filter_map(told).collect()
    }

    /// Waits for changes; returns the environments that should be looked at.
    pub async fn changed(&self) -> BTreeMap<EnvKey, Change> {
        loop {
            self.bell.notified().await;
            let first = tokio::time::Instant::now();
            while tokio::time::timeout(SETTLE.0, self.bell.notified()).await.is_ok()
                && first.elapsed() < SETTLE.1
            {}
            let changed = self.take();
            if !changed.is_empty() {
                return changed;
            }
        }
    }
}

/// An act of our own that goes on.
#[derive(Debug)]
pub struct Acting {
    notices: Arc<Notices>,
    key: EnvKey,
}

impl Drop for Acting {
    fn drop(&mut self) {
        if let Some(reader) = self.notices.readers().get_mut(&self.key) {
            reader.acting = reader.acting.saturating_sub(1);
            reader.acted = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(environment: &str) -> EnvKey {
        EnvKey { source: "local".parse().unwrap(), environment: environment.parse().unwrap() }
    }

    #[test]
    fn what_we_did_ourselves_is_an_echo_while_it_goes_on_and_for_a_while() {
        let (notices, a) = (Arc::<Notices>::default(), key("a"));
        notices.look(&a);
        let told = |late: Duration| {
            notices.tell([&a], Instant::now() + late);
            notices.take()[&a]
        };
        assert_eq!(told(Duration::ZERO), Change::Foreign);
        let acting = notices.act(a.clone());
        assert_eq!(told(ECHO * 2), Change::Echo);
        drop(acting);
        assert_eq!(told(ECHO / 2), Change::Echo);
        assert_eq!(told(ECHO * 2), Change::Foreign);
    }

    #[test]
    fn who_has_not_looked_or_is_forgotten_is_told_nothing() {
        let (notices, a, b) = (Arc::<Notices>::default(), key("a"), key("b"));
        notices.look(&a);
        notices.tell([&a, &b], Instant::now());
        notices.forget(&a);
        notices.tell_all(Change::Foreign);
        assert!(notices.take().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_one_after_the_other_is_told_at_once_and_as_the_worst_of_it() {
        let (notices, a) = (Arc::<Notices>::default(), key("a"));
        notices.look(&a);
        let telling = async {
            notices.tell_all(Change::Foreign);
            tokio::time::sleep(SETTLE.0 / 2).await;
            notices.tell_all(Change::Echo);
        };
        let (changed, ()) = tokio::join!(notices.changed(), telling);
        assert_eq!(changed, [(a, Change::Foreign)].into());
        assert!(notices.take().is_empty());
    }
}
