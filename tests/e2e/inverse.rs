//! Generated changes on a real engine: what fails at its very end leaves everything as it was, and what is
//! applied has nothing left to do.
//!
//! The seed is printed, and `TRUEUP_SEED` draws the same again; `TRUEUP_ROUNDS` says how many changes.

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use similar::TextDiff;

use crate::{
    lab::Lab,
    random::{Random, say},
    rig::Engine,
};

const IMAGE: &str = "trueup-test/busybox:1";

/// The volume that the first component always has.
const DATA: &str = "{name: data, path: /data, owner: \"70:70\"}";

/// How many changes a test makes when nobody says.
const ROUNDS: usize = 4;

/// How many components a world may have.
const PARTS: usize = 5;

pub(crate) fn trials(engine: &Engine) -> Vec<Trial> {
    let engine = engine.clone();
    vec![Trial::test(format!("{}::inverse::generated_changes_go_both_ways", engine.name), move || {
        generated_changes_go_both_ways(&engine)
    })]
}

/// A generated environment. The first component keeps data and is always there.
#[derive(Clone)]
struct World {
    internal: bool,
    parts: [Option<Part>; PARTS],
}

/// What may differ between two generations of one component. A limit is always set: one that was added in
/// place goes back to all that the host has, which is no limit by another name.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that may differ")]
struct Part {
    page: usize,
    variable: usize,
    memory: usize,
    replicas: usize,
    read_only: bool,
    in_storage: bool,
    extra_volume: bool,
    label: usize,
    after_an_earlier_one: bool,
}

impl Part {
    fn drawn(random: &mut Random) -> Self {
        Self {
            page: random.below(100),
            variable: random.below(100),
            memory: 32 + 16 * random.below(3),
            replicas: 1 + random.below(2),
            read_only: random.below(2) == 0,
            in_storage: random.below(3) == 0,
            extra_volume: random.below(3) == 0,
            label: random.below(100),
            after_an_earlier_one: random.below(2) == 0,
        }
    }

    /// Changes one or two things, whatever they were.
    fn changed(&mut self, random: &mut Random) {
        for _ in 0..=random.below(2) {
            let other = Self::drawn(random);
            match random.below(9) {
                0 => self.page = other.page,
                1 => self.variable = other.variable,
                2 => self.memory = other.memory,
                3 => self.replicas = other.replicas,
                4 => self.read_only = other.read_only,
                5 => self.in_storage = other.in_storage,
                6 => self.extra_volume = other.extra_volume,
                7 => self.label = other.label,
                _ => self.after_an_earlier_one = other.after_an_earlier_one,
            }
        }
    }

    fn write(&self, lab: &Lab, n: usize, earlier: Option<usize>) -> Result<(), Failed> {
        let Self { page, variable, memory, replicas, read_only, label, .. } = self;
        lab.write(&format!("files/page{n}.html"), &format!("page {page}\n"))?;
        let zone = if self.in_storage { "storage" } else { "data" };
        let kind = match (n, self.extra_volume) {
            (0, false) => format!("workload: stateful\n  volumes: [{DATA}]"),
            (0, true) => format!("workload: stateful\n  volumes: [{DATA}, {{name: extra, path: /extra}}]"),
            _ => format!("replicas: {replicas}"),
        };
        let after = earlier.filter(|_| self.after_an_earlier_one);
        let after = after.map(|n| format!("{{component: part{n}}}")).unwrap_or_default();
        let spec = format!(
            "  image: {IMAGE}\n  zone: {zone}\n  command: [sleep, infinity]\n  stopSignal: SIGKILL\n  {kind}\n  \
             labels: {{color: \"{label}\"}}\n  env: {{NUMBER: \"{variable}\"}}\n  readOnly: {read_only}\n  \
             resources: {{memory: {memory}Mi}}\n  dependsOn: [{after}]\n  \
             files:\n    - {{from: files/page{n}.html, to: /www/index.html}}\n  \
             health: {{exec: [test, -f, /www/index.html], interval: 100ms, startup: 2m}}\n"
        );
        lab.component(&format!("part{n}"), &spec)
    }
}

