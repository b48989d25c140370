//! Work follows change: a commit is work for the environments that it says something new of, and for no other; how
//! the others stand is still told by the newest commit.

use std::{collections::BTreeMap, time::Duration};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::{
    app::{self, Test, in_sync_at, json},
    lab::Lab,
    rig::Engine,
};

const TESTS: [Test; 6] = [
    ("a_commit_is_work_for_what_it_touches_alone", a_commit_is_work_for_what_it_touches_alone),
    ("a_shared_component_concerns_those_who_use_it", a_shared_component_concerns_those_who_use_it),
    ("a_revert_is_noticed", a_revert_is_noticed),
    ("a_commit_while_the_daemon_was_away_is_noticed", a_commit_while_the_daemon_was_away_is_noticed),
    ("what_could_not_be_read_is_asked_for_again", what_could_not_be_read_is_asked_for_again),
    ("an_environment_that_vanishes_and_comes_back_is_told", an_environment_that_vanishes_and_comes_back),
];

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    app::trials(engine, "change", &TESTS)
}

/// Environments that nothing has to be started for. What is not asked for is looked at once an hour.
struct Many {
    lab: Lab,
}

/// When each environment was looked at last, by its letter.
type Looks = BTreeMap<char, String>;

impl Many {
    /// Makes the components `one`, `two` and `all`, and the environments `a` (one, all) and `b` (two, all).
    fn new(engine: &Engine) -> Result<Self, Failed> {
        let many = Self { lab: Lab::new(engine)? };
        many.lab.configure("sources:", "log: {level: debug}\nsources:")?;
        ["one", "two", "all"].into_iter().try_for_each(|name| many.component(name, 1))?;
        many.environment('a', "one, all")?;
        many.environment('b', "two, all")?;
        Ok(many)
    }

    fn name(&self, letter: char) -> String {
        format!("{}{letter}", self.lab.env)
    }

    fn component(&self, name: &str, port: usize) -> Result<(), Failed> {
        let ports = format!("  ports:\n    - {{name: http, port: {port}}}\n");
        self.lab.component(name, &format!("  workload: external\n  address: example.org\n{ports}"))
    }

    fn environment(&self, letter: char, components: &str) -> Result<(), Failed> {
        let name = self.name(letter);
        let text = format!(
            "apiVersion: trueup.dev/v1\nkind: Environment\nmetadata: {{name: {name}}}\nspec:\n  \
             target: {{docker: local}}\n  sync: {{interval: 1h}}\n  components: [{components}]\n"
        );
        self.lab.write(&format!("environments/{name}/environment.yaml"), &text)
    }

    fn status(&self, letter: char) -> Result<Value, Failed> {
        let all = json(&self.lab, &["status"])?;
        let name = self.name(letter);
        let found =
            all["environments"].as_array().into_iter().flatten().find(|env| env["name"] == name.as_str());
        Ok(found.cloned().unwrap_or_default())
    }

    /// Commits everything, waits until all environments are in sync at that commit, and returns when each was looked
    /// at.
    fn commit(&self, subject: &str) -> Result<(String, Looks), Failed> {
        let commit = self.lab.commit(subject)?;
        Ok((commit.clone(), self.in_sync(subject, &commit)?))
    }

    /// Commits everything and waits for the environment `a`.
    fn commit_of_a(&self, subject: &str) -> Result<(), Failed> {
        let commit = self.lab.commit(subject)?;
        self.lab.wait_until(subject, || Ok(in_sync_at(&commit)(&self.status('a')?)))
    }

    fn in_sync(&self, subject: &str, commit: &str) -> Result<Looks, Failed> {
        let is_there = in_sync_at(commit);
        self.lab.wait_until(subject, || Ok(is_there(&self.status('a')?) && is_there(&self.status('b')?)))?;
        self.looks()
    }
}

impl Many {
    /// Waits until so many daemons have heard the events of their engine, which is a reason for one more look at all that
    /// was looked at before, and until nothing is looked at any more. Returns when each environment was.
    fn quiet(&self, daemons: usize) -> Result<Looks, Failed> {
        self.lab.wait_until("the events to be heard", || {
            Ok(self.lab.daemon_log().matches("its events are heard").count() >= daemons)
        })?;
        loop {
            let before = self.looks()?;
            std::thread::sleep(Duration::from_secs(2));
            if self.looks()? == before {
                return Ok(before);
            }
        }
    }

    fn looks(&self) -> Result<Looks, Failed> {
        let look = |letter| Ok((letter, self.status(letter)?["observed"].to_string()));
        ['a', 'b'].into_iter().map(look).collect()
    }
}

/// Names the environments that were looked at in between.
fn looked_at(before: &Looks, after: &Looks) -> String {
    after.iter().filter(|(letter, at)| before.get(letter) != Some(*at)).map(|(letter, _)| *letter).collect()
}

