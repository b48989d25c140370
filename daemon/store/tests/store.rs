//! The store on real files: what is durable, who may write, what is refused.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Adoption, EnvKey, Fault, Holder, Outcome, RunId, Store, StoreError, Trigger,
    record::{
        AppliedRevision, Audit, Commit, Durations, Ended, Entry, Health, Hold, HoldKind, Holds, Kept, NewRun,
        Observation, Suspended, SyncStatus,
    },
    store::{KEPT_REVISIONS, RunFilter},
};
use trueup_plan::{
    Action, Applied, Cause, Change, Desired, How, Kind, Manner, Plan, PlanDigest, ResourceId, StepKey,
};
use trueup_schema::{ContentDigest, Revision, manifest::Percent, snapshot::Files};
use trueup_store::{Lease, Sqlite};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn env() -> EnvKey {
    EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() }
}

fn revision(commit: &str) -> Revision {
    Revision {
        commit: commit.into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: "change".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

fn plan(commit: &str) -> Plan {
    Plan {
        environment: "demo".parse().unwrap(),
        target: "docker/local".into(),
        revision: revision(commit),
        applied: None,
        digest: PlanDigest("ab".repeat(32)),
        desired_digest: format!("desired-{commit}"),
        changes: Vec::new(),
        unchanged: Vec::new(),
        steps: Vec::new(),
        waves: 0,
        refusals: Vec::new(),
        reported: Vec::new(),
        contested: Vec::new(),
        foreign: Vec::new(),
        notes: Vec::new(),
        deletes: (0, 30),
    }
}

fn applied(commit: &str) -> Applied {
    let desired = Desired {
        environment: "demo".parse().unwrap(),
        target: "docker/local".into(),
        revision: revision(commit),
        resources: BTreeMap::new(),
        rules: BTreeMap::new(),
        prune: true,
        max_deletes: Percent(30),
        manner: Manner::Beside,
        notes: Vec::new(),
    };
    Applied { revision: revision(commit), desired, at: revision(commit).time, drift_since: BTreeMap::new() }
}

fn commit(of: &str, file: &[u8]) -> Commit {
    let inputs = BTreeMap::from([("a.yaml".parse().unwrap(), Arc::from(file))]);
    let plain = BTreeMap::from([(ContentDigest::of_plain(file), Arc::from(file))]);
    Commit {
        applied: Some(applied(of)),
        kept: Kept { inputs, plain },
        jobs_done: vec![format!("job-{of}")],
        inherited: Vec::new(),
        holds: Holds::Release,
    }
}

fn ended(outcome: Outcome, hold: Option<Hold>) -> Ended {
    Ended { outcome, durations: Durations::default(), jobs_run: Vec::new(), hold }
}

fn held(kind: HoldKind) -> Hold {
    Hold { kind, revision: revision("1"), why: "not healthy".into(), since: revision("1").time }
}

fn automatic(desired: &str) -> Hold {
    held(HoldKind::Automatic { desired: desired.into(), blocked: false })
}

fn audit(what: &str) -> Audit {
    let at = revision("1").time;
    Audit { at, who: "ada".into(), env: Some(env()), what: what.into(), detail: "because".into() }
}

async fn begin(store: &Sqlite, lease: &Lease, commit: &str) -> RunId {
    let run = NewRun { env: env(), trigger: Trigger::Commit, plan: plan(commit) };
    store.begin(lease, &run).await.unwrap()
}

async fn lease(store: &Sqlite) -> Lease {
    store.lease(&env(), &Holder::here("a test")).await.unwrap()
}

fn begun(step: &str) -> Entry {
    Entry::Begin { step: StepKey(step.into()) }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_reopen() {
    let folder = folder();
    let (id, identity) = {
        let store = Sqlite::open(folder.path()).unwrap();
        let lease = lease(&store).await;
        let identity = store.establish(&env()).await.unwrap();
        let run = begin(&store, &lease, "1").await;
        store.append(run, &begun("create web")).await.unwrap();
        (store.id().to_owned(), identity)
    };
    let store = Sqlite::open(folder.path()).unwrap();
    assert_eq!(store.id(), id);
    assert_eq!(store.identity(&env()).await.unwrap().as_ref(), Some(&identity));
    assert_eq!((identity.uid.len(), identity.store.len()), (16, 8));
    let unfinished = store.unfinished(&env()).await.unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(unfinished[0].plan, plan("1"));
    assert_eq!(unfinished[0].journal[0].entry, begun("create web"));
    assert!(!unfinished[0].committed);
    assert_eq!(store.interrupted().await.unwrap(), [env()]);
}

#[tokio::test]
async fn a_commit_and_everything_that_belongs_to_it_are_one_write() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = lease(&store).await;
    let first = begin(&store, &lease, "1").await;
    store.end(first, &ended(Outcome::Interrupted, Some(automatic("x")))).await.unwrap();
    assert_eq!(store.holds(&env()).await.unwrap(), [automatic("x")]);

    let run = begin(&store, &lease, "2").await;
    store.commit(run, &commit("2", b"two")).await.unwrap();
    let unfinished = store.unfinished(&env()).await.unwrap();
    assert!(unfinished[0].committed);
    assert_eq!(unfinished[0].run.outcome, Some(Outcome::Applied));
    assert_eq!(store.applied(&env()).await.unwrap(), Some(applied("2")));
    let short = AppliedRevision { revision: revision("2"), at: applied("2").at, drifted: 0 };
    assert_eq!(store.applied_revision(&env()).await.unwrap(), Some(short));
    assert_eq!(store.jobs_done(&env()).await.unwrap(), BTreeSet::from(["job-2".to_owned()]));
    assert!(store.holds(&env()).await.unwrap().is_empty());
    assert_eq!(store.plain(&ContentDigest::of_plain(b"two")).await.unwrap().unwrap(), b"two");
    let files = store.inputs(run).await.unwrap().unwrap();
    assert_eq!(&files.read(&"a.yaml".parse().unwrap()).unwrap()[..], b"two");

    store.end(run, &ended(Outcome::Applied, None)).await.unwrap();
    assert!(store.unfinished(&env()).await.unwrap().is_empty());
    let runs = store.runs(&RunFilter { env: Some(env()), ..RunFilter::default() }).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [run, first]);
    assert!(runs.iter().all(|run| run.ended.is_some()));
}

#[tokio::test]
async fn a_run_whose_way_back_failed_stays_unfinished() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = lease(&store).await;
    let run = begin(&store, &lease, "1").await;
    let fault = Fault::of_run(trueup_engine::Blame::Target, "the engine is gone");
    let outcome = Outcome::RollbackFailed { fault: fault.clone(), left: vec![fault] };
    store.end(run, &ended(outcome.clone(), None)).await.unwrap();
    let unfinished = store.unfinished(&env()).await.unwrap();
    assert_eq!(unfinished[0].run.outcome, Some(outcome));
    assert_eq!(unfinished[0].run.ended, None);
}

