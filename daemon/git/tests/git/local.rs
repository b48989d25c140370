use std::{fs, path::Path};

use trueup_engine::Source;
use trueup_git::{Error, Kind, Limits, Reference, discover, worktree};
use trueup_schema::snapshot::Folder;

use crate::repository::{Repository, git, paths, read};

#[tokio::test]
async fn a_commit_is_read_without_its_work_tree() {
    let repository = Repository::new();
    let commit =
        repository.commit("environments/dev/environment.yaml", "kind: Environment\n", "dev: begin\n\nwhy");
    fs::remove_dir_all(repository.path().join("environments")).unwrap();

    let snapshot = repository.source().fetch().await.unwrap();
    assert_eq!(snapshot.revision.commit, commit);
    assert_eq!(snapshot.revision.reference, "main");
    assert_eq!(snapshot.revision.author, "Ada");
    assert_eq!(snapshot.revision.subject, "dev: begin");
    assert_eq!(snapshot.revision.time.to_string(), "2026-11-22T10:00:00Z");
    assert_eq!(paths(&snapshot), ["environments/dev/environment.yaml"]);
    assert_eq!(read(&snapshot, "environments/dev/environment.yaml"), "kind: Environment\n");
}

#[tokio::test]
async fn a_new_commit_is_seen_and_the_old_snapshot_stays() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let source = repository.source();
    let first = source.fetch().await.unwrap();
    let head = repository.commit("a", "2", "two");
    assert_eq!(source.head().await.unwrap(), head);
    let second = source.fetch().await.unwrap();
    assert_eq!((read(&first, "a"), read(&second, "a")), ("1".into(), "2".into()));
    let back = source.snapshot_at(&first.revision.commit).await.unwrap();
    assert_eq!(read(&back, "a"), "1");
    assert_eq!(back.revision, first.revision);
}

/// What the last commit left is taken over; a listing from nothing knows of no last commit.
#[tokio::test]
async fn a_commit_is_listed_after_another_one_as_if_from_nothing() {
    let repository = Repository::new();
    let followed = repository.source();
    let deeds: [(&str, &[&str], &[&str]); 8] = [
        ("files and folders", &["a", "b", "c/x", "c-d/y", "c.d", "e/f/g"], &[]),
        ("nothing", &[], &[]),
        ("more", &["aa", "c/xx", "e/f/h", "z/z"], &[]),
        ("a file less, a folder less", &[], &["b", "c-d"]),
        ("a file becomes a folder", &["a/x"], &["a"]),
        ("a folder becomes a file", &["e"], &["e"]),
        ("one for another", &["bb"], &["aa"]),
        ("nearly all of it", &[], &["a", "c", "c.d", "e", "z"]),
    ];
    for (what, written, removed) in deeds {
        for path in removed {
            repository.git(&["rm", "-rq", path]);
        }
        for path in written {
            repository.write(path, what);
        }
        repository.git(&["add", "-A"]);
        repository.git(&["commit", "-q", "--allow-empty", "-m", what]);
        let (after, anew) = (followed.fetch().await.unwrap(), repository.source().fetch().await.unwrap());
        let [after, anew] = [&after, &anew].map(|snapshot| snapshot.files.root());
        assert_eq!(after.list(), anew.list(), "{what}");
        let counts = |root: &Folder| (root.count_files(), root.count_folders());
        assert_eq!(counts(after), counts(anew), "{what}");
    }
}

#[tokio::test]
async fn packed_objects_and_references_are_read() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    repository.commit("a", "2", "two");
    repository.git(&["gc", "-q"]);
    assert_eq!(read(&repository.source().fetch().await.unwrap(), "a"), "2");
}

#[tokio::test]
async fn tags_are_peeled_and_head_is_followed() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    repository.git(&["tag", "-a", "v1", "-m", "first"]);
    repository.git(&["tag", "light"]);
    repository.commit("a", "2", "two");
    for (reference, content) in [
        (Reference::Tag("v1".into()), "1"),
        (Reference::Tag("light".into()), "1"),
        (Reference::Head, "2"),
        (Reference::Branch("main".into()), "2"),
    ] {
        assert_eq!(read(&repository.source_of(reference.clone()).fetch().await.unwrap(), "a"), content);
    }
}

#[tokio::test]
async fn bare_repositories_and_linked_worktrees_are_read_in_place() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let bare = Repository::bare();
    repository.git(&["push", "-q", bare.path().to_str().unwrap(), "main"]);
    assert_eq!(read(&bare.source().fetch().await.unwrap(), "a"), "1");

    let linked = tempfile::tempdir().unwrap();
    let path = linked.path().join("linked");
    repository.git(&["worktree", "add", "-q", "-b", "topic", path.to_str().unwrap()]);
    fs::write(path.join("a"), "3").unwrap();
    git(&path, &["commit", "-qam", "three"]);
    let mut config = repository.config(Reference::Head);
    config.location = path.to_str().unwrap().parse().unwrap();
    let source = trueup_git::GitSource::open(config).unwrap();
    assert_eq!(read(&source.fetch().await.unwrap(), "a"), "3");
    assert_eq!(discover(&path.join("nowhere")).unwrap(), path);
}

