//! Makes sure that a folder is in memory before a secret is written into it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::mount::{MountFlags, mount};
use trueup_engine::{Blame, TargetError};

use crate::failure::file_failure;

/// `tmpfs` in `statfs(2)`.
const TMPFS: i64 = 0x0102_1994;
/// `ramfs` in `statfs(2)`.
const RAMFS: i64 = 0x8584_58f6;

/// Makes `folder` a file system in memory, unless it is one. Needs root for that.
pub(crate) fn ensure_in_memory(folder: &Path) -> Result<(), TargetError> {
    fs::create_dir_all(folder).map_err(|error| file_failure("create", folder, &error))?;
    if is_in_memory(folder)? {
        return Ok(());
    }
    mount_in_memory(folder).map_err(|error| {
        let message =
            format!("`{}` is not in memory, and secrets are written nowhere else", folder.display());
        TargetError::new(Blame::Target, message)
            .caused_by(&std::io::Error::from(error))
            .help("run trueup as root, or mount a tmpfs there")
    })?;
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(folder, mode).map_err(|error| file_failure("set the mode of", folder, &error))
}

/// Returns whether a folder that exists is in memory.
pub fn is_in_memory(folder: &Path) -> Result<bool, TargetError> {
    let found = rustix::fs::statfs(folder).map_err(|error| file_failure("look at", folder, &error.into()))?;
    Ok(found.f_type == TMPFS || found.f_type == RAMFS)
}

/// Mounts a tmpfs that is never swapped out; kernels before 6.4 do not know `noswap`.
fn mount_in_memory(folder: &Path) -> Result<(), rustix::io::Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", folder, "tmpfs", flags, Some(c"mode=0711,size=64m,noswap"))
        .or_else(|_| mount("tmpfs", folder, "tmpfs", flags, Some(c"mode=0711,size=64m")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_in_memory_and_proc_is_not() {
        assert!(is_in_memory(Path::new("/dev/shm")).unwrap());
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
    }
}