#[tokio::test]
async fn only_the_last_revisions_are_kept_and_their_bytes_once() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = lease(&store).await;
    let mut runs = Vec::new();
    for n in 0..KEPT_REVISIONS + 3 {
        let run = begin(&store, &lease, &n.to_string()).await;
        let file = if n == 0 { "only here".to_owned() } else { format!("file {}", n % 2) };
        store.commit(run, &commit(&n.to_string(), file.as_bytes())).await.unwrap();
        store.end(run, &ended(Outcome::Applied, None)).await.unwrap();
        runs.push(run);
    }
    let kept = store.kept(&env()).await.unwrap();
    assert_eq!(kept.len(), KEPT_REVISIONS as usize);
    assert_eq!(kept[0].run, *runs.last().unwrap());
    assert!(store.inputs(runs[0]).await.unwrap().is_none());
    assert!(store.inputs(runs[3]).await.unwrap().is_some());
    assert_eq!(store.plain(&ContentDigest::of_plain(b"only here")).await.unwrap(), None);
    assert!(store.plain(&ContentDigest::of_plain(b"file 1")).await.unwrap().is_some());
}

#[tokio::test]
async fn concurrent_lines_keep_the_order_in_which_they_were_sent() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = lease(&store).await;
    let run = begin(&store, &lease, "1").await;
    let entries: Vec<_> = (0..200).map(|n| begun(&format!("step {n}"))).collect();
    let sent: Vec<_> = entries.iter().map(|entry| store.append(run, entry)).collect();
    assert!(futures_of(sent).await.iter().all(Result::is_ok));
    let (_, journal) = store.run(run).await.unwrap().unwrap();
    assert_eq!(journal.into_iter().map(|line| line.entry).collect::<Vec<_>>(), entries);
}

