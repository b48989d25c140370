//! Whether the store can be opened, and whether its disk has room.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use trueup_engine::{EnvKey, StoreError};
use trueup_store::{COMFORT, Inspection, inspect};

use super::{Check, Finding, Of, blocking, cannot_look, disk, mode, size};
use crate::{config::Config, failure::Failure};

const STORE: Of<'static> = Of(Check::Store, None);

/// Looks at the state directory and the store in it.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let (folder, same) = (config.state_dir.clone(), config.state_dir.clone());
    let (file, around) =
        futures::join!(blocking(move || inspect(&folder)), blocking(move || directory(&same)));
    let mut findings = match file {
        Some(inspected) => store(&config.state_dir, inspected),
        // It is read as a whole, and it may be large.
        None => vec![STORE.attention(
            format!("{}: it was not read to its end in time", config.state_dir.display()),
            "see whether its disk is slow; what trueup reads of it is checked when it is read",
        )],
    };
    findings.extend(around.unwrap_or_else(|| vec![Of(Check::Disk, None).late()]));
    findings
}

fn store(folder: &Path, inspected: Result<Option<Inspection>, StoreError>) -> Vec<Finding> {
    let found = match inspected {
        Ok(Some(found)) => found,
        Ok(None) => return vec![missing(folder)],
        Err(error) => return STORE.failed(&Failure::from(error)),
    };
    let (layout, newest) = found.layout;
    let next =
        if layout < newest { format!(", brought to {newest} at the next start") } else { String::new() };
    let text = format!("{}, {}, layout {layout}{next}", found.path.display(), size(found.bytes));
    let reserve = Of(Check::Reserve, None);
    let reserve = if found.reserve {
        reserve.good("there, for the way back of a run on a full disk")
    } else {
        reserve.attention(
            "it is not there: on a full disk a run may not find its way back",
            format!("see that {} are free; it is made again while trueup runs", size(COMFORT)),
        )
    };
    let interrupted = found.interrupted.iter().map(interrupted);
    [STORE.good(text), reserve].into_iter().chain(interrupted).collect()
}

fn interrupted(env: &EnvKey) -> Finding {
    let name = &env.environment;
    STORE.attention(
        format!("a run of `{env}` has no end, and nobody works on it"),
        format!(
            "start the daemon, or run `trueup apply {name}`: it is ended first; see `trueup history {name}`"
        ),
    )
}

fn missing(folder: &Path) -> Finding {
    let text = format!("{}: there is none yet", folder.display());
    if access(disk::existing(folder), Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return STORE
            .attention(text, "the first command that needs it makes it; of a lost one, restore a copy");
    }
    STORE
        .bad(format!("{text}, and it cannot be made there"), "run trueup as root, or name another `stateDir`")
}

/// Looks at the directory itself.
fn directory(folder: &PathBuf) -> Vec<Finding> {
    let room = match disk::free(folder) {
        Ok(free) => vec![disk::judge(Of(Check::Disk, None), folder, free, COMFORT)],
        Err(error) => Of(Check::Disk, None).failed(&cannot_look(folder, &error)),
    };
    let Ok(found) = folder.metadata() else { return room };
    let mut findings = Vec::new();
    if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let text =
            format!("{} cannot be written by this user; it is of uid {}", folder.display(), found.uid());
        findings.push(STORE.bad(text, "run trueup as the user that it belongs to"));
    }
    if mode(&found) & 0o077 != 0 {
        let text = format!("{} is open to others (mode {:04o})", folder.display(), mode(&found));
        findings.push(STORE.attention(text, format!("chmod 700 {}", folder.display())));
    }
    findings.extend(room);
    findings
}
