//! The change of one resource: what differs, why, and how it is done.
//!
//! The heaviest of its fields decides how the whole resource is changed.

use serde_json::{Value, json};
use trueup_schema::{Place, manifest::Update};

use crate::{
    Action, Applied, Cause, Change, Declared, FieldChange, How, Input, Kind, Observed, ResourceId, Spec,
    diff::{self, Difference},
    file,
    rule::ruling,
};

/// The field that stands for the check of a workload. It is no part of its configuration.
pub(crate) const CHECK: &str = "health";

/// The field that stands for whether a workload runs.
pub(crate) const STATE: &str = "state";

/// A change with what its steps are made of.
pub(crate) struct Work<'a> {
    pub(crate) change: Change,
    pub(crate) declared: Option<&'a Declared>,
    pub(crate) observed: Option<&'a Observed>,
    /// Whether it answers differently while it is changed, and is verified afterwards.
    pub(crate) disturbed: bool,
    /// Whether it stops before a network that it is attached to is replaced.
    pub(crate) around: bool,
}

/// What was declared before.
#[derive(Clone, Copy)]
pub(crate) struct History<'a> {
    pub(crate) applied: Option<&'a Applied>,
    /// Nothing was applied and nothing runs, whatever volumes an earlier environment left: everything is new.
    pub(crate) first: bool,
}

impl<'a> History<'a> {
    pub(crate) fn new(input: &Input<'a>) -> Self {
        let runs = input.live.resources.keys().any(|id| id.unit().is_some());
        let first = input.applied.is_none() && !runs;
        Self { applied: input.applied, first }
    }

    fn spec(&self, id: &ResourceId) -> Option<&'a Spec> {
        self.applied.and_then(|applied| applied.desired.resources.get(id)).map(|declared| &declared.spec)
    }

    fn is_unknown(&self) -> bool {
        self.applied.is_none() && !self.first
    }

    /// Returns why a field differs: the author's doing when what is declared for it has changed.
    fn cause(&self, id: &ResourceId, difference: &Difference) -> Cause {
        if self.is_unknown() {
            return Cause::Unknown;
        }
        let declared = self.spec(id).and_then(|spec| diff::at(spec, &difference.keys));
        if diff::same(declared, difference.after.as_ref()) { Cause::Drift } else { Cause::Intent }
    }

    /// Returns why a declared resource is missing.
    fn cause_of_absence(&self, id: &ResourceId, declared: &Declared) -> Cause {
        match self.spec(id) {
            _ if self.is_unknown() => Cause::Unknown,
            Some(spec) if diff::same(Some(spec), Some(&declared.spec)) => Cause::Drift,
            _ => Cause::Intent,
        }
    }

    /// Returns why a resource that runs is not declared.
    fn cause_of_surplus(&self, id: &ResourceId) -> Cause {
        match self.spec(id) {
            _ if self.is_unknown() => Cause::Unknown,
            Some(_) => Cause::Intent,
            None => Cause::Drift,
        }
    }

    /// Returns why a job runs. A job that was declared so before has not succeeded since: whether it never
    /// did or the record of it is lost, nobody knows.
    fn cause_of_run(&self, id: &ResourceId, declared: &Declared) -> Cause {
        let before = self.applied.and_then(|applied| applied.desired.resources.get(id));
        let again = before.is_some_and(|before| before.inputs == declared.inputs);
        if again || self.is_unknown() { Cause::Unknown } else { Cause::Intent }
    }
}

/// Returns the change of a declared resource; none when it is as declared.
pub(crate) fn of_declared<'a>(
    input: &Input<'a>,
    history: History<'a>,
    id: &ResourceId,
    declared: &'a Declared,
) -> Option<Work<'a>> {
    let observed = input.live.resources.get(id);
    if id.kind == Kind::Job {
        return (!declared.done).then(|| run(input, history, id, (declared, observed)));
    }
    match observed {
        None => Some(creation(input, history, id, declared)),
        Some(observed) => difference(input, history, id, (declared, observed)),
    }
}

/// Returns the change of a live resource that is no longer declared.
pub(crate) fn deletion<'a>(input: &Input<'a>, id: &ResourceId, observed: &'a Observed) -> Work<'a> {
    let cause = History::new(input).cause_of_surplus(id);
    let mut change = blank(id, Action::Delete, How::Recreate, cause);
    change.since = since(input, id, cause);
    asked(input, &mut change, Some(observed));
    Work { change, declared: None, observed: Some(observed), disturbed: false, around: false }
}

/// Makes a change replace its resource, because a network that it is attached to is replaced.
pub(crate) fn force(work: &mut Work<'_>, network: &ResourceId) {
    work.around = true;
    if matches!(work.change.action, Action::Update | Action::Start | Action::Replace) {
        if work.change.how != How::Recreate {
            work.change.forced_by = Some(diff::path(&["networks", &network.name]));
        }
        work.change.action = Action::Replace;
        work.change.how = How::Recreate;
        work.change.overlaps = false;
        work.change.interrupts = work.declared.map(|declared| declared.serves.clone()).unwrap_or_default();
        work.disturbed = true;
    }
}

