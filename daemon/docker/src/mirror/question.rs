//! What an engine is asked for, and which event may give which question another answer.

use std::sync::Arc;

use bollard::models::NetworkInspect;

use super::{event::Event, memo::Answer};
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
    /// What the files hold that were put into the container of this id.
    Files(String),
}

impl Question {
    /// Returns whether it may have another answer after `event` than the one that is known.
    pub(crate) fn is_touched_by(&self, event: &Event, known: Option<&Answer>) -> bool {
        match (self, event) {
            (_, Event::Everything)
            | (Self::Networks, Event::Network { .. })
            | (Self::Volumes, Event::Volume { .. })
            | (Self::Image(_), Event::Image) => true,
            (Self::Containers, Event::Container { listed, .. }) => *listed,
            (Self::Container(id), Event::Container { id: of, .. } | Event::Member { container: of, .. })
            | (Self::Files(id), Event::Container { id: of, .. })
            | (Self::Members(id), Event::Network { id: of, .. } | Event::Member { network: of, .. }) => {
                id == of
            }
            // Members are told by name: one that has two was renamed.
            (Self::Members(_), Event::Container { id, names, .. }) => {
                names.len() > 1 && known.is_none_or(|known| may_hold(known, id))
            }
            (Self::Image(name), Event::Tag { id, reference }) => {
                name == id || repository(name) == repository(reference)
            }
            _ => false,
        }
    }
}

/// Returns whether a container may be among the members that are known.
fn may_hold(known: &Answer, container: &str) -> bool {
    let Some(known) = known.downcast_ref::<Option<Arc<NetworkInspect>>>() else { return true };
    let members = known.as_ref().and_then(|network| network.containers.as_ref());
    members.is_some_and(|members| members.contains_key(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_touches_the_members_that_it_is_among() {
        let members = [("guest".to_owned(), bollard::models::EndpointResource::default())];
        let network = NetworkInspect { containers: Some(members.into()), ..NetworkInspect::default() };
        let known: Answer = Box::new(Some(Arc::new(network)));
        let rename = |id: &str| Event::Container {
            id: id.to_owned(),
            names: vec!["new".to_owned(), "old".to_owned()],
            uid: None,
            listed: true,
        };
        let question = Question::Members("network".to_owned());
        assert!(question.is_touched_by(&rename("guest"), Some(&known)));
        assert!(!question.is_touched_by(&rename("other"), Some(&known)));
        // While the question is under way nobody knows.
        assert!(question.is_touched_by(&rename("other"), None));
    }
}