/// Polls all of them side by side.
async fn futures_of<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    futures::future::join_all(futures).await
}

#[tokio::test]
async fn holds_of_several_desired_states_stand_beside_a_persons_one() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let person = |who: &str| held(HoldKind::Person { who: who.into(), reason: "calm".into() });
    for hold in [automatic("a"), automatic("b"), automatic("a"), person("ada"), person("bob")] {
        store.add_hold(&env(), &hold, &audit("hold")).await.unwrap();
    }
    let holds = store.holds(&env()).await.unwrap();
    assert_eq!(holds.len(), 3);
    assert!(holds.contains(&person("bob")) && !holds.contains(&person("ada")));
    let lease = lease(&store).await;
    let run = begin(&store, &lease, "1").await;
    store.commit(run, &commit("1", b"x")).await.unwrap();
    assert_eq!(store.holds(&env()).await.unwrap(), [person("bob")]);
    assert_eq!(store.release(&env(), &audit("release")).await.unwrap(), [person("bob")]);
    assert_eq!(store.audits(Some(&env()), 10).await.unwrap()[0], audit("release"));
    assert_eq!(store.audits(None, 100).await.unwrap().len(), 6);
}

#[tokio::test]
async fn what_was_seen_keeps_the_time_since_it_is_so() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let seen = |sync, second| Observation {
        target: "docker/local".into(),
        revision: None,
        sync,
        health: Health::Healthy,
        why: String::new(),
        trouble: None,
        since: at(second),
        observed: at(second),
        checked: None,
        as_of: None,
        foreign: Vec::new(),
    };
    for (sync, second, since) in
        [(SyncStatus::Synced, 1, 1), (SyncStatus::Synced, 2, 1), (SyncStatus::OutOfSync, 3, 3)]
    {
        store.set_observation(&env(), &seen(sync, second)).await.unwrap();
        let now = store.observations().await.unwrap().remove(&env()).unwrap();
        assert_eq!((now.since, now.observed), (at(since), at(second)));
    }

    let id = |name: &str| ResourceId { kind: Kind::Network, name: name.into(), component: None };
    let lease = lease(&store).await;
    let run = begin(&store, &lease, "1").await;
    store.commit(run, &commit("1", b"x")).await.unwrap();
    store.set_drift(&env(), &BTreeSet::from([id("a"), id("b")]), at(5)).await.unwrap();
    store.set_drift(&env(), &BTreeSet::from([id("b"), id("c")]), at(6)).await.unwrap();
    let drifted = store.applied(&env()).await.unwrap().unwrap().drift_since;
    assert_eq!(drifted, BTreeMap::from([(id("b"), at(5)), (id("c"), at(6))]));
    assert_eq!(store.applied_revision(&env()).await.unwrap().unwrap().drifted, 2);

    let plan = Plan { changes: vec![repair_of(id("b"))], ..plan("1") };
    let run = store.begin(&lease, &NewRun { env: env(), trigger: Trigger::Drift, plan }).await.unwrap();
    store.commit(run, &commit("1", b"x")).await.unwrap();
    let drifted = store.applied(&env()).await.unwrap().unwrap().drift_since;
    assert_eq!(drifted, BTreeMap::from([(id("c"), at(6))]), "what was repaired has drifted no longer");
}

