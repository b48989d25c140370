//! What an API server refuses, in one line, with whose matter it is.

mod malformed;

use std::{error::Error, fmt, sync::Arc};

use kube::client::AuthError;
use serde_json::Value;
use trueup_engine::{Blame, TargetError};

use crate::ask::About;

/// A request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status; none where no answer came.
    pub code: Option<u16>,
    /// The API server's word for it: `Forbidden`, `Invalid`; or one of ours where no answer came.
    pub reason: String,
    /// The API server's sentence, which may quote the object. Empty where it is about a Secret.
    pub message: String,
    /// Each field that is wrong, and the API server's word for why.
    pub causes: Vec<(String, String)>,
    /// What was asked.
    pub about: Arc<About>,
}

/// No answer came, and nobody here is to blame.
pub(crate) const UNREACHABLE: &str = "Unreachable";
/// No answer came in time.
pub(crate) const TIMED_OUT: &str = "TimedOut";
/// The API server is not who it should be.
pub(crate) const UNTRUSTED: &str = "Untrusted";
/// There is no proof of who asks.
pub(crate) const NO_CREDENTIAL: &str = "NoCredential";
/// An answer came that says, as if the server were broken, that the object has not the form of its kind.
pub(crate) const MALFORMED: &str = "Malformed";
/// An answer came that cannot be used.
pub(crate) const UNREADABLE: &str = "Unreadable";

impl ApiError {
    /// Returns what an API server says with a status that is no success.
    pub(crate) fn answered(code: u16, status: &Value, about: &Arc<About>) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let causes = status["details"]["causes"].as_array().into_iter().flatten();
        let causes = causes.map(|cause| (text(&cause["field"]), text(&cause["reason"])));
        let said = text(&status["message"]);
        let malformed = malformed::fields(&said).filter(|_| code == 500);
        Self {
            code: Some(code),
            reason: malformed.as_ref().map_or_else(|| text(&status["reason"]), |_| MALFORMED.to_owned()),
            message: if about.is_secret { String::new() } else { one_line(&said) },
            causes: malformed.unwrap_or_else(|| causes.collect()),
            about: Arc::clone(about),
        }
    }

    /// Returns why there is no answer, or none that can be used.
    pub(crate) fn unanswered(reason: &str, message: impl Into<String>, about: &Arc<About>) -> Self {
        let reason = reason.to_owned();
        Self { code: None, reason, message: message.into(), causes: Vec::new(), about: Arc::clone(about) }
    }

    /// Returns why a request could not be sent, or its answer not be read.
    pub(crate) fn unsent(error: &kube::Error, about: &Arc<About>) -> Self {
        let chain = chain(error);
        if let Some(error) = chain.iter().find_map(|error| error.downcast_ref::<AuthError>()) {
            return Self::unanswered(NO_CREDENTIAL, credential(error), about);
        }
        let untrusted = chain.iter().find_map(|error| error.downcast_ref::<rustls::Error>());
        if let Some(error) = untrusted {
            return Self::unanswered(UNTRUSTED, error.to_string(), about);
        }
        let innermost = chain.last().map(ToString::to_string).unwrap_or_default();
        Self::unanswered(UNREACHABLE, innermost, about)
    }

    /// Returns whether there is no such object.
    pub fn is_missing(&self) -> bool {
        self.code == Some(404)
    }

    /// Returns the fields that are wrong in themselves.
    pub(crate) fn fixed_fields(&self) -> impl Iterator<Item = &str> {
        let wrong = |reason: &str| matches!(reason, "FieldValueInvalid" | "FieldValueForbidden");
        let named = self.causes.iter().filter(move |(field, reason)| !field.is_empty() && wrong(reason));
        named.map(|(field, _)| field.as_str())
    }

    /// Returns whether a program that has a say cannot be asked beforehand.
    /// Source: `admission/plugin/webhook/mutating/dispatcher.go` of the API server.
    pub(crate) fn has_no_dry_run(&self) -> bool {
        self.code == Some(400) && self.message.ends_with("does not support dry run")
    }

    /// Returns whether what was sent is refused as it is, and will be again.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code, Some(400 | 403 | 422)) || self.reason == MALFORMED
    }

    /// Returns whether something else is there, or was written, than the request says.
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409)
    }

    fn blame(&self) -> Blame {
        match (self.code, self.reason.as_str()) {
            (_, MALFORMED) => Blame::Manifest,
            (None, UNREACHABLE | TIMED_OUT) | (Some(429 | 500..), _) => Blame::Away,
            (Some(404 | 409 | 410), _) => Blame::Moved,
            (None | Some(300..=399 | 401 | 403), _) => Blame::Target,
            (Some(_), _) => Blame::Manifest,
        }
    }

    fn help(&self) -> Option<String> {
        let About { verb, resource, namespace, .. } = &*self.about;
        match (self.code, self.reason.as_str()) {
            (None, UNREACHABLE | TIMED_OUT) => {
                Some("check that the cluster runs, and that it is reached from here".into())
            }
            (None, UNTRUSTED) => Some("name the authority that has signed its certificate".into()),
            (None, NO_CREDENTIAL) | (Some(401), _) => {
                Some("check the token or the certificate of this target".into())
            }
            (Some(403), _) => {
                let place =
                    namespace.as_ref().map_or("the cluster".into(), |namespace| format!("`{namespace}`"));
                Some(format!(
                    "allow `{verb}` of `{resource}` in {place}, or see which policy or quota says no"
                ))
            }
            (Some(409), "Conflict") => Some("make a new plan".into()),
            _ => None,
        }
    }
}

