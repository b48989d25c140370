//! `trueup doctor`: looks at everything around a reconciliation, and changes nothing.
//!
//! ```text
//! configuration ─┬─ keys ──────┐
//!                ├─ sources ───┴─ environments ─ engines that only these name
//!                ├─ engines
//!                └─ store, disk, runtime dir
//! ```
//!
//! What does not wait for another is asked at the same time, and nothing is waited for longer than
//! [`DEADLINE`]. A check that fails keeps no other from being made: that is when people call it.

mod configuration;
mod disk;
mod engine;
mod environment;
mod finding;
mod keys;
mod runtime_dir;
mod source;
mod store;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use trueup_schema::{EnvironmentName, TargetId};

use crate::{
    args::Global,
    config::Source,
    failure::{Failure, Kind},
};
pub(crate) use finding::{Check, Finding, Of, State};

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(5);

/// Looks at everything, or at only one of the environments.
pub(crate) async fn examine(global: &Global, env: Option<&EnvironmentName>) -> Vec<Finding> {
    let (mut config, mut findings) = configuration::examine(global);
    config.sources.retain(|source| {
        global.source.as_ref().is_none_or(|name| *name == source.name) && may_have(source, env)
    });
    let named = engine::named(&config);
    let (store, runtime_dir, (keys, key_findings), sources, engines) = futures::join!(
        store::examine(&config),
        runtime_dir::examine(&config),
        keys::examine(&config),
        join_all(config.sources.iter().map(|source| source::examine(&config, source))),
        join_all(named.iter().map(|target| engine::examine(&config, target))),
    );
    let keys = Arc::new(keys);
    findings.extend(store);
    findings.extend(runtime_dir);
    findings.extend(key_findings);
    let mut environments = Vec::new();
    let mut targets = BTreeSet::new();
    for (source, (found, snapshot)) in config.sources.iter().zip(sources) {
        findings.extend(found);
        let Some(snapshot) = snapshot else { continue };
        let examined = environment::examine(&config, source, snapshot, (&keys, env)).await;
        environments.extend(examined.findings);
        targets.extend(examined.targets);
    }
    findings.extend(engines.into_iter().flatten());
    let unnamed: Vec<TargetId> = targets.difference(&named).cloned().collect();
    let unnamed = join_all(unnamed.iter().map(|target| engine::examine(&config, target))).await;
    findings.extend(unnamed.into_iter().flatten());
    findings.extend(env.filter(|_| environments.is_empty()).map(not_found));
    findings.extend(environments);
    findings
}

fn may_have(source: &Source, env: Option<&EnvironmentName>) -> bool {
    let followed = source.environments.as_ref();
    env.is_none_or(|env| followed.is_none_or(|followed| followed.contains(env)))
}

fn not_found(env: &EnvironmentName) -> Finding {
    let text = "no source that can be read has an environment of that name";
    Of(Check::Environment, Some(env.as_str())).bad(text, "see its spelling, and the sources above")
}

/// Returns what comes of `work`; none when it takes too long.
async fn in_time<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(DEADLINE, work).await.ok()
}

/// Does what blocks on a thread for that; none when it takes too long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    in_time(tokio::task::spawn_blocking(work)).await?.ok()
}

/// Returns what is told of a file that cannot be looked at.
fn cannot_look(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Config, format!("{}: {error}", path.display()))
        .hint("correct its path in the configuration, or let trueup's user read it")
}

/// Returns a size as people read it: `12.3 GiB`.
fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Returns the permissions of a file as `chmod` reads them: `0600`.
fn mode(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o7777
}
