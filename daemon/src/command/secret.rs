//! `secret …`: age files of the checkout. Plaintext comes from standard input or an editor and goes to
//! standard output, and nowhere else.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use serde_json::json;
use trueup_schema::{EnvironmentName, Limits, RepoPath, load};
use trueup_secrets::{Edited, Identities, Recipients, Verdict};

use super::{checkout, root};
use crate::{
    args::{Global, Secret},
    failure::{Failure, Kind},
    show::Screen,
    world::configuration,
};

/// The largest plaintext that is read: secrets are small.
const PLAINTEXT_BYTES: u64 = 1 << 20;

/// Runs one of the commands.
pub(crate) async fn run(global: &Global, screen: Screen, command: Secret) -> Result<u8, Failure> {
    match command {
        Secret::Init { file } => init(screen, &file),
        Secret::Encrypt { env, file, replace } => {
            let vault = Vault::open(global, &env)?;
            encrypt(screen, &vault, &file, replace)
        }
        Secret::Edit { env, file } => edit(screen, &Vault::open(global, &env)?, &file).await,
        Secret::View { env, file } => view(&Vault::open(global, &env)?, &file),
        Secret::Rekey { env } => rekey(screen, &Vault::open(global, &env)?),
        Secret::Check { env } => check(screen, &Vault::open(global, &env)?),
    }
}

/// The secrets of one environment, and who may read them.
struct Vault {
    env: EnvironmentName,
    /// The environment's folder in the checkout.
    folder: PathBuf,
    keys: Identities,
    recipients: Recipients,
    /// The secret files that are there, from the environment's folder.
    files: Vec<RepoPath>,
}

impl Vault {
    fn open(global: &Global, env: &EnvironmentName) -> Result<Self, Failure> {
        let (config, _) = configuration(global)?;
        let mut key_files = config.keys;
        key_files.extend(global.key.iter().cloned());
        let keys = Identities::load(&key_files).map_err(|error| secret_failure(&error))?;
        let snapshot = checkout(global)?;
        let catalogue = load(&snapshot, &Limits::default())?;
        let folder = catalogue.environment_folder(env);
        let recipients =
            Recipients::parse(&catalogue.recipients(env)?).map_err(|error| secret_failure(&error))?;
        let inside = snapshot.files.root().folder(&folder).into_iter().flat_map(|own| own.list().into_keys());
        let files = inside.filter(|path| path.has_extension("age")).collect();
        Ok(Self { env: env.clone(), folder: root(global).join(folder.as_str()), keys, recipients, files })
    }

    fn path(&self, file: &RepoPath) -> PathBuf {
        self.folder.join(file.as_str())
    }
}

pub(crate) fn secret_failure(error: &trueup_secrets::Error) -> Failure {
    let failure = Failure::of(Kind::Config, error);
    match error.help() {
        Some(help) => failure.hint(help),
        None => failure,
    }
}

fn init(screen: Screen, file: &std::path::Path) -> Result<u8, Failure> {
    let recipient = trueup_secrets::init(file).map_err(|error| secret_failure(&error))?;
    let json = json!({ "apiVersion": "trueup.dev/v1", "recipient": recipient });
    screen.either(|| recipient.clone(), || json)?;
    Ok(0)
}

fn encrypt(screen: Screen, vault: &Vault, file: &RepoPath, replace: bool) -> Result<u8, Failure> {
    let mut plaintext = Vec::with_capacity(usize::try_from(PLAINTEXT_BYTES + 1).unwrap_or(usize::MAX));
    let read = std::io::stdin().lock().take(PLAINTEXT_BYTES + 1).read_to_end(&mut plaintext);
    let plaintext = trueup_schema::Secret::new(plaintext);
    read.map_err(|error| Failure::of(Kind::User, &error))?;
    if plaintext.expose().len() as u64 > PLAINTEXT_BYTES {
        return Err(Failure::new(Kind::User, "the secret is larger than 1 MiB"));
    }
    if let Some(folder) = vault.path(file).parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::of(Kind::User, &error))?;
    }
    trueup_secrets::encrypt(&plaintext, &vault.path(file), &vault.recipients, replace)
        .map_err(|error| secret_failure(&error))?;
    let readers: Vec<_> = vault.recipients.texts().map(str::to_owned).collect();
    let said = format!("{}: encrypted for {}", vault.path(file).display(), readers.join(", "));
    screen.either(|| said, || json!({ "apiVersion": "trueup.dev/v1", "recipients": readers }))?;
    Ok(0)
}

