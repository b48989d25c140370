//! The changes of a plan as rows: one a component, its equal replicas together.
//!
//! What is created because a component needs it (networks, volumes) is one row a kind, so that a new
//! environment is read at a glance.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Action, Cause, Change, How, Kind, Plan, ResourceId, resource::Unit};

/// One row.
pub(super) struct Row<'a> {
    pub(super) name: String,
    /// The change, the same for all replicas of the row.
    pub(super) change: &'a Change,
    pub(super) replicas: usize,
}

/// The networks, volumes or objects of components that are created.
pub(super) struct Created<'a> {
    pub(super) noun: &'static str,
    pub(super) ids: Vec<&'a ResourceId>,
}

/// Returns the networks, then the volumes and the objects of components that are created, where there are any.
pub(super) fn created(changes: &[Change]) -> Vec<Created<'_>> {
    let of = |kind, noun| {
        let ids: Vec<_> =
            changes.iter().filter(|c| is_summed(c) && c.resource.kind == kind).map(|c| &c.resource).collect();
        (!ids.is_empty()).then_some(Created { noun, ids })
    };
    let nouns = [(Kind::Network, "network"), (Kind::Volume, "volume"), (Kind::Object, "object")];
    nouns.into_iter().filter_map(|(kind, noun)| of(kind, noun)).collect()
}

/// Returns all other changes, by component; networks and volumes come first.
pub(super) fn rows(changes: &[Change]) -> Vec<Row<'_>> {
    let mut groups: BTreeMap<(bool, String, Kind), Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| !is_summed(change)) {
        let id = &change.resource;
        let runs = !id.kind.only_exists();
        let name = id.component.as_ref().filter(|_| runs).map_or_else(|| id.to_string(), ToString::to_string);
        groups.entry((runs, name, id.kind)).or_default().push(change);
    }
    groups.into_iter().flat_map(|((_, name, _), changes)| merge(&name, &changes)).collect()
}

fn merge<'a>(name: &str, changes: &[&'a Change]) -> Vec<Row<'a>> {
    let first = changes[0];
    if changes.iter().all(|change| is_alike(first, change)) {
        return vec![Row { name: name.to_owned(), change: first, replicas: changes.len() }];
    }
    let row = |change: &&'a Change| Row { name: change.resource.to_string(), change, replicas: 1 };
    changes.iter().map(row).collect()
}

fn is_alike(one: &Change, other: &Change) -> bool {
    let fields = |change: &Change| {
        let shown = |field: &crate::FieldChange| {
            let address = field.path.starts_with("networks") || field.path == "hostname";
            (!address).then(|| (field.path.clone(), field.before.clone(), field.after.clone()))
        };
        change.fields.iter().filter_map(shown).collect::<Vec<_>>()
    };
    (one.action, one.how, one.cause, &one.forced_by)
        == (other.action, other.how, other.cause, &other.forced_by)
        && one.keeps == other.keeps
        && fields(one) == fields(other)
}

fn is_summed(change: &Change) -> bool {
    change.action == Action::Create && change.resource.unit().is_none() && change.cause != Cause::Drift
}

/// Returns how many components stay as they are, and what else is counted: those of which nothing changes.
pub(super) fn unchanged(plan: &Plan) -> usize {
    let moving = plan.changes.iter().chain(&plan.reported);
    let moving: BTreeSet<Unit<'_>> = moving.filter_map(|change| change.resource.unit()).collect();
    let still: BTreeSet<Unit<'_>> = plan.unchanged.iter().filter_map(ResourceId::unit).collect();
    still.difference(&moving).count()
}

/// The sign of a change, before its name.
pub(super) fn sign(change: &Change) -> char {
    match change.action {
        _ if change.how == How::Refuse => '!',
        Action::Create | Action::Run => '+',
        Action::Update | Action::Replace | Action::Start => '~',
        Action::Delete => '-',
    }
}

/// Returns how many rows there are of each action: `2 change, 1 delete`; `deleted` follows the deletes.
pub(super) fn counts(rows: &[Row<'_>], deleted: &str) -> String {
    let count = |actions: &[Action]| rows.iter().filter(|row| actions.contains(&row.change.action)).count();
    let parts = [
        (count(&[Action::Create]), "create", ""),
        (count(&[Action::Update, Action::Replace]), "change", ""),
        (count(&[Action::Start]), "start", ""),
        (count(&[Action::Run]), "run", ""),
        (count(&[Action::Delete]), "delete", deleted),
    ];
    let shown = parts.iter().filter(|(count, ..)| *count > 0);
    shown.map(|(count, verb, after)| format!("{count} {verb}{after}")).collect::<Vec<_>>().join(", ")
}

/// Returns how many rows there are of each cause: `intent 2, drift 1`.
pub(super) fn causes(rows: &[Row<'_>]) -> String {
    let count = |cause| rows.iter().filter(|row| row.change.cause == cause).count();
    let parts = [(Cause::Intent, "intent"), (Cause::Drift, "drift"), (Cause::Unknown, "unknown")];
    let shown = parts.into_iter().map(|(cause, word)| (count(cause), word)).filter(|(count, _)| *count > 0);
    shown.map(|(count, word)| format!("{word} {count}")).collect::<Vec<_>>().join(", ")
}
