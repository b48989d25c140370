//! A target in memory: things with a configuration that run or not, and what was set aside for a run.
//!
//! It is as strict as a real engine where that matters: nothing starts on a network that is not there
//! or on an address that something else has, and an act refuses when what it expects is not found.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use trueup_plan::{Act, Aside, Kind, Live, Observed, Owner, Plan, ResourceId, Spec, State};

use super::power::Power;
use crate::{Blame, Execute, Identity, RunContext, RunId, TargetError, crash::Side};

/// One thing of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// Unchangeable for its life.
    pub handle: String,
    /// Its configuration. `fail: start | health | run | fetch` makes it fail, `hang: true` never be ready,
    /// `grace: 60` take so many seconds to stop when its start is taken back.
    pub spec: Spec,
    /// Whether it runs.
    pub running: bool,
    /// Counts its starts and those of everything else: another number is another start.
    pub started: u64,
    /// Who created it.
    pub owner: Owner,
}

/// What happens at one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Strike {
    /// The call fails.
    Fail(TargetError),
    /// The process dies.
    Crash,
}

/// A trouble at one of the calls that change something, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// Which call.
    pub call: u64,
    /// Before its effect, or after it.
    pub side: Side,
    /// What happens.
    pub strike: Strike,
}

#[derive(Debug, Default)]
struct Inner {
    things: BTreeMap<ResourceId, Thing>,
    aside: BTreeMap<(RunId, ResourceId), Thing>,
    jobs: Vec<ResourceId>,
    serial: u64,
    calls: u64,
    fault: Option<Trouble>,
}

/// A target in memory.
#[derive(Debug, Default)]
pub struct World {
    inner: Mutex<Inner>,
    power: Power,
}

impl World {
    /// Returns an empty world on that power.
    pub fn new(power: Power) -> Self {
        Self { inner: Mutex::default(), power }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Strikes at a call from now on, which is call 1; `None` lets everything work again.
    pub fn strike(&self, fault: Option<Trouble>) {
        let mut inner = self.inner();
        inner.calls = 0;
        inner.fault = fault;
    }

    /// Returns how many calls that change something were made since the last [`World::strike`].
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// Returns everything that is not set aside.
    pub fn things(&self) -> BTreeMap<ResourceId, Thing> {
        self.inner().things.clone()
    }

    /// Returns what is set aside for runs, which must be nothing between two runs.
    pub fn aside(&self) -> Vec<(RunId, ResourceId)> {
        self.inner().aside.keys().cloned().collect()
    }

    /// Returns the jobs that ran to their end, in order.
    pub fn jobs(&self) -> Vec<ResourceId> {
        self.inner().jobs.clone()
    }

    /// Changes things as somebody else would.
    pub fn tamper(&self, change: impl FnOnce(&mut BTreeMap<ResourceId, Thing>)) {
        change(&mut self.inner().things);
    }

    /// Returns what runs, as an observation.
    pub fn live(&self) -> Live {
        let resources = self.things().into_iter().map(|(id, thing)| {
            let state = State { running: thing.running, ..State::default() };
            let Thing { handle, spec, owner, .. } = thing;
            (id, Observed::new(handle, spec, state, owner))
        });
        Live { resources: resources.collect(), ..Live::default() }
    }

    /// Makes one call, with the fault that is due.
    async fn call(
        &self,
        effect: impl FnOnce(&mut Inner) -> Result<(), TargetError>,
    ) -> Result<(), TargetError> {
        self.power.check().await;
        let (number, fault) = {
            let mut inner = self.inner();
            inner.calls += 1;
            (inner.calls, inner.fault.clone())
        };
        let due = |side| fault.as_ref().filter(|fault| fault.call == number && fault.side == side);
        if let Some(fault) = due(Side::Before) {
            self.hit(&fault.strike).await?;
        }
        let result = effect(&mut self.inner());
        if let Some(fault) = due(Side::After) {
            self.hit(&fault.strike).await?;
        }
        self.power.check().await;
        result
    }

    async fn hit(&self, strike: &Strike) -> Result<(), TargetError> {
        match strike {
            Strike::Fail(error) => Err(error.clone()),
            Strike::Crash => {
                self.power.cut();
                std::future::pending().await
            }
        }
    }
}

impl Inner {
    fn execute(&mut self, run: &RunContext, id: &ResourceId, act: &Act) -> Result<(), TargetError> {
        match act {
            Act::Fetch { what } => fails(what, "fetch", id),
            Act::Create { spec, replaces } => self.create(run, id, spec, replaces.as_ref()),
            Act::Update { before, after, .. } => {
                self.expect(id, before)?.spec = after.clone();
                Ok(())
            }
            Act::Stop { old } => {
                // The one that replaces it may be there already, and have its name.
                self.by_handle(id, old)?.running = false;
                Ok(())
            }
            Act::Start { old } => {
                if let Some(old) = old {
                    self.expect(id, old)?;
                }
                let handle = self.find(id)?.handle.clone();
                fails(&self.find(id)?.spec, "start", id)?;
                self.start(&handle)
            }
            Act::Restart { old } => {
                self.expect(id, old)?.running = false;
                self.start(&old.handle)
            }
            Act::Run { .. } => {
                fails(&self.find(id)?.spec, "run", id)?;
                self.jobs.push(id.clone());
                Ok(())
            }
            Act::Verify { .. } => {
                let thing = self.find(id)?;
                if !thing.running {
                    return Err(TargetError::new(Blame::Manifest, format!("{id} does not run")));
                }
                fails(&thing.spec, "health", id)
            }
            Act::Retire { old } => {
                let mut thing = self.expect(id, old)?.clone();
                thing.running = false;
                self.things.remove(id);
                self.aside.insert((run.run, id.clone()), thing);
                Ok(())
            }
        }
    }

