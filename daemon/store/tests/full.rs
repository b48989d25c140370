//! The store on a disk that is full: a file system in memory of a few megabytes, made by root.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{fs, io::Write, path::Path};

use trueup_engine::{
    Blame, EnvKey, Fault, Holder, Outcome, Store, StoreError, Trigger,
    record::{Durations, Ended, Entry, NewRun},
};
use trueup_plan::{Plan, PlanDigest, StepKey};
use trueup_schema::Revision;
use trueup_store::Sqlite;

/// A mounted file system that goes away with the test.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Returns `None` where this user may not mount.
    fn new(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, options.as_c_str());
        mounted.is_ok().then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        let block = [0; 4096];
        while file.write_all(&block).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

fn new_run(env: &EnvKey) -> NewRun {
    let revision = Revision {
        commit: "1".into(),
        reference: "main".into(),
        author: "Ada".into(),
        subject: "change".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    let plan = Plan {
        environment: env.environment.clone(),
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
        notes: vec!["long ".repeat(2000)],
        deletes: (0, 30),
    };
    NewRun { env: env.clone(), trigger: Trigger::Commit, plan }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
async fn on_a_full_disk_nothing_is_begun_and_the_way_back_is_written() {
    let Some(disk) = Disk::new(80) else {
        eprintln!("skipped: only root may mount a file system for this test");
        return;
    };
    let env = EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() };
    let state = disk.path().join("state");
    let run = {
        let store = Sqlite::open(&state).unwrap();
        let lease = store.lease(&env, &Holder::here("a test")).await.unwrap();
        let run = store.begin(&lease, &new_run(&env)).await.unwrap();
        assert_eq!(state.join("reserve").metadata().unwrap().len(), 4 << 20);
        disk.fill();

        // What still fits into the pages that the file has is written; soon nothing does.
        let mut begun = Ok(());
        for n in 0..500 {
            begun = store.append(run, &Entry::Begin { step: StepKey(format!("step {n}")) }).await;
        }
        let error = begun.unwrap_err();
        assert!(matches!(error, StoreError::FindFull { .. }), "{error:?}");
        assert!(matches!(store.begin(&lease, &new_run(&env)).await, Err(StoreError::FindFull { .. })));
        assert!(state.join("reserve").exists());

        let fault = Fault::of_run(Blame::Target, "the disk is full");
        store.append(run, &Entry::RollBack { fault: fault.clone() }).await.unwrap();
        for n in 0..100 {
            store.append(run, &Entry::Undone { step: StepKey(format!("step {n}")) }).await.unwrap();
        }
        let outcome = Outcome::RolledBack { fault };
        let ended = Ended { outcome, durations: Durations::default(), jobs_run: Vec::new(), hold: None };
        store.end(run, &ended).await.unwrap();
        assert!(!state.join("reserve").exists());
        run
    };
    fs::remove_file(disk.path().join("filler")).unwrap();
    let store = Sqlite::open(&state).unwrap();
    assert!(store.unfinished(&env).await.unwrap().is_empty());
    assert!(matches!(store.run(run).await.unwrap().unwrap().0.outcome, Some(Outcome::RolledBack { .. })));
    let lease = store.lease(&env, &Holder::here("a test")).await.unwrap();
    store.begin(&lease, &new_run(&env)).await.unwrap();
    assert!(state.join("reserve").exists());
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
async fn on_a_disk_that_was_full_before_it_is_opened_it_can_be_read() {
    let Some(disk) = Disk::new(80) else {
        eprintln!("skipped: only root may mount a file system for this test");
        return;
    };
    let env = EnvKey { source: "git".parse().unwrap(), environment: "demo".parse().unwrap() };
    let state = disk.path().join("state");
    let store = Sqlite::open(&state).unwrap();
    let identity = store.establish(&env).await.unwrap();
    drop(store);
    disk.fill();
    let error = Sqlite::open(&state).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::FindFull { .. }), "{error:?}");
    let store = Sqlite::open_to_read(&state).unwrap();
    assert_eq!(store.environments().await.unwrap(), [identity]);
    assert!(store.establish(&env).await.is_err());
    drop(store);
    assert!(state.join("reserve").exists());
    fs::remove_file(disk.path().join("filler")).unwrap();
    Sqlite::open(&state).unwrap().establish(&env).await.unwrap();
}
