//! Computes one expression at a time.

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use zeroize::Zeroizing;

use super::{Scope, filters};
use crate::suggest;

/// The longest expression, in bytes.
const LONGEST: usize = 4096;

/// Why an error says so little.
const NOT_SHOWN: &str = "a secret is involved, so no more is shown";

/// Computes expressions, each within the same fuel.
pub(crate) struct Engine(Environment<'static>);

/// What an expression was computed to.
pub(crate) struct Outcome {
    pub(crate) text: Zeroizing<Vec<u8>>,
    /// The secret that was touched first.
    pub(crate) secret: Option<String>,
}

/// Why an expression could not be computed. It never holds a value that a secret went into.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The name in the expression that is to blame; none when it is the whole expression.
    pub(crate) name: Option<String>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether it came after a secret was touched: it may depend on the secret's value.
    pub(crate) of_secret: bool,
    /// Whether it only follows from a mistake that has been reported.
    pub(crate) follows: bool,
}

impl Engine {
    pub(crate) fn new(fuel: u64) -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(fuel));
        filters::add(&mut environment);
        Self(environment)
    }

    /// Computes an expression over a scope.
    pub(crate) fn compute(&self, source: &str, scope: &Scope) -> Result<Outcome, Failure> {
        if source.len() > LONGEST {
            return Err(failure(format!("the expression is longer than {LONGEST} bytes"), None));
        }
        if source.trim().is_empty() {
            return Err(failure("the expression is empty", Some("write `$${` for a plain `${`".into())));
        }
        let compiled = self.0.compile_expression(source).map_err(|error| syntax(&error))?;
        drop(scope.take_notes());
        let computed = compiled.eval(scope.root());
        let notes = scope.take_notes();
        let of_secret = notes.secret.is_some();
        if let Some(refused) = notes.refused {
            // A name that was computed from a secret is one; only what stands in the expression is shown.
            if of_secret && !source.contains(&refused.path) {
                let unshown = failure("a name that is computed does not exist", Some(NOT_SHOWN.into()));
                return Err(Failure { of_secret, ..unshown });
            }
            return Err(Failure { name: Some(refused.path), ..failure(refused.message, Some(refused.help)) });
        }
        if notes.broken {
            return Err(Failure { follows: true, ..failure("the expression uses something broken", None) });
        }
        let value = computed.map_err(|error| explain(&error, of_secret)).and_then(|value| text_of(&value));
        match value {
            Ok(text) => Ok(Outcome { text: Zeroizing::new(text), secret: notes.secret }),
            Err(failure) => Err(Failure { of_secret: of_secret && failure.name.is_none(), ..failure }),
        }
    }
}

fn failure(message: impl Into<String>, help: Option<String>) -> Failure {
    Failure { name: None, message: message.into(), help, of_secret: false, follows: false }
}

fn text_of(value: &Value) -> Result<Vec<u8>, Failure> {
    use minijinja::value::ValueKind as Kind;
    match value.kind() {
        Kind::String => Ok(value.as_str().unwrap_or_default().as_bytes().to_vec()),
        Kind::Bytes => Ok(value.as_bytes().unwrap_or_default().to_vec()),
        Kind::Bool => Ok(value.to_string().into_bytes()),
        Kind::Number => Ok(number(value).into_bytes()),
        Kind::None | Kind::Undefined => {
            let help = "set the field, or write `| default(...)` behind its name".to_owned();
            Err(failure("the expression has no value", Some(help)))
        }
        Kind::Seq | Kind::Iterable => Err(failure(
            "the expression is a list",
            Some("write `| join(\" \")` or `| json` behind it".into()),
        )),
        _ => Err(failure("the expression is a map", Some("name one of its values".into()))),
    }
}

/// Writes `268435456.0` as `268435456`.
fn number(value: &Value) -> String {
    let text = value.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn syntax(error: &Error) -> Failure {
    let detail = error.detail().unwrap_or("it cannot be read");
    let help = "write names, numbers, \"text\", `+ - * /`, `a if b else c` and `| filter`".to_owned();
    failure(format!("the expression is wrong: {detail}"), Some(help))
}

/// Explains an error of the engine. Once a secret was touched its words are not repeated: they may
/// hold the value.
fn explain(error: &Error, secret: bool) -> Failure {
    let detail = if secret { None } else { error.detail() };
    match error.kind() {
        ErrorKind::OutOfFuel => {
            failure("the expression takes too many steps", Some("make it simpler".into()))
        }
        ErrorKind::UnknownFilter => unknown_filter(error.detail().unwrap_or_default()),
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod | ErrorKind::UnknownTest => {
            let help = format!("there are no functions; filters: {}", suggest::list(&filters::NAMES));
            failure(detail.unwrap_or("the function does not exist").to_owned(), Some(help))
        }
        kind => match detail {
            Some(detail) => {
                let (message, help) =
                    detail.split_once('\n').map_or((detail, None), |(m, h)| (m, Some(h.to_owned())));
                failure(format!("the expression cannot be computed: {message}"), help)
            }
            None if secret => {
                failure(format!("the expression cannot be computed: {kind}"), Some(NOT_SHOWN.into()))
            }
            None => failure(format!("the expression cannot be computed: {kind}"), None),
        },
    }
}

/// The engine says `filter x is unknown`; the name comes from the expression's text, never from a value.
fn unknown_filter(detail: &str) -> Failure {
    let name = detail.split_whitespace().nth(1).unwrap_or_default();
    let help = suggest::choose(name, "filters", filters::NAMES);
    let message = format!("the filter `{name}` does not exist");
    Failure { name: Some(name.to_owned()), ..failure(message, Some(help)) }
}
