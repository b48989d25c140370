//! What an observation remembers for the compilation that follows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};
use trueup_plan::Live;

/// What an observation remembers for the compilation that follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    pub(crate) engine: Engine,
    /// The images that are wanted, by reference.
    pub(crate) images: BTreeMap<String, ImageFact>,
    /// Subnets that are in use and not ours, in order: who uses each.
    pub(crate) subnets: Vec<Occupied>,
    /// Addresses in our networks that strangers have, by zone.
    pub(crate) strangers: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Volumes that a destroyed environment of the same name left, by the engine's name.
    pub(crate) inherited: BTreeSet<String>,
}

impl Facts {
    /// Returns what the observation of `live` remembered.
    pub(crate) fn of(live: &Live) -> Self {
        Self::deserialize(&live.facts).unwrap_or_default()
    }
}

/// What an engine is and can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of the engine about itself")]
pub(crate) struct Engine {
    /// Its version, such as `20.10.24`.
    pub(crate) version: String,
    /// Its API, such as `(1, 41)`.
    pub(crate) api: (u32, u32),
    /// Whether it can limit memory and swap together.
    pub(crate) swap_limit: bool,
    /// Whether it can limit memory, processors and processes.
    pub(crate) memory_limit: bool,
    pub(crate) cpu_limit: bool,
    pub(crate) pids_limit: bool,
    /// The host's memory in bytes; 0 when it is not told.
    pub(crate) memory: u64,
    /// The host's processors; 0 when it is not told.
    pub(crate) cpus: u64,
    /// Where the output of a container goes that says nothing.
    pub(crate) log_driver: String,
    /// Whether it shares this machine's file systems.
    pub(crate) local: bool,
    /// Whether its bridges are in our own network namespace; none when that cannot be told.
    pub(crate) same_network: Option<bool>,
}

impl Engine {
    /// Returns which resources it can limit, by the names of a manifest.
    pub(crate) fn limits(&self) -> [(&'static str, bool); 3] {
        [("memory", self.memory_limit), ("cpu", self.cpu_limit), ("pids", self.pids_limit)]
    }
}

/// A wanted image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageFact {
    /// What decides: registry digest or engine's id.
    pub(crate) id: String,
    /// Whether the engine has it.
    pub(crate) present: bool,
    /// The paths that it declares as volumes.
    pub(crate) volumes: Vec<String>,
}

/// A subnet that is in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Occupied {
    /// The subnet in CIDR form.
    pub(crate) subnet: String,
    /// Who uses it, as people read it: ``network `web` of environment `dev` ``.
    pub(crate) by: String,
}