    fn create(
        &mut self,
        run: &RunContext,
        id: &ResourceId,
        spec: &Spec,
        replaces: Option<&Aside>,
    ) -> Result<(), TargetError> {
        if let Some(old) = replaces {
            self.refuse_in_use(id)?;
            let thing = self.expect(id, old)?.clone();
            self.things.remove(id);
            self.aside.insert((run.run, id.clone()), thing);
        }
        fails(spec, "create", id)?;
        if self.things.contains_key(id) {
            return Err(TargetError::new(Blame::Moved, format!("{id} exists already")));
        }
        self.serial += 1;
        let owner = Owner {
            store: run.identity.store.clone(),
            env_uid: run.identity.uid.clone(),
            run: run.run.to_string(),
        };
        let handle = format!("h{}", self.serial);
        let thing = Thing { handle, spec: spec.clone(), running: id.kind.only_exists(), started: 0, owner };
        self.things.insert(id.clone(), thing);
        Ok(())
    }

    fn undo(&mut self, run: &RunContext, id: &ResourceId, act: &Act) -> Result<(), TargetError> {
        match act {
            Act::Create { .. } => {
                if self.is_of(run.run, id) {
                    self.refuse_in_use(id)?;
                    self.things.remove(id);
                }
                self.put_back(run.run, id);
                Ok(())
            }
            Act::Start { old } => {
                let ours = old.as_ref().map_or(self.is_of(run.run, id), |old| self.is(id, old));
                if let Some(thing) = self.things.get_mut(id).filter(|_| ours) {
                    thing.running = false;
                }
                Ok(())
            }
            Act::Update { before, .. } => {
                if self.is(id, before) {
                    self.find(id)?.spec = before.spec.clone();
                }
                Ok(())
            }
            Act::Retire { old } => {
                self.put_back(run.run, id);
                self.start_again(id, old)
            }
            Act::Stop { old } | Act::Restart { old } => self.start_again(id, old),
            // A job that was cut short is stopped; it is done in one moment here.
            Act::Run { .. } => Ok(()),
            Act::Fetch { .. } | Act::Verify { .. } => {
                panic!("{id}: this act has no undo, and must not be asked for one")
            }
        }
    }

    fn is_of(&self, run: RunId, id: &ResourceId) -> bool {
        self.things.get(id).is_some_and(|thing| thing.owner.run == run.to_string())
    }

    fn is(&self, id: &ResourceId, old: &Aside) -> bool {
        self.things.get(id).is_some_and(|thing| thing.handle == old.handle)
    }

    fn put_back(&mut self, run: RunId, id: &ResourceId) {
        if let Some(thing) = self.aside.remove(&(run, id.clone())) {
            self.things.insert(id.clone(), thing);
        }
    }

    fn start_again(&mut self, id: &ResourceId, old: &Aside) -> Result<(), TargetError> {
        match self.by_handle(id, old) {
            Ok(thing) if old.running && !thing.running => self.start(&old.handle),
            _ => Ok(()),
        }
    }

    /// Refuses to take a network away from what runs on it.
    fn refuse_in_use(&self, id: &ResourceId) -> Result<(), TargetError> {
        let user = self.things.values().chain(self.aside.values()).find(|thing| {
            thing.running && id.kind == Kind::Network && thing.spec["networks"].get(&id.name).is_some()
        });
        let error =
            |user: &Thing| TargetError::new(Blame::Manifest, format!("{id} is in use by {}", user.handle));
        user.map_or(Ok(()), |user| Err(error(user)))
    }

