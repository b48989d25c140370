//! What the test rig has, from the environment or from its own file.

use std::{collections::BTreeMap, fs};

/// One engine of the rig, and what is beside it.
#[derive(Debug, Clone)]
pub(crate) struct Rig {
    pub(crate) name: String,
    /// The engine's address.
    pub(crate) engine: String,
    /// The network namespace that it lives in; none for our own.
    pub(crate) namespace: Option<String>,
    /// The registry that it reaches, with user and password.
    pub(crate) registry: Option<(String, String, String)>,
}

const FILE: &str = "/run/trueup-rig/env";

impl Rig {
    /// Returns the engine of that name, or why there is none.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let values = values();
        let get = |key: &str| values.get(&format!("TRUEUP_RIG_{key}")).cloned();
        let key = name.to_uppercase();
        let Some(engine) = get(&key) else {
            let why = get(&format!("MISSING_{key}"));
            return Err(why.unwrap_or_else(|| "the test rig is not up: tests/rig/rig.sh up".into()));
        };
        let registry = get(&key.replace("ENGINE", "REGISTRY")).and_then(|host| {
            let password = fs::read_to_string(get("REGISTRY_PASSWORD_FILE")?).ok()?;
            Some((host, get("REGISTRY_USER")?, password.trim().to_owned()))
        });
        Ok(Self { name: name.to_owned(), engine, namespace: get(&format!("{key}_NETNS")), registry })
    }
}

/// Returns what the rig wrote, with the process's own environment on top.
fn values() -> BTreeMap<String, String> {
    let file = fs::read_to_string(FILE).unwrap_or_default();
    let lines = file.lines().filter_map(|line| line.split_once('='));
    let mut values: BTreeMap<String, String> =
        lines.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect();
    values.extend(std::env::vars().filter(|(key, _)| key.starts_with("TRUEUP_RIG_")));
    values
}
