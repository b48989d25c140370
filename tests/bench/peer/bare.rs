//! Bare calls of the engine's API, side by side wherever the order allows it: the floor.

use std::{error::Error, time::Instant};

use bollard::{
    Docker,
    models::{ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures::future::{join_all, try_join, try_join_all};
use tokio::runtime::Runtime;

use super::{
    Way,
    services::{self, CHANGED, COMMAND, IMAGE, STOP_SIGNAL, Service},
};
use crate::measure::milliseconds;

/// What everything of it is called.
const PREFIX: &str = "bench-bare";

pub(crate) struct Bare {
    docker: Docker,
    runtime: Runtime,
    /// The generation that runs.
    runs: Option<usize>,
}

impl Bare {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let runtime = Runtime::new()?;
        let docker = {
            let _inside = runtime.enter();
            Docker::connect_with_defaults()?
        };
        Ok(Self { docker, runtime, runs: None })
    }
}

impl Way for Bare {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn up(&mut self, generation: usize) -> Result<f64, Box<dyn Error>> {
        let start = Instant::now();
        let docker = &self.docker;
        match self.runs {
            None => self.runtime.block_on(cold(docker, generation))?,
            Some(runs) if runs == generation => self.runtime.block_on(look(docker))?,
            Some(_) => self.runtime.block_on(change(docker, generation))?,
        }
        self.runs = Some(generation);
        Ok(milliseconds(start))
    }

    fn down(&mut self) -> Result<(), Box<dyn Error>> {
        self.runs = None;
        self.runtime.block_on(remove(&self.docker))
    }
}

fn name(service: &str) -> String {
    format!("{PREFIX}-{service}")
}

async fn create(docker: &Docker, service: &Service) -> Result<(), bollard::errors::Error> {
    let endpoint =
        EndpointSettings { aliases: Some(vec![service.name.clone()]), ..EndpointSettings::default() };
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(COMMAND.map(str::to_owned).into()),
        env: Some(vec![format!("GENERATION={}", service.generation)]),
        stop_signal: Some(STOP_SIGNAL.into()),
        host_config: Some(HostConfig { network_mode: Some(PREFIX.into()), ..HostConfig::default() }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(PREFIX.to_owned(), endpoint)].into()),
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&name(&service.name)).build();
    docker.create_container(Some(options), body).await.map(drop)
}

async fn start(docker: &Docker, service: &str) -> Result<(), bollard::errors::Error> {
    docker.start_container(&name(service), None).await
}

/// All containers are created at once; each is started as soon as it is there and the level before runs.
async fn cold(docker: &Docker, generation: usize) -> Result<(), Box<dyn Error>> {
    let network = NetworkCreateRequest { name: PREFIX.into(), ..NetworkCreateRequest::default() };
    docker.create_network(network).await?;
    let levels = services::levels(generation);
    let create = |service: &Service| {
        let (docker, service) = (docker.clone(), service.clone());
        tokio::spawn(async move { create(&docker, &service).await })
    };
    let created: Vec<Vec<_>> = levels.iter().map(|level| level.iter().map(create).collect()).collect();
    for (level, created) in levels.iter().zip(created) {
        let starts = level.iter().zip(created).map(async |(service, created)| {
            created.await??;
            start(docker, &service.name).await?;
            Ok::<_, Box<dyn Error>>(())
        });
        try_join_all(starts).await?;
    }
    Ok(())
}

/// The new one is created before the old one stops, and the old one stays until the new one runs.
async fn change(docker: &Docker, generation: usize) -> Result<(), Box<dyn Error>> {
    let (service, kept) = (name(CHANGED), format!("{}-kept", name(CHANGED)));
    let all = services::levels(generation).into_iter().flatten();
    let new = all.into_iter().find(|service| service.name == CHANGED).ok_or("it is one of them")?;
    let aside = RenameContainerOptionsBuilder::new().name(&kept).build();
    docker.rename_container(&service, aside).await?;
    let stop = StopContainerOptionsBuilder::new().t(1).build();
    create(docker, &new).await?;
    docker.stop_container(&kept, Some(stop)).await?;
    start(docker, CHANGED).await?;
    docker.remove_container(&kept, None).await?;
    Ok(())
}

/// Asks for all that a comparison needs.
async fn look(docker: &Docker) -> Result<(), Box<dyn Error>> {
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let (found, _) = try_join(docker.list_containers(Some(all)), docker.list_networks(None)).await?;
    let ids = found.iter().filter_map(|container| container.id.as_deref());
    try_join_all(ids.map(|id| docker.inspect_container(id, None))).await?;
    Ok(())
}

async fn remove(docker: &Docker) -> Result<(), Box<dyn Error>> {
    let all = ListContainersOptionsBuilder::new().all(true).build();
    let found = docker.list_containers(Some(all)).await?;
    let is_mine = |names: &Vec<String>| names.iter().any(|name| name.starts_with(&format!("/{PREFIX}-")));
    let mine = found.iter().filter(|container| container.names.as_ref().is_some_and(is_mine));
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    let removals = mine.filter_map(|container| container.id.as_deref());
    let removals = removals.map(|id| docker.remove_container(id, Some(force.clone())));
    join_all(removals).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    match docker.remove_network(PREFIX).await {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
