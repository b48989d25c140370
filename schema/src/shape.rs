//! What a document has to look like, compiled from the JSON Schema that the types generate.
//!
//! The schema is the only description of the format; this is the part of it that the types use, in a
//! form that can be walked beside a document.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde_json::{Map, Value};

use crate::{
    ComponentName, EnvironmentName, PortName, RepoPath, SourceName, TargetName, VolumeName, ZoneName,
    manifest::{Bytes, Cpu, Percent, Publish, Span},
    names::RepositoryName,
};

/// The form of a value.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    /// A string, of a named type or any.
    Text(Option<TextType>),
    /// A string or a number that means the same, such as `512Mi` and `1024`.
    Quantity(TextType),
    /// One of some words, each with what it means.
    Choice(Vec<(String, String)>),
    List(Box<ListShape>),
    /// A map whose keys the user chooses.
    Map {
        names: Option<TextType>,
        values: Box<Self>,
        /// Whether the values are merge patches on what `values` describes.
        patch: bool,
    },
    Fields(Fields),
    /// An integer or a named string.
    Either(Vec<Self>),
}

/// The form of a list.
#[derive(Debug, Clone)]
pub(crate) struct ListShape {
    pub(crate) items: Shape,
    /// The fields that name an entry; empty when entries have no names.
    pub(crate) key: Vec<String>,
    pub(crate) min: usize,
    pub(crate) max: usize,
}

/// The fields of a map by their name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(pub(crate) BTreeMap<String, Field>);

/// One field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) description: String,
    pub(crate) default: Option<Value>,
}

/// A string with rules of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextType {
    /// The type's name in the schema.
    pub(crate) name: &'static str,
    /// Returns why a text is none.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// Every string type of the manifests: the schema names it, its own parser decides.
const TEXT_TYPES: [TextType; 14] = [
    text_type::<ComponentName>("ComponentName"),
    text_type::<EnvironmentName>("EnvironmentName"),
    text_type::<RepositoryName>("RepositoryName"),
    text_type::<ZoneName>("ZoneName"),
    text_type::<VolumeName>("VolumeName"),
    text_type::<PortName>("PortName"),
    text_type::<SourceName>("SourceName"),
    text_type::<TargetName>("TargetName"),
    text_type::<RepoPath>("RepoPath"),
    text_type::<Bytes>("Bytes"),
    text_type::<Cpu>("Cpu"),
    text_type::<Span>("Span"),
    text_type::<Percent>("Percent"),
    text_type::<Publish>("Publish"),
];

const fn text_type<T: FromStr<Err: Display>>(name: &'static str) -> TextType {
    TextType { name, check: |text| text.parse::<T>().map(drop).map_err(|error| error.to_string()) }
}

impl Shape {
    /// Compiles a root schema with its `$defs`.
    pub(crate) fn of(root: &Value) -> Self {
        let none = Map::new();
        let defs = root.get("$defs").and_then(Value::as_object).unwrap_or(&none);
        compile(root, defs, None)
    }

    /// Returns the shape of the value at a key.
    pub(crate) fn at(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Fields(fields) => fields.0.get(key).map(|field| &field.shape),
            Self::Map { values, .. } => Some(values),
            _ => None,
        }
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn compile(schema: &Value, defs: &Map<String, Value>, name: Option<&str>) -> Shape {
    if let Some(reference) = text(schema, "$ref") {
        let name = reference.trim_start_matches("#/$defs/");
        return defs.get(name).map_or(Shape::Any, |schema| compile(schema, defs, Some(name)));
    }
    if let Some(options) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        return alternatives(options, defs);
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => Vec::new(),
    };
    let own = TEXT_TYPES.into_iter().find(|t| Some(t.name) == name);
    match (types.as_slice(), own) {
        (["string", "number"], Some(own)) => Shape::Quantity(own),
        (["string"], _) if schema.get("const").is_some() => alternatives(std::slice::from_ref(schema), defs),
        (["string"], own) => Shape::Text(own),
        (["boolean"], _) => Shape::Bool,
        (["integer"], _) => Shape::Integer { min: bound(schema, "minimum"), max: bound(schema, "maximum") },
        (["array"], _) => list(schema, defs),
        (["object"], _) => map(schema, defs),
        _ => Shape::Any,
    }
}

fn bound(schema: &Value, key: &str) -> i64 {
    let unbounded = match (key, text(schema, "format")) {
        ("minimum", Some(format)) if format.starts_with('u') => 0,
        ("minimum", _) => i64::MIN,
        (_, Some("uint32")) => i64::from(u32::MAX),
        _ => i64::MAX,
    };
    schema.get(key).and_then(Value::as_i64).unwrap_or(unbounded)
}

fn alternatives(options: &[Value], defs: &Map<String, Value>) -> Shape {
    let words: Vec<_> = options
        .iter()
        .filter_map(|option| {
            let description = text(option, "description").unwrap_or_default();
            text(option, "const").map(|word| (word.to_owned(), description.to_owned()))
        })
        .collect();
    if !words.is_empty() {
        return Shape::Choice(words);
    }
    let mut shapes: Vec<_> = options
        .iter()
        .filter(|option| text(option, "type") != Some("null"))
        .map(|option| compile(option, defs, None))
        .collect();
    if shapes.len() == 1 { shapes.remove(0) } else { Shape::Either(shapes) }
}

fn list(schema: &Value, defs: &Map<String, Value>) -> Shape {
    let length = |key, otherwise| {
        let bound = schema.get(key).and_then(Value::as_u64);
        bound.and_then(|bound| usize::try_from(bound).ok()).unwrap_or(otherwise)
    };
    let key = schema.get("x-key").and_then(Value::as_array).into_iter().flatten();
    Shape::List(Box::new(ListShape {
        items: schema.get("items").map_or(Shape::Any, |items| compile(items, defs, None)),
        key: key.filter_map(Value::as_str).map(str::to_owned).collect(),
        min: length("minItems", 0),
        max: length("maxItems", usize::MAX),
    }))
}

fn map(schema: &Value, defs: &Map<String, Value>) -> Shape {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array);
        let field = |(key, schema): (&String, &Value)| {
            let field = Field {
                shape: compile(schema, defs, None),
                required: required.is_some_and(|names| names.iter().any(|name| name == key)),
                description: text(schema, "description").unwrap_or_default().to_owned(),
                default: schema.get("default").cloned(),
            };
            (key.clone(), field)
        };
        return Shape::Fields(Fields(properties.iter().map(field).collect()));
    }
    let names = text(schema, "x-names").and_then(|name| TEXT_TYPES.into_iter().find(|t| t.name == name));
    let patched = text(schema, "x-patch").and_then(|name| defs.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let values = patched
        .or_else(|| patterns.and_then(|patterns| patterns.values().next()))
        .or_else(|| schema.get("additionalProperties"));
    let values = values.map_or(Shape::Any, |values| compile(values, defs, None));
    Shape::Map { names, values: Box::new(values), patch: patched.is_some() }
}
