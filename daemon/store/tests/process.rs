//! The store across processes: this program starts itself again as another one.
//!
//! A child is chosen by the variable `TRUEUP_TEST_CHILD`; without it a child's test does nothing but
//! to check that it is none.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use trueup_engine::{
    EnvKey, Holder, RunId, Store, StoreError, Trigger,
    crash::CRASH_AT,
    record::{Entry, NewRun},
};
use trueup_plan::{Plan, PlanDigest, StepKey};
use trueup_schema::Revision;
use trueup_store::Sqlite;

const CHILD: &str = "TRUEUP_TEST_CHILD";

fn env() -> EnvKey {
    EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() }
}

fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, folder).stdout(Stdio::piped());
    command
}

fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

fn new_run() -> NewRun {
    let revision = Revision {
        commit: "1".into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: "change".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    let plan = Plan {
        environment: "demo".parse().unwrap(),
        target: "docker/local".into(),
        revision,
        applied: None,
        digest: PlanDigest("ab".repeat(32)),
        desired_digest: "d".into(),
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
    };
    NewRun { env: env(), trigger: Trigger::Commit, plan }
}

fn begun(n: usize) -> Entry {
    Entry::Begin { step: StepKey(format!("step {n}")) }
}

/// Waits until the child says that it is ready.
fn ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("ready")));
}

#[test]
fn child_that_holds_a_lease() {
    let Some(folder) = folder_of_child() else {
        assert!(std::env::var_os(CHILD).is_none());
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Sqlite::open(&folder).unwrap();
        let _lease = store.lease(&env(), &Holder::here("the child")).await.unwrap();
        say("ready");
        std::future::pending::<()>().await;
    });
}

#[test]
fn child_that_writes_three_lines() {
    let Some(folder) = folder_of_child() else {
        assert!(std::env::var_os(CHILD).is_none());
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Sqlite::open(&folder).unwrap();
        let lease = store.lease(&env(), &Holder::here("the child")).await.unwrap();
        let run = store.begin(&lease, &new_run()).await.unwrap();
        for n in 2..=4 {
            store.append(run, &begun(n)).await.unwrap();
        }
    });
}

#[expect(clippy::print_stdout, reason = "the parent waits for it")]
fn say(line: &str) {
    println!("{line}");
}

#[tokio::test]
async fn a_killed_process_leaves_its_lease_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = child("child_that_holds_a_lease", folder.path()).spawn().unwrap();
    ready(&mut child);
    let store = Sqlite::open(folder.path()).unwrap();
    let Err(StoreError::Lease(held)) = store.lease(&env(), &Holder::here("a test")).await else {
        panic!("it is held")
    };
    let holder = held.holder.unwrap();
    assert_eq!((holder.pid, holder.what.as_str()), (child.id(), "the child"));
    child.kill().unwrap();
    child.wait().unwrap();
    store.lease(&env(), &Holder::here("a test")).await.unwrap();
}

#[tokio::test]
async fn a_process_that_dies_at_a_journal_write_leaves_exactly_what_was_durable() {
    for (crash, lines) in [
        ("1:before", None),
        ("1:after", Some(0)),
        ("3:before", Some(1)),
        ("3:after", Some(2)),
        ("4:after", Some(3)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = child("child_that_writes_three_lines", folder.path());
        let status = command.env(CRASH_AT, crash).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{crash}");
        let store = Sqlite::open(folder.path()).unwrap();
        let found = store.run(RunId(1)).await.unwrap().map(|(_, journal)| journal.len());
        assert_eq!(found, lines, "{crash}");
        store.lease(&env(), &Holder::here("a test")).await.unwrap();
    }
}

#[test]
fn a_crash_point_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = child("child_that_writes_three_lines", folder.path());
    let status = command.env(CRASH_AT, "often").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(101));
}

#[test]
fn a_new_store_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Sqlite::open(folder.path()).map(|store| store.id().to_owned());
    let ids: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        started.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