/// Returns the replacement of a resource that is as declared, but attached to a network that is replaced.
pub(crate) fn forced<'a>(id: &ResourceId, of: (&'a Declared, &'a Observed), network: &Change) -> Work<'a> {
    let mut change = blank(id, Action::Update, How::InPlace, network.cause);
    change.place = place(of.0);
    let mut work = Work { change, declared: Some(of.0), observed: Some(of.1), disturbed: true, around: true };
    force(&mut work, &network.resource);
    work
}

fn creation<'a>(
    input: &Input<'a>,
    history: History<'a>,
    id: &ResourceId,
    declared: &'a Declared,
) -> Work<'a> {
    let cause = history.cause_of_absence(id, declared);
    let mut change = blank(id, Action::Create, How::Recreate, cause);
    change.fields = headlines(id, declared, cause);
    change.place = place(declared);
    change.irreversible.clone_from(&declared.irreversible);
    change.since = history
        .applied
        .filter(|_| cause == Cause::Drift)
        .and_then(|applied| applied.drift_since.get(id).copied());
    asked(input, &mut change, None);
    Work { change, declared: Some(declared), observed: None, disturbed: true, around: false }
}

fn run<'a>(
    input: &Input<'a>,
    history: History<'a>,
    id: &ResourceId,
    of: (&'a Declared, Option<&'a Observed>),
) -> Work<'a> {
    let (declared, observed) = of;
    let cause = history.cause_of_run(id, declared);
    let mut change = blank(id, Action::Run, How::Recreate, cause);
    change.fields = match observed {
        None => headlines(id, declared, cause),
        Some(observed) => fields(input, history, id, (declared, observed)).0,
    };
    change.place = place(declared);
    change.irreversible.clone_from(&declared.irreversible);
    asked(input, &mut change, observed);
    Work { change, declared: Some(declared), observed, disturbed: true, around: false }
}

fn difference<'a>(
    input: &Input<'a>,
    history: History<'a>,
    id: &ResourceId,
    of: (&'a Declared, &'a Observed),
) -> Option<Work<'a>> {
    let (declared, observed) = of;
    let (mut fields, disturbs) = fields(input, history, id, of);
    fields.extend(check(history, id, declared));
    let state = condition(id, observed);
    let action = match fields.iter().map(|field| field.how).max() {
        None if state.is_none() => return None,
        None => Action::Start,
        Some(How::Recreate) => Action::Replace,
        Some(How::InPlace | How::Roll | How::Restart | How::Refuse) => Action::Update,
    };
    fields.extend(state);
    let how = fields.iter().map(|field| field.how).max().expect("there is a field or the function returned");
    let mut change = blank(id, action, how, cause(&fields));
    let restarts = how == How::Restart && observed.state.is_up();
    let rolling = replicas(input, id) > 1;
    let hidden = action == Action::Start || rolling || !observed.state.is_up();
    change.overlaps = observed.state.is_up() && starts_first(declared, action);
    if (disturbs || restarts) && !hidden && !change.overlaps {
        change.interrupts.clone_from(&declared.serves);
    }
    change.forced_by = forcing(&fields, how);
    change.since = match action {
        Action::Start => since(input, id, change.cause).max(ended(observed)),
        _ => since(input, id, change.cause),
    };
    change.fields = fields;
    change.place = place(declared);
    change.irreversible.clone_from(&declared.irreversible);
    asked(input, &mut change, Some(observed));
    let disturbed = disturbs || how >= How::Roll;
    Some(Work { change, declared: Some(declared), observed: Some(observed), disturbed, around: false })
}

/// Returns the fields that differ, and whether changing one of them interrupts.
fn fields(
    input: &Input<'_>,
    history: History<'_>,
    id: &ResourceId,
    of: (&Declared, &Observed),
) -> (Vec<FieldChange>, bool) {
    let (declared, observed) = of;
    let mut interrupts = false;
    let fields = diff::diff(&observed.spec, &declared.spec)
        .into_iter()
        .map(|difference| {
            let path = difference.path();
            let ruling = ruling(input.desired, id, &path);
            interrupts |= ruling.interrupts;
            let text = file::text_change(&difference, input.texts);
            let line = text.as_ref().and_then(|text| file::changed_line(&declared.places, &path, text.line));
            FieldChange {
                cause: history.cause(id, &difference),
                how: ruling.how,
                place: line.or_else(|| declared.places.find(&path).cloned()),
                diff: text.map(|text| text.diff),
                by: observed.hand(&path).cloned(),
                before: difference.before,
                after: difference.after,
                path,
            }
        })
        .collect();
    (fields, interrupts)
}

