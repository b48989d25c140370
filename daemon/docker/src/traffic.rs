//! Who joins and who leaves which network, on engines where both at once can end in a deadlock.
//!
//! Engines before 23.0 lock a network and its controller in either order: when the last container leaves a
//! network while another one is still leaving or already joining, the engine may never again answer anything
//! about networks (moby/libnetwork#2679; Debian 12 ships 20.10.24, which has it). So the last one leaves alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bollard::models::ContainerInspectResponse;
use futures::future::try_join_all;
use tokio::sync::Notify;
use trueup_engine::TargetError;

use crate::{Docker, container::id_of};

/// The first API of engines without the deadlock: that of 23.0.
const MENDED: (u32, u32) = (1, 42);

/// Who joins and who leaves which network.
#[derive(Default)]
pub(crate) struct Traffic {
    networks: Mutex<BTreeMap<String, Moves>>,
    /// Held while somebody finds out whether it is the last one.
    asking: tokio::sync::Mutex<()>,
    /// Told when somebody has come to its end.
    ended: Notify,
}

/// What goes on at one network.
#[derive(Debug, Default, PartialEq, Eq)]
struct Moves {
    joining: usize,
    leaving: BTreeSet<String>,
    /// Whether the one that leaves is the last one.
    closing: bool,
}

impl Moves {
    fn are_none(&self) -> bool {
        self.joining == 0 && self.leaving.is_empty()
    }
}

/// A container that joins or leaves its networks, until this is dropped.
pub(crate) struct Passage {
    traffic: Arc<Traffic>,
    networks: Vec<String>,
    /// The container, when it leaves.
    leaves: Option<String>,
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut all = self.traffic.networks();
        for network in &self.networks {
            let Some(moves) = all.get_mut(network) else { continue };
            match &self.leaves {
                Some(container) => {
                    moves.leaving.remove(container);
                    moves.closing = false;
                }
                None => moves.joining -= 1,
            }
            if moves.are_none() {
                all.remove(network);
            }
        }
        drop(all);
        self.traffic.ended.notify_waiters();
    }
}

impl Traffic {
    fn networks(&self) -> MutexGuard<'_, BTreeMap<String, Moves>> {
        // No change of the map stops half-way.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody join unless the last one leaves.
    fn join(self: &Arc<Self>, networks: &[String]) -> Option<Passage> {
        let mut all = self.networks();
        if networks.iter().any(|network| all.get(network).is_some_and(|moves| moves.closing)) {
            return None;
        }
        for network in networks {
            all.entry(network.clone()).or_default().joining += 1;
        }
        Some(Passage { traffic: Arc::clone(self), networks: networks.to_vec(), leaves: None })
    }

    /// Lets a container leave unless it is the last one of a network where somebody else moves. `others` are
    /// the other members of each network, as the engine told them.
    fn leave(
        self: &Arc<Self>,
        container: &str,
        others: &BTreeMap<String, BTreeSet<String>>,
    ) -> Option<Passage> {
        let mut all = self.networks();
        let is_last = |network: &String| {
            let leaving = all.get(network).map(|moves| &moves.leaving);
            others[network].iter().all(|other| leaving.is_some_and(|leaving| leaving.contains(other)))
        };
        let last: BTreeSet<String> = others.keys().filter(|network| is_last(network)).cloned().collect();
        let must_wait =
            |network: &String| all.get(network).is_some_and(|moves| moves.closing || last.contains(network));
        if others.keys().any(must_wait) {
            return None;
        }
        for network in others.keys() {
            let moves = all.entry(network.clone()).or_default();
            moves.leaving.insert(container.to_owned());
            moves.closing = last.contains(network);
        }
        let networks = others.keys().cloned().collect();
        Some(Passage { traffic: Arc::clone(self), networks, leaves: Some(container.to_owned()) })
    }

    fn leaving(&self, network: &str) -> BTreeSet<String> {
        self.networks().get(network).map(|moves| moves.leaving.clone()).unwrap_or_default()
    }
}

impl Docker {
    /// Waits until a container may join its networks. What is returned is kept until it has.
    pub(crate) async fn may_join(
        &self,
        found: &ContainerInspectResponse,
    ) -> Result<Option<Passage>, TargetError> {
        if self.engine().await?.api >= MENDED {
            return Ok(None);
        }
        let networks = networks_of(found);
        loop {
            let mut ended = pin!(self.traffic().ended.notified());
            ended.as_mut().enable();
            match self.traffic().join(&networks) {
                Some(passage) => return Ok(Some(passage)),
                None => ended.await,
            }
        }
    }

    /// Waits until a container may leave its networks. What is returned is kept until it has.
    pub(crate) async fn may_leave(
        &self,
        found: &ContainerInspectResponse,
    ) -> Result<Option<Passage>, TargetError> {
        if self.engine().await?.api >= MENDED {
            return Ok(None);
        }
        let networks = networks_of(found);
        loop {
            let mut ended = pin!(self.traffic().ended.notified());
            ended.as_mut().enable();
            let asking = self.traffic().asking.lock().await;
            let others =
                try_join_all(networks.iter().map(|network| self.others(network, id_of(found)))).await?;
            let passage = self.traffic().leave(id_of(found), &others.into_iter().collect());
            drop(asking);
            match passage {
                Some(passage) => return Ok(Some(passage)),
                None => ended.await,
            }
        }
    }

    /// Returns who else is in a network and has not begun to leave it.
    async fn others(&self, network: &str, than: &str) -> Result<(String, BTreeSet<String>), TargetError> {
        // Who has left by the time of the answer may still be in it.
        let leaving = self.traffic().leaving(network);
        let found = self.network(network).await?;
        let members = found.and_then(|found| found.containers).unwrap_or_default();
        let others = members.into_keys().filter(|member| member != than && !leaving.contains(member));
        Ok((network.to_owned(), others.collect()))
    }
}

fn networks_of(found: &ContainerInspectResponse) -> Vec<String> {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    networks.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(members: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([("data".to_owned(), members.iter().map(|&member| member.to_owned()).collect())])
    }

    #[test]
    fn the_last_one_waits_for_those_that_leave() {
        let traffic = Arc::<Traffic>::default();
        let first = traffic.leave("a", &others(&["b", "c"])).expect("b and c stay");
        let second = traffic.leave("b", &others(&["a", "c"])).expect("c stays");
        assert!(traffic.leave("c", &others(&["a", "b"])).is_none(), "two leave");
        drop(first);
        assert!(traffic.leave("c", &others(&["b"])).is_none(), "one leaves");
        drop(second);
        let last = traffic.leave("c", &others(&[])).expect("it is alone");
        drop(last);
        assert!(traffic.networks().is_empty());
    }

    #[test]
    fn the_last_one_waits_for_those_that_join_and_they_for_it() {
        let traffic = Arc::<Traffic>::default();
        let data = ["data".to_owned()];
        let joining = traffic.join(&data).expect("nobody leaves");
        assert!(traffic.leave("a", &others(&[])).is_none(), "one joins");
        assert!(traffic.leave("a", &others(&["b"])).is_some(), "b stays");
        drop(joining);
        let last = traffic.leave("a", &others(&[])).expect("nobody joins");
        assert!(traffic.join(&data).is_none(), "the last one leaves");
        drop(last);
        assert!(traffic.join(&data).is_some());
        assert!(traffic.networks().is_empty());
    }
}
