//! What the whole process does so that plaintext in its memory stays there.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::Error;

/// Forbids core dumps and debuggers of other processes of the same user. Call it before a key is read.
pub fn forbid_core_dumps() -> Result<(), Error> {
    let fail = |error: rustix::io::Errno| Error::ForbidCoreDumps { source: error.into() };
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fail)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(fail)
}
