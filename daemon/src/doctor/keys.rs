//! Whether each key file can be used, and by nobody else. No byte of a key is shown.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use trueup_secrets::{Error, Identities};

use super::{Check, Finding, Of, blocking, mode};
use crate::{command::secret_failure, config::Config};

const OF: Of<'static> = Of(Check::KeyFile, None);

/// Returns the keys that can be used, and what was found of each file.
pub(super) async fn examine(config: &Config) -> (Identities, Vec<Finding>) {
    if config.keys.is_empty() {
        let fix = "trueup secret init /etc/trueup/age.key, and name it in `keys`";
        return (Identities::default(), vec![OF.attention("none is named: no secret can be opened", fix)]);
    }
    let files = config.keys.clone();
    blocking(move || read(&files)).await.unwrap_or_else(|| (Identities::default(), vec![OF.late()]))
}

fn read(files: &[PathBuf]) -> (Identities, Vec<Finding>) {
    let (mut usable, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        let metadata = file.metadata().ok();
        match Identities::load(std::slice::from_ref(file)) {
            Ok(keys) => {
                findings.push(usable_file(file, &keys, metadata.as_ref()));
                usable.push(file.clone());
            }
            Err(error) => findings.extend(unusable_file(&error, metadata.as_ref())),
        }
    }
    (Identities::load(&usable).unwrap_or_default(), findings)
}

fn usable_file(file: &Path, keys: &Identities, metadata: Option<&Metadata>) -> Finding {
    let shown = file.display();
    let recipients: Vec<_> = keys.recipients().map(|(recipient, _)| recipient).collect();
    let (mode, owner) = metadata.map_or((0, 0), |metadata| (mode(metadata), metadata.uid()));
    if mode & 0o070 != 0 {
        let text = format!("{shown} is open to its group (mode {mode:04o})");
        return OF.attention(text, format!("chmod 600 {shown}"));
    }
    let user = rustix::process::geteuid().as_raw();
    if ![user, 0].contains(&owner) {
        let text = format!("{shown} belongs to another user (uid {owner})");
        return OF.attention(text, format!("chown {user} {shown}"));
    }
    OF.good(format!("{shown}: {} (mode {mode:04o})", recipients.join(", ")))
}

fn unusable_file(error: &Error, metadata: Option<&Metadata>) -> Vec<Finding> {
    let mut findings = OF.failed(&secret_failure(error));
    for finding in &mut findings {
        if let (Error::ReadKey { path, reason, .. }, Some(metadata)) = (error, metadata) {
            finding.text = format!("{}: {reason} (mode {:04o})", path.display(), mode(metadata));
        }
        let fix = finding.fix.take().unwrap_or_else(|| "correct its path in `keys`, or its owner".to_owned());
        finding.fix = Some(fix.trim_start_matches("run: ").to_owned());
    }
    findings
}
