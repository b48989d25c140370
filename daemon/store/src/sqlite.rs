//! The store, as the engine sees it: each method is one piece of writing or reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use tokio_util::sync::CancellationToken;
use trueup_engine::{
    Adoption, EnvKey, Holder, Identity, RunId, Store, StoreError,
    crash::{CRASH_AT, CrashPoint},
    record::{
        AppliedRevision, Audit, Commit, Ended, Entry, Hold, KeptRevision, Logged, NewRun, Observation,
        RunRecord, Suspended, Unfinished,
    },
    store::RunFilter,
};
use trueup_plan::{Applied, Plan, ResourceId};
use trueup_schema::{ContentDigest, DigestKey, EnvironmentName, Revision, SourceName, snapshot::MemoryFiles};

use crate::{
    Lease, applied, environments,
    folder::{Folder, cannot_open},
    holds,
    inspect::open_unchanging,
    layout, runs, seen, sql,
    worker::{Class, Reading, Worker, Writing},
};

/// A store in one folder. Several processes may have it open at the same time. Cheap to clone; clones share the
/// connections.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    id: String,
    key: DigestKey,
    folder: Folder,
    path: PathBuf,
    /// Written when a person has decided something.
    bell: PathBuf,
    writer: Worker<Writing>,
    reader: Worker<Reading>,
    /// Locked; behind the connections, because it is let go after the connections are closed.
    _in_use: std::fs::File,
    /// Locked while it is read as one that nobody changes.
    _alone: Option<std::fs::File>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("id", &self.0.id).field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// What the key's digest is taken of, to see that the key is the one of the file.
const KEY_CHECK: &[u8] = b"trueup store";

pub(crate) const PLAIN: Class = Class { journal: false, urgent: false };
const JOURNAL: Class = Class { journal: true, urgent: false };
const WAY_BACK: Class = Class { journal: true, urgent: true };

impl Sqlite {
    /// Opens the store in `folder`, and makes it where there is none. Blocks for some milliseconds.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, false)
    }

    /// Opens the store as [`open`](Self::open) does, and reads all of it before anything else: for who goes on for
    /// long, or writes down what a person decided.
    pub fn open_checked(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, true)
    }

    /// Opens the store to read it, also where the disk is full. What is written then fails.
    pub fn open_to_read(folder: &Path) -> Result<Self, StoreError> {
        match Self::open(folder) {
            Err(StoreError::FindFull { path }) => Self::open_full(folder, path),
            opened => opened,
        }
    }

    /// Opens a store that there is no room to write to. What a killed process has left in the log is not in its file,
    /// and who has it open changes it: both are refused.
    fn open_full(folder: &Path, path: PathBuf) -> Result<Self, StoreError> {
        let folder = Folder::at(folder);
        let alone = folder.alone()?;
        let (in_use, is_first) = folder.enter()?;
        if !is_first || layout::was_left_open(&path) {
            return Err(StoreError::FindFull { path });
        }
        let open = || open_unchanging(&path).map_err(|error| layout::damaged_or(&path, error));
        let (conn, reader) = (open()?, open()?);
        let key = existing_key(&conn, &folder, &path)?;
        let key = key.ok_or_else(|| StoreError::FindFull { path: path.clone() })?;
        let id = known_id(&conn).map_err(|error| layout::damaged_or(&path, error))?;
        let cannot = |error: std::io::Error| cannot_open(&path, error);
        let (reader, bell) = (Worker::reader(reader).map_err(cannot)?, folder.bell()?);
        let writer = Worker::writer(conn, folder.clone(), None).map_err(cannot)?;
        let alone = Some(alone);
        Ok(Self(Arc::new(Inner {
            id,
            key,
            folder,
            path,
            bell,
            writer,
            reader,
            _in_use: in_use,
            _alone: alone,
        })))
    }

    fn open_with(folder: &Path, check: bool) -> Result<Self, StoreError> {
        let folder = Folder::open(folder)?;
        // Two processes that make the same store would each find the half that the other has written.
        let alone = folder.alone()?;
        let (path, bell) = (folder.database()?, folder.bell()?);
        let (in_use, is_first) = folder.enter()?;
        let conn = layout::open(&path, check || is_first && layout::was_left_open(&path))?;
        refuse_lost(&conn, &path)?;
        let key = key(&conn, &folder, &path)?;
        let id = id(&conn).map_err(|error| layout::damaged_or(&path, error))?;
        drop(alone);
        let cannot = |error: std::io::Error| cannot_open(&path, error);
        let reader = Worker::reader(layout::open_reader(&path)?).map_err(cannot)?;
        let writer = Worker::writer(conn, folder.clone(), crash_point(&path)?).map_err(cannot)?;
        let inner = Inner { id, key, folder, path, bell, writer, reader, _in_use: in_use, _alone: None };
        Ok(Self(Arc::new(inner)))
    }

    /// Returns a number that is another one as soon as somebody has written since, in this process or another
    /// (<https://www.sqlite.org/pragma.html#pragma_data_version>). It costs no reading of the file.
    pub async fn version(&self) -> Result<i64, StoreError> {
        self.read("the version of the data", |conn| {
            conn.query_row("PRAGMA data_version", [], |row| row.get(0))
        })
        .await
    }

    pub(crate) async fn write<R: Send + 'static>(
        &self,
        what: &'static str,
        class: Class,
        work: impl Fn(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.0.writer.write((what, &self.0.path, class), work).await
    }

    /// Writes down what a person decided, and tells who follows that.
    async fn decide<R: Send + 'static>(
        &self,
        what: &'static str,
        work: impl Fn(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let done = self.write(what, PLAIN, work).await?;
        if let Err(error) = std::fs::write(&self.0.bell, "\n") {
            tracing::warn!(%error, path = %self.0.bell.display(), "the daemon hears of the decision at its next look");
        }
        Ok(done)
    }

    pub(crate) fn bell(&self) -> &Path {
        &self.0.bell
    }

    /// Returns the last line of the audit trail, and the environments that those after `line` are about.
    pub(crate) async fn audited_since(&self, line: i64) -> Result<(i64, BTreeSet<EnvKey>), StoreError> {
        self.read("the audit trail", move |conn| seen::audited_since(conn, line)).await
    }

    async fn read<R: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.0.reader.read((what, &self.0.path), work).await
    }

    pub(crate) async fn of_env<R: Send + 'static>(
        &self,
        what: &'static str,
        env: &EnvKey,
        work: impl FnOnce(&Connection, &EnvKey) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let env = env.clone();
        self.read(what, move |conn| work(conn, &env)).await
    }
}

