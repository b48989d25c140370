//! The steps of one resource, in their own order.
//!
//! The timeouts here bound one call to a target that hangs. What waits for a program (a probe, a job)
//! has the time that its manifest gives it.

use std::time::Duration;

use trueup_schema::manifest::{MAX_STOP_GRACE, Update};

use super::graph::Graph;
use crate::{
    Act, Action, Aside, Change, Declared, How, Kind, Manner, Observed, StepKey,
    change::{CHECK, STATE, Work},
};

/// Getting an image of some GiB over a slow line.
const FETCH: Duration = Duration::from_mins(15);
/// Creating, with the old one renamed first.
const CREATE: Duration = Duration::from_mins(1);
/// Writing fields.
pub(super) const UPDATE: Duration = Duration::from_mins(1);
/// Stopping: above any grace that a manifest may give, after which the target kills.
const STOP: Duration = Duration::from_mins(10);
const _: () = assert!(STOP.as_secs() > MAX_STOP_GRACE.0.as_secs(), "the longest stop has its time");
/// Starting.
const START: Duration = Duration::from_mins(1);
/// A job that has no probe and so no time of its own.
const RUN: Duration = Duration::from_hours(1);
/// What a verification may take beyond the probe's own start-up time, for its last try.
const LAST_TRY: Duration = Duration::from_secs(5);

/// One change and its steps.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) work: Option<&'a Work<'a>>,
    pub(super) create: Option<StepKey>,
    pub(super) update: Option<StepKey>,
    pub(super) stop: Option<StepKey>,
    pub(super) start: Option<StepKey>,
    pub(super) restart: Option<StepKey>,
    pub(super) run: Option<StepKey>,
    pub(super) verify: Option<StepKey>,
    pub(super) retire: Option<StepKey>,
    /// Whether the new one starts before the old one stops.
    pub(super) start_first: bool,
    /// Whether what is created or updated runs.
    pub(super) rolls: bool,
}

impl Parts<'_> {
    pub(super) fn change(&self) -> &Change {
        &self.work().change
    }

    pub(super) fn work(&self) -> &Work<'_> {
        self.work.expect("parts are made of a work")
    }

    /// Returns the step after which it is started; for what is never started, after which it is there.
    pub(super) fn started(&self) -> Option<&StepKey> {
        let runs = [&self.start, &self.restart, &self.run].into_iter().flatten().next();
        let exists = || self.create.as_ref().or(self.update.as_ref());
        let starts_later = self.change().resource.kind == Kind::Workload && !self.rolls;
        runs.or_else(|| if starts_later { None } else { exists() })
    }

    /// Returns the step after which it is ready; none when it is ready all the time.
    pub(super) fn ready(&self) -> Option<&StepKey> {
        self.verify.as_ref().or_else(|| self.started())
    }

    /// Returns the steps that take it out of service or into it: they wait for what it needs.
    pub(super) fn gates(&self) -> impl Iterator<Item = &StepKey> {
        let stop = self.stop.as_ref().filter(|_| !self.start_first && !self.work().around);
        let update = self.update.as_ref().filter(|_| self.work().disturbed);
        let create = self.create.as_ref().filter(|_| self.rolls);
        [create, stop, update, self.start.as_ref(), self.restart.as_ref(), self.run.as_ref()]
            .into_iter()
            .flatten()
    }
}

/// Adds the steps of one change.
pub(super) fn parts<'a>(graph: &mut Graph, manner: Manner, work: &'a Work<'a>) -> Parts<'a> {
    let rolls = manner == Manner::Rolling;
    let mut parts = Parts { work: Some(work), rolls, ..Parts::default() };
    match (work.change.action, work.declared, work.observed) {
        (Action::Delete, _, Some(observed)) => {
            let act = Act::Retire { old: aside(observed) };
            parts.retire = Some(graph.add("retire", &work.change.resource, act, STOP));
        }
        (Action::Create | Action::Replace | Action::Run, Some(declared), observed) => {
            new_one(graph, &mut parts, work, (declared, observed));
        }
        (Action::Update | Action::Start, Some(declared), Some(observed)) => {
            same_one(graph, &mut parts, work, (declared, observed));
        }
        _ => {}
    }
    parts
}

