//! Delivered files on this machine, in folders that are named by what is in them.
//!
//! ```text
//! <runtime_dir>/<env-uid>/<component>/<generation>/0-password     in memory: secrets
//! <state_dir>/files/<env-uid>/<component>/<generation>/1-app.conf  on disk: all else
//! ```
//!
//! A changed byte, mode or owner is another generation, so another mount source, so a new container. A
//! folder appears whole or not at all. It is written again before each start, because what is in memory
//! is gone after a reboot, and removed when no container uses it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use bollard::models::{ContainerInspectResponse, MountType};
use trueup_engine::{Blame, Identity, RunContext, TargetError};
use trueup_schema::{ComponentName, Content, ContentDigest, DigestKey, Materials, Secret};

use crate::{
    Docker, Settings,
    container::is_running,
    failure::file_failure,
    names::{COMPONENT, short_digest},
    sight::owned,
    spec::FileSpec,
    tmpfs::ensure_in_memory,
};

/// The delivered files of a container, by their path in it.
pub(crate) type FileSpecs = BTreeMap<String, FileSpec>;

/// The bits of a mode that are delivered.
const RIGHTS: u32 = 0o7777;

/// Where a container has its files from.
pub(crate) struct Mounted {
    /// Where each file is on this machine, by its path in the container.
    pub(crate) sources: BTreeMap<String, PathBuf>,
    pub(crate) running: bool,
}

impl Mounted {
    /// Returns the single files that an inspected container has from this machine.
    pub(crate) fn of(found: &ContainerInspectResponse) -> Self {
        let mounts = found.host_config.iter().flat_map(|host| host.mounts.iter().flatten());
        let binds = mounts.filter(|mount| mount.typ == Some(MountType::BIND));
        let sources = binds.filter_map(|mount| Some((mount.target.clone()?, mount.source.clone()?.into())));
        Self { sources: sources.collect(), running: is_running(found) }
    }
}

fn is_missing(source: &Path) -> bool {
    fs::metadata(source).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Returns whether a file has the mode and the owner that it is delivered with.
fn has_rights(found: &fs::Metadata, file: &FileSpec) -> bool {
    found.mode() & RIGHTS == file.mode_bits() && (found.uid(), found.gid()) == file.owner_ids()
}

/// Returns where each file is on this machine.
pub(crate) fn sources(
    settings: &Settings,
    identity: &Identity,
    component: &ComponentName,
    files: &FileSpecs,
) -> BTreeMap<String, PathBuf> {
    let folders = [false, true].map(|secret| folder(settings, identity, component, files, secret));
    let source = |(at, (path, file)): (usize, (&String, &FileSpec))| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let folder = &folders[usize::from(file.digest.is_secret())];
        (path.clone(), folder.join(format!("{at}-{name}")))
    };
    files.iter().enumerate().map(source).collect()
}

fn folder(
    settings: &Settings,
    identity: &Identity,
    component: &ComponentName,
    files: &FileSpecs,
    secret: bool,
) -> PathBuf {
    let parts: Vec<String> = files
        .iter()
        .enumerate()
        .filter(|(_, (_, file))| file.digest.is_secret() == secret)
        .map(|(at, (path, file))| format!("{at} {path} {} {} {}", file.digest, file.mode, file.owner))
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    component_folder(settings, identity, component, secret).join(short_digest(&parts, 12))
}

fn component_folder(
    settings: &Settings,
    identity: &Identity,
    component: &ComponentName,
    secret: bool,
) -> PathBuf {
    environment_folder(settings, identity, secret).join(component.as_str())
}

/// Returns the folder of an environment's files.
pub(crate) fn environment_folder(settings: &Settings, identity: &Identity, secret: bool) -> PathBuf {
    let root = if secret { settings.runtime_dir.clone() } else { settings.state_dir.join("files") };
    root.join(&identity.uid)
}

impl Docker {
    /// Writes the files of a container, unless they are there as they should be.
    pub(crate) async fn deliver(
        &self,
        run: &RunContext,
        component: &ComponentName,
        files: &FileSpecs,
    ) -> Result<(), TargetError> {
        if files.is_empty() || !self.is_local() {
            return Ok(());
        }
        let sources = sources(self.settings(), &run.identity, component, files);
        let runtime =
            files.values().any(|file| file.digest.is_secret()).then(|| self.settings().runtime_dir.clone());
        let (files, materials) = (files.clone(), Arc::clone(&run.materials));
        let one_at_a_time = self.deliveries();
        let write = move || {
            let _guard = one_at_a_time.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(runtime) = runtime {
                ensure_in_memory(&runtime)?;
            }
            write_all(&files, &sources, &materials)
        };
        blocking(write).await
    }

    /// Returns the files of a container as they really are at their sources. One that is missing is left out where
    /// the container runs: another one gets it before it starts. What was not written since it was read is not read
    /// again.
    pub(crate) fn read_back(&self, files: &FileSpecs, mounted: &Mounted, key: &DigestKey) -> FileSpecs {
        let there = files.iter().filter_map(|(path, file)| {
            let source = mounted.sources.get(path);
            let is_missing = source.is_some_and(|source| is_missing(source));
            let is_kept = !is_missing || !mounted.running;
            is_kept.then(|| {
                (path.clone(), source.map_or_else(|| file.clone(), |source| self.really(source, file, key)))
            })
        });
        there.collect()
    }

