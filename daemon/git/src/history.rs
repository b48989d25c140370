//! Which commit between two changed a file.
//!
//! The walk is bounded: beyond the limit the answer is "not known", never a wrong commit.

use gix::{ObjectId, Repository};
use trueup_schema::{RepoPath, Revision};

use crate::commit;

/// How many commits are looked at.
const COMMITS: usize = 10_000;

/// Returns the commits that `new` has and `old` has not, newest first, at most `limit`.
pub(crate) fn between(
    repository: &Repository,
    old: Option<ObjectId>,
    new: ObjectId,
    limit: usize,
    reference: &str,
) -> gix::Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for info in repository.rev_walk([new]).with_hidden(old).all()?.take(limit) {
        revisions.push(commit::revision(&info?.object()?, reference)?);
    }
    Ok(revisions)
}

/// Returns the newest commit that `new` has and `old` has not and that changed what `path` holds.
///
/// A merge that only took over a parent's version did not change it.
pub(crate) fn last_change(
    repository: &Repository,
    path: &RepoPath,
    old: Option<ObjectId>,
    new: ObjectId,
    reference: &str,
) -> gix::Result<Option<Revision>> {
    for info in repository.rev_walk([new]).with_hidden(old).all()?.take(COMMITS) {
        let commit = info?.object()?;
        let here = blob(repository, commit.id, path)?;
        let mut differs = true;
        for parent in commit.parent_ids() {
            differs &= blob(repository, parent.detach(), path)? != here;
        }
        let is_first = commit.parent_ids().next().is_none();
        if differs && (here.is_some() || !is_first) {
            return commit::revision(&commit, reference).map(Some);
        }
    }
    Ok(None)
}

fn blob(repository: &Repository, commit: ObjectId, path: &RepoPath) -> gix::Result<Option<ObjectId>> {
    let tree = repository.find_commit(commit)?.tree()?;
    let parts = path.as_str().split('/').map(str::as_bytes);
    Ok(tree.lookup_entry(parts)?.map(|entry| entry.object_id()))
}
