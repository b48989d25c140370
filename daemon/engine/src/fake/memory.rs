//! A store in memory. It forgets nothing when the simulated process dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use trueup_plan::{Applied, Plan, ResourceId};
use trueup_schema::{ContentDigest, DigestKey, EnvironmentName, Revision, SourceName, snapshot::MemoryFiles};

use super::power::Power;
use crate::{
    Adoption, EnvKey, HeldBy, Holder, Identity, Outcome, RunId, Store, StoreError,
    crash::{CrashPoint, Side},
    record::{
        AppliedRevision, Audit, Commit, Ended, Entry, Hold, HoldKind, Holds, Kept, KeptRevision, Logged,
        NewRun, Observation, RunRecord, Suspended, Unfinished,
    },
    store::{KEPT_REVISIONS, RunFilter},
};

#[derive(Default)]
struct Inner {
    identities: BTreeMap<EnvKey, String>,
    runs: BTreeMap<RunId, Unfinished>,
    finished: BTreeSet<RunId>,
    applied: BTreeMap<EnvKey, Applied>,
    kept: BTreeMap<RunId, (EnvKey, KeptRevision, Kept)>,
    jobs_done: BTreeMap<EnvKey, BTreeSet<String>>,
    holds: BTreeMap<EnvKey, Vec<Hold>>,
    suspended: BTreeMap<EnvKey, Suspended>,
    drift: BTreeMap<EnvKey, BTreeMap<ResourceId, Timestamp>>,
    observations: BTreeMap<EnvKey, Observation>,
    newest: BTreeMap<SourceName, Revision>,
    audit: Vec<Audit>,
    written: u64,
    crash: Option<CrashPoint>,
    full: bool,
}

/// A store in memory.
pub struct Memory {
    inner: Mutex<Inner>,
    leases: Arc<Mutex<BTreeMap<EnvKey, Holder>>>,
    key: DigestKey,
    power: Power,
}

/// The right to change an environment, until it is dropped.
#[derive(Debug)]
pub struct MemoryLease {
    env: EnvKey,
    leases: Arc<Mutex<BTreeMap<EnvKey, Holder>>>,
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.env);
    }
}

impl Memory {
    /// Returns an empty store on that power.
    pub fn new(power: Power) -> Self {
        Self { inner: Mutex::default(), leases: Arc::default(), key: DigestKey::new([7; 32]), power }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dies at a write of the journal from now on, which is write 1.
    pub fn crash(&self, at: Option<CrashPoint>) {
        let mut inner = self.inner();
        inner.written = 0;
        inner.crash = at;
    }

    /// Returns how many writes of the journal were made since the last [`Memory::crash`].
    pub fn written(&self) -> u64 {
        self.inner().written
    }

    /// Makes the disk full: only what a way back writes still fits.
    pub fn fill(&self, full: bool) {
        self.inner().full = full;
    }

    /// Makes one write of the journal, and dies there when it is due.
    async fn journal<R>(&self, urgent: bool, write: impl FnOnce(&mut Inner) -> R) -> Result<R, StoreError> {
        self.power.check().await;
        let (number, crash, full) = {
            let mut inner = self.inner();
            inner.written += 1;
            (inner.written, inner.crash, inner.full)
        };
        let die = |side| {
            if crash == Some(CrashPoint { write: number, side }) {
                self.power.cut();
            }
        };
        die(Side::Before);
        self.power.check().await;
        if full && !urgent {
            return Err(StoreError::FindFull { path: "memory".into() });
        }
        let result = write(&mut self.inner());
        die(Side::After);
        self.power.check().await;
        Ok(result)
    }

    async fn look<R>(&self, read: impl FnOnce(&mut Inner) -> R) -> Result<R, StoreError> {
        self.power.check().await;
        Ok(read(&mut self.inner()))
    }

    fn with(env: &EnvKey, uid: &str) -> Identity {
        let (source, environment) = (env.source.clone(), env.environment.clone());
        Identity { store: "0badcafe".into(), source, environment, uid: uid.into() }
    }
}

impl Inner {
    fn commit(&mut self, id: RunId, commit: &Commit) {
        for run in commit.inherited.iter().chain([&id]) {
            if let Some(run) = self.runs.get_mut(run) {
                run.committed = true;
            }
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.run.outcome = Some(Outcome::Applied);
        let env = run.run.env.clone();
        if let Some(drift) = self.drift.get_mut(&env) {
            drift.retain(|id, _| run.run.summary.iter().all(|change| change.resource != *id));
        }
        self.jobs_done.entry(env.clone()).or_default().extend(commit.jobs_done.iter().cloned());
        match &commit.holds {
            Holds::Release => self.release_automatic(&env),
            Holds::Begin(hold) => self.hold(&env, hold.clone()),
            Holds::Leave => {}
        }
        let Some(applied) = &commit.applied else {
            self.applied.remove(&env);
            return;
        };
        let revision = KeptRevision { run: id, revision: applied.revision.clone(), at: applied.at };
        self.kept.insert(id, (env.clone(), revision, commit.kept.clone()));
        self.applied.insert(env, applied.clone());
    }

    fn hold(&mut self, env: &EnvKey, hold: Hold) {
        let holds = self.holds.entry(env.clone()).or_default();
        holds.retain(|other| !hold.replaces(other));
        holds.insert(0, hold);
    }

    fn release_automatic(&mut self, env: &EnvKey) {
        let holds = self.holds.entry(env.clone()).or_default();
        holds.retain(|hold| matches!(hold.kind, HoldKind::Person { .. }));
    }

    fn end(&mut self, id: RunId, ended: &Ended) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.run.end(ended, Timestamp::now());
        let env = run.run.env.clone();
        if let Some(hold) = &ended.hold {
            self.hold(&env, hold.clone());
        }
        if !ended.outcome.is_open() {
            self.finished.insert(id);
        }
    }
}

impl Store for Memory {
    type Lease = MemoryLease;

