//! One manifest file: its documents, each of a known kind, and what is wrong with them.

use std::sync::Arc;

use crate::{
    ComponentName, EnvironmentName, Limits, Problem, RepoPath,
    conform::{Stage, conform},
    json_schema::kind_schema,
    manifest::{ComponentSpec, EnvironmentSpec, RepositorySpec},
    names::RepositoryName,
    shape::Shape,
    suggest,
    yaml::{self, Mark, Node, Value},
};

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Repository,
    Environment,
    Component,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Repository, Self::Environment, Self::Component];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repository => "Repository",
            Self::Environment => "Environment",
            Self::Component => "Component",
        }
    }

    /// Returns where documents of this kind belong.
    fn home(self) -> &'static str {
        match self {
            Self::Repository => "`trueup.yaml`",
            Self::Environment => "`environments/<name>/environment.yaml`",
            Self::Component => "`components/<name>.yaml`",
        }
    }
}

/// The forms of the three kinds.
#[derive(Debug)]
pub(crate) struct Shapes {
    repository: Shape,
    environment: Shape,
    component: Shape,
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            repository: Shape::of(&kind_schema::<RepositoryName, RepositorySpec>(Kind::Repository.name())),
            environment: Shape::of(&kind_schema::<EnvironmentName, EnvironmentSpec>(
                Kind::Environment.name(),
            )),
            component: Shape::of(&kind_schema::<ComponentName, ComponentSpec>(Kind::Component.name())),
        }
    }

    fn document(&self, kind: Kind) -> &Shape {
        match kind {
            Kind::Repository => &self.repository,
            Kind::Environment => &self.environment,
            Kind::Component => &self.component,
        }
    }

    /// Returns the form of the `spec` of a kind.
    pub(crate) fn spec(&self, kind: Kind) -> &Shape {
        self.document(kind).at("spec").expect("every kind has a spec")
    }
}

/// One document of the kind that its file is for.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    /// Where the name is written.
    pub(crate) name_mark: Mark,
    pub(crate) spec: Node,
    /// Where the `spec` key is written.
    pub(crate) spec_mark: Mark,
}

/// What a file was parsed to.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) path: RepoPath,
    pub(crate) documents: Vec<Arc<Document>>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a file whose documents have to be of one kind.
pub(crate) fn parse(path: &RepoPath, bytes: &[u8], kind: Kind, shapes: &Shapes, limits: &Limits) -> Parsed {
    let (nodes, mut problems) = yaml::read(path, bytes, limits);
    let mut documents = Vec::new();
    // A document of nothing is what `---` at the end of a file leaves behind.
    for node in nodes.into_iter().filter(|node| !node.is_null()) {
        if let Some(wrong) = wrong_kind(&node, kind) {
            problems.push(wrong);
            continue;
        }
        let stage = if kind == Kind::Component { Stage::Written } else { Stage::Complete };
        problems.extend(conform(&node, shapes.document(kind), stage, &node.mark));
        documents.extend(document(node).map(Arc::new));
    }
    if documents.is_empty() && problems.is_empty() {
        let source = Arc::new(yaml::Source { path: path.clone(), text: "".into() });
        let help =
            format!("write `apiVersion: {}` and `kind: {}`", crate::manifest::API_VERSION, kind.name());
        problems.push(Mark::start(&source).error("the file holds no document", help));
    }
    problems.truncate(limits.problems);
    Parsed { path: path.clone(), documents, problems }
}

fn wrong_kind(node: &Node, wanted: Kind) -> Option<Problem> {
    let entry = node.entry("kind")?;
    let written = entry.node.as_text()?;
    if written == wanted.name() {
        return None;
    }
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == written) else {
        let help = suggest::choose(written, "kinds", Kind::ALL.iter().map(|kind| kind.name()));
        return Some(entry.mark().error(format!("the kind `{written}` does not exist"), help));
    };
    let message = format!("this file is for kind `{}`, not `{written}`", wanted.name());
    Some(entry.mark().error(message, format!("`{written}` documents are in {}", kind.home())))
}

fn document(node: Node) -> Option<Document> {
    let name = node.get("metadata")?.entry("name")?;
    let (name, name_mark) = (name.node.as_text()?.to_owned(), name.mark().clone());
    let Value::Map(entries) = node.value else { return None };
    let spec = entries.into_iter().find(|entry| &*entry.key == "spec")?;
    Some(Document { name, name_mark, spec: spec.node, spec_mark: spec.key_mark })
}