fn repair_of(resource: ResourceId) -> Change {
    Change {
        resource,
        action: Action::Create,
        how: How::Recreate,
        cause: Cause::Drift,
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

fn seen_at(commit: &str) -> Observation {
    let at = revision(commit).time;
    Observation {
        target: "docker/local".into(),
        revision: Some(revision(commit)),
        sync: SyncStatus::Synced,
        health: Health::Healthy,
        why: String::new(),
        trouble: None,
        since: at,
        observed: at,
        checked: None,
        as_of: None,
        foreign: Vec::new(),
    }
}

/// Returns the commits that the environments `a`, `b` and `c` count as compared with.
async fn compared(store: &Sqlite) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["a", "b", "c"] {
        let seen = store.observation(&of(name)).await.unwrap();
        found.push(seen.and_then(|seen| seen.revision).map_or_else(String::new, |revision| revision.commit));
    }
    let all = store.observations().await.unwrap().into_values();
    let all: Vec<_> = all.map(|seen| seen.revision.unwrap().commit).collect();
    assert_eq!(all, found.iter().filter(|commit| !commit.is_empty()).cloned().collect::<Vec<_>>());
    found
}

fn of(name: &str) -> EnvKey {
    EnvKey { source: "git".parse().unwrap(), environment: name.parse().unwrap() }
}

#[tokio::test]
async fn a_newer_commit_counts_for_what_was_compared_with_the_one_before() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let git = "git".parse().unwrap();
    let advance = async |commit: &str, behind: Option<&[&str]>| {
        let names = behind.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
        store.advance(&git, &revision(commit), names.as_ref()).await.unwrap();
    };
    advance("1", None).await;
    store.set_observation(&of("a"), &seen_at("1")).await.unwrap();
    store.set_observation(&of("b"), &seen_at("1")).await.unwrap();
    store.set_observation(&of("c"), &seen_at("0")).await.unwrap();
    advance("2", Some(&["b"])).await;
    assert_eq!(compared(&store).await, ["2", "1", "0"]);
    // A turn that began before the commit came writes what it has compared.
    store.set_observation(&of("b"), &seen_at("1")).await.unwrap();
    advance("3", Some(&["b"])).await;
    assert_eq!(compared(&store).await, ["3", "1", "0"]);
    // One that was faster than the commit's own record follows it all the same.
    store.set_observation(&of("b"), &seen_at("4")).await.unwrap();
    advance("4", Some(&["b"])).await;
    advance("5", Some(&[])).await;
    assert_eq!(compared(&store).await, ["5", "5", "0"]);
    // Of another source nothing is said.
    store.advance(&"other".parse().unwrap(), &revision("9"), None).await.unwrap();
    assert_eq!(compared(&store).await, ["5", "5", "0"]);
}

#[tokio::test]
async fn after_a_restart_nothing_counts_as_compared_with_a_commit_that_nobody_looked_at() {
    let folder = folder();
    let git = "git".parse().unwrap();
    let store = Sqlite::open(folder.path()).unwrap();
    store.advance(&git, &revision("1"), None).await.unwrap();
    store.set_observation(&of("a"), &seen_at("1")).await.unwrap();
    store.advance(&git, &revision("2"), Some(&BTreeSet::new())).await.unwrap();
    drop(store);
    let store = Sqlite::open(folder.path()).unwrap();
    assert_eq!(compared(&store).await, ["2", "", ""]);
    store.advance(&git, &revision("3"), None).await.unwrap();
    assert_eq!(compared(&store).await, ["2", "", ""]);
    store.advance(&git, &revision("4"), Some(&BTreeSet::new())).await.unwrap();
    assert_eq!(compared(&store).await, ["2", "", ""]);
}

