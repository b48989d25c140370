//! Rules on what is delivered into a container: files, secrets, environment variables.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    RepoPath, SecretRef,
    located::{Findings, Located},
    manifest::{ComponentSpec, FileSpec, SecretSpec},
    resolve::secret_ref,
    resolved::edit_command,
    snapshot::Folder,
    suggest,
};

use super::{component, container};

/// The files that can be delivered.
pub(crate) struct Sources<'a> {
    /// Every file of the repository.
    pub(crate) files: &'a Folder,
    /// The environment's folder: secret files are looked up there.
    pub(crate) folder: &'a RepoPath,
    /// The bytes of one file that is delivered.
    pub(crate) file_bytes: u64,
}

/// Where the registry's credentials stand among the secrets of a component.
pub(crate) const PULL: &str = "pull";

pub(crate) fn check(spec: &ComponentSpec, sources: &Sources<'_>, findings: &mut Findings<'_>) {
    let mut targets: BTreeMap<&str, String> = BTreeMap::new();
    let mut variables: BTreeSet<&str> = spec.env.keys().map(String::as_str).collect();
    for file in &spec.files {
        let path = format!("files[{}]", file.to);
        self::file(file, &path, sources, findings);
        target(spec, &file.to, &format!("{path}.to"), findings);
        targets.insert(&file.to, path);
    }
    for secret in &spec.secrets {
        let path = format!("secrets[{}]", secret.name);
        self::secret(secret, &path, findings);
        reference(&secret.from, &format!("{path}.from"), sources, findings);
        if let Some(file) = &secret.file {
            target(spec, file, &format!("{path}.file"), findings);
            if targets.insert(file, path.clone()).is_some() {
                findings.error(
                    &format!("{path}.file"),
                    format!("`{file}` is delivered twice"),
                    "give each its own path",
                );
            }
        }
        for (field, variable) in [("env", &secret.env), ("pathEnv", &secret.path_env)] {
            let Some(variable) = variable else { continue };
            let path = format!("{path}.{field}");
            if !container::is_env_name(variable) {
                findings.error(
                    &path,
                    format!("`{variable}` is not a name of an environment variable"),
                    "write letters, digits and `_`",
                );
            }
            if !variables.insert(variable) {
                findings.error(
                    &path,
                    format!("the environment variable `{variable}` is set twice"),
                    "remove one",
                );
            }
        }
    }
    if let Some(pull) = &spec.pull {
        reference(&pull.secret, "pull.secret", sources, findings);
    }
}

fn file(file: &FileSpec, path: &str, sources: &Sources<'_>, findings: &mut Findings<'_>) {
    match sources.files.get(&file.from) {
        None => {
            let known = sources.files.list();
            let help = nearest_file(file.from.as_str(), known.keys().map(RepoPath::as_str));
            findings.error(&format!("{path}.from"), format!("the file `{}` does not exist", file.from), help);
        }
        Some(entry) if entry.size > sources.file_bytes => {
            let message =
                format!("the file has {} bytes, {} can be delivered", entry.size, sources.file_bytes);
            findings.error(&format!("{path}.from"), message, "put large files into the image or a volume");
        }
        Some(_) => {}
    }
    mode(&format!("{path}.mode"), file.mode.as_deref(), findings);
    component::owner(&format!("{path}.owner"), file.owner.as_deref(), findings);
    let Some([open, close]) = &file.delimiters else { return };
    let path = format!("{path}.delimiters");
    if !file.template {
        findings.error(
            &path,
            "delimiters need `template: true`",
            "write `template: true`, or remove `delimiters`",
        );
    }
    let poor = |text: &String| text.trim().is_empty() || text.trim() != text || text.chars().count() > 8;
    if poor(open) || poor(close) || open == close {
        findings.error(
            &path,
            "the delimiters cannot be told from text",
            "write two different ones, such as [\"@{\", \"}@\"]",
        );
    }
}

fn nearest_file<'a>(wanted: &str, files: impl Iterator<Item = &'a str>) -> String {
    let files: Vec<&str> = files.collect();
    let name = wanted.rsplit('/').next().unwrap_or_default();
    let same_name = || files.iter().copied().find(|file| file.rsplit('/').next() == Some(name));
    match suggest::nearest(wanted, files.iter().copied()).or_else(same_name) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "paths start at the repository's root".into(),
    }
}

fn target(spec: &ComponentSpec, to: &str, path: &str, findings: &mut Findings<'_>) {
    if let Err(reason) = container::check_path(to) {
        let message = format!("`{to}` is not a path in a container: {reason}");
        findings.error(path, message, "write an absolute path such as `/etc/app/app.conf`");
    } else if let Some(volume) = spec.volumes.iter().find(|volume| container::is_inside(to, &volume.path)) {
        let message = format!("`{to}` is inside the volume `{}` at `{}`", volume.name, volume.path);
        findings.error(path, message, "deliver it to a path outside of volumes");
    }
}