fn crash_point(path: &Path) -> Result<Option<CrashPoint>, StoreError> {
    let text = std::env::var(CRASH_AT).ok();
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error: trueup_engine::crash::InvalidCrashPoint| cannot_open(path, error))
}

/// Refuses a file that something was written to and that does not know any more who it is: another id would make
/// everything that runs somebody else's.
fn refuse_lost(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let sql = "SELECT (SELECT count(*) FROM meta WHERE name IN ('id', 'key-check')) < 2 \
               AND (EXISTS (SELECT 1 FROM environment) OR EXISTS (SELECT 1 FROM run) \
                    OR EXISTS (SELECT 1 FROM audit))";
    let is_lost =
        conn.query_row(sql, [], |row| row.get(0)).map_err(|error| layout::damaged_or(path, error))?;
    let lost = || StoreError::FindDamaged { path: path.to_owned(), detail: "its id is lost".to_owned() };
    if is_lost { Err(lost()) } else { Ok(()) }
}

/// Returns the store's id; a new file gets a random one.
fn id(conn: &Connection) -> rusqlite::Result<String> {
    sql::immediate(conn, |conn| {
        conn.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?1)", [random_hex(4)?])?;
        known_id(conn)
    })
}

fn known_id(conn: &Connection) -> rusqlite::Result<String> {
    conn.query_row("SELECT value FROM meta WHERE name = 'id'", [], |row| row.get(0))
}

/// Returns the key that the file was written with; a new file takes the one that is there, or a random
/// one. Another key would make every secret look changed.
fn key(conn: &Connection, folder: &Folder, path: &Path) -> Result<DigestKey, StoreError> {
    let key = match existing_key(conn, folder, path)? {
        Some(key) => key,
        None => folder.make_key()?,
    };
    let check = key.digest(KEY_CHECK);
    let written = sql::immediate(conn, |conn| {
        conn.execute("INSERT OR IGNORE INTO meta VALUES ('key-check', ?1)", [&check])
    });
    written.map_err(|error| layout::damaged_or(path, error))?;
    // Another process may have been faster with another key.
    existing_key(conn, folder, path).map(|_| key)
}

/// Returns the key that is there; none where none is needed yet. Refuses one that the file was not written
/// with.
pub(crate) fn existing_key(
    conn: &Connection,
    folder: &Folder,
    path: &Path,
) -> Result<Option<DigestKey>, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'key-check'";
    let known = conn.query_row(sql, [], |row| row.get::<_, String>(0)).optional();
    let known = known.map_err(|error| layout::damaged_or(path, error))?;
    let wrong = match (folder.key()?, known) {
        (Some(key), Some(known)) if key.digest(KEY_CHECK) != known => {
            "the store was written with another key"
        }
        (None, Some(_)) => "it is missing, and the store was written with it",
        (key, _) => return Ok(key),
    };
    Err(StoreError::FindDamaged { path: folder.key_path(), detail: wrong.to_owned() })
}