impl World {
    fn drawn(random: &mut Random) -> Self {
        let parts = std::array::from_fn(|n| (n == 0 || random.below(4) > 0).then(|| Part::drawn(random)));
        Self { internal: false, parts }
    }

    /// Changes some components, adds and removes others, and now and then makes a network again.
    fn changed(&mut self, random: &mut Random) {
        self.internal ^= random.below(4) == 0;
        for (n, part) in self.parts.iter_mut().enumerate() {
            match (part.as_mut(), random.below(4)) {
                (Some(_), 0) if n > 0 => *part = None,
                (Some(part), 1 | 2) => part.changed(random),
                (None, 0 | 1) => *part = Some(Part::drawn(random)),
                _ => {}
            }
        }
    }

    /// Writes it, with a job that runs after everything else and fails when it is told to.
    fn write(&self, lab: &Lab, round: usize, fails: bool) -> Result<(), Failed> {
        let mut earlier = None;
        let mut names = Vec::new();
        for (n, part) in self.parts.iter().enumerate() {
            let Some(part) = part else { continue };
            part.write(lab, n, earlier)?;
            names.push(format!("part{n}"));
            earlier = Some(n);
        }
        let all: Vec<_> = names.iter().map(|name| format!("{{component: {name}}}")).collect();
        lab.component(
            "last",
            &format!(
                "  image: {IMAGE}\n  zone: data\n  workload: job\n  dependsOn: [{}]\n  \
                 command: [sh, -c, \"echo round {round}; exit {}\"]\n",
                all.join(", "),
                u8::from(fails),
            ),
        )?;
        lab.environment(&format!(
            "  sync: {{maxDeletes: 100%}}\n  zones:\n    data: {{}}\n    storage: {{internal: {}}}\n  \
             components: [{}, last]\n",
            self.internal,
            names.join(", "),
        ))
    }
}

/// What "as it was" is about. A network that the plan replaces is made again: it is equal but for its id.
fn picture(lab: &Lab, storage_is_replaced: bool) -> Result<Value, Failed> {
    let mut picture = lab.picture()?;
    let name = format!("{}-storage", lab.env);
    for network in picture["networks"].as_array_mut().into_iter().flatten() {
        if storage_is_replaced && network["Name"] == name.as_str() {
            network["Id"] = Value::Null;
            network["Created"] = Value::Null;
            network["Labels"]["dev.trueup.run"] = Value::Null;
        }
    }
    Ok(picture)
}

fn generated_changes_go_both_ways(engine: &Engine) -> Result<(), Failed> {
    let mut random = Random::printed(&format!("{} inverse", engine.name));
    let rounds = std::env::var("TRUEUP_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let lab = Lab::new(engine)?;
    let mut world = World::drawn(&mut random);
    world.write(&lab, 0, false)?;
    lab.commit("round 0")?;
    lab.succeed(&["apply", &lab.env, "--yes"])?;

    let mut steps = 0;
    for round in 1..=rounds {
        let was_internal = world.internal;
        world.changed(&mut random);
        let is_replaced = world.internal != was_internal;
        let before = picture(&lab, is_replaced)?;
        world.write(&lab, round, true)?;
        lab.commit(&format!("round {round}, fails at its end"))?;
        let plan: Value = serde_json::from_str(&lab.succeed(&["plan", &lab.env, "-o", "json"])?)?;
        steps += plan["changes"].as_array().map_or(0, Vec::len);
        lab.exits(4, &["apply", &lab.env, "--yes"])?;
        let after = picture(&lab, is_replaced)?;
        if after != before {
            let (before, after) = (format!("{before:#}"), format!("{after:#}"));
            let difference = TextDiff::from_lines(&before, &after).unified_diff().to_string();
            return Err(format!("round {round} is not as it was:\n{difference}").into());
        }

        world.write(&lab, round, false)?;
        lab.commit(&format!("round {round}"))?;
        lab.succeed(&["apply", &lab.env, "--yes"])?;
        lab.exits(0, &["plan", &lab.env, "--detailed-exitcode"])?;
    }
    say(&format!("{} inverse: {rounds} rounds, {steps} changes went both ways", engine.name));
    Ok(())
}
