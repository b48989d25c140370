//! Computes the expressions in the values of a component.

use std::collections::BTreeSet;

use crate::{
    Place, Problem,
    expression::{Delimiters, Engine, Failure, Piece, Scope, split},
    located::step,
    shape::Shape,
    yaml::{Entry, Layout, Node, Text, Value, plain_scalar},
};

/// Computes values over one scope.
pub(crate) struct Computer<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) scope: &'a Scope,
    pub(crate) problems: &'a mut Vec<Problem>,
    /// Where a value could not be computed: nothing more is said about it.
    pub(crate) failed: &'a mut BTreeSet<Place>,
}

/// Returns whether a value holds an expression, or an escape of one.
pub(crate) fn has_expressions(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.text.contains("${"),
        Value::List(items) => items.iter().any(has_expressions),
        Value::Map(entries) => entries.iter().any(|entry| has_expressions(&entry.node)),
        _ => false,
    }
}

impl Computer<'_> {
    /// Replaces every expression in `node` by its value. What cannot be computed stays as it is.
    pub(crate) fn compute(&mut self, node: &mut Node, shape: &Shape, path: &str) {
        match &mut node.value {
            Value::Text(text) if text.text.contains("${") => match self.text(node, path) {
                Some(value) => node.value = typed(value, shape),
                None => drop(self.failed.insert(node.mark.place())),
            },
            Value::List(items) => {
                let inner = match shape {
                    Shape::List(list) => &list.items,
                    _ => &Shape::Any,
                };
                for item in items {
                    self.compute(item, inner, path);
                }
            }
            Value::Map(entries) => entries.iter_mut().for_each(|entry| self.entry(entry, shape, path)),
            _ => {}
        }
    }

    /// Computes one entry of a map.
    pub(crate) fn entry(&mut self, entry: &mut Entry, shape: &Shape, path: &str) {
        let inner = shape.at(&entry.key).unwrap_or(&Shape::Any);
        self.compute(&mut entry.node, inner, &step(path, &entry.key));
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = node.as_text()?;
        let pieces = match split(text, Delimiters::DEFAULT) {
            Ok(pieces) => pieces,
            Err(unclosed) => {
                let mark = node.mark_within(text[..unclosed.0].chars().count(), 2);
                let help = "close it with `}`, or write `$${` for a plain `${`".to_owned();
                self.problems.push(mark.error("the expression is not closed", help));
                return None;
            }
        };
        let mut computed = String::new();
        let mut good = true;
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => computed.push_str(plain),
                Piece::Expression { source, start } => match self.expression(source, path) {
                    Ok(value) => computed.push_str(&value),
                    Err(failure) => {
                        self.report(node, text, (source, start), failure);
                        good = false;
                    }
                },
            }
        }
        good.then_some(computed)
    }

    fn report(&mut self, node: &Node, text: &str, (source, start): (&str, usize), failure: Failure) {
        if failure.follows {
            return;
        }
        let (offset, length) = blamed(source, &failure);
        let mark = node.mark_within(text[..start + offset].chars().count(), length);
        self.problems.push(mark.error(failure.message, failure.help));
    }

    fn expression(&self, source: &str, path: &str) -> Result<String, Failure> {
        let outcome = self.engine.compute(source, self.scope)?;
        if let Some(secret) = outcome.secret {
            return Err(tainted(secret, path));
        }
        // Only a secret can be bytes, and there is none.
        Ok(String::from_utf8_lossy(&outcome.text).into_owned())
    }
}

fn tainted(secret: String, path: &str) -> Failure {
    Failure {
        of_secret: true,
        follows: false,
        message: format!("`{secret}` would put a secret into `{path}`, where everybody can read it"),
        name: Some(secret),
        help: Some(
            "deliver it as a file (`file:` of the secret), inside a file with `template: true`, or in an \
             environment variable (`env:` with `exposed: true`)"
                .into(),
        ),
    }
}

/// Returns the byte offset and the length in characters of what is to blame in an expression.
pub(crate) fn blamed(source: &str, failure: &Failure) -> (usize, usize) {
    let name = failure.name.as_deref().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    let found = source.find(name).filter(|_| !name.is_empty()).map(|at| at + name.len() - last.len());
    if let Some(at) = found.or_else(|| source.find(last).filter(|_| !last.is_empty())) {
        (at, last.chars().count())
    } else {
        let leading = source.len() - source.trim_start().len();
        (leading, source.trim().chars().count().max(1))
    }
}

/// Returns a computed text as the type that its place wants.
fn typed(text: String, shape: &Shape) -> Value {
    let scalar = match shape {
        Shape::Integer { .. } | Shape::Bool | Shape::Either(_) => plain_scalar(&text),
        _ => None,
    };
    scalar.unwrap_or_else(|| Value::Text(Text { text: text.into(), plain: Layout::Scattered }))
}
