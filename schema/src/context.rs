//! What the expressions of one component can read.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::Value as Plain;

use crate::{
    Endpoint, EnvironmentName, Secret,
    conform::entry_key,
    expression::{Scope, Tree},
    manifest::{Bytes, Class, Cpu},
    shape::{Fields, ListShape, Shape},
    yaml::{Node, Value},
};

/// What is known of the environment while its components are computed.
pub(crate) struct Surroundings<'a> {
    pub(crate) name: &'a EnvironmentName,
    pub(crate) class: Class,
    pub(crate) domain: &'a str,
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// Which endpoints an expression may read.
pub(crate) enum Connects<'a> {
    /// Those of the component, and those that it declares and nobody offers.
    Declared(&'a [Endpoint], &'a [(String, String)]),
    /// None yet: they are only known once the ports of all components are.
    NotYet,
}

type Branch = Arc<Tree>;

/// Returns the scope of one component; `secrets` are its secrets by name, open or not.
pub(crate) fn scope(
    surroundings: &Surroundings<'_>,
    own: Branch,
    connects: &Connects<'_>,
    secrets: BTreeMap<String, Option<Secret<Vec<u8>>>>,
) -> Scope {
    let text = |value: &str| Arc::new(Tree::Plain(Plain::from(value)));
    let environment = BTreeMap::from([
        ("name".to_owned(), text(surroundings.name.as_str())),
        ("class".to_owned(), text(class_word(surroundings.class))),
        ("domain".to_owned(), text(surroundings.domain)),
    ]);
    let variables = surroundings.variables.iter().map(|(name, value)| (name.clone(), text(value)));
    let secrets = secrets.into_iter().map(|(name, secret)| (name, Arc::new(Tree::Secret(secret))));
    Scope::new(BTreeMap::from([
        ("environment".to_owned(), map("fields of an environment", environment)),
        ("variables".to_owned(), map("variables", variables.collect())),
        ("self".to_owned(), own),
        ("connects".to_owned(), endpoints(connects)),
        ("secrets".to_owned(), map("secrets of this component", secrets.collect())),
    ]))
}

fn class_word(class: Class) -> &'static str {
    match class {
        Class::Development => "development",
        Class::Staging => "staging",
        Class::Production => "production",
    }
}

fn map(what: &'static str, entries: BTreeMap<String, Branch>) -> Branch {
    Arc::new(Tree::Map { what, entries })
}

fn endpoints(connects: &Connects<'_>) -> Branch {
    let Connects::Declared(endpoints, broken) = connects else {
        let message = "`connects` is not known here".to_owned();
        let help =
            "ports, addresses and connects can only use `variables`, `environment` and `self`".to_owned();
        return Arc::new(Tree::Forbidden(message, help));
    };
    let mut components: BTreeMap<String, BTreeMap<String, Branch>> = BTreeMap::new();
    for endpoint in *endpoints {
        let fields = BTreeMap::from([
            ("host".to_owned(), Arc::new(Tree::Plain(Plain::from(endpoint.host.as_str())))),
            ("port".to_owned(), Arc::new(Tree::Plain(Plain::from(endpoint.port)))),
            ("url".to_owned(), Arc::new(Tree::Plain(Plain::from(endpoint.url.as_str())))),
        ]);
        let ports = components.entry(endpoint.component.to_string()).or_default();
        ports.insert(endpoint.port_name.to_string(), map("fields of an endpoint", fields));
    }
    for (component, port) in *broken {
        components.entry(component.clone()).or_default().insert(port.clone(), Arc::new(Tree::Broken));
    }
    let components =
        components.into_iter().map(|(name, ports)| (name, map("ports that `connects` declares", ports)));
    map("components that `connects` declares", components.collect())
}

/// Returns a component's own fields as expressions see them: sizes in bytes, processors as a number,
/// named lists by name, and fields that are not set as nothing.
///
/// With `open: true` strings may still hold expressions, which cannot be read.
pub(crate) fn own_fields(node: &Node, shape: &Shape, open: bool) -> Branch {
    Arc::new(branch(Some(node), shape, open))
}

