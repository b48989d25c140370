//! One measurement: a repository is read from nothing, then commits come that touch one environment.

use std::{collections::BTreeMap, error::Error, fmt, fs, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use trueup_engine::{Settled, Source};
use trueup_git::{GitSource, Limits, Location, Reference, SourceConfig};
use trueup_schema::{Cache, Catalogue, DigestKey, Files, Opened, load_with};

use crate::repository::{self, Repository, Size, Workload};

/// How many commits of a kind are made; the median counts.
const COMMITS: usize = 15;

/// What was measured at one size.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) environments: usize,
    /// Milliseconds until all manifests are read.
    pub(crate) load: f64,
    /// Milliseconds until each environment was planned once, as at the start of the daemon.
    pub(crate) plan: f64,
    /// Milliseconds from the question for the newest commit until what it touched is planned, by what it touched.
    pub(crate) commits: BTreeMap<String, f64>,
    /// The most memory that the process had, in MiB.
    pub(crate) peak: f64,
    /// Milliseconds until each environment was looked at after a restart, where that is measured.
    pub(crate) restart: Option<f64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environments, load, plan, peak, .. } = self;
        write!(
            f,
            "{environments} environments: read in {load:.0} ms, each planned in {plan:.0} ms more, at most {peak:.0} MiB"
        )
    }
}

/// A source that is followed, as the daemon does it.
struct Followed {
    source: GitSource,
    limits: trueup_schema::Limits,
    cache: Cache,
    newest: Option<Catalogue>,
    files: Option<Arc<dyn Files>>,
    settled: Settled,
}

/// Measures one size.
pub(crate) fn measure(
    environments: usize,
    catalogue: repository::Catalogue,
) -> Result<Measured, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let size = Size { environments, components: 10, catalogue, workload: Workload::Service, seed: 1 };
    let mut repository = Repository::create(folder.path(), size)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut followed = Followed::new(folder.path())?;
    let start = Instant::now();
    runtime.block_on(followed.fetch())?;
    let load = milliseconds(start);
    let start = Instant::now();
    followed.plan()?;
    let plan = milliseconds(start);
    let commits = commits(&mut repository, environments, |commit| {
        let is_of_one = commit.what == Touched::Environment || catalogue == repository::Catalogue::Own;
        runtime.block_on(followed.commit(is_of_one))
    })?;
    Ok(Measured { environments, load, plan, commits, peak: peak(std::process::id())?, restart: None })
}

/// What a commit touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touched {
    Environment,
    Component,
}

/// A commit that was just made.
pub(crate) struct Commit {
    pub(crate) what: Touched,
    /// The number of the environment that it says something new of.
    pub(crate) number: usize,
    pub(crate) id: String,
}

/// Makes commits of both kinds. Returns the median of what `took` says how long each took, in milliseconds.
pub(crate) fn commits(
    repository: &mut Repository,
    environments: usize,
    mut took: impl FnMut(&Commit) -> Result<f64, Box<dyn Error>>,
) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let mut medians = BTreeMap::new();
    let mut generation = 0;
    for (what, shown) in
        [(Touched::Environment, "an environment's manifest"), (Touched::Component, "a component")]
    {
        let mut times = Vec::new();
        for commit in 1..=COMMITS {
            let number = commit * environments / (COMMITS + 1);
            generation += 1;
            let file = match what {
                Touched::Environment => repository.environment(number, generation),
                Touched::Component => repository.component(number, generation),
            };
            let id = repository.commit(shown, &[file])?;
            times.push(took(&Commit { what, number, id })?);
        }
        medians.insert(shown.to_owned(), median(times));
    }
    Ok(medians)
}

impl Followed {
    fn new(folder: &std::path::Path) -> Result<Self, Box<dyn Error>> {
        let location = Location::Local(folder.to_owned());
        let mut config = SourceConfig::new(location, Reference::Branch("main".into()), folder.join("unused"));
        config.limits = Limits { files: 50_000, ..Limits::default() };
        Ok(Self {
            source: GitSource::open(config)?,
            limits: trueup_schema::Limits::default(),
            cache: Cache::default(),
            newest: None,
            files: None,
            settled: Settled::default(),
        })
    }

    /// Reads the newest commit, and unsettles what it may say something new of.
    async fn fetch(&mut self) -> Result<(), Box<dyn Error>> {
        self.source.head().await?;
        let snapshot = self.source.fetch().await?;
        let now = load_with(&snapshot, &self.limits, &mut self.cache)?;
        if let Some(before) = &self.newest {
            self.settled.touch(&now.changes_since(before));
        }
        (self.newest, self.files) = (Some(now), Some(snapshot.files));
        Ok(())
    }

    /// Returns the milliseconds that the newest commit takes, divided by the number of environments that it is work
    /// for: several may use what it touched.
    async fn commit(&mut self, is_of_one: bool) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        self.fetch().await?;
        let planned = self.plan()?;
        if planned == 0 || (is_of_one && planned != 1) {
            return Err(format!("{planned} environments were planned after the commit").into());
        }
        Ok(milliseconds(start) / f64::from(planned))
    }

    /// Plans every environment that is not settled, as far as that is done without an engine. Returns how many.
    fn plan(&mut self) -> Result<u32, Box<dyn Error>> {
        let catalogue = self.newest.as_ref().ok_or("nothing was fetched")?;
        let mut planned = 0;
        for name in catalogue.environments() {
            if self.settled.contains(name) {
                continue;
            }
            let resolved = catalogue.resolve(name)?;
            resolved.deliver(
                self.files.as_ref().ok_or("nothing was fetched")?.as_ref(),
                &Opened::new(),
                &DigestKey::new([1; 32]),
            )?;
            self.settled.settle(name, resolved.inputs.into_keys());
            planned += 1;
        }
        Ok(planned)
    }
}

pub(crate) fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the most memory that a process had so far, in MiB.
pub(crate) fn peak(process: u32) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the kernel says VmHWM")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
