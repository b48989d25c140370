//! How a plan is run: the traits of the outside world, the journal, the steps, the way back.

pub mod crash;
pub mod failure;
#[cfg(feature = "fake")]
pub mod fake;
mod graph;
pub mod hold;
pub mod inflight;
pub mod journal;
pub mod notice;
pub mod ports;
pub mod queue;
pub mod reach;
pub mod record;
pub mod recover;
pub mod redact;
pub mod repair;
pub mod retry;
pub mod run;
pub mod settled;
mod steps;
pub mod store;

pub use failure::{Blame, TargetError};
pub use inflight::Inflight;
pub use journal::Trail;
pub use notice::Notices;
pub use ports::{
    Adoptable, Estate, Execute, Identity, Observe, Progress, RunContext, RunId, Source, Wanted, Watch,
};
pub use queue::{Depth, Next, Queue, Turn, Turns, Urgency, queue};
pub use reach::Limits;
pub use record::{EnvKey, Fault, Outcome, Trigger};
pub use recover::{RecoverError, Recovered, recover};
pub use redact::Redactor;
pub use retry::Backoff;
pub use run::{Completed, Failed, Terms, run};
pub use settled::Settled;
pub use store::{Adoption, HeldBy, Holder, Store, StoreError};
