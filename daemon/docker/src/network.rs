//! Zone networks. One cannot be renamed, nor be beside another with the same subnet: a replacement takes
//! its place, and an undo makes the old one again. Endpoints name networks, so a kept container starts
//! on one that was made again.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkInspect};
use trueup_engine::{Blame, Identity, RunContext, TargetError};
use trueup_plan::{Aside, ResourceId};

use crate::{
    Docker,
    body::endpoint_settings,
    failure::{gone, moved},
    inspect::BRIDGE_OPTION,
    names::{RUN, engine_name, owner_labels},
    sight::is_own,
    spec::{NetworkSpec, from_spec},
};

/// Why an engine does not remove a network. Where nobody is in it, it has lost count.
const LOST_COUNT: &str = "has active endpoints";

impl Docker {
    /// Returns the environment's networks of that name: more than one only if something went wrong.
    async fn networks_named(&self, identity: &Identity, name: &str) -> Result<Vec<Network>, TargetError> {
        let all = self.list_networks().await?.into_iter();
        let of_name = all.filter(|network| network.name.as_deref() == Some(name));
        Ok(of_name.filter(|network| is_own(identity, network.labels.as_ref())).collect())
    }

    /// Returns a network by id or name, with the containers that run in it.
    pub(crate) async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, TargetError> {
        let none = None::<bollard::query_parameters::InspectNetworkOptions>;
        crate::failure::found(self.api().inspect_network(name, none).await)
            .map_err(|error| self.failed(format!("look at the network `{name}`"), &error))
    }

    /// Creates a network; the one that it replaces is removed first.
    pub(crate) async fn create_network(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        spec: &NetworkSpec,
        replaces: Option<&Aside>,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        for network in self.networks_named(&run.identity, &name).await? {
            let id = network.id.as_deref().unwrap_or_default();
            if replaces.is_some_and(|old| old.handle == id) {
                self.remove_network(id, &name).await?;
            } else if run_of(&network) == run.run.to_string() {
                return Ok(());
            } else {
                return Err(moved(format!("network `{name}` is not the one that the plan was made for")));
            }
        }
        self.make_network(&run.identity, &run.run.to_string(), &name, spec).await
    }

    async fn make_network(
        &self,
        identity: &Identity,
        run: &str,
        name: &str,
        spec: &NetworkSpec,
    ) -> Result<(), TargetError> {
        let pool = IpamConfig {
            subnet: Some(spec.subnet.clone()),
            gateway: Some(spec.gateway.clone()).filter(|text| !text.is_empty()),
            ip_range: Some(spec.dynamic.clone()).filter(|text| !text.is_empty()),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some(spec.driver.clone()),
            internal: Some(spec.internal),
            ipam: Some(Ipam { config: Some(vec![pool]), ..Ipam::default() }),
            options: Some(HashMap::from([(BRIDGE_OPTION.to_owned(), spec.bridge.clone())])),
            labels: Some(owner_labels(identity, run)),
            ..NetworkCreateRequest::default()
        };
        let created = self.api().create_network(request).await;
        let created = created.map_err(|error| self.not_created(identity, (name, spec), &error))?;
        if created.warning.is_empty() {
            return Ok(());
        }
        let failure =
            TargetError::new(Blame::Manifest, format!("the engine would not honour all of `{name}`"));
        Err(TargetError { causes: vec![created.warning], ..failure })
    }

    /// Removes a network; containers that run in it are named.
    pub(crate) async fn remove_network(&self, id: &str, name: &str) -> Result<(), TargetError> {
        let removed = gone(self.api().remove_network(id).await);
        let Err(error) = removed else { return Ok(()) };
        let failure = self.failed(format!("remove the network `{name}`"), &error);
        let members = self.network(id).await.ok().flatten().and_then(|network| network.containers);
        let names: Vec<String> =
            members.into_iter().flatten().filter_map(|(_, member)| member.name).collect();
        let help = match names.as_slice() {
            [] if error.to_string().contains(LOST_COUNT) => {
                "the engine lost count of who left it (moby/moby#42119), until it is started again".to_owned()
            }
            [] => return Err(failure),
            names => format!("these still run in it: {}", names.join(", ")),
        };
        Err(failure.help(help))
    }

    /// Takes the creation of a network back, and makes the one again that it replaced.
    pub(crate) async fn undo_create_network(
        &self,
        run: &RunContext,
        resource: &ResourceId,
        replaces: Option<&Aside>,
    ) -> Result<(), TargetError> {
        let name = engine_name(&run.identity, resource);
        let old = replaces.map(|old| old.handle.as_str());
        let mut is_there = false;
        for network in self.networks_named(&run.identity, &name).await? {
            let id = network.id.as_deref().unwrap_or_default();
            if run_of(&network) == run.run.to_string() && Some(id) != old {
                self.remove_network(id, &name).await?;
            } else {
                is_there = true;
            }
        }
        match replaces {
            Some(old) if !is_there => {
                let again = format!("{}-again", run.run);
                self.make_network(&run.identity, &again, &name, &from_spec(&old.spec)?).await
            }
            _ => Ok(()),
        }
    }

    /// Detaches the containers that do not belong into a network, or attaches them again. One that has ended
    /// and is gone need not come back.
    pub(crate) async fn set_foreign(
        &self,
        found: &NetworkInspect,
        before: &Aside,
        wanted: &NetworkSpec,
    ) -> Result<(), TargetError> {
        let was: NetworkSpec = from_spec(&before.spec)?;
        let members = || found.containers.iter().flatten();
        let is_in = |name: &str| members().any(|(_, member)| member.name.as_deref() == Some(name));
        for (container, endpoint) in &was.foreign {
            let wants_it = wanted.foreign.contains_key(container);
            match (is_in(container), wants_it) {
                (true, false) => self.leave(&before.handle, container).await?,
                (false, true) => {
                    let settings = endpoint_settings(endpoint, false);
                    self.join_if_there(&before.handle, container, settings).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn run_of(network: &Network) -> &str {
    network.labels.as_ref().and_then(|labels| labels.get(RUN)).map(String::as_str).unwrap_or_default()
}
