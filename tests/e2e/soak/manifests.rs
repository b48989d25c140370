//! What is committed: a few components that come, go, change and break.

use libtest_mimic::Failed;

use crate::{lab::Lab, random::Random};

const IMAGE: &str = "trueup-test/busybox:1";

/// The components that may be there. The first one always is, and the others need it.
const NAMES: [&str; 4] = ["base", "web1", "web2", "web3"];

/// One way to change the manifests, by its name.
type Commit = (&'static str, fn(&mut Manifests, &Lab, &mut Random) -> Result<(), Failed>);

pub(super) const COMMITS: [Commit; 9] = [
    ("another generation", another_generation),
    ("another page", another_page),
    ("a component more or less", more_or_less),
    ("every component", every_component),
    ("nothing new", nothing_new),
    ("never healthy", |all, lab, random| all.with(lab, random, Mistake::NeverHealthy)),
    ("ends at once", |all, lab, random| all.with(lab, random, Mistake::Ends)),
    ("no such image", |all, lab, random| all.with(lab, random, Mistake::NoImage)),
    ("not a manifest", |all, lab, random| all.with(lab, random, Mistake::Unreadable)),
];

/// What is wrong with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    NeverHealthy,
    Ends,
    NoImage,
    Unreadable,
}

/// One component.
#[derive(Debug, Clone, Default)]
struct Part {
    is_there: bool,
    generation: usize,
    page: usize,
    mistake: Option<Mistake>,
}

/// What the repository says.
pub(super) struct Manifests {
    parts: [Part; NAMES.len()],
    /// How many commits there were, so that nothing is ever said twice.
    commits: usize,
}

impl Manifests {
    /// Writes the first ones: all components, without a mistake.
    pub(super) fn first(lab: &Lab) -> Result<Self, Failed> {
        let mut all = Self { parts: Default::default(), commits: 0 };
        all.parts.iter_mut().for_each(|part| part.is_there = true);
        all.write(lab)?;
        Ok(all)
    }

    /// Returns the names of the components, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().zip(&self.parts).filter(|(_, part)| part.is_there).map(|(name, _)| name)
    }

    /// Returns the name of one of the components.
    pub(super) fn any(&self, random: &mut Random) -> &'static str {
        let names: Vec<_> = self.names().collect();
        names[random.below(names.len())]
    }

    /// Returns whether they are manifests.
    pub(super) fn are_readable(&self) -> bool {
        !self.parts.iter().any(|part| part.mistake == Some(Mistake::Unreadable))
    }

    /// Takes every mistake out.
    pub(super) fn mend(&mut self, lab: &Lab) -> Result<(), Failed> {
        self.parts.iter_mut().for_each(|part| part.mistake = None);
        self.write(lab)
    }

    /// Writes one component with a mistake, and everything else without one.
    fn with(&mut self, lab: &Lab, random: &mut Random, mistake: Mistake) -> Result<(), Failed> {
        self.changed(lab, random, |part| part.mistake = Some(mistake))
    }

    fn changed(&mut self, lab: &Lab, random: &mut Random, change: impl Fn(&mut Part)) -> Result<(), Failed> {
        self.commits += 1;
        self.parts.iter_mut().for_each(|part| part.mistake = None);
        let there: Vec<_> = (0..NAMES.len()).filter(|n| self.parts[*n].is_there).collect();
        let part = &mut self.parts[there[random.below(there.len())]];
        part.generation = self.commits;
        change(part);
        self.write(lab)
    }

    fn write(&self, lab: &Lab) -> Result<(), Failed> {
        for (name, part) in NAMES.into_iter().zip(&self.parts) {
            lab.write(&format!("files/{name}.html"), &format!("{name}, page {}\n", part.page))?;
            part.write(lab, name)?;
        }
        let names: Vec<_> = self.names().collect();
        lab.environment(&format!(
            "  zones:\n    data: {{foreign: disconnect}}\n  \
             sync: {{interval: 20s, maxDeletes: 100%, maxRepairs: 1000}}\n  components: [{}]\n",
            names.join(", ")
        ))
    }
}

impl Part {
    fn write(&self, lab: &Lab, name: &str) -> Result<(), Failed> {
        let mistake = |wanted| self.mistake == Some(wanted);
        let image = if mistake(Mistake::NoImage) { "trueup-test/nowhere:1" } else { IMAGE };
        let command = if mistake(Mistake::Ends) {
            "[sh, -c, \"echo it was not to be; exit 3\"]"
        } else {
            "[httpd, -f, -p, \"8080\", -h, /www]"
        };
        let health = if mistake(Mistake::NeverHealthy) {
            "{exec: [test, -f, /nowhere], interval: 200ms, startup: 1s}"
        } else {
            "{exec: [test, -f, /www/index.html], interval: 200ms, startup: 2m}"
        };
        let unreadable = if mistake(Mistake::Unreadable) { "  imagen: nothing\n" } else { "" };
        let needs = if name == NAMES[0] { "" } else { "  dependsOn: [{component: base}]\n" };
        lab.component(
            name,
            &format!(
                "  image: {image}\n  zone: data\n  command: {command}\n  stopSignal: SIGKILL\n  stopGrace: 1s\n  \
                 resources: {{memory: 64Mi}}\n  env: {{GENERATION: \"{}\"}}\n  \
                 files:\n    - {{from: files/{name}.html, to: /www/index.html}}\n  \
                 health: {health}\n{needs}{unreadable}",
                self.generation
            ),
        )
    }
}

fn another_generation(all: &mut Manifests, lab: &Lab, random: &mut Random) -> Result<(), Failed> {
    all.changed(lab, random, |_| ())
}

fn another_page(all: &mut Manifests, lab: &Lab, random: &mut Random) -> Result<(), Failed> {
    let page = all.commits + 1;
    all.changed(lab, random, |part| part.page = page)
}

fn more_or_less(all: &mut Manifests, lab: &Lab, random: &mut Random) -> Result<(), Failed> {
    all.commits += 1;
    all.parts.iter_mut().for_each(|part| part.mistake = None);
    let part = &mut all.parts[1 + random.below(NAMES.len() - 1)];
    part.is_there = !part.is_there;
    all.write(lab)
}

fn every_component(all: &mut Manifests, lab: &Lab, _: &mut Random) -> Result<(), Failed> {
    all.commits += 1;
    let generation = all.commits;
    for part in &mut all.parts {
        *part = Part { generation, mistake: None, ..part.clone() };
    }
    all.write(lab)
}

fn nothing_new(all: &mut Manifests, lab: &Lab, _: &mut Random) -> Result<(), Failed> {
    lab.write("README.md", &format!("{} commits before this one\n", all.commits))
}
