use std::time::Instant;

use trueup_engine::Source;
use trueup_git::{Error, GitSource, Kind, Limits, Reference};

use crate::repository::Repository;

async fn refused(repository: &Repository, limits: Limits) -> Error {
    let mut config = repository.config(Reference::Branch("main".into()));
    config.limits = limits;
    GitSource::open(config).unwrap().fetch().await.err().expect("it is refused")
}

async fn reasons(repository: &Repository) -> Vec<String> {
    let error = refused(repository, Limits::default()).await;
    assert_eq!(error.kind(), Kind::User);
    error.report().unwrap().problems.iter().map(|p| format!("{}: {}", p.place, p.message)).collect()
}

#[tokio::test]
async fn links_and_submodules_are_refused_at_their_paths() {
    let repository = Repository::new();
    let commit = repository.commit("a", "1", "one");
    let blob = repository.blob(b"/etc/passwd");
    let folder = repository.tree(&[("120000", &blob, b"link")]);
    repository.commit_tree(&[
        ("40000", &folder, b"files"),
        ("160000", &commit, b"module"),
        ("100755", &blob, b"run.sh"),
    ]);
    assert_eq!(
        reasons(&repository).await,
        ["files/link:1:1: it is a symbolic link", "module:1:1: it is a submodule"]
    );
    let error = refused(&repository, Limits::default()).await;
    assert!(error.to_string().ends_with("`files/link`: it is a symbolic link, and 1 more"), "{error}");
    assert!(error.help().unwrap().contains("never followed"));
}

/// Who lists one beside the last one must not be led astray.
#[tokio::test]
async fn a_tree_that_is_not_in_order_is_refused() {
    let repository = Repository::new();
    let [one, other] = [b"1", b"2"].map(|content| repository.blob(content));
    let wrong = "(root):1:1: its names are not in Git's order, or one is there twice";
    for names in [["b", "a"], ["a", "a"]] {
        let entries = [("100644", &one, names[0]), ("100644", &other, names[1])];
        let entries = entries.map(|(mode, id, name)| (mode, id.as_str(), name.as_bytes()));
        repository.commit_tree(&entries);
        assert_eq!(reasons(&repository).await, [wrong], "{names:?}");
    }
}

