use std::time::Duration;

use trueup_git::Watch;

use crate::repository::{Repository, git};

async fn hint(watch: &mut Watch) {
    tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("a hint comes").unwrap();
}

/// Takes the hints that are there until none comes any more.
async fn drain(watch: &mut Watch) {
    while tokio::time::timeout(Duration::from_millis(300), watch.changed()).await.is_ok() {}
}

#[tokio::test]
async fn a_commit_is_seen_whether_references_are_loose_or_packed() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let mut watch = repository.source().watch().unwrap().unwrap();
    repository.commit("a", "2", "two");
    hint(&mut watch).await;
    drain(&mut watch).await;
    repository.git(&["pack-refs", "--all"]);
    hint(&mut watch).await;
    drain(&mut watch).await;
    repository.commit("a", "3", "three");
    hint(&mut watch).await;
}

#[tokio::test]
async fn a_push_into_a_bare_repository_is_seen() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let bare = Repository::bare();
    let mut watch = bare.source().watch().unwrap().unwrap();
    repository.git(&["push", "-q", bare.path().to_str().unwrap(), "main"]);
    hint(&mut watch).await;
    drain(&mut watch).await;
    repository.git(&["push", "-q", bare.path().to_str().unwrap(), "main:deep/er/branch"]);
    hint(&mut watch).await;
}

#[tokio::test]
async fn a_commit_in_a_linked_worktree_is_seen() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let folder = tempfile::tempdir().unwrap();
    let linked = folder.path().join("linked");
    repository.git(&["worktree", "add", "-q", "-b", "topic", linked.to_str().unwrap()]);
    let mut config = repository.config(trueup_git::Reference::Head);
    config.location = linked.to_str().unwrap().parse().unwrap();
    let mut watch = trueup_git::GitSource::open(config).unwrap().watch().unwrap().unwrap();
    git(&linked, &["commit", "-q", "--allow-empty", "-m", "two"]);
    hint(&mut watch).await;
    drain(&mut watch).await;
    git(&linked, &["checkout", "-q", "--detach"]);
    hint(&mut watch).await;
}

#[tokio::test]
async fn reading_the_repository_and_editing_files_give_no_hint() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let source = repository.source();
    let mut watch = source.watch().unwrap().unwrap();
    source.head().await.unwrap();
    std::fs::write(repository.path().join("a"), "edited").unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), watch.changed()).await.is_err());
}
