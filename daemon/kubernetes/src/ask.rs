//! What is asked of an API server.

use std::{fmt, fmt::Write, sync::Arc, time::Duration};

use http::Method;
use serde_json::Value;

use crate::{kinds::Resource, object::Object, owners::MANAGER};

/// How long an ordinary answer may take. Admission may call programs that have 30 s each.
const ANSWER: Duration = Duration::from_mins(1);

/// One request. It has no `Debug`: its body may be secret.
#[derive(Clone)]
pub struct Ask {
    pub(crate) method: Method,
    /// The path with its query.
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) limit: Duration,
    pub(crate) about: Arc<About>,
}

/// What a request is about, in the words of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `get`, `patch`.
    pub verb: &'static str,
    /// `deployments.apps`.
    pub resource: String,
    /// Where; none for what is in no namespace.
    pub namespace: Option<String>,
    /// Which one.
    pub name: String,
    /// Whether an answer may hold what must not be shown.
    pub is_secret: bool,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        self.namespace.iter().try_for_each(|namespace| write!(f, " in `{namespace}`"))
    }
}

/// How an object is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apply {
    /// Only say what would be.
    pub dry_run: bool,
    /// Take fields that somebody else has set to another value.
    pub force: bool,
}

impl Ask {
    /// Asks for a document that is no object, such as a list of kinds.
    pub(crate) fn document(path: &str, accept: &'static str) -> Self {
        let about = About {
            verb: "get",
            resource: path.to_owned(),
            namespace: None,
            name: String::new(),
            is_secret: false,
        };
        Self { accept, ..Self::new(Method::GET, path.to_owned(), about) }
    }

    fn new(method: Method, path: String, about: About) -> Self {
        let json = "application/json";
        Self {
            method,
            path,
            accept: json,
            content_type: json,
            body: Vec::new(),
            limit: ANSWER,
            about: Arc::new(about),
        }
    }

    /// Sets how long the answer may take.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

impl Resource {
    /// Asks for an object.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Ask {
        Ask::new(Method::GET, self.path(namespace, name), self.about("get", namespace, name))
    }

    /// Asks for a declared object to be as it is declared: server-side apply. The document is what is sent, so a `uid`
    /// and a `resourceVersion` in it say which object it must be.
    pub fn apply(&self, declared: &Object, how: Apply) -> Ask {
        let (namespace, name) = (declared.namespace(), declared.name());
        let mut path = self.path(namespace, name);
        let force = how.force;
        let written = write!(path, "?fieldManager={MANAGER}&fieldValidation=Strict&force={force}");
        written.expect("a string takes all that is written to it");
        if how.dry_run {
            path.push_str("&dryRun=All");
        }
        Ask {
            content_type: "application/apply-patch+yaml",
            body: json(declared.value()),
            ..Ask::new(Method::PATCH, path, self.about("patch", namespace, name))
        }
    }

    /// Asks for all objects of a kind with these labels; in every namespace where none is named.
    pub fn list(&self, namespace: Option<&str>, selector: &str, from: Option<&str>) -> Ask {
        let mut path = self.folder(namespace);
        let after = from.map(|token| format!("&continue={}", escaped(token))).unwrap_or_default();
        write!(path, "?labelSelector={}&limit=100{after}", escaped(selector))
            .expect("a string takes all that is written to it");
        Ask::new(Method::GET, path, self.about("list", namespace, ""))
    }

    /// Asks for the deletion of the object of this identity, its dependents first.
    pub fn delete(&self, namespace: Option<&str>, name: &str, uid: &str, dry_run: bool) -> Ask {
        let mut options = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        });
        if dry_run {
            options["dryRun"] = serde_json::json!(["All"]);
        }
        Ask {
            body: json(&options),
            ..Ask::new(Method::DELETE, self.path(namespace, name), self.about("delete", namespace, name))
        }
    }

    fn path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.folder(namespace), escaped(name))
    }

    fn folder(&self, namespace: Option<&str>) -> String {
        let root = if self.gvk.group.is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.gvk.api_version());
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            path.push_str("/namespaces/");
            path.push_str(&escaped(namespace));
        }
        format!("{path}/{}", self.plural)
    }

    fn about(&self, verb: &'static str, namespace: Option<&str>, name: &str) -> About {
        About {
            verb,
            resource: self.full_name(),
            namespace: namespace.filter(|_| self.namespaced).map(str::to_owned),
            name: name.to_owned(),
            is_secret: self.gvk.group.is_empty() && self.gvk.kind == "Secret",
        }
    }
}

fn json(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Returns a name as a part of a path.
fn escaped(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                path.push(char::from(byte));
            }
            other => write!(path, "%{other:02X}").expect("a string takes all that is written to it"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Gvk;

    fn resource(api_version: &str, kind: &str, plural: &str, namespaced: bool) -> Resource {
        let gvk = Gvk::new(api_version, kind);
        Resource { gvk, plural: plural.into(), namespaced, verbs: ["patch".to_owned()].into() }
    }

    #[test]
    fn objects_are_where_their_kind_says() {
        let deployment = resource("apps/v1", "Deployment", "deployments", true);
        let ask = deployment.get(Some("data"), "web");
        assert_eq!(ask.path, "/apis/apps/v1/namespaces/data/deployments/web");
        assert_eq!(ask.about.to_string(), "get deployments.apps `web` in `data`");
        let role = resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false);
        let ask = role.get(Some("data"), "a:b c/d?");
        assert_eq!(ask.path, "/apis/rbac.authorization.k8s.io/v1/clusterroles/a:b%20c%2Fd%3F");
        assert_eq!(ask.about.namespace, None);
    }

    #[test]
    fn what_is_applied_is_checked_and_has_our_name() {
        let declared =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "data"}})
                .into();
        let secret = resource("v1", "Secret", "secrets", true);
        let ask = secret.apply(&declared, Apply { dry_run: true, force: false });
        let query = "fieldManager=trueup&fieldValidation=Strict&force=false&dryRun=All";
        assert_eq!(ask.path, format!("/api/v1/namespaces/data/secrets/a?{query}"));
        assert!(ask.about.is_secret);
    }
}