    /// Returns a delivered file as it is on this machine; as it was delivered, where that cannot be read.
    fn really(&self, source: &Path, file: &FileSpec, key: &DigestKey) -> FileSpec {
        let read = |bytes| digest(&Secret::new(bytes), file.digest.is_secret().then_some(key));
        let Some(digest) = self.readings().digest(source, read) else { return file.clone() };
        let as_delivered = || (file.mode.clone(), file.owner.clone());
        let (mode, owner) = match fs::metadata(source) {
            Ok(found) if !has_rights(&found, file) => {
                (format!("{:04o}", found.mode() & RIGHTS), format!("{}:{}", found.uid(), found.gid()))
            }
            _ => as_delivered(),
        };
        FileSpec { digest, mode, owner }
    }

    /// Removes the generations of a component that no container mounts any more.
    pub(crate) async fn sweep_files(
        &self,
        identity: &Identity,
        component: &ComponentName,
    ) -> Result<(), TargetError> {
        if !self.is_local() {
            return Ok(());
        }
        let folders =
            [false, true].map(|secret| component_folder(self.settings(), identity, component, secret));
        if !folders.iter().any(|folder| folder.exists()) {
            return Ok(());
        }
        let containers = self.list_containers(owned(identity)).await?;
        let of_component = containers.iter().filter(|container| {
            let labels = container.labels.as_ref();
            labels.and_then(|labels| labels.get(COMPONENT)).is_some_and(|name| name == component.as_str())
        });
        let mounts = of_component.flat_map(|container| container.mounts.iter().flatten());
        let used: BTreeSet<PathBuf> = mounts
            .filter_map(|mount| Path::new(mount.source.as_deref()?).parent().map(Path::to_owned))
            .collect();
        blocking(move || folders.iter().try_for_each(|folder| sweep(folder, &used))).await?;
        self.readings().forget_removed();
        Ok(())
    }
}

/// Works on files where that keeps no other task from going on.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
) -> Result<T, TargetError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        TargetError::new(Blame::Target, "the work on files was interrupted").caused_by(&error)
    })?
}

/// Removes a folder with all that is in it, if it is there.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), TargetError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file_failure("remove", folder, &error))
        }
        _ => Ok(()),
    }
}

/// Returns the digest of what is in a file: of a secret by the key.
fn digest(content: &Secret<Vec<u8>>, key: Option<&DigestKey>) -> ContentDigest {
    match key {
        Some(key) => ContentDigest::of_secret(key, content.expose()),
        None => ContentDigest::of_plain(content.expose()),
    }
}

fn sweep(folder: &Path, used: &BTreeSet<PathBuf>) -> Result<(), TargetError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| !used.contains(path)) {
        remove_folder(&path)?;
    }
    // The folder stays while something is in it.
    let _ = fs::remove_dir(folder);
    Ok(())
}

fn write_all(
    files: &FileSpecs,
    sources: &BTreeMap<String, PathBuf>,
    materials: &Materials,
) -> Result<(), TargetError> {
    let mut folders: BTreeMap<&Path, Vec<(&Path, &FileSpec, &Content)>> = BTreeMap::new();
    for (path, file) in files {
        let source = sources.get(path).expect("every file has a source");
        let content = materials.get(&file.digest).ok_or_else(|| {
            TargetError::new(Blame::Target, format!("the content of `{path}` is not at hand"))
                .help("make a new plan")
        });
        let folder = source.parent().expect("a source is in a folder");
        match content {
            Ok(content) => folders.entry(folder).or_default().push((source, file, content)),
            // What is there need not be written.
            Err(_) if source.exists() => {}
            Err(error) => return Err(error),
        }
    }
    folders.into_iter().try_for_each(|(folder, files)| write_folder(folder, &files))
}

type Entry<'a> = (&'a Path, &'a FileSpec, &'a Content);

fn write_folder(folder: &Path, files: &[Entry<'_>]) -> Result<(), TargetError> {
    let is_there = |(source, file, content): &Entry<'_>| {
        fs::read(source).map(Secret::new).is_ok_and(|bytes| bytes.expose() == content.expose())
            && fs::metadata(source).is_ok_and(|found| has_rights(&found, file))
    };
    if files.iter().all(is_there) {
        return Ok(());
    }
    let parent = folder.parent().expect("a generation is in a component's folder");
    create_folders(parent)?;
    let draft = draft_of(folder);
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|error| file_failure("remove", &draft, &error))?;
    }
    create_folders(&draft)?;
    for (source, file, content) in files {
        write_file(&draft.join(name_of(source)), file, content)?;
    }
    if !folder.exists() {
        return rename(&draft, folder);
    }
    // A folder that somebody changed gets its files one by one: others of it may be mounted.
    for (source, _, _) in files {
        rename(&draft.join(name_of(source)), source)?;
    }
    fs::remove_dir(&draft).map_err(|error| file_failure("remove", &draft, &error))
}

fn name_of(source: &Path) -> &std::ffi::OsStr {
    source.file_name().expect("a source has a name")
}

/// Returns where a folder is written before it is put in place; what a crash left there is overwritten.
fn draft_of(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}"))
}

fn rename(from: &Path, to: &Path) -> Result<(), TargetError> {
    fs::rename(from, to).map_err(|error| file_failure("put in place", to, &error))
}

fn create_folders(folder: &Path) -> Result<(), TargetError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .map_err(|error| file_failure("create", folder, &error))
}

fn write_file(path: &Path, file: &FileSpec, content: &Content) -> Result<(), TargetError> {
    let failure = |error: std::io::Error| file_failure("write", path, &error);
    let mut options = fs::OpenOptions::new();
    let mut handle = options.write(true).create_new(true).mode(0o600).open(path).map_err(failure)?;
    handle.write_all(content.expose()).map_err(failure)?;
    let (uid, gid) = file.owner_ids();
    chown(path, Some(uid), Some(gid)).map_err(failure)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode_bits())).map_err(failure)?;
    if content.is_secret() { Ok(()) } else { handle.sync_all().map_err(failure) }
}