#[tokio::test]
async fn a_forgotten_environment_comes_back_as_another_one_with_its_history() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = lease(&store).await;
    let first = store.establish(&env()).await.unwrap();
    assert_eq!(store.establish(&env()).await.unwrap(), first);
    let run = begin(&store, &lease, "1").await;
    store.commit(run, &commit("1", b"x")).await.unwrap();
    store.end(run, &ended(Outcome::Applied, None)).await.unwrap();
    let suspended = Suspended { who: "ada".into(), reason: None, since: revision("1").time };
    store.set_suspended(&env(), Some(&suspended), &audit("suspend")).await.unwrap();
    assert_eq!(store.suspended(&env()).await.unwrap(), Some(suspended));

    store.forget(&lease, &env()).await.unwrap();
    assert_eq!(store.identity(&env()).await.unwrap(), None);
    assert_eq!(store.applied(&env()).await.unwrap(), None);
    assert_eq!(store.applied_revision(&env()).await.unwrap(), None);
    assert_eq!(store.suspended(&env()).await.unwrap(), None);
    assert_eq!(store.plain(&ContentDigest::of_plain(b"x")).await.unwrap(), None);
    assert_ne!(store.establish(&env()).await.unwrap(), first);
    assert_eq!(store.runs(&RunFilter::default()).await.unwrap().len(), 1);

    let found =
        Adoption { uid: "00112233aabbccdd".into(), jobs_done: BTreeSet::from(["job".into()]), last_run: 41 };
    let adopted = store.adopt(&env(), &found).await.unwrap();
    assert_eq!(store.environments().await.unwrap(), [adopted]);
    assert!(store.jobs_done(&env()).await.unwrap().contains("job"));
}

#[tokio::test]
async fn two_handles_see_what_the_other_wrote() {
    let folder = folder();
    let (one, two) = (Sqlite::open(folder.path()).unwrap(), Sqlite::open(folder.path()).unwrap());
    assert_eq!(one.id(), two.id());
    assert_eq!(one.digest_key().digest(b"x"), two.digest_key().digest(b"x"));
    let lease = lease(&one).await;
    let run = begin(&one, &lease, "1").await;
    for n in 0..20 {
        let (a, b) = (begun(&format!("a{n}")), begun(&format!("b{n}")));
        let (a, b) = tokio::join!(one.append(run, &a), two.append(run, &b));
        a.and(b).unwrap();
    }
    assert_eq!(two.run(run).await.unwrap().unwrap().1.len(), 40);
}

#[tokio::test]
async fn the_version_is_another_one_after_each_write_of_somebody() {
    let folder = folder();
    let (one, other) = (Sqlite::open(folder.path()).unwrap(), Sqlite::open(folder.path()).unwrap());
    let first = one.version().await.unwrap();
    one.environments().await.unwrap();
    assert_eq!(one.version().await.unwrap(), first);
    other.establish(&env()).await.unwrap();
    let second = one.version().await.unwrap();
    assert_ne!(second, first);
    one.add_hold(&env(), &automatic("1"), &audit("hold")).await.unwrap();
    assert_ne!(one.version().await.unwrap(), second);
}

#[tokio::test]
async fn a_second_one_is_told_who_holds_the_environment_and_gets_it_afterwards() {
    let folder = folder();
    let (one, two) = (Sqlite::open(folder.path()).unwrap(), Sqlite::open(folder.path()).unwrap());
    let holder = Holder::here("the daemon, run 41");
    let lease = one.lease(&env(), &holder).await.unwrap();
    let Err(StoreError::Lease(held)) = two.lease(&env(), &Holder::here("a person")).await else {
        panic!("it is held")
    };
    assert_eq!(held.holder, Some(holder));
    let message = held.to_string();
    assert!(message.starts_with("`git/demo` is held by the daemon, run 41 (process "), "{message}");
    let other = EnvKey { environment: "dev".parse().unwrap(), ..env() };
    two.lease(&other, &Holder::here("a person")).await.unwrap();

    let cancel = CancellationToken::new();
    let person = Holder::here("a person");
    let wanted = env();
    let waiting = two.lease_wait(&wanted, &person, &cancel);
    let (taken, ()) = tokio::join!(waiting, async { drop(lease) });
    taken.unwrap();

    let _lease = one.lease(&env(), &person).await.unwrap();
    cancel.cancel();
    let cancelled = two.lease_wait(&env(), &person, &cancel).await;
    assert!(matches!(cancelled, Err(StoreError::Cancelled { .. })));
}

