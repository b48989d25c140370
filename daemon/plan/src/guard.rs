//! What forbids a plan.
//!
//! A guard only ever says no: it changes nothing of the plan, and a plan with a refusal has no steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    Action, Change, Desired, How, Input, Kind, Observed, Preview, Refusal, ResourceId, render::value,
    resource::Unit, rule::ruling,
};

/// Returns whether the planner's own store and environment created it.
pub(crate) fn is_owned(input: &Input<'_>, observed: &Observed) -> bool {
    // A uid is random and given once. Whoever has it made the resource, or adopted it from a lost store,
    // whose name stays in the labels.
    observed.owner.env_uid == input.identity.env_uid
}

/// Returns one refusal for each live resource that somebody else owns.
pub(crate) fn owners(input: &Input<'_>) -> Vec<Refusal> {
    let environment = &input.desired.environment;
    let others = input.live.resources.iter().filter(|(_, observed)| !is_owned(input, observed));
    others
        .map(|(id, observed)| {
            let whose = match observed.owner.store.as_str() {
                "" => "nobody's label is on it".to_owned(),
                store if store == input.identity.store => {
                    format!("it is of another environment of this name, `{}`", observed.owner.env_uid)
                }
                store => format!("it belongs to the store `{store}`"),
            };
            Refusal {
                rule: "owner".into(),
                message: format!("`{id}` is not ours: {whose}"),
                help: Some(format!("`trueup env adopt {environment}` takes it over")),
                place: None,
            }
        })
        .collect()
}

/// Returns one refusal for each foreign thing that has a name that is needed.
pub(crate) fn names(input: &Input<'_>) -> Vec<Refusal> {
    let blocking = input.live.foreign.iter().filter(|foreign| foreign.blocks);
    blocking
        .map(|foreign| Refusal {
            rule: "nameTaken".into(),
            message: format!("`{}` stands in the way: {}", foreign.what, foreign.why),
            help: Some(format!(
                "remove it, or take it over with `trueup env adopt {}`",
                input.desired.environment
            )),
            place: None,
        })
        .collect()
}

/// Returns one refusal for each two declared resources that would have one name at the target: the second
/// replica of `a` and a component `a-2`.
pub(crate) fn twins(desired: &Desired) -> Vec<Refusal> {
    let mut names: BTreeMap<String, &ResourceId> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (id, declared) in &desired.resources {
        let Some(other) = names.insert(id.to_string(), id) else { continue };
        let of = |id: &ResourceId| id.component.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
        refusals.push(Refusal {
            rule: "nameTaken".into(),
            message: format!("`{}` and `{}` both need the name `{id}`", of(other), of(id)),
            help: Some("rename one of the components".into()),
            place: declared.places.find("").cloned(),
        });
    }
    refusals
}

/// Returns one refusal for each field that cannot be changed.
pub(crate) fn fields<'a>(desired: &Desired, changes: impl Iterator<Item = &'a Change>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for change in changes {
        let refused = change.fields.iter().filter(|field| field.how == How::Refuse);
        refusals.extend(refused.map(|field| {
            let reason = ruling(desired, &change.resource, &field.path).reason;
            let shown = |side: &Option<Value>| value::plain(side.as_ref());
            Refusal {
                rule: "field".into(),
                message: format!(
                    "`{}`: `{}` cannot change from {} to {}{}",
                    change.resource,
                    field.path,
                    shown(&field.before),
                    shown(&field.after),
                    reason.map(|reason| format!(": {reason}")).unwrap_or_default(),
                ),
                help: Some(help(change.resource.kind, field.before.as_ref())),
                place: field.place.clone().or_else(|| change.place.clone()),
            }
        }));
    }
    refusals
}

/// Returns one refusal for each change that the target itself would refuse.
pub(crate) fn previews(changes: &[&Change]) -> Vec<Refusal> {
    let refused = changes.iter().filter_map(|change| match &change.preview {
        Some(Preview::Refused { why }) => Some(Refusal {
            rule: "admission".into(),
            message: format!("`{}` would be refused: {why}", change.resource),
            help: None,
            place: change.place.clone(),
        }),
        _ => None,
    });
    refused.collect()
}

fn help(kind: Kind, before: Option<&Value>) -> String {
    let back = match before {
        Some(before) => format!("set it back to {}", value::plain(Some(before))),
        None => "remove it again".to_owned(),
    };
    match kind {
        Kind::Volume => format!("{back}, or declare a new volume and a job that moves the data"),
        _ => format!("{back}, or declare it under another name"),
    }
}

