//! Plain manifests: the objects of a cluster as they are written, each with its places.
//!
//! Nothing in them is computed, and nothing but their identity is understood here: what a kind is, only its cluster
//! knows.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Files, Limits, Place, Places, RepoPath,
    located::{Findings, Located},
    shape::Shape,
    snapshot::{Entry, Folder},
    yaml::{self, Mark, Node},
};

/// One object of a plain manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlainObject {
    /// The object as it was written; it has `apiVersion`, `kind` and `metadata.name`.
    #[serde(flatten)]
    pub object: serde_json::Value,
    /// Where its values were written.
    #[serde(skip)]
    pub places: Places,
}

/// What the `manifests` of an environment hold.
#[derive(Default)]
pub(crate) struct Objects {
    pub(crate) objects: Vec<PlainObject>,
    /// The files that were read.
    pub(crate) files: Vec<RepoPath>,
}

/// The extensions of files that are read in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A definition of a kind lies deeper and is larger than any manifest of our own.
const DEPTH: usize = 100;
const NODES: usize = 500_000;

/// Reads every file that is named, and those of every folder that is.
pub(crate) fn read(
    manifests: &[RepoPath],
    files: &dyn Files,
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Objects {
    let limits = Limits { manifest_bytes: limits.object_bytes, depth: DEPTH, nodes: NODES, ..limits.clone() };
    let mut reading = Reading { limits, found: Objects::default(), bytes: 0, first: BTreeMap::new() };
    for (number, path) in manifests.iter().enumerate() {
        let named = format!("manifests[{number}]");
        let inside = files_at(files.root(), path);
        if inside.is_empty() {
            let help = "name a folder with `.yaml`, `.yml` or `.json` files, or one file, from the repository's root";
            findings.error(&named, format!("`{path}` holds no manifests"), help);
        }
        for (path, entry) in inside {
            if reading.found.files.contains(&path) {
                let message = format!("`{path}` is named twice");
                findings.error(&named, message, "name each file once, by itself or by its folder");
            } else if reading.bytes + entry.size > reading.limits.total_bytes {
                let message = format!("the manifests have more than {} bytes", reading.limits.total_bytes);
                findings.error(&named, message, "make several environments of it");
            } else if entry.size > reading.limits.manifest_bytes {
                let most = reading.limits.manifest_bytes;
                let message = format!("`{path}` has {} bytes, {most} are read", entry.size);
                findings.error(&named, message, "split it into several files");
            } else {
                reading.bytes += entry.size;
                match files.read(&path) {
                    Ok(bytes) => reading.file(&path, &bytes, findings),
                    Err(error) => findings.error(&named, error.to_string(), "commit it again"),
                }
            }
        }
    }
    reading.found
}

/// Returns the manifests at a path: the file itself, or those in a folder and below.
fn files_at(root: &Folder, path: &RepoPath) -> Vec<(RepoPath, Entry)> {
    if let Some(entry) = root.get(path) {
        return vec![(path.clone(), entry.clone())];
    }
    let listed = root.folder(path).map(|folder| folder.list()).unwrap_or_default();
    let manifests = listed.into_iter().filter(|(inner, _)| EXTENSIONS.iter().any(|e| inner.has_extension(e)));
    manifests
        .filter_map(|(inner, entry)| Some((format!("{path}/{inner}").parse().ok()?, entry.clone())))
        .collect()
}

struct Reading {
    limits: Limits,
    found: Objects,
    bytes: u64,
    /// Where each object was declared first.
    first: BTreeMap<String, Place>,
}

impl Reading {
    fn file(&mut self, path: &RepoPath, bytes: &[u8], findings: &mut Findings<'_>) {
        self.found.files.push(path.clone());
        let (nodes, problems) = yaml::read(path, bytes, &self.limits);
        findings.problems.extend(problems);
        for node in nodes.iter().filter(|node| !node.is_null()) {
            let is_list = node.get("kind").and_then(Node::as_text).is_some_and(|kind| kind == "List");
            match node.get("items").filter(|_| is_list) {
                Some(items) => items.items().iter().for_each(|item| self.object(item, findings)),
                None => self.object(node, findings),
            }
        }
    }

    fn object(&mut self, node: &Node, findings: &mut Findings<'_>) {
        let Some(identity) = identity(node, findings) else { return };
        if let Some(first) = self.first.get(&identity) {
            let message = format!("`{identity}` is declared twice");
            findings.problems.push(node.mark.error(message, format!("the first one is at {first}")));
            return;
        }
        self.first.insert(identity, node.mark.place());
        let places = Located::of(node, &Shape::Any, &node.mark).places();
        self.found.objects.push(PlainObject { object: node.to_json(), places });
    }
}

/// Returns whether a name can be part of an address. Source: `IsValidPathSegmentName` of Kubernetes.
fn is_name(name: &str) -> bool {
    name.len() <= 253 && !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

/// Returns what no two objects may have in common, or says what is missing.
fn identity(node: &Node, findings: &mut Findings<'_>) -> Option<String> {
    let mut wrong = |mark: &Mark, message: &str, help: &str| {
        findings.problems.push(mark.error(message, help.to_owned()));
        None
    };
    let text =
        |path: [&str; 2]| node.get(path[0]).and_then(|inner| inner.get(path[1])).and_then(Node::as_text);
    let Some(version) = node.get("apiVersion").and_then(Node::as_text) else {
        return wrong(
            &node.mark,
            "an object needs an `apiVersion`",
            "write it as its documentation does: `apps/v1`",
        );
    };
    let Some(kind) = node.get("kind").and_then(Node::as_text) else {
        return wrong(
            &node.mark,
            "an object needs a `kind`",
            "write it as its documentation does: `ConfigMap`",
        );
    };
    let metadata = node.entry("metadata").map_or(&node.mark, |entry| entry.mark());
    if text(["metadata", "generateName"]).is_some() {
        return wrong(metadata, "an object with `generateName` is another one each time", "write `name`");
    }
    let Some(name) = text(["metadata", "name"]).filter(|name| !name.is_empty()) else {
        return wrong(metadata, "an object needs a `metadata.name`", "write `metadata: {name: ...}`");
    };
    let space = text(["metadata", "namespace"]);
    if !is_name(name) || space.is_some_and(|space| !is_name(space)) {
        let help = "write up to 253 characters, and no `/` and `%`";
        return wrong(metadata, "a name of an object is part of an address, which this one cannot be", help);
    }
    for map in ["labels", "annotations"] {
        let entry = node.get("metadata").and_then(|metadata| metadata.get(map));
        if entry.is_some_and(|entry| !matches!(entry.value, yaml::Value::Map(_) | yaml::Value::Null)) {
            return wrong(metadata, &format!("`metadata.{map}` is not a map"), "write `name: value` entries");
        }
    }
    if (version, kind) == ("v1", "Secret") {
        let help = "declare it among the `secrets` of a component, encrypted with `trueup secret edit`";
        return wrong(&node.mark, "a Secret in a plain manifest stands in Git for everybody to read", help);
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let namespace =
        text(["metadata", "namespace"]).map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    Some(format!("{kind} {namespace}{name}"))
}