impl Error for ApiError {}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&TargetError::from(self.clone()).one_line())
    }
}

impl From<ApiError> for TargetError {
    fn from(error: ApiError) -> Self {
        let message = match error.code {
            Some(403) => format!("may not {}", error.about),
            _ => format!("cannot {}", error.about),
        };
        let said = match (error.message.is_empty(), error.code) {
            (false, _) => Some(error.message.clone()),
            (true, Some(code)) => {
                Some(format!("the API server says {code} {}", error.reason).trim_end().to_owned())
            }
            (true, None) => None,
        };
        let causes = error.causes.iter().map(|(field, reason)| format!("{field}: {reason}"));
        TargetError {
            causes: said.into_iter().chain(causes).collect(),
            help: error.help(),
            ..TargetError::new(error.blame(), message)
        }
    }
}

/// Returns why there is no credential. What a command printed is left out: it may be one.
pub(crate) fn credential(error: &AuthError) -> String {
    match error {
        AuthError::ReadTokenFile(..) | AuthError::AuthExecStart(_) | AuthError::MissingCommand => {
            error.to_string()
        }
        AuthError::AuthExecRun { cmd, out } => format!("`{cmd}` ended with {}", out.status),
        _ => "there is none that can be read".into(),
    }
}

/// Returns an error with all that lies behind it. What an input error wraps is its cause in all but name.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut all = vec![error];
    loop {
        let last = all[all.len() - 1];
        let wrapped = last.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let Some(next) = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| last.source())
        else {
            return all;
        };
        all.push(next);
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(is_secret: bool) -> Arc<About> {
        let resource = if is_secret { "secrets" } else { "deployments.apps" };
        Arc::new(About {
            verb: "patch",
            resource: resource.into(),
            namespace: Some("data".into()),
            name: "web".into(),
            is_secret,
        })
    }

    fn invalid() -> Value {
        json!({"kind": "Status", "code": 422, "reason": "Invalid", "message": "it is invalid: spec.x: aHVudGVyMg==",
            "details": {"causes": [{"field": "spec.x", "reason": "FieldValueInvalid", "message": "aHVudGVyMg=="}]}})
    }

    #[test]
    fn whoever_can_mend_it_is_blamed() {
        for (code, blame) in [
            (302, Blame::Target),
            (400, Blame::Manifest),
            (401, Blame::Target),
            (403, Blame::Target),
            (404, Blame::Moved),
            (409, Blame::Moved),
            (422, Blame::Manifest),
            (429, Blame::Away),
            (500, Blame::Away),
            (503, Blame::Away),
        ] {
            let error = ApiError::answered(code, &json!({}), &about(false));
            assert_eq!(TargetError::from(error).blame, blame, "{code}");
        }
        for (reason, blame) in
            [(UNREACHABLE, Blame::Away), (TIMED_OUT, Blame::Away), (UNTRUSTED, Blame::Target)]
        {
            let error = ApiError::unanswered(reason, "", &about(false));
            assert_eq!(TargetError::from(error).blame, blame, "{reason}");
        }
    }

    #[test]
    fn a_missing_right_is_named_with_where_it_is_missing() {
        let error: TargetError =
            ApiError::answered(403, &json!({"reason": "Forbidden"}), &about(false)).into();
        assert_eq!(error.message, "may not patch deployments.apps `web` in `data`");
        let help = error.help.unwrap();
        assert!(help.starts_with("allow `patch` of `deployments.apps` in `data`"), "{help}");
    }

    #[test]
    fn wrong_fields_are_named() {
        let error: TargetError = ApiError::answered(422, &invalid(), &about(false)).into();
        assert_eq!(error.causes, ["it is invalid: spec.x: aHVudGVyMg==", "spec.x: FieldValueInvalid"]);
    }

    #[test]
    fn a_malformed_object_is_the_manifests_matter() {
        let message =
            "failed to create typed patch object (/a; /v1, Kind=Secret): .data.a: expected string, got &x{1}";
        let error = ApiError::answered(500, &json!({"message": message}), &about(true));
        assert_eq!(error.causes, [("data.a".to_owned(), "expected string".to_owned())]);
        let error: TargetError = error.into();
        assert_eq!(error.blame, Blame::Manifest);
        assert_eq!(error.causes, ["the API server says 500 Malformed", "data.a: expected string"]);
    }

    #[test]
    fn what_is_said_about_a_secret_is_not_kept() {
        let error = ApiError::answered(422, &invalid(), &about(true));
        assert!(!format!("{error:?}").contains("aHVudGVyMg"));
        let error: TargetError = error.into();
        assert_eq!(error.causes, ["the API server says 422 Invalid", "spec.x: FieldValueInvalid"]);
    }
}