/// How many components of those that run are deleted.
pub(crate) struct Deleted {
    gone: usize,
    total: usize,
    /// What all of them are, as people read it.
    noun: &'static str,
}

impl Deleted {
    /// Counts components, and what is none: one is deleted when nothing of it that runs is left.
    pub(crate) fn count(input: &Input<'_>, changes: &[&Change]) -> Self {
        let gone: BTreeSet<&ResourceId> = changes
            .iter()
            .filter(|change| change.action == Action::Delete)
            .map(|change| &change.resource)
            .collect();
        let declared: BTreeSet<Unit<'_>> =
            input.desired.resources.keys().filter_map(ResourceId::unit).collect();
        let mut units: BTreeMap<Unit<'_>, bool> = BTreeMap::new();
        let live = input.live.resources.iter().filter(|(id, _)| id.kind != Kind::Job);
        for (id, observed) in live {
            if let Some(unit) = id.unit().filter(|_| is_owned(input, observed)) {
                *units.entry(unit).or_insert(true) &= gone.contains(id) && !declared.contains(&unit);
            }
        }
        let are_components = units.keys().all(|unit| matches!(unit, Unit::Component(_)));
        let noun = if are_components { "components" } else { "components and objects" };
        Self { gone: units.values().filter(|gone| **gone).count(), total: units.len(), noun }
    }

    /// Returns the share in percent, rounded down unless that would hide that it is over `limit`.
    pub(crate) fn percent(&self, limit: u8) -> u8 {
        let down = self.gone * 100 / self.total.max(1);
        let shown = if self.is_over(limit) { down.max(usize::from(limit) + 1) } else { down };
        u8::try_from(shown.min(100)).unwrap_or(100)
    }

    fn is_over(&self, limit: u8) -> bool {
        self.gone * 100 > usize::from(limit) * self.total
    }

    /// Returns the refusal of a plan that deletes more than it may.
    pub(crate) fn refuse(&self, input: &Input<'_>, changes: &[&Change]) -> Option<Refusal> {
        let desired = input.desired;
        if input.budget_confirmed {
            return None;
        }
        let deletes =
            changes.iter().any(|change| change.resource.unit().is_some() && change.action == Action::Delete);
        if deletes && !desired.resources.keys().any(|id| id.unit().is_some()) {
            return Some(Refusal {
                rule: "emptySource".into(),
                message: format!(
                    "`{}` declares nothing any more, and {} {} there",
                    desired.revision.short(),
                    self.total,
                    if self.total == 1 { "is" } else { "are" },
                ),
                help: Some(format!(
                    "if that is meant: `trueup env destroy {0}`, or `trueup apply {0} --confirm-deletes`",
                    desired.environment
                )),
                place: None,
            });
        }
        let limit = desired.max_deletes.0;
        self.is_over(limit).then(|| Refusal {
            rule: "maxDeletes".into(),
            message: format!(
                "{} of {} {} would be deleted ({} %), more than the {limit} % of `sync.maxDeletes`",
                self.gone,
                self.total,
                self.noun,
                self.percent(limit),
            ),
            help: Some(format!("if that is meant: `trueup apply {} --confirm-deletes`", desired.environment)),
            place: None,
        })
    }
}

/// Returns a refusal that prints the first cycle of needs, if there is one.
pub(crate) fn cycle(desired: &Desired) -> Option<Refusal> {
    let mut done = BTreeSet::new();
    let path = desired.resources.keys().find_map(|start| {
        let mut path = Vec::new();
        descend(desired, start, &mut path, &mut done).then_some(path)
    })?;
    let last = path.last()?;
    let names: Vec<String> = path.iter().skip_while(|id| *id != last).map(ToString::to_string).collect();
    let place = desired.resources.get(*last).and_then(|declared| declared.places.find("dependsOn")).cloned();
    Some(Refusal {
        rule: "cycle".into(),
        message: format!("what needs each other never starts: {}", names.join(" -> ")),
        help: Some("remove one of these `dependsOn`".into()),
        place,
    })
}

/// Walks the needs of `id`; when it comes back to what is on `path`, that ends with it, and true is returned.
fn descend<'a>(
    desired: &'a Desired,
    id: &'a ResourceId,
    path: &mut Vec<&'a ResourceId>,
    done: &mut BTreeSet<&'a ResourceId>,
) -> bool {
    if done.contains(id) {
        return false;
    }
    let closes = path.contains(&id);
    path.push(id);
    if closes {
        return true;
    }
    let needs = desired.resources.get(id).into_iter().flat_map(|declared| &declared.needs);
    for need in needs {
        if descend(desired, &need.on, path, done) {
            return true;
        }
    }
    path.pop();
    done.insert(id);
    false
}
