//! A store is looked at without a trace, whatever it is and whoever has it open.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{collections::BTreeMap, path::Path};

use tempfile::TempDir;
use trueup_engine::{EnvKey, Holder, Store, StoreError};
use trueup_store::{Sqlite, inspect};

fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(Sqlite::open(folder.path()).unwrap());
    folder
}

fn env(name: &str) -> EnvKey {
    EnvKey { source: "git".parse().unwrap(), environment: name.parse().unwrap() }
}

/// Returns every file of a folder with its bytes; the log's index is no content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.filter(|path| path.is_file() && !path.ends_with("store.db-shm"));
    names.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("state");
    assert_eq!(inspect(&nowhere).unwrap(), None);
    assert!(!nowhere.exists());
    assert_eq!(inspect(folder.path()).unwrap(), None);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_store_that_nobody_has_open_is_left_as_it_is() {
    let folder = store();
    let before = files(folder.path());
    let found = inspect(folder.path()).unwrap().unwrap();
    assert_eq!(found.layout.0, found.layout.1);
    assert_eq!(found.bytes, found.path.metadata().unwrap().len());
    assert_eq!(files(folder.path()), before);
    std::fs::remove_file(folder.path().join("reserve")).ok();
    assert!(!inspect(folder.path()).unwrap().unwrap().reserve);
}

#[tokio::test]
async fn what_a_killed_process_has_left_in_the_log_stays_there() {
    let folder = store();
    let open = Sqlite::open(folder.path()).unwrap();
    open.establish(&env("dev")).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "digest.key"] {
        std::fs::copy(folder.path().join(name), left.path().join(name)).unwrap();
    }
    let before = files(left.path());
    assert!(inspect(left.path()).unwrap().is_some());
    assert_eq!(files(left.path()), before);
    // Beside the one that has it open it is as quiet.
    assert!(inspect(folder.path()).unwrap().is_some());
    open.establish(&env("prod")).await.unwrap();
    assert_eq!(open.environments().await.unwrap().len(), 2);
}

#[test]
fn what_cannot_be_opened_is_told_as_when_it_is_opened() {
    let folder = store();
    let path = folder.path().join("store.db");
    let good = std::fs::read(&path).unwrap();
    let with = |at: usize, damage: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + damage.len()].copy_from_slice(damage);
        std::fs::write(&path, &bytes).unwrap();
        let error = inspect(folder.path()).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        error
    };
    // `user_version` is a big-endian number at offset 60 (SQLite file format, 1.3).
    assert!(matches!(with(60, &99_u32.to_be_bytes()), StoreError::FindNewer { found: 99, .. }));
    assert!(matches!(with(4096, &[0xff; 4096]), StoreError::FindDamaged { .. }));
    assert!(matches!(with(0, b"no database at all"), StoreError::FindDamaged { .. }));
    std::fs::write(&path, &good).unwrap();
    std::fs::write(folder.path().join("digest.key"), [1; 32]).unwrap();
    assert!(inspect(folder.path()).unwrap_err().to_string().contains("another key"));
}

#[tokio::test]
async fn a_run_without_an_end_that_nobody_works_on_is_told() {
    let folder = store();
    let conn = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    conn.execute("INSERT INTO run (source, name, record) VALUES ('git', 'dev', '')", []).unwrap();
    drop(conn);
    assert_eq!(inspect(folder.path()).unwrap().unwrap().interrupted, [env("dev")]);
    let open = Sqlite::open(folder.path()).unwrap();
    let lease = open.lease(&env("dev"), &Holder::here("a test")).await.unwrap();
    assert!(inspect(folder.path()).unwrap().unwrap().interrupted.is_empty());
    drop(lease);
}
