//! What the engine says has happened, and what it is asked to say.
//!
//! Exec and health events are left out by the engine itself: a probe makes three of the former at each try,
//! and no answer that is remembered depends on them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::names::ENV_UID;

/// What is listened to. `extract-to-dir` is `docker cp` into a container.
const ACTIONS: [&str; 23] = [
    "create",
    "start",
    "restart",
    "stop",
    "kill",
    "die",
    "oom",
    "pause",
    "unpause",
    "update",
    "rename",
    "destroy",
    "extract-to-dir",
    "connect",
    "disconnect",
    "remove",
    "pull",
    "tag",
    "untag",
    "delete",
    "load",
    "import",
    "prune",
];

/// Something that has happened on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// To a container.
    Container {
        /// Its id.
        id: String,
        /// Its name, and the one that it had before.
        names: Vec<String>,
        /// The environment that it is of, by its label.
        uid: Option<String>,
        /// Whether there is one more or less now, or one under another name.
        listed: bool,
    },
    /// A network was made or removed.
    Network { id: String, name: String },
    /// A container joined or left a network.
    Member { network: String, container: String },
    /// A volume was made or removed.
    Volume { name: String },
    /// A reference means another image, or means one at all.
    Tag { id: String, reference: String },
    /// An image came, went or lost a name. The engine does not say which names it had.
    Image,
    /// To a delivered file on this machine.
    File { path: PathBuf },
    /// To delivered files on this machine, nobody knows to which.
    Files,
    /// So much has changed that the engine does not say what.
    Everything,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Message {
    #[serde(rename = "Type")]
    kind: String,
    action: String,
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: BTreeMap<String, String>,
}

/// Returns the filter of the event stream, as JSON.
pub(crate) fn filter() -> String {
    serde_json::json!({"type": ["container", "network", "volume", "image"], "event": ACTIONS}).to_string()
}

/// Reads a line of the event stream; none for what says nothing that matters.
pub(crate) fn read(line: &str) -> Option<Event> {
    // What cannot be read may be about anything.
    let Ok(Message { kind, action, actor }) = serde_json::from_str(line) else {
        return Some(Event::Everything);
    };
    let Actor { id, mut attributes } = actor;
    let mut attribute = |key: &str| attributes.remove(key).unwrap_or_default();
    match (kind.as_str(), action.as_str()) {
        ("container" | "network" | "volume" | "image", "prune") => Some(Event::Everything),
        ("container", _) if ACTIONS.contains(&action.as_str()) => {
            let names = [attribute("name"), attribute("oldName").trim_start_matches('/').to_owned()];
            let uid = Some(attribute(ENV_UID)).filter(|uid| !uid.is_empty());
            Some(Event::Container {
                id,
                names: names.into_iter().filter(|name| !name.is_empty()).collect(),
                uid,
                listed: matches!(action.as_str(), "create" | "destroy" | "rename"),
            })
        }
        ("network", "connect" | "disconnect") => {
            Some(Event::Member { network: id, container: attribute("container") })
        }
        ("network", "create" | "destroy" | "remove" | "update") => {
            Some(Event::Network { id, name: attribute("name") })
        }
        ("volume", "create" | "destroy") => Some(Event::Volume { name: id }),
        ("image", "tag") => Some(Event::Tag { id, reference: attribute("name") }),
        // Here the id is what was asked for.
        ("image", "pull") => Some(Event::Tag { reference: id.clone(), id }),
        ("image", "untag" | "delete" | "load" | "import" | "create") => Some(Event::Image),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_both_engines_are_read() {
        let rename = r#"{"status":"rename","id":"8d04","Type":"container","Action":"rename","Actor":{"ID":"8d04",
            "Attributes":{"dev.trueup.env-uid":"0011","image":"a","name":"b","oldName":"/a"}},"scope":"local"}"#;
        let names = vec!["b".to_owned(), "a".to_owned()];
        let uid = Some("0011".to_owned());
        assert_eq!(read(rename), Some(Event::Container { id: "8d04".into(), names, uid, listed: true }));
        let joined = r#"{"Type":"network","Action":"connect","Actor":{"ID":"c2e2",
            "Attributes":{"container":"8d04","name":"demo-data","type":"bridge"}}}"#;
        assert_eq!(read(joined), Some(Event::Member { network: "c2e2".into(), container: "8d04".into() }));
        let tag =
            r#"{"Type":"image","Action":"tag","Actor":{"ID":"sha256:9","Attributes":{"name":"a/b:1"}}}"#;
        assert_eq!(read(tag), Some(Event::Tag { id: "sha256:9".into(), reference: "a/b:1".into() }));
        let pull = r#"{"Type":"image","Action":"pull","Actor":{"ID":"a/b:1","Attributes":{"name":"a/b"}}}"#;
        assert_eq!(read(pull), Some(Event::Tag { id: "a/b:1".into(), reference: "a/b:1".into() }));
    }

    #[test]
    fn probes_and_mounts_say_nothing() {
        for (kind, action) in [
            ("container", "exec_create: true"),
            ("container", "exec_die"),
            ("container", "health_status: healthy"),
            ("container", "archive-path"),
            ("volume", "mount"),
            ("daemon", "reload"),
        ] {
            assert_eq!(read(&format!(r#"{{"Type":"{kind}","Action":"{action}"}}"#)), None, "{action}");
        }
    }

    #[test]
    fn what_cannot_be_read_puts_everything_in_doubt() {
        assert_eq!(read("{"), Some(Event::Everything));
        assert_eq!(read(r#"{"Type":"network","Action":"prune"}"#), Some(Event::Everything));
    }
}
