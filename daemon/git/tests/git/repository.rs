//! A repository made by the `git` program in a folder of its own.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use trueup_git::{GitSource, Location, Reference, SourceConfig};
use trueup_schema::Snapshot;

pub(crate) struct Repository {
    pub(crate) folder: TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self::with(&["init", "-q", "-b", "main"])
    }

    pub(crate) fn bare() -> Self {
        Self::with(&["init", "-q", "-b", "main", "--bare"])
    }

    fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), arguments);
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments)
    }

    /// Writes a file, which is not committed.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let full = self.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, content).unwrap();
    }

    /// Writes a file and commits it; returns the commit's id.
    pub(crate) fn commit(&self, path: &str, content: &str, message: &str) -> String {
        self.write(path, content);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes a tree of entries `<mode> <type> <id>\t<name>` and a commit of it on `main`.
    pub(crate) fn commit_tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let tree = self.tree(entries);
        let commit = self.git(&["commit-tree", "-m", "hostile", &tree]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit
    }

    /// Makes a tree object as it is given, without the checks that `git` makes.
    pub(crate) fn tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut tree = Vec::new();
        for (mode, id, name) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
        }
        self.object("tree", &tree)
    }

    pub(crate) fn blob(&self, content: &[u8]) -> String {
        self.object("blob", content)
    }

    fn object(&self, kind: &str, content: &[u8]) -> String {
        let arguments = ["hash-object", "-t", kind, "-w", "--stdin", "--literally"];
        let mut child = command(self.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        text(&child.wait_with_output().unwrap().stdout)
    }

    pub(crate) fn source(&self) -> GitSource {
        self.source_of(Reference::Branch("main".into()))
    }

    pub(crate) fn source_of(&self, reference: Reference) -> GitSource {
        GitSource::open(self.config(reference)).unwrap()
    }

    pub(crate) fn config(&self, reference: Reference) -> SourceConfig {
        SourceConfig::new(Location::Local(self.path().into()), reference, PathBuf::new())
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_DATE", "2026-11-22T10:00:00Z");
    command
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Reads a file of a snapshot.
pub(crate) fn read(snapshot: &Snapshot, path: &str) -> String {
    let bytes = snapshot.files.read(&path.parse().unwrap()).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the paths of a snapshot.
pub(crate) fn paths(snapshot: &Snapshot) -> Vec<String> {
    snapshot.files.root().list().keys().map(ToString::to_string).collect()
}
