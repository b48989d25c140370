//! What `/metrics` says: what was counted, and what the store, the queue, the sources and the engines say at
//! this moment.
//!
//! Nothing that is known elsewhere is kept for it, so what is gone leaves no series behind.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeMetric,
        text::{encode_eof, encode_registry},
    },
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use trueup_engine::{Depth, EnvKey, Store, Watch, record::Health};

use super::{Daemon, probes, reload::Reloaded};
use crate::{
    command::overview,
    failure::{Failure, Kind},
    meter::EnvLabels,
    show::{Row, Standing},
};

const HEALTH: [Health; 4] = [Health::Healthy, Health::Degraded, Health::Missing, Health::Unknown];

/// Returns all metrics in the text format of `OpenMetrics`.
pub(crate) async fn text(daemon: &Daemon) -> Result<String, Failure> {
    let seen = Seen::collect(daemon).await?;
    let mut now = Registry::with_prefix("trueup");
    now.register_collector(Box::new(seen));
    let mut text = String::new();
    encode_registry(&mut text, daemon.meter.registry())
        .and_then(|()| encode_registry(&mut text, &now))
        .and_then(|()| encode_eof(&mut text))
        .map_err(|error| Failure::of(Kind::Internal, &error))?;
    Ok(text)
}

/// What is known at one moment.
#[derive(Debug)]
struct Seen {
    environments: Vec<Environment>,
    sources: Vec<Source>,
    engines: Vec<Engine>,
    queue: Depth,
    reloaded: Reloaded,
}

#[derive(Debug)]
struct Environment {
    labels: EnvLabels,
    sync: Standing,
    health: Health,
    is_held: bool,
    observed: Option<Timestamp>,
    succeeded: Option<Timestamp>,
    drifted: usize,
    foreign: usize,
}

#[derive(Debug)]
struct Source {
    labels: SourceLabel,
    read: Option<Timestamp>,
    has_trouble: bool,
}

#[derive(Debug)]
struct Engine {
    labels: TargetLabel,
    requests: u64,
    /// None for a target whose events are not listened for.
    hears_events: Option<bool>,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Debug, Clone, EncodeLabelSet)]
struct TargetLabel {
    target: String,
}

#[derive(Debug, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, EncodeLabelSet)]
struct StatusLabel {
    status: String,
}

impl Seen {
    async fn collect(daemon: &Daemon) -> Result<Self, Failure> {
        let (environments, known) = environments(daemon).await?;
        daemon.meter.keep(&known);
        let queue = tokio::time::timeout(probes::PATIENCE, daemon.queue.depth()).await;
        Ok(Self {
            environments,
            sources: sources(daemon),
            engines: engines(daemon),
            queue: queue.ok().flatten().unwrap_or_default(),
            reloaded: daemon.reloads.last(),
        })
    }
}

fn sources(daemon: &Daemon) -> Vec<Source> {
    let world = daemon.world();
    let sources = world.config.sources.iter().map(|source| Source {
        labels: SourceLabel { source: source.name.to_string() },
        read: daemon.checkouts.last_read(&source.name),
        has_trouble: daemon.checkouts.trouble(&source.name).is_some(),
    });
    sources.collect()
}

fn engines(daemon: &Daemon) -> Vec<Engine> {
    let world = daemon.world();
    let targets = world.targets();
    let engines = targets.iter().map(|(id, target)| Engine {
        labels: TargetLabel { target: id.name().to_string() },
        requests: target.requests(),
        hears_events: target.docker().map(Watch::hears_events),
    });
    engines.collect()
}