    fn id(&self) -> &'static str {
        "0badcafe"
    }

    fn digest_key(&self) -> &DigestKey {
        &self.key
    }

    async fn identity(&self, env: &EnvKey) -> Result<Option<Identity>, StoreError> {
        self.look(|inner| inner.identities.get(env).map(|uid| Self::with(env, uid))).await
    }

    async fn establish(&self, env: &EnvKey) -> Result<Identity, StoreError> {
        self.look(|inner| {
            let fresh = format!("{:016x}", inner.identities.len() + 1);
            Self::with(env, inner.identities.entry(env.clone()).or_insert(fresh))
        })
        .await
    }

    async fn adopt(&self, env: &EnvKey, found: &Adoption) -> Result<Identity, StoreError> {
        self.look(|inner| {
            inner.jobs_done.entry(env.clone()).or_default().extend(found.jobs_done.iter().cloned());
            inner.identities.insert(env.clone(), found.uid.clone());
            Self::with(env, &found.uid)
        })
        .await
    }

    async fn forget(&self, _: &MemoryLease, env: &EnvKey) -> Result<(), StoreError> {
        self.look(|inner| {
            inner.identities.remove(env);
            inner.applied.remove(env);
            inner.kept.retain(|_, (of, ..)| of != env);
            inner.jobs_done.remove(env);
            inner.holds.remove(env);
            inner.suspended.remove(env);
            inner.drift.remove(env);
            inner.observations.remove(env);
        })
        .await
    }

    async fn environments(&self) -> Result<Vec<Identity>, StoreError> {
        self.look(|inner| inner.identities.iter().map(|(env, uid)| Self::with(env, uid)).collect()).await
    }

