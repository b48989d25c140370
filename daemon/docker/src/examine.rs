//! What a person should know of an engine before something is run on it. Nothing is changed.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
};

use bollard::models::Network;
use futures::future::try_join;
use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpStream, UnixStream};
use trueup_engine::{Blame, TargetError};
use trueup_schema::Subnet;

use crate::{
    Docker, Endpoint,
    address::{free_subnets, overlap, parse_subnet},
    facts::Occupied,
    mirror::Events,
    names::ENVIRONMENT,
    observe::in_use,
    refuse::{self, Gap},
};

/// What an engine is, and how it stands around it.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Its version, such as `20.10.24`.
    pub version: String,
    /// Its API, such as `1.41`.
    pub api: String,
    /// What it cannot honour: manifests that ask for it are refused, or get less.
    pub gaps: Vec<Gap>,
    /// The folder of its images and containers; none where this machine does not see it.
    pub root: Option<PathBuf>,
    /// How far its clock is before this machine's.
    pub clock: SignedDuration,
    /// Whether its bridges are in our own network namespace; none when that cannot be told.
    pub same_network: Option<bool>,
    /// How the operator's pool of subnets is used.
    pub pool: Pool,
}

/// How a pool of subnets is used on one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// How many zones can still get a subnet.
    pub free: usize,
    /// Subnets of others that are in the pool: ``10.88.3.0/24 of network `web` ``.
    pub overlaps: Vec<String>,
}

/// Tries whether an engine can be reached, and says what to do where it cannot.
pub async fn reach(endpoint: &Endpoint) -> Result<(), TargetError> {
    let reached = match endpoint {
        Endpoint::Unix(path) => UnixStream::connect(path).await.map(drop),
        Endpoint::Tcp(host) => TcpStream::connect(host).await.map(drop),
    };
    reached.map_err(|error| {
        TargetError::new(Blame::Away, format!("the engine at {endpoint} cannot be reached"))
            .caused_by(&error)
            .help(way_to(endpoint, &error))
    })
}

fn way_to(endpoint: &Endpoint, error: &io::Error) -> String {
    match (endpoint, error.kind()) {
        (Endpoint::Unix(path), ErrorKind::PermissionDenied) => {
            format!("run trueup as root, or as a member of the group of {}", path.display())
        }
        (Endpoint::Unix(_), ErrorKind::NotFound) => {
            "start the engine, or correct the address in `targets` or `DOCKER_HOST`".to_owned()
        }
        (Endpoint::Unix(_), _) => "start the engine: nobody listens at its socket".to_owned(),
        (Endpoint::Tcp(host), _) => {
            format!("check that the engine listens at {host}, and that no firewall is in between")
        }
    }
}

impl Docker {
    /// Asks the engine what a person should know of it.
    pub async fn examine(&self) -> Result<Examination, TargetError> {
        let engine = self.engine().await?;
        let asked = Timestamp::now();
        let info = async {
            let info = self.api().info().await;
            let info = info.map_err(|error| self.failed("ask the engine for its time", &error))?;
            Ok((info, Timestamp::now()))
        };
        let ((info, answered), networks) = try_join(info, self.list_networks()).await?;
        let same_network = self.same_network(&networks);
        let time = info.system_time.and_then(|time| time.parse().ok());
        Ok(Examination {
            version: engine.version.clone(),
            api: format!("{}.{}", engine.api.0, engine.api.1),
            gaps: refuse::gaps(&engine),
            root: info.docker_root_dir.filter(|_| engine.local).map(PathBuf::from),
            clock: time.map_or(SignedDuration::ZERO, |time| ahead(time, asked, answered)),
            same_network,
            pool: pool(&self.settings().subnet_pool, &networks, same_network),
        })
    }

    /// Tries whether the engine's events can be heard.
    pub async fn examine_events(&self) -> Result<(), TargetError> {
        let since = Timestamp::now().as_second().to_string();
        Events::open(self.endpoint(), &since).await.map(drop).map_err(|error| {
            TargetError::new(Blame::Away, "the engine's events cannot be heard").caused_by(&error)
        })
    }
}

/// Returns how far a clock is before ours that was read between two moments.
fn ahead(time: Timestamp, asked: Timestamp, answered: Timestamp) -> SignedDuration {
    let nearest = time.clamp(asked.min(answered), answered.max(asked));
    time.duration_since(nearest)
}

fn pool(pool: &[Subnet], networks: &[Network], same: Option<bool>) -> Pool {
    let (ours, strange): (Vec<_>, Vec<_>) = networks
        .iter()
        .partition(|network| network.labels.as_ref().is_some_and(|labels| labels.contains_key(ENVIRONMENT)));
    let strange = in_use(&strange, networks, same);
    // What the host itself reaches is among the strangers already.
    let ours = in_use(&ours, networks, None);
    let subnet = |occupied: &Occupied| parse_subnet(&occupied.subnet);
    let taken: Vec<Subnet> = strange.iter().chain(&ours).filter_map(subnet).collect();
    let in_pool = |occupied: &&Occupied| {
        subnet(occupied).is_some_and(|subnet| pool.iter().any(|part| overlap(*part, subnet)))
    };
    let overlaps = strange.iter().filter(in_pool);
    Pool {
        free: free_subnets(pool, &taken).count(),
        overlaps: overlaps.map(|occupied| format!("{} of {}", occupied.subnet, occupied.by)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{Ipam, IpamConfig};

    use super::*;

    fn network(name: &str, subnet: &str, environment: Option<&str>) -> Network {
        let config = IpamConfig { subnet: Some(subnet.to_owned()), ..IpamConfig::default() };
        let label = environment.map(|environment| (ENVIRONMENT.to_owned(), environment.to_owned()));
        Network {
            name: Some(name.to_owned()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
            labels: Some(HashMap::from_iter(label)),
            ..Network::default()
        }
    }

    fn of(pool_text: &str, networks: &[Network]) -> Pool {
        pool(&[parse_subnet(pool_text).unwrap()], networks, None)
    }

    #[test]
    fn a_pool_that_nobody_else_uses_is_free() {
        let nobody = of("10.88.0.0/22", &[network("bridge", "172.17.0.0/16", None)]);
        assert_eq!(nobody, Pool { free: 4, overlaps: Vec::new() });
    }

    #[test]
    fn a_stranger_in_the_pool_is_named_and_one_of_ours_is_not() {
        let used = of(
            "10.88.0.0/22",
            &[network("web", "10.88.1.0/24", None), network("dev-data", "10.88.2.0/24", Some("dev"))],
        );
        assert_eq!(used, Pool { free: 2, overlaps: vec!["10.88.1.0/24 of network `web`".to_owned()] });
    }

    #[test]
    fn a_stranger_can_take_all_of_it() {
        assert_eq!(of("10.88.0.0/16", &[network("vpn", "10.0.0.0/8", None)]).free, 0);
    }

    #[test]
    fn a_clock_is_judged_by_the_moments_around_the_question() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ahead(at(105), at(100), at(110)), SignedDuration::ZERO);
        assert_eq!(ahead(at(170), at(100), at(110)), SignedDuration::from_secs(60));
        assert_eq!(ahead(at(40), at(100), at(110)), SignedDuration::from_secs(-60));
    }
}
