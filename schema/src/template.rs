//! Computes the expressions in a delivered file.
//!
//! The result of a file that touched a secret is a secret; an error shows lines of the file, never a
//! value.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{
    Content, Problem, RepoPath, Secret,
    compute::blamed,
    expression::{Delimiters, Engine, Piece, Scope, split},
    yaml::{Mark, Source},
};

/// One file and what its expressions can read.
pub(crate) struct Template<'a> {
    pub(crate) path: &'a RepoPath,
    pub(crate) bytes: &'a [u8],
    pub(crate) delimiters: Option<&'a [String; 2]>,
    pub(crate) limit: u64,
}

impl Template<'_> {
    /// Returns the computed content, or every mistake in it.
    ///
    /// With `open: false` the secrets of the scope are not known: what fails because of their values is
    /// not reported.
    pub(crate) fn compute(
        &self,
        engine: &Engine,
        scope: &Scope,
        open: bool,
    ) -> Result<Content, Vec<Problem>> {
        let source = |text: &str| Arc::new(Source { path: self.path.clone(), text: text.into() });
        let Ok(text) = std::str::from_utf8(self.bytes) else {
            let help = "remove `template: true`, or save the file as UTF-8".to_owned();
            return Err(vec![Mark::start(&source("")).error("a template has to be UTF-8 text", help)]);
        };
        let source = source(text);
        let delimiters =
            self.delimiters.map_or(Delimiters::DEFAULT, |[open, close]| Delimiters { open, close });
        let pieces = split(text, delimiters).map_err(|unclosed| {
            let mark = Mark::at(&source, unclosed.0, delimiters.open.chars().count());
            let help = format!("close it with `{}`{}", delimiters.close, escape_hint(delimiters));
            vec![mark.error("the expression is not closed", help)]
        })?;
        let mut parts: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut secret = false;
        let mut problems = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => parts.push(Zeroizing::new(plain.as_bytes().to_vec())),
                Piece::Expression { source: expression, start } => match engine.compute(expression, scope) {
                    Ok(outcome) => {
                        secret |= outcome.secret.is_some();
                        parts.push(outcome.text);
                    }
                    Err(failure) if failure.of_secret && !open => secret = true,
                    Err(failure) => {
                        let (offset, length) = blamed(expression, &failure);
                        let mark = Mark::at(&source, start + offset, length);
                        problems.push(mark.error(failure.message, failure.help));
                    }
                },
            }
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length as u64 > self.limit {
            let message = format!("the file is computed to {length} bytes, {} can be delivered", self.limit);
            problems.push(
                Mark::start(&source).error(message, "put large files into the image or a volume".to_owned()),
            );
        }
        if problems.is_empty() { Ok(join(&parts, length, secret)) } else { Err(problems) }
    }
}

/// Joins the parts in one allocation, so that no copy of a secret is left behind by growing.
fn join(parts: &[Zeroizing<Vec<u8>>], length: usize, secret: bool) -> Content {
    let mut bytes = Vec::with_capacity(length);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    if secret { Content::Secret(Secret::new(bytes)) } else { Content::Plain(bytes.into()) }
}

fn escape_hint(delimiters: Delimiters<'_>) -> &'static str {
    if delimiters.open == "${" { ", or write `$${` for a plain `${`" } else { "" }
}
