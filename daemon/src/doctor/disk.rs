//! How much room there is.

use std::{io, path::Path};

use super::{Finding, Of, size};

/// Returns the folder, or the nearest one above it that exists.
pub(super) fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

/// Returns how many bytes can be written below a folder.
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(existing(folder))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Says whether what is free is enough.
pub(super) fn judge(of: Of<'_>, folder: &Path, free: u64, enough: u64) -> Finding {
    let text = format!("{} free at {}", size(free), folder.display());
    if free >= enough {
        return of.good(text);
    }
    of.attention(text, format!("free some space: less than {} is little", size(enough)))
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};
    use crate::doctor::Check;

    #[test]
    fn little_room_is_something_to_look_at() {
        let state = |free| judge(Of(Check::Disk, None), Path::new("/x"), free, 1000).state;
        assert_eq!((state(1000), state(999)), (State::Good, State::Attention));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        assert_eq!(existing(Path::new("/proc/no/such/folder")), Path::new("/proc"));
        assert!(free(Path::new("/dev/shm/no/such/folder")).unwrap() > 0);
    }
}
