//! What a target is made of: named resources with a configuration.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trueup_schema::ComponentName;

/// The configuration of a resource: a JSON object, complete, with defaults filled in, in the words of
/// the target. Lists whose order means nothing are objects keyed by their name. No secret is in it:
/// digests stand for them.
pub type Spec = Value;

/// What kind of thing a resource is. The order is the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A network zone.
    Network,
    /// What others stand in and would go with: a namespace, a definition of a kind.
    Base,
    /// A named volume.
    Volume,
    /// Anything else that only has to be there, such as a service or a configuration.
    Object,
    /// One replica of a component that runs all the time.
    Workload,
    /// A component that runs once for its inputs.
    Job,
    /// A component that runs by schedule.
    Cron,
}

impl Kind {
    /// Returns whether it is made for others and only has to be there: it neither starts nor stops.
    pub fn only_exists(self) -> bool {
        self < Self::Workload
    }

    /// Returns whether something would be lost with it, so that it is neither replaced nor removed.
    pub fn holds_data(self) -> bool {
        matches!(self, Self::Base | Self::Volume)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Base => "base",
            Self::Volume => "volume",
            Self::Object => "object",
            Self::Workload => "workload",
            Self::Job => "job",
            Self::Cron => "cron",
        })
    }
}

/// Which resource of an environment.
///
/// The name is unique in its kind: a zone's name, `<component>-<volume>`, `<component>` for replica 1,
/// `<component>-2` for the second, `<kind>/<name>` for a base or an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId {
    /// Its kind.
    pub kind: Kind,
    /// Its name, without the environment's.
    pub name: String,
    /// The component that it belongs to; none for a zone.
    pub component: Option<ComponentName>,
}

/// What a person counts: a component whatever it is made of, or what stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit<'a> {
    Component(&'a ComponentName),
    Alone(&'a ResourceId),
}

impl ResourceId {
    /// Returns what it is counted as; none for what is only there for something else.
    pub(crate) fn unit(&self) -> Option<Unit<'_>> {
        match (self.kind, &self.component) {
            (Kind::Network | Kind::Volume, _) | (Kind::Base | Kind::Object, Some(_)) => None,
            (_, Some(component)) => Some(Unit::Component(component)),
            (_, None) => Some(Unit::Alone(self)),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Base | Kind::Object | Kind::Workload | Kind::Job | Kind::Cron => f.write_str(&self.name),
            Kind::Network | Kind::Volume => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// How a field of a running resource is changed. The order is from light to heavy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum How {
    /// While it runs.
    InPlace,
    /// By the target, which replaces what runs of it one after the other.
    Roll,
    /// By stopping and starting it.
    Restart,
    /// By a new one beside it that takes over.
    Recreate,
    /// Not at all: the plan is refused, and says why.
    Refuse,
}

/// A map by [`ResourceId`] as a list of pairs, because the keys of a JSON object are texts.
pub(crate) mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::ResourceId;

    pub(crate) fn serialize<T: Serialize, S: Serializer>(
        map: &BTreeMap<ResourceId, T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ResourceId, T>, D::Error> {
        Ok(Vec::<(ResourceId, T)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_exists_is_made_before_what_runs_and_some_of_it_holds_data() {
        let kinds =
            [Kind::Network, Kind::Base, Kind::Volume, Kind::Object, Kind::Workload, Kind::Job, Kind::Cron];
        assert!(kinds.is_sorted());
        assert_eq!(kinds.map(Kind::only_exists), [true, true, true, true, false, false, false]);
        assert_eq!(kinds.map(Kind::holds_data), [false, true, true, false, false, false, false]);
    }
}
