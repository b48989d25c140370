//! Names of the target that one resource has and another one takes: they are left before they are taken.
//!
//! Somebody who renames by hand can leave a ring of resources, each with the name of the next. Then one of them leaves
//! its name for a while.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    graph::Graph,
    parts::{Parts, UPDATE, aside},
};
use crate::{Act, Spec, StepKey};

/// The field of a configuration that says what the target calls the resource.
const NAME: &str = "name";

/// Makes what takes a name wait for the one that has it by mistake. Returns the retire steps that must not come last
/// for that.
pub(super) fn names(graph: &mut Graph, parts: &[Parts<'_>]) -> BTreeSet<StepKey> {
    let mut early = BTreeSet::new();
    let misnamed: BTreeMap<&str, (&Parts<'_>, &StepKey)> = parts
        .iter()
        .filter(|parts| is_misnamed(parts))
        .filter_map(|parts| Some((has(parts)?, (parts, takes(parts)?))))
        .collect();
    for taker in parts {
        let (Some(wanted), Some(taking)) = (wants(taker), takes(taker)) else { continue };
        let Some((leaver, leaving)) = misnamed.get(wanted) else { continue };
        if *leaving == taking {
            continue;
        }
        early.extend(leaver.retire.clone());
        if graph.waits_for(leaving, taking) {
            let first = leave(graph, leaver, leaving, wanted);
            graph.after(taking, &first);
        } else {
            graph.after(taking, leaving);
        }
    }
    early
}

/// Adds the step in which a resource leaves a name that somebody gave it, before `leaving`, which gives it its own: and
/// which is taken back to the name between the two.
fn leave(graph: &mut Graph, leaver: &Parts<'_>, leaving: &StepKey, name: &str) -> StepKey {
    let before = aside(leaver.work().observed.expect("what has a name is there"));
    let mut between = before.clone();
    between.spec[NAME] = format!("{name}.moved").into();
    let act = graph.steps.get_mut(leaving).map(|step| &mut step.act);
    if let Some(
        Act::Update { before: old, .. } | Act::Create { replaces: Some(old), .. } | Act::Retire { old },
    ) = act
    {
        *old = between.clone();
    }
    let act = Act::Update { before, after: between.spec, fields: vec![NAME.into()] };
    let first = graph.add("rename", &leaver.change().resource, act, UPDATE);
    graph.after(leaving, &first);
    first
}

fn is_misnamed(parts: &Parts<'_>) -> bool {
    has(parts).is_some() && has(parts) != wants(parts)
}

/// Returns the name that a resource has.
fn has<'a>(parts: &Parts<'a>) -> Option<&'a str> {
    name(parts, parts.work?.observed.map(|live| &live.spec))
}

/// Returns the name that it is declared with.
fn wants<'a>(parts: &Parts<'a>) -> Option<&'a str> {
    name(parts, parts.work?.declared.map(|declared| &declared.spec))
}

fn name<'a>(parts: &Parts<'_>, spec: Option<&'a Spec>) -> Option<&'a str> {
    spec.filter(|_| !parts.change().resource.kind.only_exists())?.get(NAME).and_then(Value::as_str)
}

/// Returns the step in which it takes the name that it is declared with, and leaves the one that it has; or is no
/// longer declared, and leaves it.
fn takes<'p>(parts: &'p Parts<'_>) -> Option<&'p StepKey> {
    parts
        .create
        .as_ref()
        .or_else(|| parts.update.as_ref().filter(|_| is_misnamed(parts)))
        .or(parts.retire.as_ref())
}
