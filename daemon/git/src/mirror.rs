//! The bare mirror of a remote repository.
//!
//! A mirror is a folder of generations, `1.git`, `2.git`, …; the highest is the current one. Each
//! fetch adds a pack and gix never repacks, so that after a few the mirror is cloned anew as the next
//! generation. An older one is deleted when nobody reads it any more: every reader, in any process,
//! holds a shared lock on its folder.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gix::ThreadSafeRepository;

use crate::{Error, budget::Budget, error::Cause, remote::Remote, repository};

/// One generation of a mirror; its folder stays for as long as this value lives.
pub(crate) struct Generation {
    pub(crate) path: PathBuf,
    number: u64,
    /// Locked shared.
    _lock: File,
}

/// The mirror of one remote.
pub(crate) struct Mirror {
    folder: PathBuf,
    remote: Remote,
}

impl Mirror {
    pub(crate) fn new(folder: PathBuf, remote: Remote) -> Self {
        Self { folder, remote }
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Fetches, and returns the generation that holds what was fetched.
    pub(crate) fn fetch(&self, budget: &Arc<Budget>) -> Result<Arc<Generation>, Error> {
        let _lock = self.lock()?;
        self.sweep()?;
        let Some(generation) = self.newest()? else { return self.create(1, budget) };
        if self.update(&generation, budget)? {
            return Ok(Arc::new(generation));
        }
        let next = generation.number + 1;
        // Held no longer, so that it can be swept.
        drop(generation);
        self.create(next, budget)
    }

    /// Writes the mirror anew, because what it holds cannot be read.
    pub(crate) fn renew(&self, budget: &Arc<Budget>) -> Result<Arc<Generation>, Error> {
        let _lock = self.lock()?;
        let last = self.numbers()?.last().copied().unwrap_or(0);
        self.create(last + 1, budget)
    }

    /// Returns the current generation, if something was fetched before. Does not wait for a fetch.
    pub(crate) fn current(&self) -> Result<Option<Arc<Generation>>, Error> {
        if !self.folder.is_dir() {
            return Ok(None);
        }
        loop {
            let held = self.newest();
            // Another process may have put a newer one in place, and removed this one, in between.
            let newest = self.numbers()?.last().copied();
            match held {
                Ok(held) if held.as_ref().map(|held| held.number) == newest => return Ok(held.map(Arc::new)),
                Err(error) if newest.is_some_and(|number| self.generation(number).is_dir()) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Returns the id that the remote's reference names, asked through the current generation.
    pub(crate) fn head(&self, budget: &Arc<Budget>) -> Result<String, Error> {
        if let Some(generation) = self.current()? {
            return self.ask(&generation, budget);
        }
        let _lock = self.lock()?;
        let empty = self.folder.join("empty.part");
        let repository = init(&empty)?;
        let head = self.remote.head(&repository.to_thread_local(), budget);
        drop(repository);
        fs::remove_dir_all(&empty).map_err(|error| failure(&empty, &error))?;
        head
    }

    /// Returns the same id without writing anything into the mirror's folder.
    pub(crate) fn peek(&self, budget: &Arc<Budget>) -> Result<String, Error> {
        if let Some(generation) = self.current()? {
            return self.ask(&generation, budget);
        }
        let scratch = Scratch::new()?;
        self.remote.head(&init(&scratch.0.join("empty.git"))?.to_thread_local(), budget)
    }

    fn ask(&self, generation: &Generation, budget: &Arc<Budget>) -> Result<String, Error> {
        self.remote.head(&repository::open(&generation.path)?.to_thread_local(), budget)
    }

    /// Fetches into a generation; `false` when it has too many packs and should be replaced.
    fn update(&self, generation: &Generation, budget: &Arc<Budget>) -> Result<bool, Error> {
        let packs = generation.path.join("objects/pack");
        if packs_in(&packs).map_err(|error| failure(&packs, &error))? >= self.remote.limits.packs {
            return Ok(false);
        }
        let repository = repository::open(&generation.path)?.to_thread_local();
        self.remote.fetch(&repository, budget)?;
        Ok(true)
    }

    fn create(&self, number: u64, budget: &Arc<Budget>) -> Result<Arc<Generation>, Error> {
        let part = self.folder.join(format!("{number}.part"));
        let repository = init(&part)?;
        let fetched = self.remote.fetch(&repository.to_thread_local(), budget);
        drop(repository);
        if let Err(error) = fetched {
            // What is left over is swept by the next fetch.
            drop(fs::remove_dir_all(&part));
            return Err(error);
        }
        let path = self.generation(number);
        fs::rename(&part, &path).map_err(|error| failure(&path, &error))?;
        let generation = self.hold(number)?;
        self.sweep()?;
        Ok(Arc::new(generation))
    }

    /// Deletes unfinished generations, and older ones that nobody holds.
    fn sweep(&self) -> Result<(), Error> {
        let numbers = self.numbers()?;
        for number in numbers.iter().rev().skip(1) {
            let path = self.generation(*number);
            let unused = File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok());
            if unused {
                fs::remove_dir_all(&path).map_err(|error| failure(&path, &error))?;
            }
        }
        for name in self.names()? {
            let path = self.folder.join(&name);
            if Path::new(&name).extension().is_some_and(|end| end == "part") {
                fs::remove_dir_all(&path).map_err(|error| failure(&path, &error))?;
            }
        }
        Ok(())
    }

    fn newest(&self) -> Result<Option<Generation>, Error> {
        self.numbers()?.last().map(|number| self.hold(*number)).transpose()
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.git"))
    }

    fn hold(&self, number: u64) -> Result<Generation, Error> {
        let path = self.generation(number);
        let hold = || {
            let folder = File::open(&path)?;
            folder.lock_shared()?;
            Ok(folder)
        };
        let lock = hold().map_err(|error: io::Error| failure(&path, &error))?;
        Ok(Generation { path, number, _lock: lock })
    }

    /// Returns the numbers of the generations, rising.
    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let mut numbers: Vec<u64> =
            self.names()?.iter().filter_map(|name| name.strip_suffix(".git")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let names = || {
            fs::read_dir(&self.folder)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()
        };
        names().map_err(|error| failure(&self.folder, &error))
    }

    /// Waits until no other process changes the mirror.
    fn lock(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        let lock = || {
            fs::create_dir_all(&self.folder)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error: io::Error| failure(&path, &error))
    }
}

/// A folder for the time of one question, for its owner alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let path = std::env::temp_dir().join(format!("trueup-{}-{now}", std::process::id()));
        // One that is there already is somebody else's.
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| failure(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn init(path: &Path) -> Result<ThreadSafeRepository, Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|error| failure(path, &error))?;
    }
    let options = gix::create::Options::default();
    ThreadSafeRepository::init_opts(path, gix::create::Kind::Bare, options, repository::options())
        .map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::KeepMirror { path: path.to_owned(), source: Cause::new(error) }
}

fn packs_in(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        count += usize::from(entry?.path().extension().is_some_and(|end| end == "pack"));
    }
    Ok(count)
}