fn a_commit_is_work_for_what_it_touches_alone(engine: &Engine) -> Result<(), Failed> {
    let many = Many::new(engine)?;
    let _daemon = many.lab.daemon()?;
    many.commit("first")?;
    let first = many.quiet(1)?;
    many.lab.write("notes.txt", "nobody reads this")?;
    many.commit("about nothing")?;
    many.commit("nothing at all")?;
    many.component("one", 2)?;
    let (_, second) = many.commit("of one environment")?;
    // A turn of `b` for one of the commits before would have ended by now.
    many.environment('a', "all, one")?;
    let (_, third) = many.commit("of its manifest")?;
    assert_eq!((looked_at(&first, &second), looked_at(&second, &third)), ("a".into(), "a".into()));
    Ok(())
}

fn a_shared_component_concerns_those_who_use_it(engine: &Engine) -> Result<(), Failed> {
    let many = Many::new(engine)?;
    let _daemon = many.lab.daemon()?;
    many.commit("first")?;
    let first = many.quiet(1)?;
    many.component("all", 2)?;
    let (_, second) = many.commit("of both")?;
    many.component("two", 2)?;
    let (_, third) = many.commit("of one")?;
    many.lab.replace_in("trueup.yaml", "name: lab", "name: laboratory")?;
    let (_, fourth) = many.commit("of the repository")?;
    let steps = [(&first, &second), (&second, &third), (&third, &fourth)];
    assert_eq!(steps.map(|(before, after)| looked_at(before, after)), ["ab", "b", "ab"]);
    Ok(())
}

fn a_revert_is_noticed(engine: &Engine) -> Result<(), Failed> {
    let lab = Lab::new(engine)?;
    app::write(&lab, "first")?;
    lab.replace_in_environment("  components:", "  sync: {interval: 1h}\n  components:")?;
    let first = lab.commit("first")?;
    let _daemon = lab.daemon()?;
    lab.wait_for("the first commit", in_sync_at(&first))?;
    let word = || Ok::<_, Failed>(lab.picture()?["containers"].to_string());
    let before = word()?;
    lab.replace_in("components/app.yaml", "first", "second")?;
    let second = lab.commit("second")?;
    lab.wait_for("the second commit", in_sync_at(&second))?;
    assert!(before.contains("# first") && word()?.contains("# second"));
    lab.git(&["revert", "--no-edit", "HEAD"])?;
    let third = lab.git(&["rev-parse", "HEAD"])?;
    lab.wait_for("the revert", in_sync_at(&third))?;
    assert!(word()?.contains("# first"));
    lab.git(&["reset", "-q", "--hard", &second])?;
    lab.wait_for("the branch that was set back", in_sync_at(&second))?;
    assert!(word()?.contains("# second"));
    Ok(())
}

fn a_commit_while_the_daemon_was_away_is_noticed(engine: &Engine) -> Result<(), Failed> {
    let many = Many::new(engine)?;
    let daemon = many.lab.daemon()?;
    many.commit("first")?;
    many.quiet(1)?;
    let (second, before) = many.commit("about nothing")?;
    daemon.stop()?;
    many.component("one", 2)?;
    let third = many.lab.commit("unseen")?;
    // What nobody has compared is not told.
    assert_eq!(many.in_sync("the last commit that was seen", &second)?, before);
    let daemon = many.lab.daemon()?;
    many.in_sync("the commit that came meanwhile", &third)?;
    let after = many.quiet(2)?;
    assert_eq!(looked_at(&before, &after), "ab");
    daemon.kill();
    let fourth = many.lab.commit("about nothing again")?;
    assert_eq!(many.in_sync("the status after a kill", &third)?, after);
    let _daemon = many.lab.daemon()?;
    many.in_sync("the commit after the kill", &fourth)?;
    Ok(())
}

fn what_could_not_be_read_is_asked_for_again(engine: &Engine) -> Result<(), Failed> {
    let many = Many::new(engine)?;
    let _daemon = many.lab.daemon()?;
    let (first, _) = many.commit("first")?;
    many.environment('b', "two, all, missing")?;
    let second = many.lab.commit("a component that is not there")?;
    many.lab
        .wait_until("the environment that is not touched", || Ok(in_sync_at(&second)(&many.status('a')?)))?;
    many.lab.wait_until("the report", || Ok(many.status('b')?["sync"] == "Unknown"))?;
    let status = many.status('b')?;
    app::says(status["why"].as_str().unwrap_or_default(), &["missing"])?;
    assert_eq!(status["compared"]["commit"], first.as_str());
    many.component("missing", 1)?;
    many.commit("now it is there")?;
    Ok(())
}

fn an_environment_that_vanishes_and_comes_back(engine: &Engine) -> Result<(), Failed> {
    let many = Many::new(engine)?;
    let _daemon = many.lab.daemon()?;
    let (first, _) = many.commit("first")?;
    std::fs::remove_dir_all(many.lab.path(format!("repo/environments/{}", many.name('b'))))?;
    let second = many.lab.commit("without b")?;
    many.lab.wait_until("the other environment", || Ok(in_sync_at(&second)(&many.status('a')?)))?;
    let says_so = || Ok(many.status('b')?["why"].as_str().unwrap_or_default().contains("orphaned"));
    many.lab.wait_until("the orphan", says_so)?;
    many.commit_of_a("about nothing")?;
    let status = many.status('b')?;
    assert_eq!((&status["compared"]["commit"], says_so()?), (&first.as_str().into(), true));
    many.environment('b', "two, all")?;
    many.commit("with b again")?;
    Ok(())
}