fn random_hex(bytes: usize) -> rusqlite::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    Ok(hex::encode(random))
}

impl Store for Sqlite {
    type Lease = Lease;

    fn id(&self) -> &str {
        &self.0.id
    }

    fn digest_key(&self) -> &DigestKey {
        &self.0.key
    }

    async fn identity(&self, env: &EnvKey) -> Result<Option<Identity>, StoreError> {
        let id = self.0.id.clone();
        self.of_env("an identity", env, move |conn, env| environments::identity(conn, &id, env)).await
    }

    async fn establish(&self, env: &EnvKey) -> Result<Identity, StoreError> {
        let (id, env) = (self.0.id.clone(), env.clone());
        let work = move |conn: &Connection| environments::establish(conn, &id, &env, &random_hex(8)?);
        self.write("an identity", PLAIN, work).await
    }

    async fn adopt(&self, env: &EnvKey, found: &Adoption) -> Result<Identity, StoreError> {
        let (id, env, found) = (self.0.id.clone(), env.clone(), found.clone());
        let work = move |conn: &Connection| {
            applied::done(conn, &env, found.jobs_done.iter())?;
            runs::go_on_above(conn, found.last_run)?;
            environments::adopt(conn, &id, &env, &found.uid)
        };
        self.write("an identity", PLAIN, work).await
    }

    async fn forget(&self, lease: &Lease, env: &EnvKey) -> Result<(), StoreError> {
        debug_assert_eq!(lease.env(), env, "the lease is that of the environment");
        let env = env.clone();
        self.write("an identity", PLAIN, move |conn| environments::forget(conn, &env)).await
    }

    async fn environments(&self) -> Result<Vec<Identity>, StoreError> {
        let id = self.0.id.clone();
        self.read("the environments", move |conn| environments::all(conn, &id)).await
    }

    async fn lease(&self, env: &EnvKey, holder: &Holder) -> Result<Lease, StoreError> {
        Lease::take(&self.0.folder.leases(), env, holder)
    }

    async fn lease_wait(
        &self,
        env: &EnvKey,
        holder: &Holder,
        cancel: &CancellationToken,
    ) -> Result<Lease, StoreError> {
        Lease::wait(&self.0.folder.leases(), env, holder, cancel).await
    }

    async fn holder(&self, env: &EnvKey) -> Result<Option<Holder>, StoreError> {
        Ok(Lease::holder(&self.0.folder.leases(), env))
    }

    async fn begin(&self, lease: &Lease, run: &NewRun) -> Result<RunId, StoreError> {
        debug_assert_eq!(lease.env(), &run.env, "the lease is that of the environment");
        let (run, now) = (run.clone(), Timestamp::now());
        self.write("the beginning of a run", JOURNAL, move |conn| runs::begin(conn, &run, now)).await
    }

    async fn append(&self, run: RunId, entry: &Entry) -> Result<(), StoreError> {
        let class = match entry {
            // On a full disk nothing more is begun; what was begun is taken back.
            Entry::Begin { .. } | Entry::Done { .. } => JOURNAL,
            Entry::RollBack { .. }
            | Entry::Undone { .. }
            | Entry::Keep { .. }
            | Entry::Supersede
            | Entry::Finished { .. }
            | Entry::Left { .. } => WAY_BACK,
        };
        let text = serde_json::to_string(entry)
            .map_err(|error| StoreError::Write { what: "the journal", source: error.into() })?;
        let now = Timestamp::now();
        self.write("the journal", class, move |conn| runs::append(conn, run, &text, now)).await
    }

    async fn commit(&self, run: RunId, commit: &Commit) -> Result<(), StoreError> {
        let commit = commit.clone();
        self.write("the commit record", JOURNAL, move |conn| applied::commit(conn, run, &commit)).await
    }

    async fn end(&self, run: RunId, ended: &Ended) -> Result<(), StoreError> {
        let (ended, now) = (ended.clone(), Timestamp::now());
        self.write("the end of a run", WAY_BACK, move |conn| runs::end(conn, run, &ended, now)).await
    }

    async fn unfinished(&self, env: &EnvKey) -> Result<Vec<Unfinished>, StoreError> {
        self.of_env("the unfinished runs", env, runs::unfinished).await
    }

