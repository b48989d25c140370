//! Changes that a running container takes: its name, limits, restart policy, networks.

use bollard::models::{ContainerInspectResponse, ContainerUpdateBody};
use trueup_engine::{Blame, RunContext, TargetError};

use crate::{
    Docker,
    body::{Limits, restart_policy},
    container::id_of,
    facts::Engine,
    sight::inspected_name,
    spec::ContainerSpec,
};

/// More memory and swap than any host has: 1 PiB.
const ALL_SWAP: i64 = 1 << 50;

impl Docker {
    /// Brings the name, the limits, the restart policy and the networks of a container to what `wanted` says.
    pub(crate) async fn update(
        &self,
        run: &RunContext,
        found: &ContainerInspectResponse,
        wanted: &ContainerSpec,
        fields: &[String],
    ) -> Result<(), TargetError> {
        let touches = |path: &str| fields.iter().any(|field| field.is_empty() || field.starts_with(path));
        if touches("name") && inspected_name(found) != wanted.name {
            self.rename(id_of(found), &wanted.name).await?;
        }
        if touches("resources") || touches("restart") {
            let engine = self.engine().await?;
            let body = update_body(&engine, found, wanted);
            let updated = self.api().update_container(id_of(found), body.clone()).await;
            updated.map_err(|error| self.failed("update a container", &error))?;
            self.check_update(id_of(found), &body).await?;
        }
        if touches("networks") {
            self.set_networks(run, found, wanted).await?;
        }
        Ok(())
    }

    /// An engine may drop a limit with a warning, which the client library does not show: so it is read back.
    async fn check_update(&self, id: &str, asked: &ContainerUpdateBody) -> Result<(), TargetError> {
        let found = self.container(id).await?;
        let Some(host) = found.and_then(|found| found.host_config) else { return Ok(()) };
        let kept = [
            ("memory", asked.memory.is_none() || asked.memory == host.memory),
            ("cpu", asked.nano_cpus.is_none() || asked.nano_cpus == host.nano_cpus),
            ("pids", asked.pids_limit.is_none_or(|pids| pids <= 0 || host.pids_limit == Some(pids))),
        ];
        match kept.iter().find(|(_, is_kept)| !is_kept) {
            Some((field, _)) => Err(TargetError::new(
                Blame::Manifest,
                format!("the engine did not take the limit of `{field}`"),
            )),
            None => Ok(()),
        }
    }
}

/// Returns the update. The engine reads a missing limit as "as before", so one that is taken away
/// becomes all that the host has. Memory and swap always go together.
fn update_body(
    engine: &Engine,
    found: &ContainerInspectResponse,
    wanted: &ContainerSpec,
) -> ContainerUpdateBody {
    let host = found.host_config.as_ref();
    let is_limited = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
    let limits = Limits::of(wanted);
    let all = |amount: u64| i64::try_from(amount).ok().filter(|amount| *amount > 0);
    let memory = limits
        .memory
        .or_else(|| all(engine.memory).filter(|_| is_limited(host.and_then(|host| host.memory))));
    let swap = match limits.memory {
        Some(_) => limits.swap,
        // The engine leaves swap as it is when it reads -1 here.
        None => memory.map(|_| ALL_SWAP),
    };
    let nano_cpus = limits.nano_cpus.or_else(|| {
        all(engine.cpus.saturating_mul(1_000_000_000))
            .filter(|_| is_limited(host.and_then(|host| host.nano_cpus)))
    });
    let pids = limits.pids.or_else(|| is_limited(host.and_then(|host| host.pids_limit)).then_some(-1));
    ContainerUpdateBody {
        memory,
        memory_swap: swap,
        nano_cpus,
        pids_limit: pids,
        restart_policy: Some(restart_policy(&wanted.restart)),
        ..ContainerUpdateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::HostConfig;

    use super::*;

    #[test]
    fn a_limit_that_is_taken_away_becomes_all_that_the_host_has() {
        let engine = Engine { memory: 8 << 30, cpus: 4, ..Engine::default() };
        let host = HostConfig {
            memory: Some(1 << 20),
            nano_cpus: Some(500_000_000),
            pids_limit: Some(10),
            ..HostConfig::default()
        };
        let found = ContainerInspectResponse { host_config: Some(host), ..Default::default() };
        let body = update_body(&engine, &found, &crate::inspect::tests::plain_spec());
        assert_eq!((body.memory, body.memory_swap), (Some(8 << 30), Some(ALL_SWAP)));
        assert_eq!(body.nano_cpus, Some(4_000_000_000));
        assert_eq!(body.pids_limit, Some(-1));
    }

    #[test]
    fn what_was_not_limited_and_will_not_be_is_left_alone() {
        let body = update_body(
            &Engine { memory: 8 << 30, cpus: 4, ..Engine::default() },
            &ContainerInspectResponse::default(),
            &crate::inspect::tests::plain_spec(),
        );
        assert_eq!((body.memory, body.nano_cpus, body.pids_limit), (None, None, None));
    }
}
