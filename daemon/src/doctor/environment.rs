//! Whether each environment can be resolved, may use its target, and has secrets that can be opened.

use std::{collections::BTreeSet, sync::Arc};

use trueup_schema::{Catalogue, EnvironmentName, Limits, Snapshot, TargetId, load};
use trueup_secrets::Identities;

use super::{Check, Finding, Of};
use crate::{
    config::{Config, Source},
    failure::{Failure, Kind},
    world,
};

/// What was found of the environments of one source.
#[derive(Default)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    /// The targets that they name and may use.
    pub(super) targets: BTreeSet<TargetId>,
}

/// Looks at the environments of a source, or at only one of them.
pub(super) async fn examine(
    config: &Config,
    source: &Source,
    snapshot: Snapshot,
    (keys, env): (&Arc<Identities>, Option<&EnvironmentName>),
) -> Examined {
    let (config, source, keys, env) = (config.clone(), source.clone(), Arc::clone(keys), env.cloned());
    let name = source.name.to_string();
    // It reads what is on this machine, and the limits of a repository bound it.
    let looked =
        tokio::task::spawn_blocking(move || look(&Sight { config, source, keys, snapshot }, env.as_ref()));
    looked.await.unwrap_or_else(|error| Examined {
        findings: Of(Check::Manifests, Some(&name)).failed(&Failure::of(Kind::Internal, &error)),
        ..Examined::default()
    })
}

struct Sight {
    config: Config,
    source: Source,
    keys: Arc<Identities>,
    snapshot: Snapshot,
}

fn look(sight: &Sight, env: Option<&EnvironmentName>) -> Examined {
    let catalogue = match load(&sight.snapshot, &Limits::default()) {
        Ok(catalogue) => catalogue,
        Err(report) => {
            let of = Of(Check::Manifests, Some(sight.source.name.as_str()));
            return Examined { findings: of.failed(&report.into()), ..Examined::default() };
        }
    };
    let followed = sight.source.environments.as_ref();
    let is_asked = |name: &&EnvironmentName| {
        followed.is_none_or(|followed| followed.contains(name)) && env.is_none_or(|env| env == *name)
    };
    let mut examined = Examined::default();
    for name in catalogue.environments().filter(is_asked) {
        one(sight, &catalogue, name, &mut examined);
    }
    examined
}

fn one(sight: &Sight, catalogue: &Catalogue, name: &EnvironmentName, examined: &mut Examined) {
    let of = Of(Check::Environment, Some(name.as_str()));
    let resolved = match catalogue.resolve(name) {
        Ok(resolved) => resolved,
        Err(report) => return examined.findings.extend(of.failed(&report.into())),
    };
    let target = resolved.spec.target.id();
    let allowed = world::allowed(&sight.config, &target, &sight.source.name);
    match allowed.and_then(|()| world::address(&sight.config, &target)) {
        Ok(_) => {
            let counted = |count: usize, one: &str| match count {
                1 => format!("1 {one}"),
                count => format!("{count} {one}s"),
            };
            let mut what = counted(resolved.components.len(), "component");
            if !resolved.objects.is_empty() {
                what = format!("{what} and {}", counted(resolved.objects.len(), "plain object"));
            }
            examined.findings.push(of.good(format!("{what} on the target {}", target.name())));
            examined.targets.insert(target);
        }
        Err(failure) => examined.findings.extend(of.failed(&failure)),
    }
    let of = Of(Check::Secrets, Some(name.as_str()));
    let refs = resolved.secret_refs();
    if refs.is_empty() {
        return;
    }
    match trueup_secrets::open(&refs, sight.snapshot.files.as_ref(), &sight.keys) {
        Ok(_) => examined.findings.push(of.good(format!("{} can be opened", refs.len()))),
        Err(report) => examined.findings.extend(of.failed(&report.into())),
    }
}
