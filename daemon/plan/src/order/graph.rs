//! Steps and what each waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Order;
use crate::{Act, ResourceId, Step, StepKey};

/// Steps by their key.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) steps: BTreeMap<StepKey, Step>,
}

impl Graph {
    /// Adds a step and returns its key, `<verb> <resource>`.
    pub(super) fn add(&mut self, verb: &str, resource: &ResourceId, act: Act, timeout: Duration) -> StepKey {
        let key = StepKey(format!("{verb} {resource}"));
        let step =
            Step { key: key.clone(), resource: resource.clone(), act, after: BTreeSet::new(), timeout };
        self.steps.insert(key.clone(), step);
        key
    }

    /// Makes `step` wait for `first`.
    pub(super) fn after(&mut self, step: &StepKey, first: &StepKey) {
        if step != first
            && let Some(step) = self.steps.get_mut(step)
        {
            step.after.insert(first.clone());
        }
    }

    /// Makes each step wait for the one before it.
    pub(super) fn chain<'k>(&mut self, keys: impl IntoIterator<Item = Option<&'k StepKey>>) {
        let keys: Vec<&StepKey> = keys.into_iter().flatten().collect();
        for pair in keys.windows(2) {
            self.after(pair[1], pair[0]);
        }
    }

    /// Returns whether `step` waits for `first`, directly or not.
    pub(super) fn waits_for(&self, step: &StepKey, first: &StepKey) -> bool {
        let mut open = vec![step];
        let mut seen = BTreeSet::new();
        while let Some(key) = open.pop() {
            if key == first {
                return true;
            }
            if seen.insert(key) {
                open.extend(self.steps.get(key).into_iter().flat_map(|step| &step.after));
            }
        }
        false
    }

    /// Returns the steps by rank, the length of the longest way to them, then by resource.
    pub(super) fn sort(self) -> Result<Order, Vec<StepKey>> {
        let ranks = self.ranks();
        if ranks.len() < self.steps.len() {
            return Err(self.steps.keys().filter(|key| !ranks.contains_key(key)).cloned().collect());
        }
        let waves = ranks.values().max().map_or(0, |rank| rank + 1);
        let mut steps: Vec<(usize, &Step)> =
            self.steps.iter().map(|(key, step)| (ranks[key], step)).collect();
        steps.sort_by(|(rank, step), (other_rank, other)| {
            (rank, &step.resource, &step.key).cmp(&(other_rank, &other.resource, &other.key))
        });
        Ok(Order { steps: steps.into_iter().map(|(_, step)| step.clone()).collect(), waves })
    }

    /// Returns the rank of every step that is on no cycle and waits for none on it.
    fn ranks(&self) -> BTreeMap<&StepKey, usize> {
        let mut ranks: BTreeMap<&StepKey, usize> = BTreeMap::new();
        let mut followers: BTreeMap<&StepKey, Vec<&StepKey>> = BTreeMap::new();
        let mut waiting: BTreeMap<&StepKey, usize> = BTreeMap::new();
        for (key, step) in &self.steps {
            waiting.insert(key, step.after.len());
            for first in &step.after {
                followers.entry(first).or_default().push(key);
            }
        }
        let mut free: Vec<&StepKey> =
            self.steps.values().filter(|step| step.after.is_empty()).map(|step| &step.key).collect();
        while let Some(key) = free.pop() {
            let after = &self.steps[key].after;
            ranks.insert(key, after.iter().map(|first| ranks[first] + 1).max().unwrap_or(0));
            for &follower in followers.get(key).into_iter().flatten() {
                let left = waiting.entry(follower).and_modify(|count| *count -= 1).or_default();
                free.extend((*left == 0).then_some(follower));
            }
        }
        ranks
    }
}
