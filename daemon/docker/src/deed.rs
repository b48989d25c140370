//! What is done with an act: each goes to its end, whoever waits for it.
//!
//! A check waits as well, but changes nothing.

use trueup_engine::{RunContext, TargetError};
use trueup_plan::{Act, ResourceId};

use crate::Docker;

/// What is done with an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Execute,
    Undo,
    Finish,
}

impl Docker {
    /// Does an act, takes it back or cleans up after it, to its end.
    pub(crate) async fn to_its_end(
        &self,
        deed: Deed,
        run: &RunContext,
        resource: &ResourceId,
        act: &Act,
    ) -> Result<(), TargetError> {
        if deed == Deed::Execute && matches!(act, Act::Verify { .. }) {
            return self.act(run, resource, act).await;
        }
        let acting = self.mirror().act(run.identity.key());
        if deed == Deed::Execute && matches!(act, Act::Fetch { .. } | Act::Run { .. }) {
            // These wait for long and listen to the cancellation; what they leave is observed.
            return self.act(run, resource, act).await;
        }
        let call = {
            let (docker, run, resource, act) = (self.clone(), run.clone(), resource.clone(), act.clone());
            // Boxed, because whoever awaits it would hold all of it.
            Box::pin(async move {
                let _acting = acting;
                match deed {
                    Deed::Execute => docker.act(&run, &resource, &act).await,
                    Deed::Undo => docker.take_back(&run, &resource, &act).await,
                    Deed::Finish => docker.clean_up(&run, &resource, &act).await,
                }
            })
        };
        self.inflight().to_its_end(run, resource, call).await
    }
}
