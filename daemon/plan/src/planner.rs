//! From desired, live and applied to a plan.
//!
//! Three differences, never mixed: **intent** is applied → desired, **drift** is applied → live, and
//! what is done is live → desired. Every field that differs says which of the first two it is.

use std::collections::BTreeSet;

use crate::{
    Action, Applied, Cause, Change, Contest, Desired, Kind, Live, Plan, Refusal, ResourceId,
    change::{self, History, Work},
    contest::is_contested,
    digest, guard,
    order::{self, Order},
};

/// Everything that a plan is made of.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What the revision declares.
    pub desired: &'a Desired,
    /// The digest of what the author wants, whatever the target makes of it today: a hold is keyed by it.
    pub intent: &'a str,
    /// What runs.
    pub live: &'a Live,
    /// What the store knows of the revision that was applied last; none on the first apply and when the
    /// store was lost.
    pub applied: Option<&'a Applied>,
    /// Who plans: what others own is not touched.
    pub identity: Ownership<'a>,
    /// The texts of plain files, for their diffs.
    pub texts: &'a dyn Texts,
    /// Whether drift is repaired, or only reported.
    pub repairs: bool,
    /// Drift whose repair waits, because somebody undoes it each time.
    pub contested: &'a [Contest],
    /// Whether a person has confirmed that the plan may delete more than `maxDeletes`, or everything.
    pub budget_confirmed: bool,
}

/// The owner's labels of what may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership<'a> {
    /// The store's id.
    pub store: &'a str,
    /// The environment's uid.
    pub env_uid: &'a str,
}

/// The texts behind digests.
pub trait Texts {
    /// Returns the text of that digest; none for secrets, for bytes that are no text, and for what is not known.
    fn text(&self, digest: &str) -> Option<&str>;
}

/// No texts at all: every changed file is shown by its digest.
pub struct NoTexts;

impl Texts for NoTexts {
    fn text(&self, _: &str) -> Option<&str> {
        None
    }
}

/// Returns what brings `live` to `desired`, in which order, and what forbids it.
pub fn plan(input: &Input<'_>) -> Plan {
    let (mut acting, mut reported) = split(input, differences(input));
    let contested = contested(input, &reported);
    let mut refusals = guard::owners(input);
    refusals.extend(guard::names(input));
    refusals.extend(guard::twins(input.desired));
    refusals.extend(replace_around(input, &mut acting, &mut reported));
    let notes = keep(input, &mut acting);
    acting.sort_by(|one, other| one.change.resource.cmp(&other.change.resource));
    let changes: Vec<&Change> = acting.iter().map(|work| &work.change).collect();
    refusals.extend(guard::fields(input.desired, changes.iter().copied()));
    let deleted = guard::Deleted::count(input, &changes);
    refusals.extend(deleted.refuse(input, &changes));
    refusals.extend(guard::cycle(input.desired));
    refusals.extend(guard::previews(&changes));
    let order = steps(input, &acting, &mut refusals);
    let limit = input.desired.max_deletes.0;
    let reported: Vec<Change> = reported.into_iter().map(|work| work.change).collect();
    Plan {
        environment: input.desired.environment.clone(),
        target: input.desired.target.clone(),
        revision: input.desired.revision.clone(),
        applied: input.applied.map(|applied| applied.revision.clone()),
        digest: digest::plan_digest(&order.steps, input.desired, input.live),
        desired_digest: input.intent.to_owned(),
        unchanged: unchanged(input, changes.iter().copied().chain(&reported)),
        changes: acting.into_iter().map(|work| work.change).collect(),
        steps: order.steps,
        waves: order.waves,
        refusals,
        reported,
        contested,
        foreign: input.live.foreign.iter().filter(|foreign| !foreign.blocks).cloned().collect(),
        notes,
        deletes: (deleted.percent(limit), limit),
    }
}

/// Returns the difference of every resource that is declared or ours.
fn differences<'a>(input: &Input<'a>) -> Vec<Work<'a>> {
    let history = History::new(input);
    let ours = |id: &ResourceId| {
        input.live.resources.get(id).is_none_or(|observed| guard::is_owned(input, observed))
    };
    let declared = input.desired.resources.iter().filter(|(id, _)| ours(id));
    let mut works: Vec<Work<'a>> =
        declared.filter_map(|(id, declared)| change::of_declared(input, history, id, declared)).collect();
    if input.desired.prune {
        let surplus = surplus(input).filter(|id| !id.kind.holds_data());
        works.extend(surplus.map(|id| change::deletion(input, id, &input.live.resources[id])));
    }
    works
}

/// Returns what is ours and no longer declared.
fn surplus<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a ResourceId> {
    let (desired, input) = (input.desired, *input);
    let live = input.live.resources.iter().filter(move |(_, observed)| guard::is_owned(&input, observed));
    live.map(|(id, _)| id).filter(|id| !desired.resources.contains_key(id))
}

