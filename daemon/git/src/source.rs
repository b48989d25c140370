//! The newest revision of a branch or tag, local or remote, as a snapshot.
//!
//! All of Git's work is blocking and runs on threads for that; each conversation with a remote ends
//! within its time whatever the remote does.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use gix::{ObjectId, Repository, ThreadSafeRepository};
use trueup_engine::Source;
use trueup_schema::{RepoPath, Revision, Snapshot, snapshot::Folder};

use crate::{
    Error, Limits, Location, Reference, SourceConfig, Watch,
    budget::{Budget, Limit},
    commit,
    error::Cause,
    files::{self, GitFiles},
    history,
    mirror::{Generation, Mirror},
    remote::Remote,
    repository, watch,
};

/// A repository whose branch or tag is followed. Cheap to clone; clones share the mirror.
#[derive(Clone)]
pub struct GitSource(Arc<Inner>);

struct Inner {
    location: Location,
    reference: Reference,
    limits: Limits,
    place: Place,
    /// The last tree that was listed.
    listed: Mutex<Option<Arc<Folder>>>,
}

enum Place {
    Local(PathBuf),
    Mirror(Box<Mirror>),
}

/// A repository that is open, and what keeps its folder in place.
struct Opened {
    repository: ThreadSafeRepository,
    mirror: Option<Arc<Generation>>,
    reference: Reference,
}

impl GitSource {
    /// Prepares a source. A local repository is opened to see that it is one; no remote is asked.
    pub fn open(config: SourceConfig) -> Result<Self, Error> {
        config.reference.check()?;
        let place = match &config.location {
            Location::Local(path) => {
                repository::open(path)?;
                Place::Local(path.clone())
            }
            Location::Remote(address) => {
                let remote = Remote::new(address.clone(), &config);
                Place::Mirror(Box::new(Mirror::new(config.mirror_dir.clone(), remote)))
            }
        };
        let SourceConfig { location, reference, limits, .. } = config;
        Ok(Self(Arc::new(Inner { location, reference, limits, place, listed: Mutex::new(None) })))
    }

    /// Returns where the repository is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// Returns the branch or tag that is followed.
    pub fn reference(&self) -> &Reference {
        &self.0.reference
    }

    /// Returns the id of the commit that the branch or tag names now. Of a remote it is asked with two
    /// small requests; nothing is fetched.
    pub async fn head(&self) -> Result<String, Error> {
        self.blocking(|inner, budget| match &inner.place {
            Place::Local(_) => {
                let opened = inner.newest(budget)?;
                inner.find(&opened).map(|id| id.to_string())
            }
            Place::Mirror(mirror) => mirror.head(budget),
        })
        .await
    }

    /// Returns what [`GitSource::head`] returns, without a trace: no mirror is made for the question.
    pub async fn peek(&self) -> Result<String, Error> {
        self.blocking(|inner, budget| match &inner.place {
            Place::Local(path) => inner.find(&inner.local(path)?).map(|id| id.to_string()),
            Place::Mirror(mirror) => mirror.peek(budget),
        })
        .await
    }

    /// Returns the newest commit that is on this machine; none while nothing was fetched. Nothing is asked.
    pub async fn fetched(&self) -> Result<Option<Snapshot>, Error> {
        self.blocking(|inner, _| {
            let is_there = match &inner.place {
                Place::Local(_) => true,
                Place::Mirror(mirror) => mirror.current()?.is_some(),
            };
            is_there.then(|| inner.fetch(|| inner.kept())).transpose()
        })
        .await
    }

    /// Returns the files of a commit that was fetched before, by its full id: for a rollback.
    pub async fn snapshot_at(&self, commit: &str) -> Result<Snapshot, Error> {
        let commit = commit.to_owned();
        self.blocking(move |inner, _| {
            let opened = inner.kept()?;
            let id = inner.commit_id(&opened.repository.to_thread_local(), &commit)?;
            inner.snapshot(opened, id)
        })
        .await
    }

