//! Every mistake that a manifest can hold, and the report that it leads to.
//!
//! A case is a file or a folder in `tests/malformed`: it is laid over the good repository in
//! `tests/base`. The first line of a file says where it goes (`# at: components/web.yaml`). Next to it
//! stands `<case>.expected`, the whole printed report. `UPDATE_EXPECTED=1` writes what is printed now.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::disallowed_methods, reason = "the cases are files; the crate itself reads none")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use trueup_schema::{Limits, RepoPath, Revision, Snapshot, load, snapshot::MemoryFiles};

type Tree = BTreeMap<RepoPath, Vec<u8>>;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn read_tree(root: &Path, at: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_tree(root, &path, tree);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            tree.insert(name.parse().unwrap(), fs::read(&path).unwrap());
        }
    }
}

fn base() -> Tree {
    let mut tree = Tree::new();
    read_tree(&folder("base"), &folder("base"), &mut tree);
    tree
}

fn report(tree: Tree) -> String {
    let files: MemoryFiles = tree.into_iter().map(|(path, bytes)| (path, Arc::from(bytes))).collect();
    let revision = Revision {
        commit: "0".repeat(40),
        reference: "main".into(),
        author: "test".into(),
        subject: "test".into(),
        time: jiff::Timestamp::UNIX_EPOCH,
    };
    let snapshot = Snapshot { revision, files: Arc::new(files) };
    let report = match load(&snapshot, &Limits::default()) {
        Ok(catalogue) => catalogue.validate(),
        Err(report) => report,
    };
    format!("{report}\n")
}

/// Cases that no text file can hold, or that are too large for one.
fn generated() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let component = |spec: &str| {
        format!("apiVersion: trueup.dev/v1\nkind: Component\nmetadata: {{name: web}}\nspec:\n{spec}")
            .into_bytes()
    };
    let web = "components/web.yaml";
    let mut invalid = component("  image: a\n  version: ");
    invalid.extend([b'1', 0xff, b'\n']);
    let bomb: Vec<String> =
        (1..20).map(|n| format!("  l{n}: &l{n} [{}]", vec![format!("*l{}", n - 1); 9].join(", "))).collect();
    let deep: Vec<String> = (0..60).map(|n| format!("{}a:", " ".repeat(n))).collect();
    vec![
        ("00-line-of-20-mb", web, component(&format!("  image: {}\n", "a".repeat(20 << 20)))),
        ("00-line-within-limits", web, component(&format!("  imag: {}\n", "a".repeat(500_000)))),
        ("00-invalid-utf-8", web, invalid),
        ("00-nul", web, component("  image: a\n  version: \"1\0\"\n")),
        ("00-bom-inside", web, component("  image: a\n  \u{feff}version: \"1\"\n")),
        ("00-deep-flow", web, component(&format!("  env: {}{}\n", "[".repeat(5000), "]".repeat(5000)))),
        ("00-deep-block", web, deep.join("\n").into_bytes()),
        ("00-bomb", web, component(&format!("  l0: &l0 [x, x, x]\n{}\n", bomb.join("\n")))),
        ("00-many-nodes", web, component(&format!("  args: [{}]\n", "a, ".repeat(60_000)))),
        ("00-escape-sequence", web, component("  image: \"a\\u001b[31m\"\n")),
        ("00-empty", web, Vec::new()),
        ("00-only-a-comment", web, b"# nothing\n".to_vec()),
    ]
}

fn cases() -> BTreeMap<String, Tree> {
    let mut cases = BTreeMap::new();
    for (name, path, bytes) in generated() {
        let mut tree = base();
        tree.insert(path.parse().unwrap(), bytes);
        cases.insert(name.to_owned(), tree);
    }
    for entry in fs::read_dir(folder("malformed")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut tree = base();
        if path.is_dir() {
            read_tree(&path, &path, &mut tree);
            tree.retain(|_, bytes| bytes != b"# removed\n");
        } else if path.extension().is_some_and(|extension| extension == "expected") {
            continue;
        } else {
            let bytes = fs::read(&path).unwrap();
            let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let at = std::str::from_utf8(first).unwrap().strip_prefix("# at: ");
            let at = at.unwrap_or_else(|| panic!("{name}: the first line is `# at: PATH`"));
            tree.insert(at.parse().unwrap(), bytes);
        }
        cases.insert(name, tree);
    }
    cases
}

#[test]
fn the_base_has_no_mistake() {
    assert_eq!(report(base()), "0 errors, 0 warnings in 5 files\n");
}

#[test]
fn every_mistake_is_reported_at_its_place_with_its_fix() {
    let update = env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 60, "there are only {} cases", cases.len());
    for (name, tree) in cases {
        let printed = report(tree);
        assert!(!printed.starts_with("0 errors, 0 warnings"), "{name}: nothing is reported");
        let file = folder("malformed").join(format!("{name}.expected"));
        if update {
            fs::write(&file, &printed).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if printed != expected {
            wrong.push(format!("{name}\n--- expected\n{expected}\n+++ printed\n{printed}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} cases differ; to accept: UPDATE_EXPECTED=1 cargo test -p trueup-schema --test malformed",
        wrong.join("\n\n"),
        wrong.len()
    );
}