async fn edit(screen: Screen, vault: &Vault, file: &RepoPath) -> Result<u8, Failure> {
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).map_err(|_| {
        Failure::new(Kind::User, "no editor is set").hint("set `EDITOR`, for example `EDITOR=vi`")
    })?;
    let edited = trueup_secrets::edit(&vault.path(file), &vault.keys, &vault.recipients, &editor).await;
    let written = edited.map_err(|error| secret_failure(&error))? == Edited::Written;
    let said = if written { "written" } else { "unchanged" };
    screen.either(
        || format!("{file}: {said}"),
        || json!({ "apiVersion": "trueup.dev/v1", "written": written }),
    )?;
    Ok(0)
}

/// Prints the plaintext as it is: it is what was asked for.
fn view(vault: &Vault, file: &RepoPath) -> Result<u8, Failure> {
    let plaintext =
        trueup_secrets::view(&vault.path(file), &vault.keys, None).map_err(|error| secret_failure(&error))?;
    let mut out = std::io::stdout().lock();
    out.write_all(plaintext.expose())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::of(Kind::User, &error))?;
    Ok(0)
}

fn rekey(screen: Screen, vault: &Vault) -> Result<u8, Failure> {
    let mut written = Vec::new();
    for file in &vault.files {
        let changed = trueup_secrets::rekey(&vault.path(file), &vault.keys, &vault.recipients)
            .map_err(|error| secret_failure(&error))?;
        if changed {
            written.push(file.to_string());
        }
    }
    let said = match written.as_slice() {
        [] => format!("{}: every secret is for its current recipients already", vault.env),
        files => format!("{}: encrypted again: {}", vault.env, files.join(", ")),
    };
    screen.either(|| said, || json!({ "apiVersion": "trueup.dev/v1", "written": written }))?;
    Ok(0)
}

/// Says of each secret who can read it; exits with 1 when one is stale or cannot be opened.
fn check(screen: Screen, vault: &Vault) -> Result<u8, Failure> {
    let mut lines = Vec::new();
    let mut values = Vec::new();
    let mut stale = false;
    for file in &vault.files {
        let readers = trueup_secrets::check(&vault.path(file), &vault.keys, &vault.recipients)
            .map_err(|error| secret_failure(&error))?;
        let (word, notes) = match readers.verdict() {
            Verdict::Current => ("current", Vec::new()),
            Verdict::Stale(notes) => ("stale", notes),
            Verdict::Unknown(texts) => (
                "unknown",
                texts
                    .into_iter()
                    .map(|text| format!("the file does not tell whether `{text}` can read it"))
                    .collect(),
            ),
        };
        stale |= word == "stale" || !readers.opens;
        let opens = if readers.opens { "opens with a key at hand" } else { "no key at hand opens it" };
        lines.push(format!("{file}: {word}, {opens}"));
        lines.extend(notes.iter().map(|note| format!("  {note}")));
        values.push(json!({ "file": file, "verdict": word, "opens": readers.opens, "notes": notes }));
    }
    if stale {
        lines.push(format!(
            "  help: `trueup secret rekey {}` encrypts them for the current recipients",
            vault.env
        ));
    }
    if lines.is_empty() {
        lines.push(format!("{}: no secret files", vault.env));
    }
    screen.either(|| lines.join("\n"), || json!({ "apiVersion": "trueup.dev/v1", "secrets": values }))?;
    Ok(u8::from(stale))
}
