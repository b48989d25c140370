use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use trueup_engine::Source;
use trueup_git::{Error, GitSource, Kind, Reference, SourceConfig};

use crate::{
    repository::{Repository, read},
    server::{ADVERTISEMENT, Server, TlsServer},
};

const TOKEN: &str = "tok-9f8e7d6c5b4a";
/// `Basic` of `bot:` and the token.
const LOGIN: &str = "Basic Ym90OnRvay05ZjhlN2Q2YzViNGE=";

fn config(url: &str, folder: &TempDir) -> SourceConfig {
    let reference = Reference::Branch("main".into());
    SourceConfig::new(url.parse().unwrap(), reference, folder.path().join("mirror"))
}

fn with_token(url: &str, folder: &TempDir, token: &str) -> SourceConfig {
    let token_file = folder.path().join("token");
    fs::write(&token_file, format!("{token}\n")).unwrap();
    SourceConfig { user: Some("bot".into()), token_file: Some(token_file), ..config(url, folder) }
}

fn generations(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join("mirror")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

/// Returns an error with everything that it prints.
fn printed(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.help());
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text} {error} {error:?}");
        next = error.source();
    }
    text
}

#[tokio::test]
async fn a_remote_is_fetched_and_then_only_what_is_new() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), Some(LOGIN));
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(with_token(&server.url(), &folder, TOKEN)).unwrap();
    let first = source.fetch().await.unwrap();
    assert_eq!(read(&first, "a"), "1");

    let head = repository.commit("a", "2", "two");
    assert_eq!(source.head().await.unwrap(), head);
    let before = server.requests.load(Ordering::SeqCst);
    assert_eq!(source.head().await.unwrap(), head);
    assert_eq!(server.requests.load(Ordering::SeqCst) - before, 2, "a poll costs two requests");
    let second = source.fetch().await.unwrap();
    assert_eq!(read(&second, "a"), "2");
    assert_eq!(second.revision.commit, head);
    assert_eq!(read(&source.snapshot_at(&first.revision.commit).await.unwrap(), "a"), "1");
    assert_eq!(generations(&folder), ["1.git"]);
    assert!(source.watch().unwrap().is_none());
}

#[tokio::test]
async fn a_question_without_a_trace_makes_no_mirror_and_brings_none_up_to_date() {
    let repository = Repository::new();
    let first = repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), None);
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    assert_eq!(source.peek().await.unwrap(), first);
    assert!(source.fetched().await.unwrap().is_none());
    assert!(!folder.path().join("mirror").exists());

    source.fetch().await.unwrap();
    let second = repository.commit("a", "2", "two");
    assert_eq!(source.peek().await.unwrap(), second);
    assert_eq!(source.fetched().await.unwrap().unwrap().revision.commit, first);
    let local = repository.source();
    assert_eq!(local.peek().await.unwrap(), second);
    assert_eq!(local.fetched().await.unwrap().unwrap().revision.commit, second);
}

#[tokio::test]
async fn the_head_is_known_before_anything_was_fetched() {
    let repository = Repository::new();
    let commit = repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), None);
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    assert_eq!(source.head().await.unwrap(), commit);
    assert!(generations(&folder).is_empty());
    assert!(matches!(source.snapshot_at(&commit).await, Err(Error::OpenRepository { .. })));
}

#[tokio::test]
async fn tags_and_the_default_branch_of_a_remote_are_followed() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    repository.git(&["tag", "-a", "v1", "-m", "first"]);
    repository.commit("a", "2", "two");
    let server = Server::git(&repository.path().join(".git"), None);
    for (reference, content) in [(Reference::Tag("v1".into()), "1"), (Reference::Head, "2")] {
        let folder = tempfile::tempdir().unwrap();
        let source = GitSource::open(SourceConfig { reference, ..config(&server.url(), &folder) }).unwrap();
        let snapshot = source.fetch().await.unwrap();
        assert_eq!(read(&snapshot, "a"), content);
        assert_eq!(source.head().await.unwrap(), snapshot.revision.commit);
    }
}

#[tokio::test]
async fn a_forced_push_and_a_moved_tag_are_followed() {
    let repository = Repository::new();
    let first = repository.commit("a", "1", "one");
    repository.commit("a", "2", "two");
    repository.git(&["tag", "v1"]);
    let server = Server::git(&repository.path().join(".git"), None);
    let (folder, tags) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    let tag = Reference::Tag("v1".into());
    let tagged = GitSource::open(SourceConfig { reference: tag, ..config(&server.url(), &tags) }).unwrap();
    source.fetch().await.unwrap();
    tagged.fetch().await.unwrap();
    repository.git(&["reset", "-q", "--hard", &first]);
    repository.commit("a", "3", "rewritten");
    repository.git(&["tag", "-f", "v1"]);
    assert_eq!(read(&source.fetch().await.unwrap(), "a"), "3");
    assert_eq!(read(&tagged.fetch().await.unwrap(), "a"), "3");
}