    /// Returns the thing with that handle, also where it is set aside.
    fn by_handle(&mut self, id: &ResourceId, old: &Aside) -> Result<&mut Thing, TargetError> {
        let mut all = self.things.values_mut().chain(self.aside.values_mut());
        let found = all.find(|thing| thing.handle == old.handle);
        found.ok_or_else(|| TargetError::new(Blame::Moved, format!("{id} is gone")))
    }

    fn find(&mut self, id: &ResourceId) -> Result<&mut Thing, TargetError> {
        self.things.get_mut(id).ok_or_else(|| TargetError::new(Blame::Moved, format!("{id} is gone")))
    }

    fn expect(&mut self, id: &ResourceId, old: &Aside) -> Result<&mut Thing, TargetError> {
        let moved = || TargetError::new(Blame::Moved, format!("{id} is not the one that was planned for"));
        self.find(id).and_then(|thing| if thing.handle == old.handle { Ok(thing) } else { Err(moved()) })
    }

    /// Starts the thing with that handle, also where it is set aside.
    fn start(&mut self, handle: &str) -> Result<(), TargetError> {
        let all = || self.things.values().chain(self.aside.values());
        let refuse = |why: String| Err(TargetError::new(Blame::Target, format!("{handle}: {why}")));
        let Some(thing) = all().find(|thing| thing.handle == handle) else { return refuse("gone".into()) };
        let networks = thing.spec["networks"].as_object().into_iter().flat_map(|networks| networks.keys());
        for network in networks {
            let there = self.things.keys().any(|id| id.kind == Kind::Network && id.name == *network);
            if !there {
                return refuse(format!("no network {network}"));
            }
        }
        let address = &thing.spec["address"];
        let same = |other: &&Thing| !address.is_null() && other.spec["address"] == *address;
        if let Some(rival) = all().find(|other| other.handle != handle && other.running && same(other)) {
            return refuse(format!("{} has its address", rival.handle));
        }
        self.serial += 1;
        let serial = self.serial;
        let mut all = self.things.values_mut().chain(self.aside.values_mut());
        if let Some(thing) = all.find(|thing| thing.handle == handle && !thing.running) {
            (thing.running, thing.started) = (true, serial);
        }
        Ok(())
    }
}

fn fails(spec: &Spec, at: &str, id: &ResourceId) -> Result<(), TargetError> {
    if spec["fail"] == at {
        Err(TargetError::new(Blame::Manifest, format!("{id} fails at {at}")))
    } else {
        Ok(())
    }
}

impl Execute for World {
    async fn preflight(&self, _: &RunContext, plan: &Plan) -> Result<(), TargetError> {
        self.power.check().await;
        let blocked = plan.steps.iter().find_map(|step| match &step.act {
            Act::Create { spec, .. } if spec["fail"] == "preflight" => Some(&step.resource),
            _ => None,
        });
        let error = |id| TargetError::new(Blame::Target, format!("{id} fails at preflight"));
        blocked.map_or(Ok(()), |id| Err(error(id)))
    }

    async fn execute(&self, run: &RunContext, id: &ResourceId, act: &Act) -> Result<(), TargetError> {
        let hangs = matches!(act, Act::Verify { .. })
            && self.inner().things.get(id).is_some_and(|thing| thing.spec["hang"] == true);
        if hangs {
            std::future::pending::<()>().await;
        }
        self.call(|inner| inner.execute(run, id, act)).await
    }

    async fn undo(&self, run: &RunContext, id: &ResourceId, act: &Act) -> Result<(), TargetError> {
        let thing = self.inner().things.get(id).filter(|thing| thing.running).cloned();
        let grace = thing.and_then(|thing| thing.spec["grace"].as_u64());
        if let (Act::Start { .. }, Some(seconds)) = (act, grace) {
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
        }
        self.call(|inner| inner.undo(run, id, act)).await
    }

    async fn finish(&self, run: &RunContext, id: &ResourceId, act: &Act) -> Result<(), TargetError> {
        let keeps = matches!(act, Act::Create { .. } | Act::Retire { .. });
        self.call(|inner| {
            if keeps {
                inner.aside.remove(&(run.run, id.clone()));
            }
            Ok(())
        })
        .await
    }
}

impl World {
    /// Returns the observation of an environment: what carries its uid.
    pub(super) fn live_of(&self, identity: &Identity) -> Live {
        let mut live = self.live();
        live.resources.retain(|_, observed| observed.owner.env_uid == identity.uid);
        live
    }
}