#[tokio::test]
async fn names_that_could_leave_the_repository_are_refused() {
    let repository = Repository::new();
    let blob = repository.blob(b"x");
    let inner = repository.tree(&[("100644", &blob, b"passwd")]);
    repository.commit_tree(&[
        ("100644", &blob, b""),
        ("40000", &inner, b".."),
        ("40000", &inner, b"."),
        ("40000", &inner, b".GIT"),
        ("100644", &blob, b"a\nb"),
        ("100644", &blob, b"a\x1b[31m"),
        ("100644", &blob, b"a\\b"),
        ("100644", &blob, b"b/../../escape"),
        ("100644", &blob, b"\xff\xfe"),
    ]);
    let reasons = reasons(&repository).await;
    let text = reasons.join("\n");
    assert_eq!(reasons.len(), 9, "{text}");
    for wanted in [
        "%2E%2E:1:1: empty parts, `.` and `..` are not allowed",
        "a%0Ab:1:1: its name holds a control character",
        "a%5Cb:1:1: it holds a control character or a backslash",
        "%FF%FE:1:1: its name is not UTF-8",
        "a%1B%5B31m:1:1: its name holds a control character",
        ".GIT:1:1: its name is reserved by Git",
        "%2E:1:1: empty parts, `.` and `..` are not allowed",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_files_are_refused_at_once() {
    let repository = Repository::new();
    let blob = repository.blob(b"x");
    let names: Vec<String> = (0..100_000).map(|number| format!("f{number:06}")).collect();
    let entries: Vec<(&str, &str, &[u8])> =
        names.iter().map(|name| ("100644", &*blob, name.as_bytes())).collect();
    repository.commit_tree(&entries);
    let begin = Instant::now();
    let error = refused(&repository, Limits::default()).await;
    assert!(error.to_string().contains("with it there are more than 20000 files or folders"), "{error}");
    assert!(begin.elapsed().as_secs() < 60);
}

#[tokio::test]
async fn a_tree_that_holds_itself_many_times_is_refused() {
    let repository = Repository::new();
    let mut tree = repository.tree(&[("100644", &repository.blob(b"x"), b"x")]);
    for _ in 0..20 {
        let entries: Vec<Vec<u8>> = (0..10).map(|number| format!("d{number}").into_bytes()).collect();
        let entries: Vec<(&str, &str, &[u8])> =
            entries.iter().map(|name| ("40000", &*tree, &**name)).collect();
        tree = repository.tree(&entries);
    }
    repository.commit_tree(&[("40000", &tree, b"bomb")]);
    let error = refused(&repository, Limits::default()).await;
    assert!(error.to_string().contains("with it there are more than 20000 files or folders"), "{error}");
}

#[tokio::test]
async fn folders_that_are_too_deep_and_paths_that_are_too_long_are_refused() {
    let repository = Repository::new();
    let blob = repository.blob(b"x");
    let mut tree = repository.tree(&[("100644", &blob, b"x")]);
    for _ in 0..40 {
        tree = repository.tree(&[("40000", &tree, b"d")]);
    }
    repository.commit_tree(&[("40000", &tree, b"d"), ("100644", &blob, &[b'n'; 2000])]);
    let text = reasons(&repository).await.join("\n");
    assert!(text.contains("it is deeper than 32 folders"), "{text}");
    assert!(text.contains("its path is longer than 1024 bytes"), "{text}");
}

#[tokio::test]
async fn a_file_of_a_hundred_megabytes_is_listed_and_never_read() {
    let repository = Repository::new();
    let blob = repository.blob(&vec![0; 100 << 20]);
    repository.commit_tree(&[("100644", &blob, b"large"), ("100644", &repository.blob(b"x"), b"small")]);
    repository.git(&["repack", "-qad"]);
    let snapshot = repository.source().fetch().await.unwrap();
    let error = snapshot.files.read(&"large".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read `large`: it has 104857600 bytes, more than the 8388608 that are allowed"
    );
    assert_eq!(&*snapshot.files.read(&"small".parse().unwrap()).unwrap(), b"x");
}

#[tokio::test]
async fn all_that_is_read_of_a_commit_is_bounded() {
    let repository = Repository::new();
    for name in ["a", "b", "c"] {
        repository.commit(name, &name.repeat(40), name);
    }
    let mut config = repository.config(Reference::Head);
    config.limits.total_bytes = 100;
    let snapshot = GitSource::open(config).unwrap().fetch().await.unwrap();
    let read = |path: &str| snapshot.files.read(&path.parse().unwrap());
    assert!(read("a").is_ok() && read("b").is_ok() && read("a").is_ok());
    let error = read("c").unwrap_err();
    assert_eq!(error.reason, "more than 100 bytes of this commit would be read");
}

#[tokio::test]
async fn a_subject_cannot_write_to_the_terminal() {
    let repository = Repository::new();
    repository.commit("a", "1", &format!("\u{1b}[2Jred \u{202e}evil {}", "x".repeat(300)));
    let subject = repository.source().fetch().await.unwrap().revision.subject;
    assert!(subject.starts_with("[2Jred evil xxx"), "{subject}");
    assert_eq!(subject.chars().count(), 201);
}

#[tokio::test]
async fn replacement_objects_are_ignored() {
    let repository = Repository::new();
    let commit = repository.commit("a", "true", "one");
    let blob = repository.git(&["rev-parse", "HEAD:a"]);
    let other = repository.blob(b"replaced");
    repository.git(&["replace", &blob, &other]);
    let snapshot = repository.source().fetch().await.unwrap();
    assert_eq!(snapshot.revision.commit, commit);
    assert_eq!(crate::repository::read(&snapshot, "a"), "true");
}
