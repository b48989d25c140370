//! Opening a repository so that nothing but its objects and references matters.
//!
//! No system, user or environment configuration is read, replacement objects are ignored, and one
//! allocation caused by an object is bounded.

use std::path::{Path, PathBuf};

use gix::{ObjectId, Repository, ThreadSafeRepository};

use crate::{Error, Reference, error::Cause};

/// The largest allocation that an object or a delta chain may cause.
const ALLOCATION: &str = "64m";

/// Returns how every repository is opened.
pub(crate) fn options() -> gix::open::Options {
    gix::open::Options::isolated().config_overrides([
        format!("gitoxide.objects.allocLimit={ALLOCATION}"),
        format!("gitoxide.objects.allocLimitIfReducedTrust={ALLOCATION}"),
        "core.useReplaceRefs=false".into(),
        "core.logAllRefUpdates=false".into(),
    ])
}

/// Opens the repository at `path`: a work tree, a linked work tree or a bare repository.
pub(crate) fn open(path: &Path) -> Result<ThreadSafeRepository, Error> {
    options().open(path).map_err(|source| Error::OpenRepository {
        location: path.display().to_string(),
        source: Cause::new(&source),
    })
}

/// Returns the folder of the work tree that `folder` is in, or of the bare repository.
pub fn discover(folder: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(folder)
        .map_err(|source| Error::ReadFolder { path: folder.to_owned(), source })?;
    absolute
        .ancestors()
        .find(|path| path.join(".git").exists() || is_bare(path))
        .map(Path::to_owned)
        .ok_or(Error::FindRepository { folder: absolute.clone() })
}

fn is_bare(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

/// Returns the commit that a branch, a tag (annotated or not) or `HEAD` names, if it exists.
pub(crate) fn find(repository: &Repository, reference: &Reference) -> gix::Result<Option<ObjectId>> {
    let Some(mut found) = repository.try_find_reference(reference.full_name().as_str())? else {
        return Ok(None);
    };
    match found.peel_to_commit() {
        Ok(commit) => Ok(Some(commit.id)),
        // `HEAD` of a repository without a commit.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
