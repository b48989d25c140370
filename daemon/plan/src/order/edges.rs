//! What a step of one resource waits for at another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use trueup_schema::ComponentName;

use super::{graph::Graph, parts::Parts};
use crate::{Act, Action, Applied, Kind, ResourceId, Spec, StepKey};

/// Makes what a resource needs come first: networks and volumes before it is created, other components
/// before it leaves or enters service. A need on what does not change adds nothing.
pub(super) fn needs(graph: &mut Graph, parts: &[Parts<'_>]) {
    let by_id: BTreeMap<&ResourceId, &Parts<'_>> =
        parts.iter().map(|parts| (&parts.change().resource, parts)).collect();
    let created: Vec<(&ResourceId, &StepKey)> = parts
        .iter()
        .filter(|parts| parts.change().resource.kind.only_exists())
        .filter_map(|parts| Some((&parts.change().resource, parts.create.as_ref()?)))
        .collect();
    for dependent in parts {
        let Some(declared) = dependent.work().declared else { continue };
        for need in &declared.needs {
            let Some(first) = by_id.get(&need.on) else { continue };
            let Some(step) = (if need.ready { first.ready() } else { first.started() }) else { continue };
            if need.on.kind.only_exists() {
                wait(graph, dependent.create.iter().chain(&dependent.update), [step]);
            } else {
                wait(graph, dependent.gates(), [step]);
            }
        }
        let id = &dependent.change().resource;
        for (other, step) in created.iter().filter(|_| !id.kind.only_exists()) {
            let own =
                other.kind == Kind::Volume && other.component.is_some() && other.component == id.component;
            if own || (other.kind == Kind::Network && is_attached(&declared.spec, other)) {
                wait(graph, dependent.create.iter().chain(&dependent.update), [*step]);
            }
        }
    }
}

/// Makes what is attached to a network stop before the network is replaced, dependents first.
pub(super) fn networks(graph: &mut Graph, parts: &[Parts<'_>]) {
    for network in parts.iter().filter(|parts| is_replaced_network(parts)) {
        let Some(create) = &network.create else { continue };
        for attached in parts {
            let observed = attached.work().observed;
            if !observed.is_some_and(|live| is_attached(&live.spec, &network.change().resource)) {
                continue;
            }
            wait(graph, [create], attached.stop.iter().chain(&attached.retire));
            // What was not running has no stop, but its own new one needs the new network all the same.
            wait(graph, &attached.create, [create]);
        }
    }
    for dependent in parts.iter().filter(|parts| parts.work().around) {
        let needs = dependent.work().declared.into_iter().flat_map(|declared| &declared.needs);
        for need in needs {
            let first = parts.iter().find(|other| other.work().around && other.change().resource == need.on);
            if let (Some(first), Some(stop)) = (first.and_then(|first| first.stop.as_ref()), &dependent.stop)
            {
                wait(graph, [first], [stop]);
            }
        }
    }
}

/// Replaces the running replicas of a component one after the other, so that the others answer
/// meanwhile. New replicas start side by side: nothing of them answers yet, and members of a cluster wait
/// for each other.
pub(super) fn replicas(graph: &mut Graph, parts: &[Parts<'_>]) {
    let mut components: BTreeMap<&ComponentName, Vec<(u32, &Parts<'_>)>> = BTreeMap::new();
    for parts in parts {
        let (id, work) = (&parts.change().resource, parts.work());
        let answers = work.observed.is_some_and(|live| live.state.running && !live.state.paused);
        let (Kind::Workload, Some(component)) = (id.kind, &id.component) else { continue };
        if answers && work.disturbed && !work.around {
            components.entry(component).or_default().push((replica(id, component), parts));
        }
    }
    for replicas in components.values_mut() {
        replicas.sort_by_key(|(number, _)| *number);
        for pair in replicas.windows(2) {
            let (first, next) = (&pair[0].1, &pair[1].1);
            let done = first.ready().into_iter().chain(first.stop.iter().filter(|_| first.start_first));
            wait(graph, next.gates(), done);
        }
    }
}

/// Makes what takes a name or a port of the host wait for what leaves it. Returns the retire steps that
/// must not come last for that.
pub(super) fn claims(graph: &mut Graph, parts: &[Parts<'_>]) -> BTreeSet<StepKey> {
    let mut left: BTreeMap<String, Vec<&Parts<'_>>> = BTreeMap::new();
    for leaver in parts {
        for claim in leaves(leaver) {
            left.entry(claim).or_default().push(leaver);
        }
    }
    let mut early = BTreeSet::new();
    for taker in parts {
        for (claim, taking) in takes(taker) {
            let others = left.get(&claim).into_iter().flatten();
            for leaver in others.filter(|leaver| leaver.change().resource != taker.change().resource) {
                early.extend(leave_first(graph, leaver, taking));
            }
        }
    }
    early
}

/// Makes `taking` wait until `leaver` has left; returns its retire step, if that is how it leaves. Where the
/// two wait for each other otherwise, the target's own refusal is the better answer.
fn leave_first(graph: &mut Graph, leaver: &Parts<'_>, taking: &StepKey) -> Option<StepKey> {
    let leaving = leaver.stop.as_ref().or(leaver.retire.as_ref())?;
    if graph.waits_for(leaving, taking) {
        return None;
    }
    graph.after(taking, leaving);
    leaver.retire.clone()
}

/// Returns the ports that a live resource has, and its name when it leaves for good.
fn leaves(leaver: &Parts<'_>) -> Vec<String> {
    let published = leaver.work().observed.map(|live| published(&live.spec)).unwrap_or_default();
    let name = leaver.retire.as_ref().map(|_| leaver.change().resource.to_string());
    published.into_iter().chain(name).collect()
}

/// Returns the ports and the name that a resource takes, each with the step that does.
fn takes<'k>(taker: &'k Parts<'_>) -> Vec<(String, &'k StepKey)> {
    let published = taker.work().declared.map(|declared| published(&declared.spec)).unwrap_or_default();
    let starts = published.into_iter().filter_map(|port| Some((port, taker.start.as_ref()?)));
    let creates = taker.create.as_ref().map(|create| (taker.change().resource.to_string(), create));
    starts.chain(creates).collect()
}

/// Makes what is no longer declared leave last: after everything else, dependents first, networks at the end.
pub(super) fn retire(
    graph: &mut Graph,
    parts: &[Parts<'_>],
    early: &BTreeSet<StepKey>,
    applied: Option<&Applied>,
) {
    let leaving: Vec<(&ResourceId, &StepKey, bool)> = parts
        .iter()
        .filter_map(|parts| {
            let key = parts.retire.as_ref()?;
            Some((&parts.change().resource, key, parts.work().around || early.contains(key)))
        })
        .collect();
    let last = last(graph);
    for (id, key, soon) in &leaving {
        if !soon {
            wait(graph, [*key], &last);
        }
        let declared = applied.and_then(|applied| applied.desired.resources.get(id));
        let needs: BTreeSet<&ResourceId> =
            declared.into_iter().flat_map(|declared| &declared.needs).map(|need| &need.on).collect();
        for (other, other_key, _) in &leaving {
            let holds = matches!(other.kind, Kind::Network | Kind::Base) && id.kind > other.kind;
            let below = needs.contains(other) || holds;
            if below && !graph.waits_for(key, other_key) {
                graph.after(other_key, key);
            }
        }
    }
}

/// Makes everything that changes something wait for everything that is fetched. The same thing is fetched once.
pub(super) fn fetch(graph: &mut Graph) {
    let mut kept: BTreeMap<String, StepKey> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for (key, step) in &graph.steps {
        if let Act::Fetch { what } = &step.act {
            all.insert(key.clone());
            kept.entry(what.to_string()).or_insert_with(|| key.clone());
        }
    }
    let kept: BTreeSet<StepKey> = kept.into_values().collect();
    graph.steps.retain(|key, _| !all.contains(key) || kept.contains(key));
    for step in graph.steps.values_mut().filter(|step| !all.contains(&step.key)) {
        step.after.retain(|first| !all.contains(first));
        if step.after.is_empty() {
            step.after.clone_from(&kept);
        }
    }
}

/// Returns whether a configuration is attached to that network.
pub(crate) fn is_attached(spec: &Spec, network: &ResourceId) -> bool {
    spec.get("networks").and_then(|networks| networks.get(&network.name)).is_some()
}

fn is_replaced_network(parts: &Parts<'_>) -> bool {
    parts.change().resource.kind == Kind::Network && parts.change().action == Action::Replace
}

fn wait<'k>(
    graph: &mut Graph,
    steps: impl IntoIterator<Item = &'k StepKey>,
    firsts: impl IntoIterator<Item = &'k StepKey>,
) {
    let firsts: Vec<&StepKey> = firsts.into_iter().collect();
    for step in steps {
        for first in &firsts {
            graph.after(step, first);
        }
    }
}

/// Returns the steps that nothing waits for, apart from those that retire something.
fn last(graph: &Graph) -> Vec<StepKey> {
    let steps = || graph.steps.values().filter(|step| !matches!(step.act, Act::Retire { .. }));
    let waited_for: BTreeSet<&StepKey> = steps().flat_map(|step| &step.after).collect();
    steps().map(|step| &step.key).filter(|key| !waited_for.contains(key)).cloned().collect()
}

/// Returns the ports of the host that a configuration takes, whatever the address, as `port 5432`.
fn published(spec: &Spec) -> BTreeSet<String> {
    let ports = spec.get("ports").and_then(Value::as_object).into_iter().flat_map(|ports| ports.values());
    let host = |one: &str| format!("port {}", one.rsplit(':').next().unwrap_or(one).trim());
    ports
        .flat_map(|port| match port.get("publish") {
            Some(Value::String(text)) => text.split(',').map(host).collect(),
            Some(Value::Number(number)) => vec![format!("port {number}")],
            _ => Vec::new(),
        })
        .collect()
}

fn replica(id: &ResourceId, component: &ComponentName) -> u32 {
    let number = id.name.strip_prefix(component.as_str()).and_then(|rest| rest.strip_prefix('-'));
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}
