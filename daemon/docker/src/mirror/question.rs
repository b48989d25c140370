//! What an engine is asked for, and which event may give which question another answer.

use super::event::Event;
use crate::image::repository;

/// Something that an engine is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    /// Which containers there are.
    Containers,
    /// Which networks there are, and how they are made.
    Networks,
    /// Which volumes there are.
    Volumes,
    /// How the container of this id is.
    Container(String),
    /// Who is in the network of this id.
    Members(String),
    /// Which image this id or reference means.
    Image(String),
}

impl Question {
    /// Returns whether it may have another answer after `event`.
    pub(crate) fn is_touched_by(&self, event: &Event) -> bool {
        match (self, event) {
            (_, Event::Everything) | (Self::Image(_), Event::Image) => true,
            (Self::Containers, Event::Container { listed, .. }) => *listed,
            (Self::Container(id), Event::Container { id: of, .. } | Event::Member { container: of, .. })
            | (Self::Members(id), Event::Network { id: of, .. } | Event::Member { network: of, .. }) => {
                id == of
            }
            // Members are told by name.
            (Self::Members(_), Event::Container { names, .. }) => names.len() > 1,
            (Self::Networks, Event::Network { .. }) | (Self::Volumes, Event::Volume { .. }) => true,
            (Self::Image(name), Event::Tag { id, reference }) => {
                name == id || repository(name) == repository(reference)
            }
            _ => false,
        }
    }
}