#[tokio::test]
async fn a_mirror_with_many_packs_is_written_anew_under_its_readers() {
    let repository = Repository::new();
    repository.commit("a", "0", "zero");
    let server = Server::git(&repository.path().join(".git"), None);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server.url(), &folder);
    config.limits.packs = 4;
    let source = GitSource::open(config).unwrap();
    let first = source.fetch().await.unwrap();
    for number in 1..=8 {
        repository.commit("a", &number.to_string(), "more");
        assert_eq!(read(&source.fetch().await.unwrap(), "a"), number.to_string());
    }
    let kept = generations(&folder);
    assert!(kept.contains(&"1.git".into()) && kept.len() == 2, "the first is still read: {kept:?}");
    assert_eq!(read(&first, "a"), "0");
    drop(first);
    source.fetch().await.unwrap();
    assert_eq!(generations(&folder).len(), 1);
}

#[tokio::test]
async fn a_broken_mirror_and_what_a_crash_left_are_replaced() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), None);
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    source.fetch().await.unwrap();
    let mirror = folder.path().join("mirror");
    fs::create_dir(mirror.join("7.part")).unwrap();
    for (number, broken) in [(1, "objects/pack"), (2, "HEAD"), (3, "objects")] {
        let broken = mirror.join(format!("{number}.git")).join(broken);
        let removed = if broken.is_dir() { fs::remove_dir_all(broken) } else { fs::remove_file(broken) };
        removed.unwrap();
        assert_eq!(read(&source.fetch().await.unwrap(), "a"), "1");
    }
    source.fetch().await.unwrap();
    assert_eq!(generations(&folder), ["4.git"]);
}

#[tokio::test]
async fn a_wrong_token_is_told_without_the_token_and_a_new_one_is_read() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), Some(LOGIN));
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(with_token(&server.url(), &folder, "wrong-0123456789")).unwrap();
    let error = source.fetch().await.err().unwrap();
    assert!(matches!(error, Error::Authenticate { token_file: Some(_), .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Config);
    assert!(!printed(&error).contains("wrong-0123"));

    fs::write(folder.path().join("token"), TOKEN).unwrap();
    source.fetch().await.unwrap();
    for entry in walk(&folder.path().join("mirror")) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!contains(&bytes, TOKEN.as_bytes()), "{}", entry.display());
        assert!(!contains(&bytes, LOGIN.as_bytes()), "{}", entry.display());
    }

    fs::remove_file(folder.path().join("token")).unwrap();
    assert!(matches!(source.fetch().await, Err(Error::ReadToken { .. })));
    fs::write(folder.path().join("token"), "a\nb").unwrap();
    assert!(matches!(source.fetch().await, Err(Error::ReadToken { .. })));
}