#[test]
fn nobody_else_can_read_the_folder() {
    let outer = folder();
    let path = outer.path().join("state");
    let _store = Sqlite::open(&path).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in path.read_dir().unwrap() {
        let entry = entry.unwrap().path();
        assert_eq!(mode(&entry) & 0o077, 0, "{}", entry.display());
    }
    assert_eq!(path.join("digest.key").metadata().unwrap().len(), 32);
}

fn open_error(folder: &Path) -> StoreError {
    Sqlite::open(folder).map(drop).unwrap_err()
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    for damage in [&b"not a database, but longer than its header of one hundred bytes ....................................."[..], &[0xff; 4096]] {
        let folder = folder();
        drop(Sqlite::open(folder.path()).unwrap());
        let path = folder.path().join("store.db");
        let mut bytes = std::fs::read(&path).unwrap();
        // The second page is the first table; its damage is found although the header is whole.
        let at = if damage[0] == 0xff { 4096 } else { 0 };
        bytes[at..at + damage.len()].copy_from_slice(damage);
        std::fs::write(&path, &bytes).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
        assert!(error.help().unwrap().contains("env adopt"));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

/// Writes over the first page of a table, and returns what is in the file then.
fn damage_table(folder: &Path, table: &str) -> Vec<u8> {
    let path = folder.join("store.db");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(&path, read_only).unwrap();
    let page: usize = conn.query_row(sql, [table], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap();
    drop(conn);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_store_that_has_lost_its_id_gets_no_other_one() {
    for name in ["id", "key-check"] {
        let folder = folder();
        let store = Sqlite::open(folder.path()).unwrap();
        store.establish(&env()).await.unwrap();
        drop(store);
        let path = folder.path().join("store.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute("DELETE FROM meta WHERE name = ?1", [name]).unwrap();
        drop(conn);
        let bytes = std::fs::read(&path).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
        assert!(std::fs::read(&path).unwrap() == bytes, "it was not left as it is");
    }
}

#[test]
fn who_goes_on_for_long_reads_the_whole_file_first() {
    let folder = folder();
    drop(Sqlite::open_checked(folder.path()).unwrap());
    let bytes = damage_table(folder.path(), "blob");
    drop(Sqlite::open(folder.path()).unwrap());
    let error = Sqlite::open_checked(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
    assert!(std::fs::read(folder.path().join("store.db")).unwrap() == bytes, "it was not left as it is");
}

#[tokio::test]
async fn damage_is_refused_where_it_is_met_and_left_as_it_is() {
    let folder = folder();
    drop(Sqlite::open(folder.path()).unwrap());
    let bytes = damage_table(folder.path(), "run");
    let store = Sqlite::open(folder.path()).unwrap();
    assert!(store.environments().await.is_ok(), "an end that was clean needs no reading of the whole");
    let error = store.runs(&RunFilter::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
    let lease = lease(&store).await;
    let run = NewRun { env: env(), trigger: Trigger::Commit, plan: plan("one") };
    let error = store.begin(&lease, &run).await.unwrap_err();
    assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
    drop(store);
    assert!(std::fs::read(folder.path().join("store.db")).unwrap() == bytes, "it was not left as it is");
}

#[tokio::test]
async fn after_an_unclean_end_the_first_one_reads_the_whole_file() {
    let folder = folder();
    drop(Sqlite::open(folder.path()).unwrap());
    let store = Sqlite::open(folder.path()).unwrap();
    store.establish(&env()).await.unwrap();
    // What a process leaves that is killed now.
    let left = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "digest.key"] {
        std::fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
    }
    let bytes = damage_table(left.path(), "blob");
    let error = open_error(left.path());
    assert!(matches!(error, StoreError::FindDamaged { .. }), "{error:?}");
    assert!(std::fs::read(left.path().join("store.db")).unwrap() == bytes, "it was not left as it is");
    // Beside another one there has been no end.
    damage_table(folder.path(), "blob");
    Sqlite::open(folder.path()).unwrap();
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = folder();
    drop(Sqlite::open(folder.path()).unwrap());
    let path = folder.path().join("store.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // `user_version` is a big-endian number at offset 60 (SQLite file format, 1.3).
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, StoreError::FindNewer { found: 99, known: 3, .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_read_as_before() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let lease = store.lease(&env(), &Holder::here("test")).await.unwrap();
    store.establish(&env()).await.unwrap();
    let new = || NewRun { env: env(), trigger: Trigger::Timer, plan: plan("1") };
    let run = store.begin(&lease, &new()).await.unwrap();
    store.commit(run, &commit("1", b"a")).await.unwrap();
    let (known, record) = (store.applied(&env()).await.unwrap(), store.run(run).await.unwrap());
    drop((lease, store));

    let file = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    file.execute_batch(
        r#"UPDATE run SET record = replace(record, '"jobsRun":', '"jobs_run":');
           UPDATE run_plan SET plan = replace(plan, '"desiredDigest":', '"desired_digest":');
           UPDATE applied SET applied = replace(replace(replace(applied, '"driftSince":', '"drift_since":'),
               '"maxDeletes":', '"max_deletes":'), '"selfHeal":', '"self_heal":');
           DROP TABLE newest;
           DROP TABLE cron_due;
           ALTER TABLE observation DROP COLUMN follows;
           PRAGMA user_version = 1"#,
    )
    .unwrap();
    drop(file);
    let store = Sqlite::open(folder.path()).unwrap();
    assert_eq!(store.applied(&env()).await.unwrap(), known);
    assert_eq!(store.run(run).await.unwrap(), record);
    assert_eq!(store.unfinished(&env()).await.unwrap()[0].plan, plan("1"));
}

#[test]
fn another_key_than_the_one_it_was_written_with_is_refused() {
    let folder = folder();
    drop(Sqlite::open(folder.path()).unwrap());
    let path = folder.path().join("digest.key");
    std::fs::write(&path, [1; 32]).unwrap();
    assert_eq!(
        open_error(folder.path()).to_string(),
        format!(
            "the store `{}` is damaged and was left as it is: the store was written with another key",
            path.display()
        )
    );
    std::fs::remove_file(&path).unwrap();
    assert!(open_error(folder.path()).to_string().contains("is missing"));
    std::fs::write(&path, [1; 5]).unwrap();
    assert!(open_error(folder.path()).to_string().contains("it has 5 bytes instead of 32"));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    File::create(&file).unwrap();
    let error = open_error(&file.join("state"));
    assert!(error.to_string().contains(&file.join("state").display().to_string()), "{error}");
}

#[tokio::test]
async fn a_schedule_is_known_until_it_is_another_one_or_gone() {
    let folder = folder();
    let store = Sqlite::open(folder.path()).unwrap();
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let id = |name: &str| ResourceId { kind: Kind::Cron, name: name.into(), component: None };
    let (backup, report) = (id("backup"), id("report"));
    assert_eq!(store.cron_due(&env(), &backup, "0 3 * * *").await.unwrap(), None);
    for (resource, second) in [(&backup, 5), (&report, 6), (&backup, 7)] {
        store.set_cron_due(&env(), resource, "0 3 * * *", at(second)).await.unwrap();
    }
    drop(store);
    let store = Sqlite::open(folder.path()).unwrap();
    assert_eq!(store.cron_due(&env(), &backup, "0 3 * * *").await.unwrap(), Some(at(7)));
    assert_eq!(store.cron_due(&env(), &backup, "0 4 * * *").await.unwrap(), None, "another schedule");
    assert_eq!(
        store.cron_due(&of("other"), &backup, "0 3 * * *").await.unwrap(),
        None,
        "another environment"
    );
    store.keep_crons(&env(), [&report]).await.unwrap();
    assert_eq!(store.cron_due(&env(), &backup, "0 3 * * *").await.unwrap(), None);
    assert_eq!(store.cron_due(&env(), &report, "0 3 * * *").await.unwrap(), Some(at(6)));
}