/// Parts what is done from what is only reported: drift, when it is not repaired, or not yet. A network or
/// volume that something new needs is made in any case.
fn split<'a>(input: &Input<'a>, works: Vec<Work<'a>>) -> (Vec<Work<'a>>, Vec<Work<'a>>) {
    let waits = |change: &Change| !input.repairs || is_contested(change, input.contested);
    let (reported, mut acting): (Vec<_>, Vec<_>) =
        works.into_iter().partition(|work| work.change.cause == Cause::Drift && waits(&work.change));
    let (needed, reported): (Vec<_>, Vec<_>) =
        reported.into_iter().partition(|work| is_needed(&work.change, &acting));
    acting.extend(needed);
    (acting, reported)
}

/// Returns what is contested and why something is only reported.
fn contested(input: &Input<'_>, reported: &[Work<'_>]) -> Vec<Contest> {
    let matters = |contest: &&Contest| reported.iter().any(|work| contest.is_about(&work.change));
    input.contested.iter().filter(matters).cloned().collect()
}

fn is_needed(missing: &Change, acting: &[Work<'_>]) -> bool {
    let id = &missing.resource;
    let creates =
        |work: &&Work<'_>| matches!(work.change.action, Action::Create | Action::Replace | Action::Run);
    missing.action == Action::Create
        && id.kind.only_exists()
        && acting.iter().filter(creates).any(|work| {
            work.declared.is_some_and(|declared| {
                order::is_attached(&declared.spec, id) && id.kind == Kind::Network
                    || declared.needs.iter().any(|need| need.on == *id)
                    || (id.component.is_some() && id.component == work.change.resource.component)
            })
        })
}

/// Replaces what is attached to a network that is replaced; returns what forbids that.
fn replace_around<'a>(
    input: &Input<'a>,
    acting: &mut Vec<Work<'a>>,
    reported: &mut Vec<Work<'a>>,
) -> Vec<Refusal> {
    let replaced = |work: &&Work<'_>| {
        work.change.resource.kind == Kind::Network && work.change.action == Action::Replace
    };
    let networks: Vec<Change> = acting.iter().filter(replaced).map(|work| work.change.clone()).collect();
    let mut refusals = Vec::new();
    for network in &networks {
        for (id, observed) in &input.live.resources {
            if id.kind.only_exists()
                || !order::is_attached(&observed.spec, &network.resource)
                || !guard::is_owned(input, observed)
            {
                continue;
            }
            if let Some(at) = reported.iter().position(|work| work.change.resource == *id) {
                acting.push(reported.remove(at));
            }
            let known = acting.iter_mut().find(|work| work.change.resource == *id);
            match (known, input.desired.resources.get(id)) {
                (Some(work), _) => change::force(work, &network.resource),
                (None, Some(declared)) if id.kind != Kind::Job => {
                    acting.push(change::forced(id, (declared, observed), network));
                }
                (None, None) if observed.state.is_up() => refusals.push(attached(network, id)),
                (None, _) => {}
            }
        }
    }
    refusals
}

fn attached(network: &Change, id: &ResourceId) -> Refusal {
    Refusal {
        rule: "field".into(),
        message: format!(
            "`{}` cannot be replaced while `{id}` is attached, which is no longer declared",
            network.resource
        ),
        help: Some("let `sync.prune` remove it, or declare it again".into()),
        place: network.place.clone(),
    }
}

/// Says what stays although it is no longer declared: at the deletion of its component, or as a note.
fn keep(input: &Input<'_>, acting: &mut [Work<'_>]) -> Vec<String> {
    let mut notes = input.desired.notes.clone();
    for id in surplus(input).filter(|id| id.kind.holds_data() || !input.desired.prune) {
        let deletion = acting.iter_mut().find(|work| {
            work.change.action == Action::Delete
                && work.change.resource.kind == Kind::Workload
                && work.change.resource.component == id.component
        });
        match deletion.filter(|_| id.kind.holds_data()) {
            Some(work) => work.change.keeps.push(id.to_string()),
            None if id.kind.holds_data() => notes.push(format!("{id} is no longer declared and stays")),
            None => notes.push(format!("{id} is no longer declared and stays, because `sync.prune` is off")),
        }
    }
    notes
}

/// Returns the steps; none when the plan is refused, because what may not be applied has nothing to run.
fn steps(input: &Input<'_>, acting: &[Work<'_>], refusals: &mut Vec<Refusal>) -> Order {
    if !refusals.is_empty() {
        return Order::default();
    }
    order::order(acting, input).unwrap_or_else(|cycle| {
        let keys: Vec<String> = cycle.iter().map(|key| format!("`{key}`")).collect();
        refusals.push(Refusal {
            rule: "cycle".into(),
            message: format!("these steps wait for each other: {}", keys.join(", ")),
            help: Some("split the change into two commits".into()),
            place: None,
        });
        Order::default()
    })
}

fn unchanged<'a>(input: &Input<'_>, changes: impl Iterator<Item = &'a Change>) -> Vec<ResourceId> {
    let moving: BTreeSet<&ResourceId> = changes.map(|change| &change.resource).collect();
    let ours = |id: &&ResourceId| {
        input.live.resources.get(id).is_none_or(|observed| guard::is_owned(input, observed))
    };
    input.desired.resources.keys().filter(|id| !moving.contains(id)).filter(ours).cloned().collect()
}
