//! What an engine cannot honour, refused at its place instead of dropped.

use trueup_plan::diff::join;
use trueup_schema::{Problems, ResolvedComponent};

use crate::{
    compile::Scene,
    facts::Engine,
    spec::{is_keyed_digest, parse_owner},
};

/// The oldest API that everything here was tried on: Engine 20.10.
pub(crate) const OLDEST_API: (u32, u32) = (1, 41);

/// Something that an engine cannot honour, whoever asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What, and what happens to a manifest that asks for it.
    pub what: String,
    /// What to do about it.
    pub help: &'static str,
}

/// Returns what an engine cannot honour.
pub(crate) fn gaps(engine: &Engine) -> Vec<Gap> {
    let kernel = "enable that controller in the host's kernel, or leave the limit out";
    let unlimited = engine.limits().into_iter().filter(|(_, possible)| !possible);
    let mut gaps: Vec<Gap> = unlimited
        .map(|(field, _)| Gap {
            what: format!("refuses `resources.{field}`: this host cannot limit it"),
            help: kernel,
        })
        .collect();
    if engine.memory_limit && !engine.swap_limit {
        let what = "drops the swap limit of `resources.memory`: this host cannot limit swap".to_owned();
        gaps.push(Gap { what, help: "enable swap accounting in the host's kernel, or do without swap" });
    }
    if !engine.local {
        let what =
            "refuses secret files, files under a read-only root and the `owner` of volumes: it is remote";
        gaps.push(Gap { what: what.to_owned(), help: "run trueup on the engine's host" });
    }
    gaps
}

/// Adds what cannot be honoured of one component.
pub(crate) fn component(scene: &Scene<'_>, component: &ResolvedComponent, problems: &mut Problems) {
    limits(scene, component, problems);
    files(scene, component, problems);
    volumes(scene, component, problems);
    if component.spec.image.is_none() {
        problems.component(component, "image", "it has no image", "add `image`");
    }
    for (name, value) in &component.spec.env {
        if is_keyed_digest(value) {
            let path = join("env", name);
            problems.component(
                component,
                &path,
                "the value reads as the digest of a secret",
                "use another value",
            );
        }
    }
}

fn limits(scene: &Scene<'_>, component: &ResolvedComponent, problems: &mut Problems) {
    let engine = &scene.facts.engine;
    let resources = &component.spec.resources;
    let asked = [resources.memory.is_some(), resources.cpu.is_some(), resources.pids.is_some()];
    for ((field, possible), asked) in engine.limits().into_iter().zip(asked) {
        if asked && !possible {
            let message = format!("engine {} cannot limit `{field}` on this host", engine.version);
            problems.component(
                component,
                &format!("resources.{field}"),
                message,
                "enable that controller in the host's kernel, or leave the limit out",
            );
        }
    }
    let cpus = engine.cpus.saturating_mul(1000);
    if let Some(cpu) = resources.cpu.filter(|cpu| cpus > 0 && cpu.millis > cpus) {
        let message = format!("`{cpu}` processors are more than the host's {}", engine.cpus);
        problems.component(component, "resources.cpu", message, "ask for fewer");
    }
}

fn files(scene: &Scene<'_>, component: &ResolvedComponent, problems: &mut Problems) {
    let Some(deliveries) = scene.wanted.deliveries.get(&component.name) else { return };
    for (path, file) in &deliveries.files {
        let at = join("files", path);
        let inside = |volume: &&trueup_schema::manifest::VolumeSpec| {
            let folder = volume.path.trim_end_matches('/');
            path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(volume) = component.spec.volumes.iter().find(inside) {
            let message = format!("file `{path}` is inside of volume `{}`", volume.name);
            problems.component(component, &at, message, "deliver it to a path outside of the volume");
        }
        if !path.starts_with('/') || path.split('/').any(|part| matches!(part, "." | "..")) {
            let message = format!("`{path}` is no absolute path");
            problems.component(component, &at, message, "start it with `/`, without `.` and `..`");
        }
        if scene.facts.engine.local {
            continue;
        }
        if file.digest.is_secret() {
            let message = format!("secret file `{path}` cannot be delivered to a remote engine");
            problems.component(
                component,
                &at,
                message,
                "run trueup on the engine's host: there secrets stay in memory",
            );
        } else if component.spec.read_only {
            let message = format!("file `{path}` cannot be put under the read-only root on a remote engine");
            problems.component(component, &at, message, "run trueup on the engine's host");
        }
    }
}

fn volumes(scene: &Scene<'_>, component: &ResolvedComponent, problems: &mut Problems) {
    for volume in &component.spec.volumes {
        let Some(owner) = &volume.owner else { continue };
        let at = format!("volumes[{}].owner", volume.name);
        if parse_owner(owner).is_none() {
            problems.component(
                component,
                &at,
                format!("`{owner}` is no `uid:gid`"),
                "write numbers, such as `70:70`",
            );
        } else if !scene.facts.engine.local {
            problems.component(
                component,
                &at,
                "the owner of a volume cannot be set on a remote engine",
                "let the image set it, or run trueup on the engine's host",
            );
        } else if volume.driver.as_deref().is_some_and(|driver| driver != "local") {
            problems.component(
                component,
                &at,
                "the owner can be set on volumes of the `local` driver only",
                "let the image set it",
            );
        }
    }
}
