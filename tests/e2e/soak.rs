//! Weeks of use in minutes: commits, changes by hand and kills, mixed by a printed seed. In the end everything is as
//! the last commit says, nothing is left over, and the daemon needs no more than at its begin.
//!
//! `TRUEUP_SOAK` says how much of the whole is done, in hundredths: 100 is a thousand commits, three hundred changes
//! by hand and fifty kills. Without it a tenth is done.

mod deeds;
mod manifests;

use std::{collections::BTreeMap, fs, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{in_sync_at, json},
    lab::{Daemon, Lab},
    random::{Random, say},
    rig::Engine,
};
use deeds::{KILLS, by_hand};
use manifests::{COMMITS, Manifests};

/// What the whole is: commits, changes by hand, kills.
const WHOLE: [usize; 3] = [1_000, 300, 50];

/// How much of it is done where nobody says, in hundredths.
const TENTH: usize = 10;

/// The part of the commits and changes in which nothing is killed, so that the daemon grows old: one in this many.
const CALM: usize = 3;

/// How many more kilobytes an old daemon may have than a young one: what its allocator keeps.
const MORE_MEMORY: usize = 12 << 10;

/// How many more files it may have open: those of what it does at the moment.
const MORE_FILES: usize = 8;

pub(crate) fn trial(engine: &Engine) -> Option<Trial> {
    let share = std::env::var("TRUEUP_SOAK").ok().and_then(|share| share.parse().ok()).unwrap_or(TENTH);
    (share > 0).then(|| {
        engine.alone("soak::whatever_happens_it_ends_as_declared", move |engine| {
            Soak::begin(engine, share)?.go_through()
        })
    })
}

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Commit,
    ByHand,
    Kill,
}

struct Soak {
    lab: Lab,
    random: Random,
    manifests: Manifests,
    daemon: Option<Daemon>,
    /// How often each thing was done.
    done: BTreeMap<String, usize>,
    share: usize,
    kills: usize,
}

impl Soak {
    fn begin(engine: &Engine, share: usize) -> Result<Self, Failed> {
        let random = Random::printed(&format!("{} soak, {share} hundredths", engine.name));
        let lab = Lab::new(engine)?;
        let manifests = Manifests::first(&lab)?;
        let first = lab.commit("first")?;
        let daemon = Some(lab.daemon()?);
        lab.wait_for("the first commit", in_sync_at(&first))?;
        Ok(Self { lab, random, manifests, daemon, done: BTreeMap::new(), share, kills: 0 })
    }

    fn go_through(mut self) -> Result<(), Failed> {
        let [commits, by_hand, kills] = WHOLE.map(|count| (count * self.share / 100).max(1));
        let (calm, calm_by_hand) = (commits / CALM, by_hand / CALM);
        let wild =
            [(Deed::Commit, commits - calm), (Deed::ByHand, by_hand - calm_by_hand), (Deed::Kill, kills)];
        for deed in self.shuffled(&wild) {
            self.happen(deed)?;
        }
        self.converge("the wild part")?;
        let mut needs = Vec::new();
        for deed in self.shuffled(&[(Deed::Commit, calm), (Deed::ByHand, calm_by_hand)]) {
            self.happen(deed)?;
            needs.push(self.needs()?);
        }
        self.converge("the calm part")?;
        self.is_whole()?;
        self.report(&needs)
    }

    /// Returns so many of each deed, in any order.
    fn shuffled(&mut self, wanted: &[(Deed, usize)]) -> Vec<Deed> {
        let mut left: Vec<Deed> =
            wanted.iter().flat_map(|(deed, count)| std::iter::repeat_n(*deed, *count)).collect();
        let mut all = Vec::new();
        while !left.is_empty() {
            all.push(left.swap_remove(self.random.below(left.len())));
        }
        all
    }

    fn happen(&mut self, deed: Deed) -> Result<(), Failed> {
        let what = match deed {
            Deed::Commit => {
                let (name, write) = COMMITS[self.random.below(COMMITS.len())];
                write(&mut self.manifests, &self.lab, &mut self.random)?;
                self.lab.commit(name)?;
                format!("commit: {name}")
            }
            Deed::ByHand => self.by_hand()?,
            Deed::Kill => {
                // In turn, so that also a few are of every kind.
                let (name, kill) = KILLS[self.kills % KILLS.len()];
                self.kills += 1;
                kill(&self.lab, &mut self.daemon)?;
                format!("kill: {name}")
            }
        };
        *self.done.entry(what).or_default() += 1;
        // Sometimes the next thing happens at once, sometimes in the middle, sometimes when all is quiet.
        match self.random.below(4) {
            0 => Ok(()),
            3 => self.rest(),
            _ => {
                std::thread::sleep(Duration::from_millis(self.random.below(1_500) as u64));
                Ok(())
            }
        }
    }