    /// Returns the commits that `new` has and `old` has not, newest first, at most `limit`.
    pub async fn between(&self, old: Option<&str>, new: &str, limit: usize) -> Result<Vec<Revision>, Error> {
        let (old, new) = (old.map(ToOwned::to_owned), new.to_owned());
        self.blocking(move |inner, _| {
            let repository = inner.kept()?.repository.to_thread_local();
            let old = old.map(|id| inner.commit_id(&repository, &id)).transpose()?;
            let new = inner.commit_id(&repository, &new)?;
            history::between(&repository, old, new, limit, &inner.reference.to_string())
                .map_err(|error| inner.read_error("the history", &error))
        })
        .await
    }

    /// Returns the newest commit that `new` has and `old` has not and that changed the file at `path`;
    /// `None` when there is none, or when it lies too far back.
    pub async fn last_change(
        &self,
        path: &RepoPath,
        old: Option<&str>,
        new: &str,
    ) -> Result<Option<Revision>, Error> {
        let (path, old, new) = (path.clone(), old.map(ToOwned::to_owned), new.to_owned());
        self.blocking(move |inner, _| {
            let repository = inner.kept()?.repository.to_thread_local();
            // The mirror can lose an old commit to a force-push; then the whole history is searched.
            let old = old.and_then(|id| inner.commit_id(&repository, &id).ok());
            let new = inner.commit_id(&repository, &new)?;
            history::last_change(&repository, &path, old, new, &inner.reference.to_string())
                .map_err(|error| inner.read_error("the history", &error))
        })
        .await
    }

    /// Watches a local repository for commits and pushes; `None` for a remote, which is polled with
    /// [`GitSource::head`].
    pub fn watch(&self) -> Result<Option<Watch>, Error> {
        match &self.0.place {
            Place::Local(path) => {
                let repository = repository::open(path)?.to_thread_local();
                watch::watch(repository.git_dir(), repository.common_dir()).map(Some)
            }
            Place::Mirror(_) => Ok(None),
        }
    }

    /// Runs Git's work on a thread for blocking calls, within the source's time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Arc<Budget>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let limits = &self.0.limits;
        let budget = Budget::new(limits.fetch_time, limits.fetch_bytes);
        let inner = Arc::clone(&self.0);
        let theirs = Arc::clone(&budget);
        // Ends the work when the caller no longer waits for it.
        let stop = StopOnDrop(Arc::clone(&budget));
        let task = tokio::task::spawn_blocking(move || work(&inner, &theirs));
        // A read that hangs at the deadline is noticed after the idle time at the latest.
        let grace = limits.fetch_time + limits.idle_time;
        let done = tokio::time::timeout(grace, task).await;
        drop(stop);
        match done {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                Err(Error::Abandon { location: self.0.location.to_string(), source: Cause::new(&panic) })
            }
            Err(_) => {
                Err(Error::ExceedTime { location: self.0.location.to_string(), limit: limits.fetch_time })
            }
        }
    }
}

impl Source for GitSource {
    type Error = Error;

    async fn fetch(&self) -> Result<Snapshot, Error> {
        self.blocking(|inner, budget| match inner.fetch(|| inner.newest(budget)) {
            // What is broken on our side is replaced; what the remote or its author did is told.
            Err(
                error @ (Error::OpenRepository { .. } | Error::KeepMirror { .. } | Error::ReadObject { .. }),
            ) if matches!(inner.place, Place::Mirror(_)) => {
                tracing::warn!(%error, "the mirror is broken and is written anew");
                inner.fetch(|| inner.renewed(budget))
            }
            other => other,
        })
        .await
    }
}

struct StopOnDrop(Arc<Budget>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(Limit::Time);
    }
}

