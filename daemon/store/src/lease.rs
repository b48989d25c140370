//! The right to change an environment: a lock of the operating system on a file.
//!
//! It ends with the process, also by `kill -9`; no clock is involved. The file says who has it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use trueup_engine::{EnvKey, HeldBy, Holder, StoreError};

use crate::folder::cannot_open;

/// How often a held lock is tried again. Locks of files tell nobody when they end.
const AGAIN: Duration = Duration::from_millis(100);

/// The right to change an environment, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    file: File,
    env: EnvKey,
}

impl Lease {
    /// Returns the environment.
    pub fn env(&self) -> &EnvKey {
        &self.env
    }

    /// Takes the lock, or says who has it.
    pub(crate) fn take(folder: &Path, env: &EnvKey, holder: &Holder) -> Result<Self, StoreError> {
        // Names are labels without a dot, so that two environments never share a file.
        let path = folder.join(format!("{}.{}", env.source, env.environment));
        let cannot = |error: io::Error| cannot_open(&path, error);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).mode(0o600).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {
                // The lock counts; the name is for people, and a full disk must not stop a recovery.
                let _named = sign(&mut file, holder);
                Ok(Self { file, env: env.clone() })
            }
            Err(TryLockError::WouldBlock) => Err(HeldBy { env: env.clone(), holder: read(&mut file) }.into()),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }

    /// Returns who has the lock. It is not tried for: that could keep somebody else from taking it.
    pub(crate) fn holder(folder: &Path, env: &EnvKey) -> Option<Holder> {
        let mut file = File::open(folder.join(format!("{}.{}", env.source, env.environment))).ok()?;
        let holder = read(&mut file)?;
        // One that was killed has left its name.
        Path::new("/proc").join(holder.pid.to_string()).exists().then_some(holder)
    }

    /// Takes the lock as soon as nobody has it.
    pub(crate) async fn wait(
        folder: &Path,
        env: &EnvKey,
        holder: &Holder,
        cancel: &CancellationToken,
    ) -> Result<Self, StoreError> {
        loop {
            match Self::take(folder, env, holder) {
                Err(StoreError::Lease(held)) => tracing::debug!(%held, "waits for a lease"),
                taken => return taken,
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(StoreError::Cancelled { env: env.clone() }),
                () = tokio::time::sleep(AGAIN) => {},
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The name goes before the lock, so that nobody reads the name of one who left.
        let _cleared = self.file.set_len(0);
        let _freed = self.file.unlock();
    }
}

fn sign(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(holder)?)
}

/// Returns who signed; `None` in the moment between the lock and the name.
fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