fn branch(node: Option<&Node>, shape: &Shape, open: bool) -> Tree {
    match (shape, node.map(|node| &node.value)) {
        (Shape::Fields(fields), Some(Value::Map(_)) | None) => own_map(node, fields, open),
        (_, None | Some(Value::Null)) => Tree::Plain(Plain::from(())),
        (_, Some(Value::Text(text))) if open && text.text.contains("${") => Tree::Computed,
        (Shape::List(list), Some(Value::List(items))) => own_list(items, list, open),
        (_, Some(Value::List(items))) => {
            let items = items.iter().map(|item| Arc::new(branch(Some(item), &Shape::Any, open))).collect();
            Tree::List { items, names: BTreeMap::new() }
        }
        (_, Some(Value::Map(entries))) => {
            let inner = |key: &str| shape.at(key).unwrap_or(&Shape::Any);
            let entry = |entry: &crate::yaml::Entry| {
                (entry.key.to_string(), Arc::new(branch(Some(&entry.node), inner(&entry.key), open)))
            };
            Tree::Map { what: "keys", entries: entries.iter().map(entry).collect() }
        }
        (Shape::Quantity(own), Some(Value::Text(text))) => Tree::Plain(quantity(own.name, &text.text)),
        (Shape::Quantity(own), Some(Value::Number(_, raw))) => Tree::Plain(quantity(own.name, raw)),
        (_, Some(Value::Text(text))) => Tree::Plain(Plain::from(text.text.as_ref())),
        (_, Some(Value::Bool(truth))) => Tree::Plain(Plain::from(*truth)),
        (_, Some(Value::Number(number, _))) => Tree::Plain(plain_number(number)),
    }
}

fn own_map(node: Option<&Node>, fields: &Fields, open: bool) -> Tree {
    let entry = |(key, field): (&String, &crate::shape::Field)| {
        let written = node.and_then(|node| node.get(key));
        let value = match (&field.default, written) {
            (Some(default), None) if !default.is_object() && !default.is_array() => {
                default_value(default, &field.shape)
            }
            _ => branch(written, &field.shape, open),
        };
        (key.clone(), Arc::new(value))
    };
    Tree::Map { what: "fields", entries: fields.0.iter().map(entry).collect() }
}

fn default_value(default: &serde_json::Value, shape: &Shape) -> Tree {
    Tree::Plain(match (shape, default.as_str()) {
        (Shape::Quantity(own), Some(text)) => quantity(own.name, text),
        (_, Some(text)) => Plain::from(text),
        (_, None) => match default {
            serde_json::Value::Bool(truth) => Plain::from(*truth),
            serde_json::Value::Number(number) => plain_number(number),
            _ => Plain::from(()),
        },
    })
}

fn own_list(items: &[Node], list: &ListShape, open: bool) -> Tree {
    let items: Vec<(Option<String>, Branch)> = items
        .iter()
        .map(|item| (entry_key(item, &list.key), Arc::new(branch(Some(item), &list.items, open))))
        .collect();
    let names = items.iter().filter_map(|(name, item)| Some((name.clone()?, Arc::clone(item)))).collect();
    Tree::List { items: items.into_iter().map(|(_, item)| item).collect(), names }
}

fn quantity(kind: &str, text: &str) -> Plain {
    match kind {
        "Bytes" => text.parse::<Bytes>().map_or(Plain::from(text), |bytes| Plain::from(bytes.0)),
        "Cpu" => text.parse::<Cpu>().map_or(Plain::from(text), |cpu| match cpu.millis % 1000 {
            0 => Plain::from(cpu.millis / 1000),
            #[expect(clippy::cast_precision_loss, reason = "thousandths of processors are far below 2^52")]
            _ => Plain::from(cpu.millis as f64 / 1000.0),
        }),
        _ => Plain::from(text),
    }
}

fn plain_number(number: &serde_json::Number) -> Plain {
    match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => Plain::from(number),
        (None, Some(number)) => Plain::from(number),
        (None, None) => number.as_f64().map_or(Plain::from(()), Plain::from),
    }
}
