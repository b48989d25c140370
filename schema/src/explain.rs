//! Where a value came from: the file and line of every layer that had a say.
//!
//! What is shown is what [`Catalogue::resolve`] decided; the layers are read from the manifests again.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::{
    Catalogue, ComponentName, EnvironmentName, Place, Report, Resolved,
    conform::entry_key,
    document::Kind,
    shape::Shape,
    suggest,
    yaml::{Mark, Node},
};

/// One value and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The path that was asked for: `postgresql.resources.memory`.
    pub path: String,
    /// The value in the resolved environment; null when it is not set.
    pub value: Value,
    /// What the field is for, from the schema.
    pub description: String,
    /// The layers that it came through, the deciding one last.
    pub layers: Vec<Layer>,
}

/// One layer that a value came through.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Which layer.
    pub kind: LayerKind,
    /// What it says.
    pub value: Value,
    /// Where; none for a documented default and for what was computed.
    pub place: Option<Place>,
}

/// Where a value can come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerKind {
    /// Nobody wrote it: the documented default.
    Default,
    /// The Component of the catalogue.
    Component,
    /// The environment's patch.
    Patch,
    /// The Environment itself.
    Environment,
    /// What an expression was computed to.
    Computed,
}

/// Why a value cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The environment has problems.
    #[error("{0}")]
    Resolve(Report),
    /// There is no such value.
    #[error("`{path}` does not exist in the environment `{environment}`")]
    UnknownPath {
        /// The environment.
        environment: EnvironmentName,
        /// What was asked for.
        path: String,
        /// What may have been meant: "did you mean ..." and what there is.
        help: String,
    },
}

/// Returns where the value at `path` came from: `<component>.<field>` or `environment.<field>`.
///
/// The path is written as places are: `web.ports[http].publish`.
pub fn explain(
    catalogue: &Catalogue,
    environment: &EnvironmentName,
    path: &str,
) -> Result<Explanation, ExplainError> {
    let resolved = catalogue.resolve(environment).map_err(ExplainError::Resolve)?;
    let unknown = |help: String| ExplainError::UnknownPath {
        environment: environment.clone(),
        path: path.to_owned(),
        help,
    };
    let (first, rest) = path.split_once(['.', '[']).unwrap_or((path, ""));
    let rest = if path[first.len()..].starts_with('[') { &path[first.len()..] } else { rest };
    let subject =
        Subject::find(catalogue, &resolved, first).ok_or_else(|| unknown(roots(&resolved, first)))?;
    let found = walk(&subject.value, subject.shape, rest).map_err(|help| unknown(help.under(first)))?;
    let layers = subject.layers(&found);
    let description = found.description;
    Ok(Explanation { path: path.to_owned(), value: found.value, description, layers })
}

fn roots(resolved: &Resolved, first: &str) -> String {
    let names = resolved.components.keys().map(ComponentName::as_str).chain(["environment"]);
    suggest::choose(first, "paths start with", names)
}

/// One document of the environment with its layers.
struct Subject<'a> {
    value: Value,
    shape: &'a Shape,
    layers: Vec<(LayerKind, &'a Node, &'a Mark)>,
}

impl<'a> Subject<'a> {
    fn find(catalogue: &'a Catalogue, resolved: &Resolved, first: &str) -> Option<Self> {
        let environment = catalogue.environment(&resolved.name)?.document.as_deref()?;
        let json = |value: serde_json::Result<Value>| value.expect("every part of it has text keys");
        if let Some(component) = resolved.components.get(first) {
            let document = catalogue.components().get(first)?.document.as_deref()?;
            let mut layers = vec![(LayerKind::Component, &document.spec, &document.spec_mark)];
            if let Some(patch) = environment.spec.get("patches").and_then(|patches| patches.entry(first)) {
                layers.push((LayerKind::Patch, &patch.node, &patch.key_mark));
            }
            let shape = catalogue.shapes.spec(Kind::Component);
            return Some(Self { value: json(serde_json::to_value(&component.spec)), shape, layers });
        }
        (first == "environment").then(|| Self {
            value: json(serde_json::to_value(&resolved.spec)),
            shape: catalogue.shapes.spec(Kind::Environment),
            layers: vec![(LayerKind::Environment, &environment.spec, &environment.spec_mark)],
        })
    }

    fn layers(&self, found: &Found<'_>) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        for (kind, node, mark) in &self.layers {
            if let Some((node, mark)) = descend(node, mark, self.shape, &found.steps) {
                layers.push(Layer { kind: *kind, value: node.to_json(), place: Some(mark.place()) });
            }
        }
        match layers.last() {
            None => layers.push(Layer { kind: LayerKind::Default, value: found.value.clone(), place: None }),
            Some(last) if last.value.is_null() => {
                layers.push(Layer { kind: LayerKind::Default, value: found.value.clone(), place: None });
            }
            Some(last) if last.value.as_str().is_some_and(|text| text.contains("${")) => {
                layers.push(Layer { kind: LayerKind::Computed, value: found.value.clone(), place: None });
            }
            Some(_) => {}
        }
        layers
    }
}

/// One step of a path.
enum Step {
    Key(String),
    Item(String),
}

struct Found<'a> {
    value: Value,
    description: String,
    steps: Vec<Step>,
    shape: &'a Shape,
}

