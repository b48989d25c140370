//! Whether secret files are in memory, and whether there is room for them.

use std::path::Path;

use trueup_docker::is_in_memory;

use super::{Check, Finding, Of, blocking, cannot_look, disk};
use crate::{config::Config, failure::Failure};

const OF: Of<'static> = Of(Check::RuntimeDir, None);

/// Below this many bytes a secret may have no room.
const ENOUGH: u64 = 4 << 20;

/// Looks at the folder that secret files are delivered from.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let folder = config.runtime_dir.clone();
    blocking(move || look(&folder)).await.unwrap_or_else(|| vec![OF.late()])
}

fn look(folder: &Path) -> Vec<Finding> {
    let in_memory = match is_in_memory(disk::existing(folder)) {
        Ok(in_memory) => in_memory,
        Err(error) => return OF.failed(&Failure::from(error)),
    };
    let shown = folder.display();
    if !in_memory {
        return vec![if rustix::process::geteuid().is_root() {
            OF.good(format!("{shown}: a file system in memory is mounted there for the first secret"))
        } else {
            let text = format!("{shown} is on a disk, and secrets are written nowhere but in memory");
            OF.bad(text, format!("run trueup as root, or: mount -t tmpfs -o mode=0711 tmpfs {shown}"))
        }];
    }
    match disk::free(folder) {
        Ok(free) => {
            let mut finding = disk::judge(OF, folder, free, ENOUGH);
            finding.text += ", in memory";
            vec![finding]
        }
        Err(error) => OF.failed(&cannot_look(folder, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn a_folder_in_memory_is_good_also_when_it_is_not_there_yet() {
        for folder in ["/dev/shm", "/dev/shm/no/such/folder"] {
            let [finding] = &look(Path::new(folder))[..] else { panic!("one") };
            assert!(finding.text.ends_with("in memory") && finding.state != State::Bad, "{finding:?}");
        }
    }
}