/// Returns what the store knows of each environment that `status` shows, and every one that it knows at all.
async fn environments(daemon: &Daemon) -> Result<(Vec<Environment>, BTreeSet<EnvKey>), Failure> {
    let store = &daemon.store;
    let mut known: BTreeSet<_> =
        store.environments().await?.iter().map(trueup_engine::Identity::key).collect();
    let mut environments = Vec::new();
    for (key, seen) in store.observations().await? {
        let row: Row = overview::row(store, key.clone(), seen).await?;
        environments.push(Environment {
            labels: (&key).into(),
            sync: row.sync(),
            health: row.health(),
            is_held: row.hold().is_some(),
            observed: row.seen.as_ref().map(|seen| seen.observed),
            succeeded: row.applied.as_ref().map(|applied| applied.at),
            drifted: row.applied.as_ref().map_or(0, |applied| applied.drifted),
            foreign: row.seen.as_ref().map_or(0, |seen| seen.foreign.len()),
        });
        known.insert(key);
    }
    Ok((environments, known))
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.encode_environments(&mut encoder)?;
        self.encode_sources(&mut encoder)?;
        self.encode_engines(&mut encoder)?;
        let queue = [
            ("waiting", self.queue.waiting),
            ("resting", self.queue.resting),
            ("running", self.queue.running),
        ];
        let help = "Environments that wait for their turn, rest after a failure of their target, or have their turn.";
        let series = queue.map(|(state, count)| (StateLabel { state }, number(count)));
        gauge(&mut encoder, ("queue_environments", help, None), series)?;
        let help = "Whether the configuration that was read last is in force.";
        let is_good = ConstGauge::new(flag(self.reloaded.is_good));
        let name = "config_last_reload_successful";
        is_good.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        let help = "When the configuration in force was read.";
        let at = ConstGauge::new(seconds(self.reloaded.at));
        let name = "config_last_reload_success_timestamp";
        at.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?)
    }
}

impl Seen {
    fn encode_environments(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let all = || self.environments.iter();
        let sync = all().flat_map(|env| {
            Standing::ALL.map(|status| (with_status(env, format!("{status:?}")), flag(env.sync == status)))
        });
        let help = "1 for what `trueup status` says in the column SYNC.";
        gauge(encoder, ("environment_sync_status", help, None), sync)?;
        let health = all().flat_map(|env| {
            HEALTH.map(|status| (with_status(env, format!("{status:?}")), flag(env.health == status)))
        });
        let help = "1 for what `trueup status` says in the column HEALTH.";
        gauge(encoder, ("environment_health_status", help, None), health)?;
        let is_held = all().map(|env| (env.labels.clone(), flag(env.is_held)));
        gauge(encoder, ("environment_held", "Whether a hold keeps a commit out.", None), is_held)?;
        let drifted = all().map(|env| (env.labels.clone(), number(env.drifted)));
        let help = "Resources that somebody else changed.";
        gauge(encoder, ("environment_drifted_resources", help, None), drifted)?;
        let foreign = all().map(|env| (env.labels.clone(), number(env.foreign)));
        let help = "What nobody declared and is left alone, such as a container of somebody else in a zone.";
        gauge(encoder, ("environment_foreign_resources", help, None), foreign)?;
        let succeeded = all().filter_map(|env| Some((env.labels.clone(), seconds(env.succeeded?))));
        let help = "When a run, of whomever, was committed last.";
        let name = "environment_last_success_timestamp";
        gauge(encoder, (name, help, Some(&Unit::Seconds)), succeeded)?;
        let observed = all().filter_map(|env| Some((env.labels.clone(), seconds(env.observed?))));
        let help = "When what runs was looked at last.";
        gauge(encoder, ("environment_last_observed_timestamp", help, Some(&Unit::Seconds)), observed)
    }

    fn encode_sources(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let read = self.sources.iter().filter_map(|s| Some((s.labels.clone(), seconds(s.read?))));
        let help = "When the source answered last which commit is its newest.";
        gauge(encoder, ("source_last_read_timestamp", help, Some(&Unit::Seconds)), read)?;
        let trouble = self.sources.iter().map(|source| (source.labels.clone(), flag(source.has_trouble)));
        let help = "Whether the newest commit of the source cannot be read.";
        gauge(encoder, ("source_trouble", help, None), trouble)
    }

    fn encode_engines(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let hears = self.engines.iter();
        let hears = hears.filter_map(|engine| Some((engine.labels.clone(), flag(engine.hears_events?))));
        let help = "Whether the events of the engine are heard.";
        gauge(encoder, ("engine_events_heard", help, None), hears)?;
        let help = "Requests that were sent to the engine.";
        let mut family = encoder.encode_descriptor("engine_requests", help, None, MetricType::Counter)?;
        for engine in &self.engines {
            ConstCounter::new(engine.requests).encode(family.encode_family(&engine.labels)?)?;
        }
        Ok(())
    }
}

/// Writes a family of gauges: its name, what it says, its unit, and its series.
fn gauge<S: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    (name, help, unit): (&str, &str, Option<&Unit>),
    series: impl IntoIterator<Item = (S, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn with_status(env: &Environment, status: String) -> (EnvLabels, StatusLabel) {
    (env.labels.clone(), StatusLabel { status })
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns the seconds since 1970, to the millisecond.
fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
