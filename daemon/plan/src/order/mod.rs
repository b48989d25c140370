//! The steps of a plan and their order.
//!
//! Every fetch comes before everything that changes something; a step waits for exactly what it depends on;
//! what is no longer declared leaves last. The engine reverses the edges to go back.
//!
//! ```text
//! new           create ──────────────→ start → verify
//! stop first    create → stop old ───→ start → verify
//! start first   create ──────────────→ start → verify → stop old
//! in place      update ─────────────────────→ (verify)
//! restart       update → restart ───────────→ verify
//! network       stop what is attached → create network → create → start → verify
//! job           create → run
//! rolling       create ─────────────────────→ verify      update ─→ verify      (the target starts and stops)
//! ```

mod edges;
mod graph;
mod names;
mod parts;

pub(crate) use edges::is_attached;

use crate::{Input, Step, StepKey, change::Work};

/// Steps in an order that respects every `after`, and how many ranks they have.
#[derive(Debug, Default)]
pub(crate) struct Order {
    pub(crate) steps: Vec<Step>,
    pub(crate) waves: usize,
}

/// Returns the steps of all changes.
///
/// # Errors
///
/// The keys of the steps that wait for each other, when there is a cycle.
pub(crate) fn order(works: &[Work<'_>], input: &Input<'_>) -> Result<Order, Vec<StepKey>> {
    let mut graph = graph::Graph::default();
    let manner = input.desired.manner;
    let parts: Vec<parts::Parts<'_>> =
        works.iter().map(|work| parts::parts(&mut graph, manner, work)).collect();
    edges::needs(&mut graph, &parts);
    edges::networks(&mut graph, &parts);
    edges::replicas(&mut graph, &parts);
    let mut early = edges::claims(&mut graph, &parts);
    early.extend(names::names(&mut graph, &parts));
    edges::retire(&mut graph, &parts, &early, input.applied);
    edges::fetch(&mut graph);
    graph.sort()
}