fn new_one(graph: &mut Graph, parts: &mut Parts<'_>, work: &Work<'_>, of: (&Declared, Option<&Observed>)) {
    let (id, (declared, observed)) = (&work.change.resource, of);
    let fetch =
        declared.fetch.as_ref().map(|what| graph.add("fetch", id, Act::Fetch { what: what.clone() }, FETCH));
    let act = Act::Create { spec: declared.body().clone(), replaces: observed.map(aside) };
    // Under `Rolling` the old one must be gone before there can be a new one of its name.
    let time = if parts.rolls && observed.is_some() { STOP } else { CREATE };
    parts.create = Some(graph.add("create", id, act, time));
    let stops = |old: &&Observed| old.state.is_up() && !id.kind.only_exists() && !parts.rolls;
    if let Some(observed) = observed.filter(stops) {
        parts.stop = Some(graph.add("stop", id, Act::Stop { old: aside(observed) }, STOP));
    }
    match id.kind {
        Kind::Workload => {
            if !parts.rolls {
                parts.start = Some(graph.add("start", id, Act::Start { old: None }, START));
            }
            verify(graph, parts, declared);
        }
        Kind::Job => {
            let inputs = declared.inputs.clone().unwrap_or_default();
            let time = declared.probe.as_ref().map_or(RUN, |probe| probe.startup);
            parts.run = Some(graph.add("run", id, Act::Run { inputs }, time));
        }
        Kind::Base | Kind::Object => verify(graph, parts, declared),
        Kind::Network | Kind::Volume | Kind::Cron => {}
    }
    let Parts { create, stop, start, run, verify, .. } = &*parts;
    let start_first =
        id.kind == Kind::Workload && stop.is_some() && !work.around && declared.update == Update::StartFirst;
    let old_stops = |first: bool| stop.as_ref().filter(|_| first == start_first && !work.around);
    graph.chain([
        fetch.as_ref(),
        create.as_ref(),
        old_stops(false),
        start.as_ref().or(run.as_ref()),
        verify.as_ref(),
        old_stops(true),
    ]);
    if work.around {
        // The network is replaced between the two: see `edges::networks`.
        graph.chain([stop.as_ref(), create.as_ref()]);
    }
    parts.start_first = start_first;
}

fn same_one(graph: &mut Graph, parts: &mut Parts<'_>, work: &Work<'_>, of: (&Declared, &Observed)) {
    let (id, (declared, observed)) = (&work.change.resource, of);
    let old = aside(observed);
    let fields = work.change.fields.iter().map(|field| field.path.clone());
    let fields: Vec<String> = fields.filter(|path| path != STATE && path != CHECK).collect();
    let spec_differs = !fields.is_empty();
    if spec_differs {
        let act = Act::Update { before: old.clone(), after: declared.body().clone(), fields };
        parts.update = Some(graph.add("update", id, act, UPDATE));
    }
    if matches!(id.kind, Kind::Workload | Kind::Base | Kind::Object) {
        let starts = id.kind == Kind::Workload && !parts.rolls;
        if starts && !observed.state.is_up() {
            parts.start = Some(graph.add("start", id, Act::Start { old: Some(old) }, START));
        } else if starts && work.change.how == How::Restart {
            parts.restart = Some(graph.add("restart", id, Act::Restart { old }, STOP));
        }
        let new_check = work.change.fields.iter().any(|field| field.path == CHECK);
        if work.disturbed || new_check || !spec_differs || parts.start.is_some() {
            verify(graph, parts, declared);
        }
    }
    let Parts { update, start, restart, verify, .. } = &*parts;
    graph.chain([update.as_ref(), start.as_ref().or(restart.as_ref()), verify.as_ref()]);
}

fn verify(graph: &mut Graph, parts: &mut Parts<'_>, declared: &Declared) {
    if let Some(probe) = &declared.probe {
        let act = Act::Verify { probe: probe.clone() };
        let id = &parts.work().change.resource.clone();
        parts.verify = Some(graph.add("verify", id, act, probe.startup + probe.timeout + LAST_TRY));
    }
}

pub(super) fn aside(observed: &Observed) -> Aside {
    let spec = observed.body.as_ref().unwrap_or(&observed.spec).clone();
    Aside { handle: observed.handle.clone(), spec, running: observed.state.is_up() }
}
