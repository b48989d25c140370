//! Rules on an Environment alone.

use std::collections::BTreeSet;

use crate::{
    Subnet,
    located::{Findings, step},
    manifest::EnvironmentSpec,
    suggest,
    yaml::holds_a_key,
};

pub(crate) fn check(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    if let Some(domain) = &spec.domain
        && !is_domain(domain)
    {
        let help = "write labels of lower-case letters, digits and `-`, such as `dev.internal`";
        findings.error("domain", format!("`{domain}` is not a valid domain"), help);
    }
    target(spec, findings);
    components(spec, findings);
    subnets(spec, findings);
    variables(spec, findings);
    sync(spec, findings);
    recipients(spec, findings);
}

fn target(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    let target = &spec.target;
    match (&target.docker, &target.kubernetes) {
        (None, None) => findings.error(
            "target",
            "the target has no kind",
            "write `docker: local`, or `kubernetes: NAME` and `namespace: NAME`",
        ),
        (Some(_), Some(_)) => {
            findings.error("target.kubernetes", "an environment has one target", "remove one of the two");
        }
        (None, Some(_)) if target.namespace.is_none() => findings.error(
            "target.kubernetes",
            "a cluster needs a `namespace`",
            "write `namespace: NAME`; it must be there",
        ),
        (None, Some(_)) => {}
        (Some(_), None) => {
            if target.namespace.is_some() {
                findings.error("target.namespace", "an engine has no namespaces", "remove `namespace`");
            }
            if !spec.manifests.is_empty() {
                let help = "remove `manifests`, or write `kubernetes: NAME` in `target`";
                findings.error("manifests", "an engine has no plain objects", help);
            }
        }
    }
}

fn components(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (number, name) in spec.components.iter().enumerate() {
        if !seen.insert(name.as_str()) {
            findings.error(
                &format!("components[{number}]"),
                format!("`{name}` is listed twice"),
                "remove one",
            );
        }
    }
    for name in spec.patches.keys().filter(|name| !seen.contains(name.as_str())) {
        let message = format!("the patch is for `{name}`, which is not one of the `components` here");
        let help = match suggest::nearest(name.as_str(), seen.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("add `{name}` to `components`, or remove the patch"),
        };
        findings.error(&step("patches", name.as_str()), message, help);
    }
}

fn subnets(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    let mut known: Vec<(&str, Subnet)> = Vec::new();
    for (name, zone) in &spec.zones {
        let Some(text) = &zone.subnet else { continue };
        let path = format!("zones.{name}.subnet");
        let subnet = match text.parse::<Subnet>() {
            Ok(subnet) => subnet,
            Err(error) => {
                findings.error(&path, error.to_string(), error.help);
                continue;
            }
        };
        if let Some((other, taken)) = known.iter().find(|(_, taken)| taken.overlaps(subnet)) {
            let message = format!("`{subnet}` overlaps `{taken}` of zone `{other}`");
            findings.error(&path, message, "give each zone a subnet of its own, or leave `subnet` out");
        }
        known.push((name.as_str(), subnet));
    }
}

fn variables(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    for (name, value) in &spec.variables {
        let path = step("variables", name);
        if !is_identifier(name) {
            let message = format!("`{name}` is not a valid variable name");
            findings.error_at_key(&path, message, "write letters, digits and `_`, starting with a letter");
        }
        if value.contains("${") {
            let help = "write the value itself; expressions are computed in components and patches";
            findings.error(&path, "an expression in a variable is not computed", help);
        }
    }
}

fn sync(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    let spans = [("interval", spec.sync.interval), ("timeout", spec.sync.timeout)];
    for (name, _) in spans.into_iter().filter(|(_, span)| span.0.as_secs() == 0) {
        findings.error(
            &step("sync", name),
            format!("`{name}` is shorter than a second"),
            "write `1s` or more",
        );
    }
}

fn recipients(spec: &EnvironmentSpec, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (number, recipient) in spec.encryption.recipients.iter().enumerate() {
        let path = format!("encryption.recipients[{number}]");
        if holds_a_key(recipient) {
            let help = "remove it from the history, make a new key, and write its recipient `age1...` here";
            findings.error(&path, "a private key stands in the repository", help);
        } else if !is_recipient(recipient) {
            let help = "write an `age1...` recipient (`age-keygen -y KEYFILE`) or an `ssh-ed25519 AAAA...` public key";
            findings.error(&path, format!("`{recipient}` is not a recipient"), help);
        } else if !seen.insert(recipient) {
            findings.error(&path, "the recipient is listed twice", "remove one");
        }
    }
}

fn is_recipient(text: &str) -> bool {
    if let Some(data) = text.strip_prefix("age1") {
        return data.len() == 58 && data.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    }
    let mut words = text.split_whitespace();
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    words.next() == Some("ssh-ed25519")
        && words
            .next()
            .is_some_and(|key| key.len() == 68 && key.starts_with("AAAA") && key.bytes().all(base64))
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(label)
}

/// Returns whether a text can stand behind a dot in an expression.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_known_by_their_form() {
        assert!(is_recipient("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"));
        let ssh = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} me@here", "x".repeat(43));
        assert!(is_recipient(&ssh));
        for wrong in ["", "age1", "age1short", "ssh-rsa AAAA", "ssh-ed25519 short", "bob"] {
            assert!(!is_recipient(wrong), "{wrong}");
        }
    }

    #[test]
    fn domains_are_labels_with_dots() {
        assert!(is_domain("dev.internal") && is_domain("local"));
        for wrong in ["", ".", "a..b", "-a.b", "a-.b", "A.b", "a_b", "a b"] {
            assert!(!is_domain(wrong), "{wrong}");
        }
    }
}
