//! `trueup secret edit`: a secret in an editor, without a plaintext on a disk.
//!
//! The plaintext lies in a folder of its own in memory, which is overwritten and removed at the end
//! whatever happens: an editor that fails, a signal, and also the death of this process by `kill -9`,
//! because a small shell waits for the end of a pipe that only this process holds open.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::fs::statfs;
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};
use trueup_schema::Secret;
use zeroize::Zeroizing;

use crate::{
    Error, Identities, Recipients, disk, envelope,
    write::{self, read_content, view},
};

/// What the kernel calls a tmpfs.
const TMPFS: i64 = 0x0102_1994;
/// And a ramfs.
const RAMFS: i64 = 0x8584_58f6;

/// What came of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The file was written.
    Written,
    /// The plaintext is as it was; the file was not touched.
    Unchanged,
}

/// Opens the plaintext of `file` in `editor`, a command line as in `$EDITOR`, and encrypts what comes
/// out of it. A file that is not there starts empty.
pub async fn edit(
    file: &Path,
    identities: &Identities,
    recipients: &Recipients,
    editor: &str,
) -> Result<Edited, Error> {
    let old = if file.exists() { view(file, identities, None)? } else { Secret::new(Vec::new()) };
    let folder = MemoryFolder::new()?;
    let copy = folder.path.join(name(file));
    let written = |source| Error::WriteFile { path: copy.clone(), source };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&copy)
        .and_then(|mut plain| plain.write_all(old.expose()))
        .map_err(written)?;

    let edited = run(editor, &copy).await;
    let new = edited.and_then(|()| read_back(&copy));
    folder.remove().await?;
    let new = new?;
    if new.expose() == old.expose() {
        return Ok(Edited::Unchanged);
    }
    check_content(file, &old, &new)?;
    write::write(new.expose(), file, recipients)?;
    Ok(Edited::Written)
}

/// Refuses to turn a file with keys into one that cannot be read.
fn check_content(file: &Path, old: &Secret<Vec<u8>>, new: &Secret<Vec<u8>>) -> Result<(), Error> {
    if !old.expose().is_empty() && read_content(file, old.expose()).is_ok() {
        read_content(file, new.expose())?;
    }
    Ok(())
}

/// Returns the file's name without `.age`, so that the editor knows its syntax.
fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".age").unwrap_or(&name);
    if stem.contains('.') { stem.to_owned() } else { format!("{stem}.yaml") }
}

async fn run(editor: &str, copy: &Path) -> Result<(), Error> {
    let fail = |reason: String| Error::Edit { editor: editor.into(), reason };
    let listen = |kind| signal(kind).map_err(|error| fail(error.to_string()));
    // The terminal sends these to the editor too, which knows what it wants with them.
    let (_interrupt, _quit) = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
    let mut end = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("edit")
        .arg(copy)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail(error.to_string()))?;
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| fail(error.to_string()))?,
        () = either(&mut end) => {
            stop(&mut child).await;
            return Err(Error::Interrupt { editor: editor.into() });
        }
    };
    if status.success() { Ok(()) } else { Err(fail(format!("it ended with {status}"))) }
}

async fn either((first, second): &mut (Signal, Signal)) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

async fn stop(child: &mut Child) {
    // It may have ended meanwhile, which is as good.
    drop(child.kill().await);
}

fn read_back(copy: &Path) -> Result<Secret<Vec<u8>>, Error> {
    let fail = |source| Error::ReadFile { path: copy.into(), source };
    let file = fs::File::open(copy).map_err(fail)?;
    let size = usize::try_from(file.metadata().map_err(fail)?.len()).unwrap_or(usize::MAX);
    if size as u64 > envelope::FILE {
        return Err(disk::cannot_open(copy, &envelope::Failure::TooLarge));
    }
    let mut new = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(envelope::FILE).read_to_end(&mut new).map_err(fail)?;
    Ok(Secret::new(std::mem::take(&mut *new)))
}

/// A folder in memory that goes away with this process, however that ends.
struct MemoryFolder {
    path: PathBuf,
    watchdog: Child,
}

impl MemoryFolder {
    fn new() -> Result<Self, Error> {
        let above = memory().ok_or(Error::NoMemoryFolder)?;
        let path = above.join(format!("trueup-edit-{}", disk::random_name()?));
        let fail = |source| Error::WriteFile { path: path.clone(), source };
        // The watchdog comes first: there is no moment at which only this process knows the folder.
        let watchdog = Command::new("/bin/sh")
            .args(["-c", "trap '' INT QUIT TERM HUP; read _; rm -rf -- \"$1\"", "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(fail)?;
        let folder = Self { path: path.clone(), watchdog };
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        Ok(folder)
    }

    /// Overwrites and removes everything, and waits until the watchdog has ended too.
    async fn remove(mut self) -> Result<(), Error> {
        wipe(&self.path).map_err(|source| Error::WriteFile { path: self.path.clone(), source })?;
        drop(self.watchdog.stdin.take());
        // Its only work is done already.
        drop(self.watchdog.wait().await);
        Ok(())
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        // After `remove` there is nothing left; else the watchdog does it when its pipe closes.
        drop(wipe(&self.path));
    }
}

/// Overwrites every file below a folder with zeros, then removes it all. Editors leave copies there.
fn wipe(folder: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            wipe(&entry.path())?;
        } else if kind.is_file() {
            let mut file = OpenOptions::new().write(true).open(entry.path())?;
            let zeros = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
            file.write_all(&zeros)?;
        }
    }
    fs::remove_dir_all(folder)
}

/// Returns a folder in memory: `$XDG_RUNTIME_DIR`, which is the user's own, else `/dev/shm`.
fn memory() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    own.into_iter().chain([PathBuf::from("/dev/shm")]).find(|path| {
        path.is_absolute() && statfs(path).is_ok_and(|found| matches!(found.f_type, TMPFS | RAMFS))
    })
}
