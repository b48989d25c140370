//! Opening the secrets that an environment refers to.
//!
//! Each file is decrypted once. Every reference that cannot be had is reported at its own place;
//! there is never a default and never an empty secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use trueup_schema::{Files, Opened, Problem, RepoPath, Report, Secret, SecretRef, Severity};

use crate::{Identities, content::Content, envelope};

/// What is wrong with a reference: a message and a help line.
type Wrong = (String, String);

/// Opens every secret that is referred to, or reports every one that cannot be opened.
pub fn open(refs: &[&SecretRef], files: &dyn Files, identities: &Identities) -> Result<Opened, Report> {
    let mut by_file: BTreeMap<&RepoPath, Vec<&SecretRef>> = BTreeMap::new();
    for reference in refs {
        by_file.entry(&reference.file).or_default().push(reference);
    }
    let mut opened = Opened::new();
    let mut problems = BTreeSet::new();
    for (file, refs) in &by_file {
        match decrypt(file, files, identities) {
            Ok(plaintext) => pick(file, &plaintext, refs, &mut opened, &mut problems),
            Err(wrong) => problems.extend(refs.iter().map(|reference| problem(reference, &wrong))),
        }
    }
    if problems.is_empty() {
        Ok(opened)
    } else {
        Err(Report { problems: problems.into_iter().collect(), files: by_file.len() })
    }
}

fn decrypt(file: &RepoPath, files: &dyn Files, identities: &Identities) -> Result<Secret<Vec<u8>>, Wrong> {
    let Some(entry) = files.root().get(file) else {
        return Err((format!("there is no secret file `{file}`"), neighbours(file, files)));
    };
    let cannot = |failure: envelope::Failure| {
        (format!("the secret file `{file}` cannot be opened: {failure}"), failure.help())
    };
    if entry.size > envelope::FILE {
        return Err(cannot(envelope::Failure::TooLarge));
    }
    let bytes = files.read(file).map_err(|error| {
        (format!("the secret file `{file}` cannot be read: {}", error.reason), "see the repository".into())
    })?;
    envelope::decrypt(&bytes, identities).map_err(cannot)
}

/// Takes what each reference names out of a plaintext.
fn pick(
    file: &RepoPath,
    plaintext: &Secret<Vec<u8>>,
    refs: &[&SecretRef],
    opened: &mut Opened,
    problems: &mut BTreeSet<Problem>,
) {
    let mut content = None;
    for reference in refs {
        let value = match &reference.key {
            None if plaintext.expose().is_empty() => {
                let help = "give it a value with `trueup secret edit`";
                problems
                    .insert(problem(reference, &(format!("the secret file `{file}` is empty"), help.into())));
                continue;
            }
            None => plaintext.share(),
            Some(key) => {
                let content = content.get_or_insert_with(|| Content::read(plaintext.expose()));
                match content.as_ref().map_err(Clone::clone).and_then(|content| content.get(key)) {
                    Ok(value) => Secret::new(value.to_vec()),
                    Err(failure) => {
                        let message = format!("the secret file `{file}`: {failure}");
                        problems.insert(problem(reference, &(message, failure.help())));
                        continue;
                    }
                }
            }
        };
        opened.insert((file.clone(), reference.key.clone()), value);
    }
}

fn problem(reference: &SecretRef, (message, help): &Wrong) -> Problem {
    Problem {
        place: reference.place.clone(),
        severity: Severity::Error,
        message: message.clone(),
        help: Some(help.clone()),
        source_line: None,
        width: 1,
    }
}

/// Returns which secret files there are in the folder of one that is missing.
fn neighbours(file: &RepoPath, files: &dyn Files) -> String {
    let around = match file.folder() {
        Some(folder) => folder.parse().ok().and_then(|folder| files.root().folder(&folder)),
        None => Some(files.root()),
    };
    let names = around.into_iter().flat_map(|around| around.files().keys());
    let found: Vec<&str> = names
        .map(AsRef::as_ref)
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "age"))
        .take(10)
        .collect();
    let folder = file.folder().unwrap_or(".");
    if found.is_empty() {
        format!("create it with `trueup secret encrypt`; there are no secret files in `{folder}`")
    } else {
        format!("create it with `trueup secret encrypt`; files in `{folder}`: {}", found.join(", "))
    }
}
