//! Twenty services in four levels of five. Each waits for all of the level before it.

use std::fmt;

/// How many levels there are, and how many services a level has.
const SIZE: (usize, usize) = (4, 5);

/// The image, which the engines of the rig have.
pub(crate) const IMAGE: &str = "trueup-test/busybox:1";

/// What runs in each container.
pub(crate) const COMMAND: [&str; 2] = ["sleep", "infinity"];

/// What tells that a service is healthy.
pub(crate) const CHECK: [&str; 3] = ["test", "-d", "/tmp"];

/// How often that is asked, as both write it.
pub(crate) const INTERVAL: &str = "2s";

/// A sleeping first process heeds no other signal.
pub(crate) const STOP_SIGNAL: &str = "SIGKILL";

/// What is waited for of the services of the level before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Started,
    Healthy,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
        })
    }
}

/// One of the services.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Whom it waits for.
    pub(crate) after: Vec<String>,
    /// What is new in each generation: of one service only, and nothing in the others.
    pub(crate) generation: usize,
}

/// Returns the services, level by level.
pub(crate) fn levels(generation: usize) -> Vec<Vec<Service>> {
    let (levels, width) = SIZE;
    let names = |level: usize| (0..width).map(|n| format!("s{level}-{n}")).collect::<Vec<_>>();
    let service = |level: usize, name: String| Service {
        // One in the middle: somebody waits for it, and it waits for somebody.
        generation: if name == CHANGED { generation } else { 0 },
        after: if level == 0 { Vec::new() } else { names(level - 1) },
        name,
    };
    (0..levels).map(|level| names(level).into_iter().map(|name| service(level, name)).collect()).collect()
}

/// The service that another generation changes.
pub(crate) const CHANGED: &str = "s1-2";
