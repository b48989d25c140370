//! What an expression can read, and a note of what it touched.
//!
//! Values are looked up one name at a time, so that a name that does not exist is known exactly, and so
//! that no secret can be reached without the note that makes the result one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{
    Value,
    value::{Enumerator, Object},
};

use crate::{Secret, suggest};

/// A value that can be reached by name.
pub(crate) enum Tree {
    /// A map; what its names are called in messages (`variables`).
    Map { what: &'static str, entries: BTreeMap<String, Arc<Self>> },
    /// A list; named ones can be asked for an entry by its name too.
    List { items: Vec<Arc<Self>>, names: BTreeMap<String, Arc<Self>> },
    /// A plain value.
    Plain(Value),
    /// A value that is an expression itself.
    Computed,
    /// A secret; none when only names are checked.
    Secret(Option<Secret<Vec<u8>>>),
    /// A name that exists and cannot be used here: message and help.
    Forbidden(String, String),
    /// A name whose own mistake has been reported.
    Broken,
}

/// Everything that an expression can read.
pub(crate) struct Scope {
    root: Arc<Tree>,
    notes: Arc<Mutex<Notes>>,
}

/// What was seen while computing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    /// The first name that cannot be used.
    pub(crate) refused: Option<Refused>,
    /// Whether a secret was touched, and which one first.
    pub(crate) secret: Option<String>,
    /// Whether something was touched whose own mistake has been reported.
    pub(crate) broken: bool,
}

/// A name that does not exist or cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The whole name: `variables.regstry`.
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Scope {
    pub(crate) fn new(root: BTreeMap<String, Arc<Tree>>) -> Self {
        let root = Arc::new(Tree::Map { what: "names", entries: root });
        Self { root, notes: Arc::default() }
    }

    /// Returns the value that minijinja looks names up in.
    pub(super) fn root(&self) -> Value {
        let level =
            Level { tree: Arc::clone(&self.root), path: String::new(), notes: Arc::clone(&self.notes) };
        Value::from_object(level)
    }

    /// Returns what was noted since the last call.
    pub(super) fn take_notes(&self) -> Notes {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One map or list on the way to a value.
struct Level {
    tree: Arc<Tree>,
    path: String,
    notes: Arc<Mutex<Notes>>,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never what it holds: that may be a secret.
        write!(f, "<{}>", self.path)
    }
}

impl Level {
    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn refuse(&self, path: String, message: String, help: String) {
        self.note(|notes| {
            notes.refused.get_or_insert(Refused { path, message, help });
        });
    }

    fn step(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn value(&self, tree: &Arc<Tree>, path: String) -> Option<Value> {
        match &**tree {
            Tree::Map { .. } | Tree::List { .. } => {
                let level = Self { tree: Arc::clone(tree), path, notes: Arc::clone(&self.notes) };
                Some(Value::from_object(level))
            }
            other => self.leaf(other, path),
        }
    }

    fn leaf(&self, tree: &Tree, path: String) -> Option<Value> {
        match tree {
            Tree::Plain(value) => Some(value.clone()),
            Tree::Secret(plaintext) => {
                self.note(|notes| {
                    notes.secret.get_or_insert(path);
                });
                Some(plaintext.as_ref().map_or_else(placeholder, text_of))
            }
            Tree::Computed => {
                let message = format!("`{path}` is computed itself");
                self.refuse(path, message, "use what it is computed from".into());
                None
            }
            Tree::Forbidden(message, help) => {
                self.refuse(path, message.clone(), help.clone());
                None
            }
            Tree::Broken => {
                self.note(|notes| notes.broken = true);
                None
            }
            Tree::Map { .. } | Tree::List { .. } => None,
        }
    }

    fn unknown(&self, name: &str, what: &str, names: &BTreeMap<String, Arc<Tree>>) {
        let path = self.step(name);
        let all = names.keys().map(String::as_str);
        let help = match bare_name(&self.path, name, names) {
            Some(full) => format!("did you mean `{full}`?"),
            None => suggest::choose(name, what, all),
        };
        let help = match self.path.split_once('.') {
            None if self.path == "connects" => {
                format!("{help}; declare it in `connects`: {{to: {name}, port: ...}}")
            }
            Some(("connects", component)) if !component.contains('.') => {
                format!("{help}; declare it in `connects`: {{to: {component}, port: {name}}}")
            }
            None if self.path == "variables" => {
                format!("{help}; or define it in `variables` of the environment")
            }
            _ => help,
        };
        let message = format!("`{path}` does not exist");
        self.refuse(path, message, help);
    }
}

/// Returns `variables.x` for an `x` that stands alone.
fn bare_name(path: &str, name: &str, root: &BTreeMap<String, Arc<Tree>>) -> Option<String> {
    let inside = |group: &String, tree: &Tree| match tree {
        Tree::Map { entries, .. } if entries.contains_key(name) => Some(format!("{group}.{name}")),
        _ => None,
    };
    path.is_empty().then(|| root.iter().find_map(|(group, tree)| inside(group, tree))).flatten()
}

/// Stands for a secret that is not open while templates are only checked.
fn placeholder() -> Value {
    Value::from("secret")
}

fn text_of(secret: &Secret<Vec<u8>>) -> Value {
    match std::str::from_utf8(secret.expose()) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from_bytes(secret.expose().clone()),
    }
}

impl Object for Level {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(name) => self.get_value_by_str(name),
            None => match &*self.tree {
                Tree::List { items, .. } => {
                    let at = key.as_usize()?;
                    self.value(items.get(at)?, self.step(&at.to_string()))
                }
                _ => None,
            },
        }
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Value> {
        match &*self.tree {
            Tree::Map { what, entries } => {
                if let Some(found) = entries.get(name) {
                    self.value(found, self.step(name))
                } else {
                    self.unknown(name, what, entries);
                    None
                }
            }
            Tree::List { names, .. } => {
                if let Some(item) = names.get(name) {
                    self.value(item, self.step(name))
                } else {
                    let help = suggest::choose(name, "entries", names.keys().map(String::as_str));
                    let path = self.step(name);
                    let message = format!("`{path}` does not exist");
                    self.refuse(path, message, help);
                    None
                }
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &*self.tree {
            Tree::List { items, .. } => Enumerator::Seq(items.len()),
            // Secrets are reached one by one, so that each is noted.
            Tree::Map { entries, .. } if !entries.values().any(|tree| matches!(**tree, Tree::Secret(_))) => {
                Enumerator::Values(entries.keys().map(|name| Value::from(name.as_str())).collect())
            }
            _ => Enumerator::NonEnumerable,
        }
    }

    fn repr(self: &Arc<Self>) -> minijinja::value::ObjectRepr {
        match &*self.tree {
            Tree::List { .. } => minijinja::value::ObjectRepr::Seq,
            _ => minijinja::value::ObjectRepr::Map,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
