//! Joining and leaving networks, always with the whole endpoint: what is left out would be lost.

use std::collections::BTreeMap;

use bollard::{
    errors::Error,
    models::{ContainerInspectResponse, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest},
};
use trueup_engine::{RunContext, TargetError};

use crate::{
    Docker,
    body::{endpoint_settings, engine_network},
    container::id_of,
    failure::{gone, status},
    inspect,
    observe::zone_names,
    spec::{ContainerSpec, EndpointSpec},
};

impl Docker {
    /// Joins a network.
    pub(crate) async fn join(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<(), TargetError> {
        let joined = self.attach(network, container, settings).await;
        joined.map_err(|error| self.failed(format!("connect a container to `{network}`"), &error))
    }

    /// Joins a network that is not ours, or with a container that is not: either may be gone by now.
    pub(crate) async fn join_if_there(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<(), TargetError> {
        let joined = gone(self.attach(network, container, settings).await);
        joined.map_err(|error| self.failed(format!("connect a container to `{network}`"), &error))
    }

    async fn attach(&self, network: &str, container: &str, settings: EndpointSettings) -> Result<(), Error> {
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(settings) };
        self.api().connect_network(network, request).await
    }

    /// Leaves a network; one that it is not in, or that is gone, is left already.
    pub(crate) async fn leave(&self, network: &str, container: &str) -> Result<(), TargetError> {
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
        match self.api().disconnect_network(network, request).await {
            Err(error) if status(&error) == Some(404) || says_not_connected(&error) => Ok(()),
            other => {
                other.map_err(|error| self.failed(format!("disconnect a container from `{network}`"), &error))
            }
        }
    }

    /// Brings a stopped container onto the networks that were made again under the old names: the engine
    /// remembers a network by its id.
    pub(crate) async fn rejoin(&self, found: &ContainerInspectResponse) -> Result<(), TargetError> {
        let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        for (name, settings) in networks.into_iter().flatten() {
            let id = settings.network_id.as_deref().unwrap_or_default();
            if id.is_empty() || self.network(id).await?.is_some() {
                continue;
            }
            let endpoint = inspect::endpoint(settings, id_of(found));
            self.leave(name, id_of(found)).await?;
            self.join(name, id_of(found), endpoint_settings(&endpoint, false)).await?;
        }
        Ok(())
    }

    /// Brings the networks of a container to what `wanted` says; an endpoint that is as wanted stays.
    pub(crate) async fn set_networks(
        &self,
        run: &RunContext,
        found: &ContainerInspectResponse,
        wanted: &ContainerSpec,
    ) -> Result<(), TargetError> {
        let live = live_networks(run, found);
        let mut wanted: BTreeMap<String, EndpointSpec> = wanted.networks.clone();
        for endpoint in wanted.values_mut() {
            endpoint.standby = None;
        }
        for (key, endpoint) in &live {
            if wanted.get(key) != Some(endpoint) {
                self.leave(&engine_network(&run.identity, key), id_of(found)).await?;
            }
        }
        for (key, endpoint) in wanted.iter().filter(|(key, endpoint)| live.get(*key) != Some(*endpoint)) {
            let network = engine_network(&run.identity, key);
            let settings = endpoint_settings(endpoint, false);
            // No manifest wants a network that is no zone: only an undo goes back to one.
            if key.starts_with("other:") {
                self.join_if_there(&network, id_of(found), settings).await?;
            } else {
                self.join(&network, id_of(found), settings).await?;
            }
        }
        Ok(())
    }
}

fn live_networks(run: &RunContext, found: &ContainerInspectResponse) -> BTreeMap<String, EndpointSpec> {
    let settings = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let zones = zone_names(&run.identity, settings.into_iter().flatten().map(|(name, _)| name));
    inspect::networks(found, &zones)
}

/// Returns whether a start failed because a network of the container is not there any more.
pub(crate) fn lost_a_network(error: &Error) -> bool {
    let text = error.to_string();
    text.contains("network") && text.contains("not found")
}

fn says_not_connected(error: &Error) -> bool {
    error.to_string().contains("is not connected to")
}