/// Returns a check that its author changed, as a field: no engine knows it, and only trying it shows
/// whether what runs passes it.
fn check(history: History<'_>, id: &ResourceId, declared: &Declared) -> Option<FieldChange> {
    let before = history.applied?.desired.resources.get(id)?.probe.as_ref();
    if before == declared.probe.as_ref() {
        return None;
    }
    Some(FieldChange {
        path: CHECK.into(),
        before: before.map(|probe| probe.check.clone()),
        after: declared.probe.as_ref().map(|probe| probe.check.clone()),
        cause: Cause::Intent,
        how: How::InPlace,
        place: declared.places.find(CHECK).cloned(),
        diff: None,
        by: None,
    })
}

/// Returns the condition of a workload that should run, but does not, as a field.
fn condition(id: &ResourceId, observed: &Observed) -> Option<FieldChange> {
    let state = &observed.state;
    if id.kind != Kind::Workload || (state.running && !state.paused) {
        return None;
    }
    let word = match (state.paused, state.exit_code) {
        (true, _) => "paused".to_owned(),
        (false, Some(code)) => format!("exited ({code})"),
        (false, None) => "stopped".to_owned(),
    };
    let before = state.detail.as_ref().map_or(word.clone(), |detail| format!("{word}, {detail}"));
    Some(FieldChange {
        path: STATE.into(),
        before: Some(json!(before)),
        after: Some(json!("running")),
        cause: Cause::Drift,
        how: if state.paused { How::Restart } else { How::InPlace },
        place: None,
        diff: None,
        by: None,
    })
}

/// Returns what a person wants to see of something new: its image, its ports on the host, its subnet.
fn headlines(id: &ResourceId, declared: &Declared, cause: Cause) -> Vec<FieldChange> {
    let wanted = |difference: &Difference| {
        let keys: Vec<&str> = difference.keys.iter().map(String::as_str).collect();
        matches!(
            (id.kind, keys.as_slice()),
            (_, [.., "image"] | ["subnet"] | ["image", "reference"] | ["ports", _, "publish"])
        )
    };
    diff::diff(&Value::Null, &declared.spec)
        .into_iter()
        .filter(wanted)
        .map(|difference| FieldChange {
            path: difference.path(),
            before: None,
            place: declared.places.find(&difference.path()).cloned(),
            after: difference.after,
            cause,
            how: How::Recreate,
            diff: None,
            by: None,
        })
        .collect()
}

fn blank(id: &ResourceId, action: Action, how: How, cause: Cause) -> Change {
    Change {
        resource: id.clone(),
        action,
        how,
        cause,
        forced_by: None,
        fields: Vec::new(),
        interrupts: Vec::new(),
        overlaps: false,
        keeps: Vec::new(),
        since: None,
        place: None,
        irreversible: None,
        preview: None,
        noun: None,
    }
}

/// Adds what the target says of a change, and what it calls the thing.
fn asked(input: &Input<'_>, change: &mut Change, observed: Option<&Observed>) {
    change.preview = input.live.previews.get(&change.resource).cloned();
    change.noun = observed.and_then(|observed| observed.noun.clone());
}

fn cause(fields: &[FieldChange]) -> Cause {
    let any = |cause| fields.iter().any(|field| field.cause == cause);
    match (any(Cause::Intent), any(Cause::Unknown)) {
        (true, _) => Cause::Intent,
        (false, true) => Cause::Unknown,
        (false, false) => Cause::Drift,
    }
}

/// Returns the field that forces more than a change in place: the author's before what has drifted.
fn forcing(fields: &[FieldChange], how: How) -> Option<String> {
    let forcing = fields.iter().filter(|field| field.how == how && how >= How::Roll);
    forcing.min_by_key(|field| field.cause).map(|field| field.path.clone())
}

fn since(input: &Input<'_>, id: &ResourceId, cause: Cause) -> Option<jiff::Timestamp> {
    let applied = input.applied.filter(|_| cause != Cause::Unknown)?;
    applied.drift_since.get(id).copied()
}

/// Returns when a workload ended; a pause has no time.
fn ended(observed: &Observed) -> Option<jiff::Timestamp> {
    observed.state.since.filter(|_| !observed.state.running)
}

fn place(declared: &Declared) -> Option<Place> {
    declared.places.find("").or_else(|| declared.places.0.values().next()).cloned()
}

fn replicas(input: &Input<'_>, id: &ResourceId) -> usize {
    let same = |other: &&ResourceId| other.kind == id.kind && other.component == id.component;
    input.desired.resources.keys().filter(same).count()
}

fn starts_first(declared: &Declared, action: Action) -> bool {
    action == Action::Replace && declared.update == Update::StartFirst
}