#[tokio::test]
async fn what_does_not_exist_is_said() {
    let repository = Repository::new();
    let empty = repository.source().fetch().await.err().unwrap();
    assert_eq!(empty.to_string(), format!("find `main` in `{}`", repository.path().display()));
    assert_eq!(empty.kind(), Kind::Config);
    repository.commit("a", "1", "one");
    let source = repository.source();
    let lost = "0123456789012345678901234567890123456789";
    assert!(matches!(source.snapshot_at(lost).await.err().unwrap(), Error::FindCommit { .. }));
    assert!(matches!(source.snapshot_at("main").await.err().unwrap(), Error::FindCommit { .. }));
    let missing = repository.source_of(Reference::Branch("other".into())).fetch().await.err().unwrap();
    assert!(matches!(missing, Error::FindReference { .. }), "{missing}");
    let nowhere = tempfile::tempdir().unwrap();
    let mut config = repository.config(Reference::Head);
    config.location = nowhere.path().to_str().unwrap().parse().unwrap();
    assert!(matches!(trueup_git::GitSource::open(config), Err(Error::OpenRepository { .. })));
    assert!(matches!(discover(nowhere.path()), Err(Error::FindRepository { .. })));
}

#[tokio::test]
async fn the_commit_that_changed_a_file_is_found_between_two() {
    let repository = Repository::new();
    let one = repository.commit("a", "1", "one");
    let two = repository.commit("a", "2", "two");
    let three = repository.commit("b", "1", "three");
    repository.git(&["checkout", "-q", "-b", "side", &two]);
    let side = repository.commit("c", "1", "side");
    repository.git(&["checkout", "-q", "main"]);
    repository.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    let merge = repository.git(&["rev-parse", "HEAD"]);

    let source = repository.source();
    let change = async |path: &str, old: Option<&str>| {
        let found = source.last_change(&path.parse().unwrap(), old, &merge).await.unwrap();
        found.map(|revision| revision.commit)
    };
    assert_eq!(change("a", Some(&one)).await, Some(two.clone()));
    assert_eq!(change("b", Some(&one)).await, Some(three.clone()));
    assert_eq!(change("c", Some(&one)).await, Some(side));
    assert_eq!(change("a", Some(&two)).await, None);
    assert_eq!(change("a", None).await, Some(two.clone()));
    assert_eq!(change("nowhere", None).await, None);
    let between = source.between(Some(&two), &three, 10).await.unwrap();
    assert_eq!(between.iter().map(|revision| &*revision.subject).collect::<Vec<_>>(), ["three"]);
    assert_eq!(source.between(None, &merge, 2).await.unwrap().len(), 2);
}

#[test]
fn a_checkout_is_read_with_what_is_not_committed() {
    let repository = Repository::new();
    repository.commit("components/web.yaml", "kind: Component\n", "one");
    fs::write(repository.path().join("components/db.yaml"), "new\n").unwrap();
    fs::create_dir(repository.path().join(".cache")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join(".cache/link")).unwrap();
    let snapshot = worktree(repository.path(), &Limits::default()).unwrap();
    assert_eq!(paths(&snapshot), ["components/db.yaml", "components/web.yaml"]);
    assert_eq!(read(&snapshot, "components/db.yaml"), "new\n");
    let id = repository.git(&["rev-parse", "HEAD:components/web.yaml"]);
    assert_eq!(snapshot.files.root().get(&"components/web.yaml".parse().unwrap()).unwrap().id.as_ref(), id);
}

#[test]
fn a_checkout_refuses_links_and_large_files() {
    let repository = Repository::new();
    let path = |name: &str| repository.path().join(name);
    fs::write(path("large"), vec![b'x'; 11]).unwrap();
    let limits = Limits { file_bytes: 10, ..Limits::default() };
    let snapshot = worktree(repository.path(), &limits).unwrap();
    let error = snapshot.files.read(&"large".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `large`: it has 11 bytes, more than the 10 that are allowed");

    // A file that becomes a link after it was listed is not followed either.
    fs::write(path("plain"), "x").unwrap();
    let snapshot = worktree(repository.path(), &limits).unwrap();
    fs::remove_file(path("plain")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", path("plain")).unwrap();
    let error = snapshot.files.read(&"plain".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `plain`: it became a symbolic link");

    let error = worktree(repository.path(), &limits).err().unwrap();
    assert_eq!(error.to_string(), "refuse commit worktree: `plain`: it is a symbolic link");
}

#[test]
fn the_repository_above_a_folder_is_found() {
    let repository = Repository::new();
    repository.commit("a/b/c", "1", "one");
    let root = repository.path();
    assert_eq!(discover(&root.join("a/b")).unwrap(), root);
    assert_eq!(discover(root).unwrap(), root);
    let bare = Repository::bare();
    assert_eq!(discover(&bare.path().join("refs")).unwrap(), bare.path());
    assert!(discover(Path::new("/proc")).is_err());
}