/// What there is instead of a step that does not exist.
struct Missing {
    /// The path up to the step.
    before: String,
    wanted: String,
    names: Vec<String>,
}

impl Missing {
    fn under(self, first: &str) -> String {
        let inside =
            if self.before.is_empty() { first.to_owned() } else { format!("{first}.{}", self.before) };
        let what = format!("values of `{inside}`");
        suggest::choose(&self.wanted, &what, self.names.iter().map(String::as_str))
    }
}

/// Follows a path through a value and its shape.
fn walk<'a>(value: &Value, shape: &'a Shape, path: &str) -> Result<Found<'a>, Missing> {
    let mut found = Found { value: value.clone(), description: String::new(), steps: Vec::new(), shape };
    let mut rest = path;
    while !rest.is_empty() {
        let before = path[..path.len() - rest.len()].trim_end_matches('.').to_owned();
        rest = rest.strip_prefix('.').unwrap_or(rest);
        rest = match rest.strip_prefix('[') {
            Some(inside) => item(&mut found, inside, before)?,
            None => key(&mut found, rest, before)?,
        };
    }
    Ok(found)
}

fn item<'p>(found: &mut Found<'_>, inside: &'p str, before: String) -> Result<&'p str, Missing> {
    let (wanted, rest) = inside.split_once(']').unwrap_or((inside, ""));
    let (keys, shape): (&[String], &Shape) = match found.shape {
        Shape::List(list) => (&list.key, &list.items),
        _ => (&[], &Shape::Any),
    };
    let names: Vec<String> = found
        .value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(number, item)| {
            let parts: Option<Vec<&str>> = keys.iter().map(|key| item.get(key)?.as_str()).collect();
            parts.filter(|parts| !parts.is_empty()).map_or(number.to_string(), |parts| parts.join(":"))
        })
        .collect();
    let Some(at) = names.iter().position(|name| name == wanted) else {
        return Err(Missing { before, wanted: wanted.to_owned(), names });
    };
    found.value = found.value[at].take();
    found.shape = shape;
    found.steps.push(Step::Item(wanted.to_owned()));
    Ok(rest)
}

fn key<'p>(found: &mut Found<'_>, rest: &'p str, before: String) -> Result<&'p str, Missing> {
    let mut names: Vec<String> =
        found.value.as_object().into_iter().flat_map(serde_json::Map::keys).cloned().collect();
    if let Shape::Fields(fields) = found.shape {
        names.extend(fields.0.keys().cloned());
    }
    names.sort();
    names.dedup();
    let at_end = |after: &str| after.is_empty() || after.starts_with(['.', '[']);
    let fits = |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(at_end);
    // A key may hold dots itself: the longest one that fits is meant.
    let Some(name) = names.iter().filter(fits).max_by_key(|name| name.len()) else {
        let wanted = rest.split(['.', '[']).next().unwrap_or(rest).to_owned();
        return Err(Missing { before, wanted, names });
    };
    found.value = found.value.get_mut(name).map(Value::take).unwrap_or_default();
    if let Shape::Fields(fields) = found.shape {
        found.description = fields.0.get(name).map(|field| field.description.clone()).unwrap_or_default();
    }
    found.shape = found.shape.at(name).unwrap_or(&Shape::Any);
    found.steps.push(Step::Key(name.clone()));
    Ok(&rest[name.len()..])
}

fn descend<'a>(
    node: &'a Node,
    mark: &'a Mark,
    shape: &Shape,
    steps: &[Step],
) -> Option<(&'a Node, &'a Mark)> {
    let Some((step, rest)) = steps.split_first() else { return Some((node, mark)) };
    match step {
        Step::Key(key) => {
            let entry = node.entry(key)?;
            descend(&entry.node, entry.mark(), shape.at(key).unwrap_or(&Shape::Any), rest)
        }
        Step::Item(name) => {
            let (keys, inside): (&[String], &Shape) = match shape {
                Shape::List(list) => (&list.key, &list.items),
                _ => (&[], &Shape::Any),
            };
            let named = |item: &&Node| entry_key(item, keys).as_ref() == Some(name);
            let item =
                node.items().iter().find(named).or_else(|| node.items().get(name.parse::<usize>().ok()?))?;
            descend(item, &item.mark, inside, rest)
        }
    }
}

/// Returns a value in one line, as it would be written in a manifest.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::Component => "component",
            Self::Patch => "patch",
            Self::Environment => "environment",
            Self::Computed => "computed",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} = {}", self.path, inline(&self.value))?;
        let said = |layer: &Layer| match (layer.kind, &layer.value) {
            (LayerKind::Patch, Value::Null) => "null, which deletes it".to_owned(),
            (_, value) => inline(value),
        };
        let widest = self.layers.iter().map(|layer| said(layer).chars().count()).max().unwrap_or(0).min(60);
        for layer in &self.layers {
            write!(f, "  {:<11}  ", layer.kind)?;
            match &layer.place {
                Some(place) => writeln!(f, "{:<widest$}  {place}", said(layer))?,
                None => writeln!(f, "{}", said(layer))?,
            }
        }
        if !self.description.is_empty() {
            writeln!(f, "  {}", self.description.lines().next().unwrap_or_default())?;
        }
        Ok(())
    }
}
