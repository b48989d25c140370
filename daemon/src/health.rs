//! Whether what runs works: every check of the declared resources, tried once, side by side.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use trueup_engine::{Blame, Execute, Identity, RunContext, RunId, Store, TargetError, record::Health};
use trueup_plan::{Act, Desired, Probe, ResourceId};
use trueup_schema::Materials;

use crate::{
    failure::Failure,
    material,
    reconcile::{Bench, Conclusion, Proposal},
};

/// The condition of an environment, and what does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) health: Health,
    /// The first thing that does not work, in one line.
    pub(crate) why: Option<String>,
}

/// Returns the condition after a reconciliation: of what was wanted when it is there, else of what was
/// applied before.
pub(crate) async fn condition<S: Store, T: Execute>(
    bench: &Bench<'_, S, T>,
    conclusion: &Conclusion,
    proposal: &Proposal,
) -> Result<Condition, Failure> {
    if conclusion.is_reached() {
        return Ok(check(bench, &proposal.identity, &proposal.desired, &proposal.materials).await);
    }
    match bench.store.applied(&proposal.identity.key()).await? {
        Some(applied) => {
            // What a check prints is cleaned of the secrets that run, not of those that are wanted.
            let key = proposal.identity.key();
            Ok(match material::applied(bench.store, bench.keys, &key).await {
                Ok(materials) => {
                    check(bench, &proposal.identity, &applied.desired, &Arc::new(materials)).await
                }
                Err(failure) => Condition { health: Health::Unknown, why: Some(failure.one_line()) },
            })
        }
        None => Ok(Condition { health: Health::Missing, why: None }),
    }
}

async fn check<S, T: Execute>(
    bench: &Bench<'_, S, T>,
    identity: &Identity,
    desired: &Desired,
    materials: &Arc<Materials>,
) -> Condition {
    let context = RunContext {
        identity: identity.clone(),
        run: RunId(0),
        materials: Arc::clone(materials),
        cancel: bench.cancel.clone(),
        progress: Arc::new(Silent),
    };
    let probes = desired.resources.iter().filter_map(|(id, declared)| Some((id, declared.probe.as_ref()?)));
    let tries = probes.map(|(id, probe)| try_once(bench.target, &context, id, probe));
    let failure = join_all(tries).await.into_iter().flatten().next();
    let health = match &failure {
        None => Health::Healthy,
        Some(error) if error.blame == Blame::Away => Health::Unknown,
        Some(_) => Health::Degraded,
    };
    Condition { health, why: failure.map(|error| error.message) }
}

/// Tries one check once; returns why it failed.
async fn try_once<T: Execute>(
    target: &T,
    context: &RunContext,
    id: &ResourceId,
    probe: &Probe,
) -> Option<TargetError> {
    let once = Act::Verify { probe: Probe { startup: Duration::ZERO, ..probe.clone() } };
    target.execute(context, id, &once).await.err()
}

/// Tells nobody: a look is no run.
struct Silent;

impl trueup_engine::Progress for Silent {
    fn tell(&self, _: &ResourceId, _: &str) {}
}
