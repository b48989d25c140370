//! Whether an engine can be reached, and how it stands around it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use trueup_docker::{Docker, Endpoint, Examination, Settings, reach};
use trueup_engine::TargetError;
use trueup_kubernetes::{Connection, Kubernetes};
use trueup_schema::TargetId;

use super::{Check, Finding, Of, blocking, cannot_look, disk, in_time};
use crate::{
    config::Config,
    failure::Failure,
    target::Address,
    world::{address, settings},
};

/// How far two clocks may be apart: times of runs and schedules are read by people.
const APART: SignedDuration = SignedDuration::from_secs(5);

/// Below this many bytes an image may have no room.
const ENOUGH: u64 = 2 << 30;

/// Returns the targets of the configuration; where it has none, the one that is there without being named.
pub(super) fn named(config: &Config) -> BTreeSet<TargetId> {
    let local = config.targets.is_empty().then(|| "local".parse().ok()).flatten();
    let named = config.targets.iter().map(|(name, target)| match target.kubernetes {
        Some(_) => TargetId::Kubernetes(name.clone()),
        None => TargetId::Docker(name.clone()),
    });
    named.chain(local.map(TargetId::Docker)).collect()
}

/// Looks at an engine or a cluster.
pub(super) async fn examine(config: &Config, target: &TargetId) -> Vec<Finding> {
    let name = target.name().as_str();
    match address(config, target) {
        Ok(Address::Docker(endpoint)) => engine(config, name, endpoint).await,
        Ok(Address::Kubernetes(connection)) => cluster(name, &connection).await,
        Err(failure) => Of(Check::Engine, Some(name)).failed(&failure),
    }
}

async fn cluster(name: &str, connection: &Connection) -> Vec<Finding> {
    let of = Of(Check::Cluster, Some(name));
    let cluster = match Kubernetes::connect(connection) {
        Ok(cluster) => cluster,
        Err(error) => return of.failed(&error.into()),
    };
    match in_time(cluster.version()).await {
        Some(Ok(version)) => vec![of.good(format!("{version} by {connection}"))],
        Some(Err(error)) => of.failed(&error.into()),
        None => vec![of.late()],
    }
}

async fn engine(config: &Config, name: &str, endpoint: Endpoint) -> Vec<Finding> {
    let of = |check| Of(check, Some(name));
    let (settings, pool) = match settings(config) {
        Ok(settings) => (settings, Ok(())),
        Err(failure) => (Settings::default(), Err(failure)),
    };
    let failed = |error: TargetError| of(Check::Engine).failed(&Failure::from(error));
    match in_time(reach(&endpoint)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => return failed(error),
        None => return vec![of(Check::Engine).late()],
    }
    let docker = match Docker::connect(&endpoint, settings) {
        Ok(docker) => docker,
        Err(error) => return failed(error),
    };
    let (found, events) = futures::join!(in_time(docker.examine()), in_time(docker.examine_events()));
    let found = match found {
        Some(Ok(found)) => found,
        Some(Err(error)) => return failed(error),
        None => return vec![of(Check::Engine).late()],
    };
    let text = format!("{} (API {}) at {endpoint}", found.version, found.api);
    let mut findings = vec![of(Check::Engine).good(text)];
    findings.extend(found.gaps.iter().map(|gap| of(Check::Limits).attention(&gap.what, gap.help)));
    findings.extend(match events {
        Some(Ok(())) => vec![of(Check::Events).good("can be heard")],
        Some(Err(error)) => of(Check::Events).failed(&error.into()),
        None => vec![of(Check::Events).late()],
    });
    findings.extend(room(of(Check::EngineDisk), &found).await);
    findings.push(clock(of(Check::Clock), found.clock));
    findings.push(network(of(Check::Network), found.same_network));
    match pool {
        Ok(()) => findings.extend(subnets(of(Check::Subnets), config, &found)),
        Err(failure) => findings.extend(Of(Check::Subnets, None).failed(&failure)),
    }
    findings
}

async fn room(of: Of<'_>, found: &Examination) -> Vec<Finding> {
    // An engine in a container has its own view of the file system.
    let Some(root) = found.root.clone().filter(|root| root.exists()) else { return Vec::new() };
    let folder = root.clone();
    match blocking(move || disk::free(&folder)).await {
        Some(Ok(free)) => vec![disk::judge(of, &root, free, ENOUGH)],
        Some(Err(error)) => of.failed(&cannot_look(&root, &error)),
        None => vec![of.late()],
    }
}

fn clock(of: Of<'_>, ahead: SignedDuration) -> Finding {
    let seconds = ahead.abs().as_secs();
    if ahead.abs() <= APART {
        return of.good("as this machine's");
    }
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let text = format!("{seconds} s {way} this machine's: times and schedules are read wrong");
    of.attention(text, "synchronise both clocks, with NTP for example")
}

fn network(of: Of<'_>, same: Option<bool>) -> Finding {
    match same {
        Some(true) => of.good("the engine's networks can be reached from here: http and tcp checks work"),
        Some(false) => of.attention(
            "the engine is in another network namespace or host: http and tcp checks are refused",
            "use `exec` checks, or run trueup in the engine's network namespace",
        ),
        None => of.attention(
            "whether the engine's networks can be reached cannot be told: it has none with a gateway",
            "it is told once the first zone is there",
        ),
    }
}

fn subnets(of: Of<'_>, config: &Config, found: &Examination) -> Vec<Finding> {
    let pool = config.subnet_pool.join(", ");
    let free = found.pool.free;
    if free == 0 {
        let text = format!("nothing is free in {pool}: {}", found.pool.overlaps.join(", "));
        return vec![of.bad(text, "give `subnetPool` another network, or every zone a `subnet`")];
    }
    let overlaps = found.pool.overlaps.iter();
    let mut findings: Vec<Finding> = overlaps
        .map(|overlap| {
            let text = format!("{overlap} overlaps with the pool {pool}");
            of.attention(text, "it is left out; give `subnetPool` a network that nobody else uses")
        })
        .collect();
    findings.push(of.good(format!("{free} are free in {pool}")));
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn a_clock_may_be_a_little_off() {
        let of = Of(Check::Clock, Some("local"));
        let said = |seconds| clock(of, SignedDuration::from_secs(seconds));
        assert_eq!((said(5).state, said(-5).state), (State::Good, State::Good));
        assert!(said(60).text.starts_with("60 s ahead of this machine's"));
        assert!(said(-60).text.starts_with("60 s behind this machine's"));
        assert_eq!(said(60).state, State::Attention);
    }
}