    async fn interrupted(&self) -> Result<Vec<EnvKey>, StoreError> {
        self.read("the unfinished runs", runs::interrupted).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>, StoreError> {
        let filter = filter.clone();
        self.read("the runs", move |conn| runs::list(conn, &filter)).await
    }

    async fn run(&self, run: RunId) -> Result<Option<(RunRecord, Vec<Logged>)>, StoreError> {
        self.read("a run", move |conn| runs::one(conn, run)).await
    }

    async fn plan(&self, run: RunId) -> Result<Option<Plan>, StoreError> {
        self.read("a plan", move |conn| runs::plan(conn, run)).await
    }

    async fn applied(&self, env: &EnvKey) -> Result<Option<Applied>, StoreError> {
        self.of_env("what is applied", env, applied::last).await
    }

    async fn applied_revision(&self, env: &EnvKey) -> Result<Option<AppliedRevision>, StoreError> {
        self.of_env("the applied revision", env, applied::last_revision).await
    }

    async fn kept(&self, env: &EnvKey) -> Result<Vec<KeptRevision>, StoreError> {
        self.of_env("the kept revisions", env, applied::kept).await
    }

    async fn inputs(&self, run: RunId) -> Result<Option<MemoryFiles>, StoreError> {
        self.read("the files of a revision", move |conn| applied::inputs(conn, run)).await
    }

    async fn plain(&self, digest: &ContentDigest) -> Result<Option<Vec<u8>>, StoreError> {
        let digest = digest.clone();
        self.read("a file", move |conn| applied::plain(conn, &digest)).await
    }

    async fn jobs_done(&self, env: &EnvKey) -> Result<BTreeSet<String>, StoreError> {
        self.of_env("the finished jobs", env, applied::jobs_done).await
    }

    async fn holds(&self, env: &EnvKey) -> Result<Vec<Hold>, StoreError> {
        self.of_env("the holds", env, holds::all).await
    }

    async fn add_hold(&self, env: &EnvKey, hold: &Hold, audit: &Audit) -> Result<(), StoreError> {
        let (env, hold, audit) = (env.clone(), hold.clone(), audit.clone());
        let work =
            move |conn: &Connection| holds::add(conn, &env, &hold).and_then(|()| seen::audit(conn, &audit));
        self.decide("a hold", work).await
    }

    async fn release(&self, env: &EnvKey, audit: &Audit) -> Result<Vec<Hold>, StoreError> {
        let (env, audit) = (env.clone(), audit.clone());
        let work =
            move |conn: &Connection| seen::audit(conn, &audit).and_then(|()| holds::release(conn, &env));
        self.decide("a hold", work).await
    }

    async fn suspended(&self, env: &EnvKey) -> Result<Option<Suspended>, StoreError> {
        self.of_env("a suspension", env, holds::suspended).await
    }

    async fn set_suspended(
        &self,
        env: &EnvKey,
        suspended: Option<&Suspended>,
        audit: &Audit,
    ) -> Result<(), StoreError> {
        let (env, suspended, audit) = (env.clone(), suspended.cloned(), audit.clone());
        let work = move |conn: &Connection| {
            holds::suspend(conn, &env, suspended.as_ref())?;
            seen::audit(conn, &audit)
        };
        self.decide("a suspension", work).await
    }

    async fn set_drift(
        &self,
        env: &EnvKey,
        drifted: &BTreeSet<ResourceId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (env, drifted) = (env.clone(), drifted.clone());
        self.write("the drift", PLAIN, move |conn| seen::set_drift(conn, &env, &drifted, now)).await
    }

    async fn observations(&self) -> Result<BTreeMap<EnvKey, Observation>, StoreError> {
        self.read("the observations", seen::observations).await
    }

    async fn observation(&self, env: &EnvKey) -> Result<Option<Observation>, StoreError> {
        self.of_env("an observation", env, seen::observation).await
    }

    async fn advance(
        &self,
        source: &SourceName,
        newest: &Revision,
        behind: Option<&BTreeSet<EnvironmentName>>,
    ) -> Result<(), StoreError> {
        let (source, newest, behind) = (source.clone(), newest.clone(), behind.cloned());
        let work = move |conn: &Connection| seen::advance(conn, &source, &newest, behind.as_ref());
        self.write("the newest commit", PLAIN, work).await
    }

    async fn set_observation(&self, env: &EnvKey, seen: &Observation) -> Result<(), StoreError> {
        let (env, seen) = (env.clone(), seen.clone());
        self.write("an observation", PLAIN, move |conn| seen::observe(conn, &env, &seen)).await
    }

    async fn audit(&self, line: &Audit) -> Result<(), StoreError> {
        let line = line.clone();
        self.decide("the audit trail", move |conn| seen::audit(conn, &line)).await
    }

    async fn audits(&self, env: Option<&EnvKey>, limit: u32) -> Result<Vec<Audit>, StoreError> {
        let env = env.cloned();
        self.read("the audit trail", move |conn| seen::audits(conn, env.as_ref(), limit)).await
    }
}
