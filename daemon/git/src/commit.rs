//! What history shows of a commit: author, subject, time, each made safe to print.

use gix::{Commit, bstr::ByteSlice};
use jiff::Timestamp;
use trueup_schema::Revision;

use crate::error::clean;

/// The longest author or subject that is kept, in characters.
const LINE: usize = 200;

/// Returns the revision that `commit` is, as asked for by `reference`.
pub(crate) fn revision(commit: &Commit<'_>, reference: &str) -> gix::Result<Revision> {
    let author = commit.author()?;
    let subject = commit.message_raw_sloppy();
    let subject = subject.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(Revision {
        commit: commit.id.to_string(),
        reference: reference.to_owned(),
        author: clean(&author.name.to_str_lossy(), LINE),
        subject: clean(&subject.to_str_lossy(), LINE),
        time: Timestamp::from_second(commit.time()?.seconds).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}