    /// Changes something by hand. What a run replaces at the moment cannot be changed, so another thing is.
    fn by_hand(&mut self) -> Result<String, Failed> {
        for _ in 0..50 {
            let all = by_hand(&self.lab.engine);
            let (name, change) = all[self.random.below(all.len())];
            let component = self.manifests.any(&mut self.random);
            if change(&self.lab, &format!("{}-{component}", self.lab.env)).is_ok() {
                return Ok(format!("by hand: {name}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("nothing could be changed by hand".into())
    }

    /// Waits until nothing goes on: the newest commit is there, or held, or cannot be read.
    fn rest(&self) -> Result<(), Failed> {
        let head = self.lab.git(&["rev-parse", "HEAD"])?;
        self.lab
            .wait_for("some rest", |status| match status["sync"].as_str() {
                Some("Synced" | "Blocked" | "Held") => status["compared"]["commit"] == head.as_str(),
                Some("Unknown") => !self.manifests.are_readable(),
                _ => false,
            })
            .map(drop)
    }

    /// Commits what works, and waits until it is there.
    fn converge(&mut self, what: &str) -> Result<(), Failed> {
        self.lab.remove_neighbours()?;
        self.manifests.mend(&self.lab)?;
        let commit = self.lab.commit(&format!("the end of {what}"))?;
        let is_there = in_sync_at(&commit);
        self.lab.wait_for(&format!("the end of {what}"), |status| {
            is_there(status) && status["health"] == "Healthy"
        })?;
        self.lab.wait_until("no drift", || {
            let drift = json(&self.lab, &["drift", &self.lab.env])?;
            Ok(drift["environments"][0]["drifted"].as_array().is_none_or(Vec::is_empty))
        })
    }

    /// Returns the memory of the daemon in kilobytes, and how many files it has open.
    fn needs(&mut self) -> Result<(usize, usize), Failed> {
        let daemon = self.daemon.as_mut().ok_or("it runs")?;
        let process = format!("/proc/{}", daemon.process().id());
        let status = fs::read_to_string(format!("{process}/status"))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("a process has memory")?;
        let memory = line.trim().trim_end_matches(" kB").parse()?;
        Ok((memory, fs::read_dir(format!("{process}/fd"))?.count()))
    }

    /// Fails unless exactly what is declared is there, every run has an end, and the store is sound.
    fn is_whole(&mut self) -> Result<(), Failed> {
        self.daemon.take().ok_or("it runs")?.stop()?;
        let containers = self.lab.containers()?;
        let found: Vec<_> = containers.keys().cloned().collect();
        let expected: Vec<_> =
            self.manifests.names().map(|name| format!("/{}-{name}", self.lab.env)).collect();
        if found != expected {
            return Err(format!("there are {found:?}, declared are {expected:?}").into());
        }
        if let Some((name, _)) = containers.iter().find(|(_, found)| found["State"]["Running"] != true) {
            return Err(format!("{name} does not run").into());
        }
        let picture = self.lab.picture()?;
        let count = |kind: &str| picture[kind].as_array().map(Vec::len);
        if (count("networks"), count("volumes")) != (Some(1), Some(0)) {
            return Err(format!("there should be one network and no volume: {picture:#}").into());
        }
        let history = json(&self.lab, &["history", &self.lab.env, "--limit", "100000"])?;
        let runs = history["runs"].as_array().ok_or("history lists runs")?;
        if let Some(run) = runs.iter().find(|run| run["ended"].is_null() || run["outcome"].is_null()) {
            return Err(format!("a run has no end: {run}").into());
        }
        for run in runs {
            let outcome = run["outcome"]["outcome"].as_str().unwrap_or("none");
            *self.done.entry(format!("run: {outcome}")).or_default() += 1;
        }
        let doctor = self.lab.trueup(&["doctor", "-o", "json"])?;
        let doctor: Value = serde_json::from_slice(&doctor.stdout)?;
        let store =
            doctor["findings"].as_array().into_iter().flatten().find(|finding| finding["check"] == "store");
        match store {
            Some(finding) if finding["state"] == "good" => Ok(()),
            other => Err(format!("the store: {other:?}").into()),
        }
    }

    /// Prints what was covered; too little of it, or a daemon that grew, is a failure.
    fn report(&self, needs: &[(usize, usize)]) -> Result<(), Failed> {
        let name = &self.lab.engine.name;
        for (what, count) in &self.done {
            say(&format!("{name} soak: {count:>5} × {what}"));
        }
        let third = (needs.len() / 3).max(1);
        let median = |of: fn(&(usize, usize)) -> usize, part: &[(usize, usize)]| {
            let mut all: Vec<usize> = part.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let (young, old) = (&needs[..third], &needs[needs.len() - third..]);
        let memory = [young, old].map(|part| median(|need| need.0, part));
        let files = [young, old].map(|part| median(|need| need.1, part));
        say(&format!(
            "{name} soak: memory {} and {} kB, open files {} and {}, at first and in the end",
            memory[0], memory[1], files[0], files[1]
        ));
        let by_hand = by_hand(&self.lab.engine).len();
        let kinds = [("commit: ", COMMITS.len()), ("by hand: ", by_hand), ("kill: ", KILLS.len())];
        for (kind, all) in kinds {
            let of_kind = || self.done.iter().filter(|(what, _)| what.starts_with(kind));
            let (covered, times) = (of_kind().count(), of_kind().map(|(_, times)| times).sum::<usize>());
            if covered * 2 < all.min(times) {
                return Err(format!("only {covered} of {all} kinds of `{kind}` were done").into());
            }
        }
        for outcome in ["run: applied", "run: rolledBack"] {
            if !self.done.contains_key(outcome) {
                return Err(format!("no {outcome}").into());
            }
        }
        if memory[1] > memory[0] + MORE_MEMORY {
            return Err(format!("the daemon's memory grew from {} to {} kB", memory[0], memory[1]).into());
        }
        if files[1] > files[0] + MORE_FILES {
            return Err(format!("the daemon's open files grew from {} to {}", files[0], files[1]).into());
        }
        Ok(())
    }
}