fn walk(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_server_that_wants_a_login_is_told_when_there_is_no_token() {
    let repository = Repository::new();
    repository.commit("a", "1", "one");
    let server = Server::git(&repository.path().join(".git"), Some(LOGIN));
    let folder = tempfile::tempdir().unwrap();
    let error = GitSource::open(config(&server.url(), &folder)).unwrap().fetch().await.err().unwrap();
    assert!(matches!(error, Error::Authenticate { token_file: None, .. }), "{error:?}");
    assert!(error.help().unwrap().contains("tokenFile"));
}

#[tokio::test]
async fn an_authority_of_the_operator_is_trusted_and_no_other() {
    let repository = Repository::new();
    let commit = repository.commit("a", "1", "one");
    let server = TlsServer::git(&repository.path().join(".git"));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://{}/repository.git", server.address);
    let unknown = GitSource::open(config(&url, &folder)).unwrap().fetch().await.err().unwrap();
    assert!(printed(&unknown).contains("certificate"), "{}", printed(&unknown));

    let ca_file = Some(server.authority.clone());
    let source = GitSource::open(SourceConfig { ca_file, ..with_token(&url, &folder, TOKEN) }).unwrap();
    assert_eq!(source.fetch().await.unwrap().revision.commit, commit);

    let broken = folder.path().join("broken.pem");
    for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&broken, content).unwrap();
        let ca_file = Some(broken.clone());
        let source = GitSource::open(SourceConfig { ca_file, ..config(&url, &folder) }).unwrap();
        let error = source.fetch().await.err().unwrap();
        assert_eq!(error.kind(), Kind::Config, "{}", printed(&error));
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_gets_no_token() {
    let elsewhere = Server::new(|_, _| {});
    let target = elsewhere.url();
    let server = Server::new(move |request, stream| {
        let path = request.path.trim_start_matches("/repository.git");
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {target}{path}?service=git-upload-pack\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    });
    let folder = tempfile::tempdir().unwrap();
    for config in [with_token(&server.url(), &folder, TOKEN), config(&server.url(), &folder)] {
        let error = GitSource::open(config).unwrap().fetch().await.err().unwrap();
        assert!(matches!(error, Error::RefuseRedirect { .. }), "{error:?}");
    }
    assert_eq!(elsewhere.requests.load(Ordering::SeqCst), 0);
    assert_eq!(*server.logins.lock().unwrap(), [LOGIN]);
}

/// Sends a byte now and then, so that the line is never silent.
fn drip(stream: &mut TcpStream) {
    for byte in b"001e# service=git-upload-pack\n0000".iter().cycle() {
        thread::sleep(Duration::from_millis(50));
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// Fetches from a hostile server, with little time, and returns the error and how long it took.
async fn hostile(server: &Server) -> (Error, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server.url(), &folder);
    config.limits.idle_time = Duration::from_secs(1);
    config.limits.fetch_time = Duration::from_secs(2);
    config.limits.fetch_bytes = 1 << 20;
    let source = GitSource::open(config).unwrap();
    let begin = Instant::now();
    let error = source.fetch().await.err().expect("it fails");
    assert!(generations(&folder).iter().all(|name| name.contains(".part")), "no generation is made");
    (error, begin.elapsed())
}

#[tokio::test]
async fn a_server_that_never_answers_is_left() {
    let server = Server::new(|_, _| thread::park());
    let (error, time) = hostile(&server).await;
    assert!(printed(&error).contains("timed out"), "{error:?}");
    assert_eq!(error.kind(), Kind::Target);
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[tokio::test]
async fn a_server_that_drips_is_left_at_the_deadline() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(ADVERTISEMENT.as_bytes());
        drip(stream);
    });
    let (error, time) = hostile(&server).await;
    assert_eq!(error.to_string(), format!("fetch `{}`: no end after 2 s", server.url()));
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[tokio::test]
async fn a_server_that_sends_without_end_is_left_at_the_byte_limit() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(ADVERTISEMENT.as_bytes());
        let _ = stream.write_all(b"001e# service=git-upload-pack\n0000000eversion 2\n");
        let line = format!("{:04x}{}\n", 1005, "x".repeat(1000));
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let (error, _) = hostile(&server).await;
    assert!(matches!(error, Error::ExceedBytes { limit: 0x0010_0000, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_git_is_told() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "\x00\x01garbage",
        "",
    ] {
        let server = Server::new(move |_, stream| drop(stream.write_all(answer.as_bytes())));
        let (error, time) = hostile(&server).await;
        assert!(matches!(error, Error::Fetch { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Target);
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
    let server = Server::new(|_, stream| {
        let _ = write!(stream, "{ADVERTISEMENT}zzzzgarbage");
    });
    assert!(matches!(hostile(&server).await.0, Error::Fetch { .. }));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&format!("http://{port}/x.git"), &folder)).unwrap();
    let error = source.fetch().await.err().unwrap();
    assert_eq!(error.to_string(), format!("fetch `http://{port}/x.git`"));
    assert_eq!(error.kind(), Kind::Target);
    assert!(printed(&error).contains("refused"), "{}", printed(&error));
}

#[tokio::test]
async fn a_branch_that_the_remote_does_not_have_is_told() {
    let repository = Repository::new();
    let server = Server::git(&repository.path().join(".git"), None);
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    assert!(matches!(source.fetch().await, Err(Error::FindReference { .. })));
    repository.commit("a", "1", "one");
    source.fetch().await.unwrap();
    repository.git(&["checkout", "-q", "-b", "other"]);
    repository.git(&["branch", "-D", "main"]);
    let error = source.fetch().await.err().unwrap();
    assert_eq!(error.to_string(), format!("find `main` in `{}`", server.url()));
    assert!(matches!(source.head().await, Err(Error::FindReference { .. })));
}

#[tokio::test]
async fn an_abandoned_fetch_ends() {
    let server = Server::new(|_, stream| {
        let _ = stream.write_all(ADVERTISEMENT.as_bytes());
        drip(stream);
    });
    let folder = tempfile::tempdir().unwrap();
    let source = GitSource::open(config(&server.url(), &folder)).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), source.fetch()).await.is_err());
    // The mirror is free again soon, although the source's own limit is minutes away.
    let again = GitSource::open(config(&server.url(), &folder)).unwrap();
    let begin = Instant::now();
    drop(tokio::time::timeout(Duration::from_millis(300), again.fetch()).await);
    assert!(begin.elapsed() < Duration::from_mins(1));
}
