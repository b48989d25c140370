//! Two threads that own a connection each: one writes, one reads.
//!
//! The writer takes everything that waits, does it in one transaction with one sync, and answers only
//! then. A piece of work that fails takes back its own part and leaves the others.

use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;
use trueup_engine::{
    StoreError,
    crash::{CrashPoint, Side},
};

use crate::{
    folder::Folder,
    layout::{damaged, is_damage, is_full},
    sql,
};

/// How much is written in one transaction at most, so that the first answer does not wait for long.
const BATCH: usize = 256;

/// How a piece of writing is treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Class {
    /// It counts as a write of the journal for [`CrashPoint`].
    pub(crate) journal: bool,
    /// The reserve is given up for it when the disk is full.
    pub(crate) urgent: bool,
}

/// A thread that works off what it is sent.
#[derive(Debug)]
pub(crate) struct Worker<W> {
    sender: Option<Sender<W>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Send + 'static> Worker<W> {
    fn spawn(name: &str, serve: impl FnOnce(Receiver<W>) + Send + 'static) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || serve(receiver))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    fn send(&self, work: W) {
        // Where the thread is gone, the answer's other end is dropped with the work, which is noticed.
        let _sent = self.sender.as_ref().map(|sender| sender.send(work));
    }
}

impl<W> Drop for Worker<W> {
    fn drop(&mut self) {
        self.sender = None;
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// What the writer is sent.
pub(crate) type Writing = Box<dyn Write + Send>;

/// What the reader is sent.
pub(crate) type Reading = Box<dyn FnOnce(&Connection) + Send>;

/// A piece of writing that can be done again after its transaction failed.
pub(crate) trait Write {
    fn class(&self) -> Class;
    fn work(&mut self, conn: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), Unwritten>);
}

/// Why a transaction did not become durable.
#[derive(Debug, Clone)]
pub(crate) enum Unwritten {
    Full,
    Damaged(String),
    Failed(String),
}

struct Piece<F, R> {
    class: Class,
    what: &'static str,
    path: std::path::PathBuf,
    work: F,
    result: Option<rusqlite::Result<R>>,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<F, R> Write for Piece<F, R>
where
    F: Fn(&Connection) -> rusqlite::Result<R> + Send,
    R: Send,
{
    fn class(&self) -> Class {
        self.class
    }

    fn work(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch("SAVEPOINT piece")?;
        let result = (self.work)(conn);
        if let Err(error) = &result
            && is_full(error)
        {
            return Err(result.err().expect("it was just looked at"));
        }
        let end = if result.is_ok() { "RELEASE piece" } else { "ROLLBACK TO piece; RELEASE piece" };
        self.result = Some(result);
        conn.execute_batch(end)
    }

    fn answer(self: Box<Self>, committed: Result<(), Unwritten>) {
        let Self { what, path, result, reply, .. } = *self;
        let answer = match committed {
            Ok(()) => result
                .expect("what was committed was done")
                .map_err(|error| damaged(&path, &error).unwrap_or_else(|| cannot_write(what, error))),
            Err(Unwritten::Damaged(detail)) => Err(StoreError::FindDamaged { path, detail }),
            Err(Unwritten::Full) => Err(StoreError::FindFull { path }),
            Err(Unwritten::Failed(why)) => Err(StoreError::Write { what, source: why.into() }),
        };
        // Who no longer waits does not need an answer.
        let _told = reply.send(answer);
    }
}

impl Worker<Writing> {
    /// Starts the writer.
    pub(crate) fn writer(
        conn: Connection,
        folder: Folder,
        crash: Option<CrashPoint>,
    ) -> std::io::Result<Self> {
        let mut writer = Writer { conn, folder, crash, written: 0, reserve: false };
        Self::spawn("store-write", move |receiver| writer.serve(&receiver))
    }

    /// Writes, and returns when it is durable.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        (what, path, class): (&'static str, &Path, Class),
        work: impl Fn(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(Piece { class, what, path: path.to_owned(), work, result: None, reply }));
        answer.await.unwrap_or_else(|_| Err(StoreError::Write { what, source: "the writer ended".into() }))
    }
}

impl Worker<Reading> {
    /// Starts the reader.
    pub(crate) fn reader(conn: Connection) -> std::io::Result<Self> {
        Self::spawn("store-read", move |receiver| receiver.iter().for_each(|read| read(&conn)))
    }

    /// Reads what is durable.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        (what, path): (&'static str, &Path),
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(move |conn| {
            let _told = reply.send(work(conn));
        }));
        let ended = |_| Err(rusqlite::Error::InvalidQuery);
        answer.await.unwrap_or_else(ended).map_err(|error| {
            damaged(path, &error).unwrap_or_else(|| StoreError::Read { what, source: error.into() })
        })
    }
}

struct Writer {
    conn: Connection,
    folder: Folder,
    crash: Option<CrashPoint>,
    written: u64,
    reserve: bool,
}

impl Writer {
    fn serve(&mut self, receiver: &Receiver<Writing>) {
        self.reserve = self.folder.make_reserve();
        loop {
            let patience = Duration::from_secs(if self.reserve { 3600 } else { 30 });
            match receiver.recv_timeout(patience) {
                Ok(first) => {
                    let batch = std::iter::once(first).chain(receiver.try_iter().take(BATCH - 1)).collect();
                    self.batch(batch);
                }
                Err(RecvTimeoutError::Timeout) => self.reserve = self.reserve || self.folder.make_reserve(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn batch(&mut self, mut batch: Vec<Writing>) {
        let first = self.written + 1;
        self.written += batch.iter().filter(|piece| piece.class().journal).count() as u64;
        self.crash_if(Side::Before, first);
        let mut result = self.transact(&mut batch);
        if matches!(result, Err(Unwritten::Full)) {
            let (urgent, other) = batch.into_iter().partition(|piece| piece.class().urgent);
            answer(other, &result);
            batch = urgent;
            if !batch.is_empty() && self.folder.give_up_reserve() {
                self.reserve = false;
                result = self.transact(&mut batch);
            }
        }
        self.crash_if(Side::After, first);
        answer(batch, &result);
    }

    fn transact(&self, batch: &mut [Writing]) -> Result<(), Unwritten> {
        let work = |conn: &Connection| batch.iter_mut().try_for_each(|piece| piece.work(conn));
        sql::immediate(&self.conn, work).map_err(|error| {
            if is_full(&error) {
                Unwritten::Full
            } else if is_damage(&error) {
                Unwritten::Damaged(error.to_string())
            } else {
                Unwritten::Failed(error.to_string())
            }
        })
    }

    fn crash_if(&self, side: Side, first: u64) {
        let Some(crash) = self.crash else { return };
        if crash.side == side && (first..=self.written).contains(&crash.write) {
            // Not an abort: that would leave a core file.
            let _killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}

fn answer(batch: Vec<Writing>, result: &Result<(), Unwritten>) {
    for piece in batch {
        piece.answer(result.clone());
    }
}

fn cannot_write(what: &'static str, error: rusqlite::Error) -> StoreError {
    StoreError::Write { what, source: error.into() }
}
