//! Answers that are remembered until something may have changed them.
//!
//! The invariant: an answer that is known was asked for after the last doubt about it. So a doubt that
//! comes while a question is under way is never lost: the answer to it may be from before.

use std::{
    any::Any,
    collections::{BTreeMap, btree_map},
    mem,
};

/// An answer, of the type that its question has.
pub(crate) type Answer = Box<dyn Any + Send + Sync>;

/// Questions with the answers that are known.
#[derive(Debug)]
pub(crate) struct Memo<Q> {
    /// Counts the doubts, also those about nothing that is remembered.
    now: u64,
    entries: BTreeMap<Q, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: Option<Answer>,
    doubted: u64,
}

/// When a question was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

/// What is known about a question.
#[derive(Debug)]
pub(crate) enum Knowledge<T> {
    /// The answer.
    Known(T),
    /// It has to be asked; the ticket is for [`Memo::record`].
    Doubtful(Ticket),
}

impl<Q> Default for Memo<Q> {
    fn default() -> Self {
        Self { now: 0, entries: BTreeMap::new() }
    }
}

impl<Q: Ord + Clone> Memo<Q> {
    /// Returns the answer, or leave to ask.
    pub(crate) fn ask<T: Clone + 'static>(&mut self, question: &Q) -> Knowledge<T> {
        let entry = match self.entries.entry(question.clone()) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => entry.insert(Entry { answer: None, doubted: self.now }),
        };
        let known = entry.answer.as_ref().and_then(|answer| answer.downcast_ref::<T>());
        known.cloned().map_or(Knowledge::Doubtful(Ticket(self.now)), Knowledge::Known)
    }

    /// Returns the answer when it is known.
    pub(crate) fn known<T: 'static>(&self, question: &Q) -> Option<&T> {
        self.entries.get(question)?.answer.as_ref()?.downcast_ref()
    }

    /// Remembers an answer, unless there was a doubt since it was asked for.
    pub(crate) fn record<T: Send + Sync + 'static>(&mut self, question: &Q, ticket: Ticket, answer: T) {
        if let Some(entry) = self.entries.get_mut(question).filter(|entry| entry.doubted <= ticket.0) {
            entry.answer = Some(Box::new(answer));
        }
    }

    /// Doubts the questions, known or under way, that `concerned` says.
    pub(crate) fn doubt(&mut self, concerned: impl Fn(&Q, Option<&Answer>) -> bool) {
        self.now += 1;
        for (question, entry) in &mut self.entries {
            if concerned(question, entry.answer.as_ref()) {
                *entry = Entry { answer: None, doubted: self.now };
            }
        }
    }

    /// Doubts everything.
    pub(crate) fn clear(&mut self) {
        self.now += 1;
        mem::take(&mut self.entries);
    }

    /// Forgets a question that nobody asks any more.
    pub(crate) fn forget(&mut self, question: &Q) {
        self.entries.remove(question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket<T: Clone + std::fmt::Debug + 'static>(
        memo: &mut Memo<&'static str>,
        question: &'static str,
    ) -> Ticket {
        match memo.ask::<T>(&question) {
            Knowledge::Doubtful(ticket) => ticket,
            Knowledge::Known(answer) => panic!("`{question}` is known: {answer:?}"),
        }
    }

    #[test]
    fn an_answer_is_known_until_there_is_a_doubt() {
        let mut memo = Memo::default();
        let asked = ticket::<u8>(&mut memo, "a");
        memo.record(&"a", asked, 1_u8);
        assert!(matches!(memo.ask::<u8>(&"a"), Knowledge::Known(1)));
        memo.doubt(|question, _| *question == "b");
        assert!(matches!(memo.ask::<u8>(&"a"), Knowledge::Known(1)));
        memo.doubt(|question, answer| *question == "a" && answer.is_some());
        ticket::<u8>(&mut memo, "a");
    }

    #[test]
    fn a_doubt_while_the_question_is_under_way_is_not_lost() {
        let mut memo = Memo::default();
        let asked = ticket::<u8>(&mut memo, "a");
        memo.doubt(|_, _| true);
        memo.record(&"a", asked, 1_u8);
        ticket::<u8>(&mut memo, "a");
    }

    #[test]
    fn an_answer_from_before_everything_was_doubted_is_not_taken() {
        let mut memo = Memo::default();
        let asked = ticket::<u8>(&mut memo, "a");
        memo.clear();
        memo.record(&"a", asked, 1_u8);
        let again = ticket::<u8>(&mut memo, "a");
        memo.record(&"a", asked, 1_u8);
        ticket::<u8>(&mut memo, "a");
        memo.record(&"a", again, 2_u8);
        assert!(matches!(memo.ask::<u8>(&"a"), Knowledge::Known(2)));
    }

    #[test]
    fn a_doubt_about_what_was_forgotten_counts_when_it_is_asked_again() {
        let mut memo = Memo::default();
        let asked = ticket::<u8>(&mut memo, "a");
        memo.forget(&"a");
        memo.doubt(|_, _| true);
        ticket::<u8>(&mut memo, "a");
        memo.record(&"a", asked, 1_u8);
        ticket::<u8>(&mut memo, "a");
    }
}