    async fn lease(&self, env: &EnvKey, holder: &Holder) -> Result<MemoryLease, StoreError> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = leases.get(env) {
            return Err(HeldBy { env: env.clone(), holder: Some(holder.clone()) }.into());
        }
        leases.insert(env.clone(), holder.clone());
        Ok(MemoryLease { env: env.clone(), leases: Arc::clone(&self.leases) })
    }

    async fn lease_wait(
        &self,
        env: &EnvKey,
        holder: &Holder,
        cancel: &CancellationToken,
    ) -> Result<MemoryLease, StoreError> {
        loop {
            match self.lease(env, holder).await {
                Err(StoreError::Lease(_)) if !cancel.is_cancelled() => tokio::task::yield_now().await,
                Err(StoreError::Lease(_)) => return Err(StoreError::Cancelled { env: env.clone() }),
                taken => return taken,
            }
        }
    }

    async fn holder(&self, env: &EnvKey) -> Result<Option<Holder>, StoreError> {
        Ok(self.leases.lock().unwrap_or_else(PoisonError::into_inner).get(env).cloned())
    }

    async fn begin(&self, _: &MemoryLease, run: &NewRun) -> Result<RunId, StoreError> {
        self.journal(false, |inner| {
            let id = RunId(inner.runs.last_key_value().map_or(1, |(last, _)| last.0 + 1));
            let record = RunRecord::new(id, run, Timestamp::now());
            let (plan, journal) = (run.plan.clone(), Vec::new());
            inner.runs.insert(id, Unfinished { run: record, plan, journal, committed: false });
            id
        })
        .await
    }

    async fn append(&self, run: RunId, entry: &Entry) -> Result<(), StoreError> {
        let urgent = !matches!(entry, Entry::Begin { .. } | Entry::Done { .. });
        self.journal(urgent, |inner| {
            let line = Logged { at: Timestamp::now(), entry: entry.clone() };
            inner.runs.entry(run).and_modify(|run| run.journal.push(line));
        })
        .await
    }

    async fn commit(&self, run: RunId, commit: &Commit) -> Result<(), StoreError> {
        self.journal(false, |inner| inner.commit(run, commit)).await
    }

    async fn end(&self, run: RunId, ended: &Ended) -> Result<(), StoreError> {
        self.journal(true, |inner| inner.end(run, ended)).await
    }

    async fn unfinished(&self, env: &EnvKey) -> Result<Vec<Unfinished>, StoreError> {
        self.look(|inner| {
            let runs = inner.runs.values().rev();
            runs.filter(|run| run.run.env == *env && !inner.finished.contains(&run.run.id)).cloned().collect()
        })
        .await
    }

    async fn interrupted(&self) -> Result<Vec<EnvKey>, StoreError> {
        self.look(|inner| {
            let open = inner.runs.values().filter(|run| !inner.finished.contains(&run.run.id));
            open.map(|run| run.run.env.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        })
        .await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        self.look(|inner| {
            let runs = inner.runs.values().rev().map(|run| &run.run);
            let of_env = runs.filter(|run| filter.env.as_ref().is_none_or(|env| run.env == *env));
            let recent = of_env.take_while(|run| filter.since.is_none_or(|since| run.started >= since));
            recent.filter(|run| filter.before.is_none_or(|id| run.id < id)).take(limit).cloned().collect()
        })
        .await
    }

    async fn run(&self, run: RunId) -> Result<Option<(RunRecord, Vec<Logged>)>, StoreError> {
        self.look(|inner| inner.runs.get(&run).map(|run| (run.run.clone(), run.journal.clone()))).await
    }

    async fn plan(&self, run: RunId) -> Result<Option<Plan>, StoreError> {
        self.look(|inner| inner.runs.get(&run).map(|run| run.plan.clone())).await
    }

    async fn applied(&self, env: &EnvKey) -> Result<Option<Applied>, StoreError> {
        self.look(|inner| {
            let drift_since = inner.drift.get(env).cloned().unwrap_or_default();
            inner.applied.get(env).cloned().map(|applied| Applied { drift_since, ..applied })
        })
        .await
    }

    async fn applied_revision(&self, env: &EnvKey) -> Result<Option<AppliedRevision>, StoreError> {
        self.look(|inner| {
            let drifted = inner.drift.get(env).map_or(0, BTreeMap::len);
            let applied = inner.applied.get(env)?;
            Some(AppliedRevision { revision: applied.revision.clone(), at: applied.at, drifted })
        })
        .await
    }

    async fn kept(&self, env: &EnvKey) -> Result<Vec<KeptRevision>, StoreError> {
        self.look(|inner| {
            let of_env = inner.kept.values().rev().filter(|(of, ..)| of == env);
            of_env.map(|(_, revision, _)| revision.clone()).take(KEPT_REVISIONS as usize).collect()
        })
        .await
    }

    async fn inputs(&self, run: RunId) -> Result<Option<MemoryFiles>, StoreError> {
        self.look(|inner| {
            let kept = inner.kept.get(&run).map(|(.., kept)| kept.inputs.clone());
            kept.map(|inputs| inputs.into_iter().collect())
        })
        .await
    }

    async fn plain(&self, digest: &ContentDigest) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(|inner| {
            inner.kept.values().find_map(|(.., kept)| kept.plain.get(digest)).map(|b| b.to_vec())
        })
        .await
    }

    async fn jobs_done(&self, env: &EnvKey) -> Result<BTreeSet<String>, StoreError> {
        self.look(|inner| inner.jobs_done.get(env).cloned().unwrap_or_default()).await
    }

    async fn holds(&self, env: &EnvKey) -> Result<Vec<Hold>, StoreError> {
        self.look(|inner| inner.holds.get(env).cloned().unwrap_or_default()).await
    }

    async fn add_hold(&self, env: &EnvKey, hold: &Hold, audit: &Audit) -> Result<(), StoreError> {
        self.look(|inner| {
            inner.hold(env, hold.clone());
            inner.audit.push(audit.clone());
        })
        .await
    }

    async fn release(&self, env: &EnvKey, audit: &Audit) -> Result<Vec<Hold>, StoreError> {
        self.look(|inner| {
            inner.audit.push(audit.clone());
            inner.holds.remove(env).unwrap_or_default()
        })
        .await
    }

    async fn suspended(&self, env: &EnvKey) -> Result<Option<Suspended>, StoreError> {
        self.look(|inner| inner.suspended.get(env).cloned()).await
    }

    async fn set_suspended(
        &self,
        env: &EnvKey,
        suspended: Option<&Suspended>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        self.look(|inner| {
            inner.audit.push(audit.clone());
            match suspended {
                Some(suspended) => inner.suspended.insert(env.clone(), suspended.clone()),
                None => inner.suspended.remove(env),
            };
        })
        .await
    }

    async fn set_drift(
        &self,
        env: &EnvKey,
        drifted: &BTreeSet<ResourceId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.look(|inner| {
            let known = inner.drift.entry(env.clone()).or_default();
            known.retain(|id, _| drifted.contains(id));
            for id in drifted {
                known.entry(id.clone()).or_insert(now);
            }
        })
        .await
    }

    async fn observations(&self) -> Result<BTreeMap<EnvKey, Observation>, StoreError> {
        self.look(|inner| inner.observations.clone()).await
    }

    async fn observation(&self, env: &EnvKey) -> Result<Option<Observation>, StoreError> {
        self.look(|inner| inner.observations.get(env).cloned()).await
    }

    async fn advance(
        &self,
        source: &SourceName,
        newest: &Revision,
        behind: Option<&BTreeSet<EnvironmentName>>,
    ) -> Result<(), StoreError> {
        self.look(|inner| {
            let before = inner.newest.insert(source.clone(), newest.clone());
            let stays = |name: &EnvironmentName| behind.is_none_or(|behind| behind.contains(name));
            let follows = |env: &EnvKey| env.source == *source && !stays(&env.environment);
            let seen = inner.observations.iter_mut().filter(|(env, _)| follows(env)).map(|(_, seen)| seen);
            for seen in seen.filter(|seen| before.is_some() && seen.revision == before) {
                seen.revision = Some(newest.clone());
            }
        })
        .await
    }

    async fn set_observation(&self, env: &EnvKey, seen: &Observation) -> Result<(), StoreError> {
        self.look(|inner| {
            let seen = seen.clone().following(inner.observations.get(env));
            inner.observations.insert(env.clone(), seen);
        })
        .await
    }

    async fn audit(&self, line: &Audit) -> Result<(), StoreError> {
        self.look(|inner| inner.audit.push(line.clone())).await
    }

    async fn audits(&self, env: Option<&EnvKey>, limit: u32) -> Result<Vec<Audit>, StoreError> {
        self.look(|inner| {
            let lines = inner.audit.iter().rev().filter(|line| env.is_none() || line.env.as_ref() == env);
            lines.take(limit as usize).cloned().collect()
        })
        .await
    }
}
