//! What is remembered of one engine, and for whom: pure, so that events can come in any order in a test.
//!
//! The invariant: an answer is remembered only while the events are heard that would put it in doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::OnceCell;
use trueup_engine::{EnvKey, Identity};

use super::{
    event::Event,
    memo::{Knowledge, Memo, Ticket},
    question::Question,
};
use crate::facts::Engine;

/// For how many looks an answer is kept that none of them asked for.
const LOOKS: u64 = 4;

/// An environment that looks at the engine.
#[derive(Debug, Default)]
struct Reader {
    uid: String,
    /// What the names of its things begin with.
    prefix: String,
    looks: u64,
    /// What its last looks asked for, with the number of the last one.
    asked: BTreeMap<Question, u64>,
}

/// What is remembered of one engine.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Whether its events are heard.
    hears: bool,
    /// Whether they ever were.
    has_heard: bool,
    /// What the engine says of itself. A doubt puts another cell in its place, so that an answer from before is kept
    /// where nobody looks any more.
    engine: Arc<OnceCell<Engine>>,
    memo: Memo<Question>,
    /// Whether the lists of everything may be older than an event that concerned nobody.
    is_behind: bool,
    readers: BTreeMap<EnvKey, Reader>,
}

/// Returns whether the answer tells also of what is no environment's.
fn is_of_everything(question: &Question) -> bool {
    matches!(question, Question::Containers | Question::Volumes)
}

impl State {
    /// Begins a look of an environment.
    pub(crate) fn look(&mut self, identity: &Identity) {
        let key = identity.key();
        let is_new = self.readers.get(&key).is_none_or(|reader| reader.uid != identity.uid);
        if is_new && std::mem::take(&mut self.is_behind) {
            self.memo.doubt(|question, _| is_of_everything(question));
        }
        let reader = self.readers.entry(key).or_default();
        reader.uid.clone_from(&identity.uid);
        reader.prefix = format!("{}-", identity.environment);
        reader.looks += 1;
        let oldest = reader.looks.saturating_sub(LOOKS);
        let old: Vec<Question> =
            reader.asked.extract_if(.., |_, asked| *asked < oldest).map(|(question, _)| question).collect();
        self.forget_unasked(&old);
    }

    /// Forgets an environment with what nobody else asks for; returns its uid.
    pub(crate) fn forget(&mut self, key: &EnvKey) -> Option<String> {
        let reader = self.readers.remove(key)?;
        self.forget_unasked(reader.asked.keys());
        Some(reader.uid)
    }

    /// Forgets those of the questions that no environment asks any more.
    fn forget_unasked<'a>(&mut self, questions: impl IntoIterator<Item = &'a Question>) {
        for question in questions {
            if !self.readers.values().any(|reader| reader.asked.contains_key(question)) {
                self.memo.forget(question);
            }
        }
    }

    /// Returns where what the engine says of itself is kept until the next doubt about it. While events that were heard
    /// are not heard any more, that is nowhere: it may be another engine by now.
    pub(crate) fn engine(&self) -> Arc<OnceCell<Engine>> {
        let is_known = self.hears || !self.has_heard;
        if is_known { Arc::clone(&self.engine) } else { Arc::default() }
    }

    /// Returns the answer, or leave to ask; no ticket when the answer cannot be kept.
    pub(crate) fn ask<T: Clone + 'static>(
        &mut self,
        key: &EnvKey,
        question: &Question,
    ) -> Result<T, Option<Ticket>> {
        if let Some(reader) = self.readers.get_mut(key) {
            reader.asked.insert(question.clone(), reader.looks);
        }
        if !self.hears {
            return Err(None);
        }
        match self.memo.ask(question) {
            Knowledge::Known(answer) => Ok(answer),
            Knowledge::Doubtful(ticket) => Err(Some(ticket)),
        }
    }

    /// Remembers an answer, unless there was a doubt since it was asked for.
    pub(crate) fn record<T: Send + Sync + 'static>(
        &mut self,
        question: &Question,
        ticket: Ticket,
        answer: T,
    ) {
        self.memo.record(question, ticket, answer);
    }

    /// Returns the first answer about a container of the environment that is known and `meets`.
    pub(crate) fn find<T: Clone + 'static>(&self, key: &EnvKey, meets: impl Fn(&T) -> bool) -> Option<T> {
        let asked = self.readers.get(key)?.asked.keys();
        let containers = asked.filter(|question| matches!(question, Question::Container(_)));
        containers.filter_map(|question| self.memo.known::<T>(question)).find(|answer| meets(answer)).cloned()
    }

    /// The events are heard from now on: everything has to be asked once more.
    pub(crate) fn begin_hearing(&mut self) {
        self.hears = true;
        self.has_heard = true;
        self.engine = Arc::default();
        self.memo.clear();
    }

    /// The events are not heard any more: nothing is known.
    pub(crate) fn end_hearing(&mut self) {
        self.hears = false;
        self.memo.clear();
    }

    /// Takes note of an event; returns the environments that have to be told.
    pub(crate) fn hear(&mut self, event: &Event) -> BTreeSet<EnvKey> {
        let concerned = self.concerned(event);
        // The engine's own lists are of everything, but only what an environment is about puts them in doubt.
        let lists = [Question::Containers, Question::Volumes];
        self.is_behind |= concerned.is_empty() && lists.iter().any(|list| list.is_touched_by(event, None));
        let heeded = |question: &Question| !concerned.is_empty() || !is_of_everything(question);
        self.memo.doubt(|question, known| heeded(question) && question.is_touched_by(event, known));
        concerned
    }

    /// Returns the environments that an event is about.
    fn concerned(&self, event: &Event) -> BTreeSet<EnvKey> {
        let starts = |reader: &Reader, name: &String| name.starts_with(&reader.prefix);
        let is_about = |reader: &Reader| match event {
            Event::Container { uid: Some(uid), .. } if reader.uid == *uid => true,
            // Somebody else's matters by its name only.
            Event::Container { names, listed, .. } => {
                *listed && names.iter().any(|name| starts(reader, name))
            }
            Event::Files => true,
            Event::File { path } => path.iter().any(|part| part == reader.uid.as_str()),
            Event::Volume { name } => starts(reader, name),
            Event::Network { name, .. } if starts(reader, name) => true,
            _ => reader.asked.keys().any(|question| match question {
                // One network more is no reason for all to look.
                Question::Networks => matches!(event, Event::Everything),
                question => question.is_touched_by(event, None),
            }),
        };
        let about = self.readers.iter().filter(|(_, reader)| is_about(reader));
        about.map(|(key, _)| key.clone()).collect()
    }

    /// Returns whether the events are heard.
    pub(crate) fn hears(&self) -> bool {
        self.hears
    }

    /// An act of our own has ended: whatever it touched is asked again, also before its events come.
    pub(crate) fn end_act(&mut self, key: &EnvKey) {
        let mut touched = BTreeSet::from([Question::Containers, Question::Networks, Question::Volumes]);
        if let Some(reader) = self.readers.get(key) {
            // No act writes into a container that there is already.
            let asked = reader.asked.keys().filter(|question| !matches!(question, Question::Files(_)));
            touched.extend(asked.cloned());
        }
        self.memo.doubt(|question, _| touched.contains(question));
    }
}