fn mode(path: &str, mode: Option<&str>, findings: &mut Findings<'_>) {
    if let Some(mode) = mode.filter(|mode| container::parse_mode(mode).is_none()) {
        findings.error(
            path,
            format!("`{mode}` is not a mode"),
            "write octal digits in quotes, such as \"0444\"",
        );
    }
}

fn secret(secret: &SecretSpec, path: &str, findings: &mut Findings<'_>) {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if secret.name.is_empty() || !secret.name.chars().all(valid) || secret.name == PULL {
        let message = format!("`{}` is not a valid secret name", secret.name);
        findings.error(&format!("{path}.name"), message, "write letters, digits and `_`, and not `pull`");
    }
    if secret.file.is_some() && secret.env.is_some() {
        findings.error(
            &format!("{path}.env"),
            "a secret is delivered as a file or in a variable, not both",
            "remove `env`, or `file`",
        );
    }
    if secret.env.is_some() && !secret.exposed {
        let help = "deliver it as a `file` (with `pathEnv` for its path), or accept that the engine stores and shows it: `exposed: true`";
        findings.error(
            &format!("{path}.env"),
            "`env` would show the secret to everybody who can inspect the container",
            help,
        );
    }
    if secret.exposed && secret.env.is_none() {
        findings.error(
            &format!("{path}.exposed"),
            "`exposed` says nothing without `env`",
            "remove `exposed`",
        );
    }
    if secret.file.is_none() {
        let given = [
            ("pathEnv", secret.path_env.is_some()),
            ("mode", secret.mode.is_some()),
            ("owner", secret.owner.is_some()),
        ];
        for (field, _) in given.into_iter().filter(|(_, given)| *given) {
            findings.error(
                &format!("{path}.{field}"),
                format!("`{field}` needs `file`"),
                format!("write `file: /run/secrets/{}`", secret.name),
            );
        }
    }
    mode(&format!("{path}.mode"), secret.mode.as_deref(), findings);
    component::owner(&format!("{path}.owner"), secret.owner.as_deref(), findings);
}

/// Checks `FILE#KEY`, and that the file is in the environment's folder.
fn reference(from: &str, path: &str, sources: &Sources<'_>, findings: &mut Findings<'_>) {
    let help = "write `FILE#KEY`, such as `secrets/postgresql.age#password`, or `FILE` for one raw value";
    if from.ends_with('#') || from.matches('#').count() > 1 {
        return findings.error(path, format!("`{from}` is not `FILE#KEY`"), help);
    }
    let Some((file, _)) = secret_ref(from, sources.folder.as_str()) else {
        return findings.error(
            path,
            format!("`{from}` does not name a file in the environment's folder"),
            help,
        );
    };
    if sources.files.get(&file).is_some() {
        return;
    }
    let own: Vec<RepoPath> =
        sources.files.folder(sources.folder).into_iter().flat_map(|own| own.list().into_keys()).collect();
    let own: Vec<&str> = own.iter().filter(|path| path.has_extension("age")).map(RepoPath::as_str).collect();
    let wanted = from.split('#').next().unwrap_or_default();
    let stem =
        |path: &'_ str| path.rsplit('/').next().unwrap_or_default().trim_end_matches(".age").to_owned();
    let stems: Vec<String> = own.iter().map(|path| stem(path)).collect();
    let near = suggest::nearest(&stem(wanted), stems.iter().map(String::as_str));
    let help = match own.iter().find(|path| Some(stem(path).as_str()) == near) {
        Some(meant) => format!("did you mean `{meant}`? secret files are looked up in `{}`", sources.folder),
        None => format!(
            "make it with `{}`",
            edit_command(sources.folder.as_str().rsplit('/').next().unwrap_or_default(), &file)
        ),
    };
    findings.error(path, format!("the secret file `{file}` does not exist"), help);
}

/// Returns the secrets of a component with their files, the registry's credentials last.
pub(crate) fn secret_refs(spec: &ComponentSpec, folder: &str, located: &Located) -> Vec<SecretRef> {
    let of = |name: &str, from: &str, path: &str| SecretRef::new(name, from, folder, located.at(path));
    let named = spec.secrets.iter().map(|s| of(&s.name, &s.from, &format!("secrets[{}].from", s.name)));
    let pull = spec.pull.iter().map(|pull| of(PULL, &pull.secret, "pull.secret"));
    named.chain(pull).flatten().collect()
}