impl Inner {
    /// Opens the repository after bringing it up to date.
    fn newest(&self, budget: &Arc<Budget>) -> Result<Opened, Error> {
        match &self.place {
            Place::Local(path) => self.local(path),
            Place::Mirror(mirror) => Self::mirrored(mirror, mirror.fetch(budget)?),
        }
    }

    /// Opens the repository after writing its mirror anew.
    fn renewed(&self, budget: &Arc<Budget>) -> Result<Opened, Error> {
        match &self.place {
            Place::Local(path) => self.local(path),
            Place::Mirror(mirror) => Self::mirrored(mirror, mirror.renew(budget)?),
        }
    }

    /// Returns the snapshot of what the reference names in the repository that `open` opens.
    fn fetch(&self, open: impl FnOnce() -> Result<Opened, Error>) -> Result<Snapshot, Error> {
        let opened = open()?;
        let id = self.find(&opened)?;
        self.snapshot(opened, id)
    }

    /// Opens the repository as it is.
    fn kept(&self) -> Result<Opened, Error> {
        match &self.place {
            Place::Local(path) => self.local(path),
            Place::Mirror(mirror) => {
                let generation = mirror.current()?.ok_or_else(|| Error::OpenRepository {
                    location: self.location.to_string(),
                    source: Cause::text("nothing was fetched yet"),
                })?;
                Self::mirrored(mirror, generation)
            }
        }
    }

    fn local(&self, path: &std::path::Path) -> Result<Opened, Error> {
        let repository = repository::open(path)?;
        Ok(Opened { repository, mirror: None, reference: self.reference.clone() })
    }

    fn mirrored(mirror: &Mirror, generation: Arc<Generation>) -> Result<Opened, Error> {
        let repository = repository::open(&generation.path)?;
        Ok(Opened { repository, reference: mirror.remote().kept_as(), mirror: Some(generation) })
    }

    /// Returns the commit that the reference names.
    fn find(&self, opened: &Opened) -> Result<ObjectId, Error> {
        repository::find(&opened.repository.to_thread_local(), &opened.reference)
            .map_err(|error| self.read_error(&format!("`{}`", self.reference), &error))?
            .ok_or_else(|| Error::FindReference {
                reference: self.reference.to_string(),
                location: self.location.to_string(),
            })
    }

    fn commit_id(&self, repository: &Repository, commit: &str) -> Result<ObjectId, Error> {
        ObjectId::from_hex(commit.as_bytes())
            .ok()
            .filter(|id| repository.find_commit(*id).is_ok())
            .ok_or_else(|| Error::FindCommit { commit: commit.into(), location: self.location.to_string() })
    }

    fn snapshot(&self, opened: Opened, id: ObjectId) -> Result<Snapshot, Error> {
        let repository = opened.repository.to_thread_local();
        let fail = |error: gix::Error| self.read_error(&format!("commit {id}"), &error);
        let commit = repository.find_commit(id).map_err(fail)?;
        let revision = commit::revision(&commit, &self.reference.to_string()).map_err(fail)?;
        let tree = commit.tree_id().map_err(fail)?.detach();
        let root = self.list(&repository, &revision.commit, tree)?;
        let files = GitFiles {
            repository: Mutex::new(repository.clone()),
            root,
            limits: self.limits.clone(),
            spent: Mutex::new((BTreeSet::new(), 0)),
            _mirror: opened.mirror,
        };
        Ok(Snapshot { revision, files: Arc::new(files) })
    }

    /// Lists a tree; what the last listing knew is not read again.
    fn list(&self, repository: &Repository, commit: &str, tree: ObjectId) -> Result<Arc<Folder>, Error> {
        let last = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let root = files::list(repository, commit, tree, &self.limits, last.as_ref())?;
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&root));
        Ok(root)
    }

    fn read_error(&self, what: &str, error: &gix::Error) -> Error {
        Error::ReadObject {
            what: what.into(),
            location: self.location.to_string(),
            source: Cause::new(error),
        }
    }
}
