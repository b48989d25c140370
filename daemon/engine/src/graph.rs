//! Visits the steps of a plan side by side, each as soon as those before it are done.
//!
//! A step is never visited before all steps that it waits for have succeeded.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;
use trueup_plan::{Step, StepKey};

use crate::Fault;

/// Steps with what each of them waits for.
pub(crate) struct Graph<'a> {
    steps: BTreeMap<&'a StepKey, &'a Step>,
    after: BTreeMap<&'a StepKey, BTreeSet<&'a StepKey>>,
}

impl<'a> Graph<'a> {
    /// Returns the graph of `steps`. What they wait for and is not among them counts as done.
    pub(crate) fn of(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let steps: BTreeMap<_, _> = steps.into_iter().map(|step| (&step.key, step)).collect();
        let after = steps
            .iter()
            .map(|(&key, &step)| (key, step.after.iter().filter(|k| steps.contains_key(k)).collect()))
            .collect();
        Self { steps, after }
    }

    /// Returns the graph in which each step waits for those that waited for it.
    pub(crate) fn reversed(self) -> Self {
        let after = self.dependents();
        Self { steps: self.steps, after }
    }

    fn dependents(&self) -> BTreeMap<&'a StepKey, BTreeSet<&'a StepKey>> {
        let mut dependents: BTreeMap<_, BTreeSet<_>> =
            self.steps.keys().map(|&key| (key, BTreeSet::new())).collect();
        for (&key, after) in &self.after {
            for before in after {
                dependents.entry(before).or_default().insert(key);
            }
        }
        dependents
    }

    /// Visits every step, and returns what failed, first failure first. What waits for a failed step is
    /// not visited. Once `halt` is cancelled no further step is visited, but those under way end.
    pub(crate) async fn walk<F, Fut>(&self, walk: Walk<'_>, visit: F) -> Walked
    where
        F: Fn(&'a Step) -> Fut,
        Fut: Future<Output = Result<(), Fault>>,
    {
        let dependents = self.dependents();
        let mut missing: BTreeMap<_, _> = self.after.iter().map(|(&key, after)| (key, after.len())).collect();
        let mut ready: Vec<_> = missing.iter().filter(|(_, n)| **n == 0).map(|(&key, _)| key).collect();
        let mut going = FuturesUnordered::new();
        let mut walked = Walked { faults: Vec::new(), done: 0, all: self.steps.len() };
        loop {
            if walk.halt.is_cancelled() {
                ready.clear();
            }
            going.extend(ready.drain(..).map(|key| visit(self.steps[key]).map(move |result| (key, result))));
            let Some((key, result)) = going.next().await else { return walked };
            match result {
                Ok(()) => {
                    walked.done += 1;
                    ready.extend(release(&mut missing, &dependents[key]));
                }
                Err(fault) => {
                    walked.faults.push(fault);
                    walk.failed();
                }
            }
        }
    }
}

/// Counts one step less to wait for, and returns those that wait for none any more.
fn release<'a>(
    missing: &mut BTreeMap<&'a StepKey, usize>,
    dependents: &BTreeSet<&'a StepKey>,
) -> Vec<&'a StepKey> {
    let mut free = Vec::new();
    for &next in dependents {
        let left = missing.get_mut(next).expect("every step has a count");
        *left -= 1;
        if *left == 0 {
            free.push(next);
        }
    }
    free
}

/// How a walk ends early.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    /// Ends it from outside; a visit may watch it too.
    pub(crate) halt: &'a CancellationToken,
    /// Whether the first failure cancels `halt`.
    pub(crate) stop_at_first: bool,
}

impl Walk<'_> {
    fn failed(&self) {
        if self.stop_at_first {
            self.halt.cancel();
        }
    }
}

/// What a walk came to.
pub(crate) struct Walked {
    /// What failed, first failure first.
    pub(crate) faults: Vec<Fault>,
    /// How many steps succeeded.
    pub(crate) done: usize,
    /// How many steps there are.
    pub(crate) all: usize,
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use trueup_plan::{Act, Kind, ResourceId};

    use super::*;
    use crate::Blame;

    fn step(key: &str, after: &[&str]) -> Step {
        Step {
            key: StepKey(key.into()),
            resource: ResourceId { kind: Kind::Workload, name: key.into(), component: None },
            act: Act::Start { old: None },
            after: after.iter().map(|k| StepKey((*k).into())).collect(),
            timeout: Duration::from_secs(1),
        }
    }

    async fn order(steps: &[Step], reversed: bool, failing: &str) -> (Vec<String>, Walked) {
        let seen = Mutex::new(Vec::new());
        let graph = if reversed { Graph::of(steps).reversed() } else { Graph::of(steps) };
        let halt = CancellationToken::new();
        let walked = graph
            .walk(Walk { halt: &halt, stop_at_first: false }, |step| {
                seen.lock().unwrap().push(step.key.0.clone());
                let fault = (step.key.0 == failing).then(|| Fault::of_run(Blame::Target, "no"));
                std::future::ready(fault.map_or(Ok(()), Err))
            })
            .await;
        (seen.into_inner().unwrap(), walked)
    }

    #[tokio::test]
    async fn a_step_comes_after_what_it_waits_for_and_before_it_on_the_way_back() {
        let steps = [step("a", &[]), step("b", &["a"]), step("c", &["b", "not here"])];
        assert_eq!(order(&steps, false, "").await.0, ["a", "b", "c"]);
        assert_eq!(order(&steps, true, "").await.0, ["c", "b", "a"]);
    }

    #[tokio::test]
    async fn what_waits_for_a_failed_step_is_left_out_and_the_rest_goes_on() {
        let steps = [step("a", &[]), step("b", &["a"]), step("c", &[]), step("d", &["c"])];
        let (seen, walked) = order(&steps, false, "a").await;
        assert_eq!(seen, ["a", "c", "d"]);
        assert_eq!((walked.faults.len(), walked.done, walked.all), (1, 2, 4));
    }

    #[tokio::test]
    async fn a_cycle_is_never_entered() {
        let steps = [step("a", &["b"]), step("b", &["a"]), step("c", &[])];
        let (seen, walked) = order(&steps, false, "").await;
        assert_eq!(seen, ["c"]);
        assert!(walked.done < walked.all);
    }
}
