//! How a plan is run: the traits of the outside world, the journal, the steps, the way back.

pub mod failure;
pub mod ports;
pub mod record;
pub mod store;

pub use failure::{Blame, TargetError};
pub use ports::{Execute, Identity, Observe, Progress, RunContext, RunId, Source, Wanted};
pub use record::{EnvKey, Fault, Outcome, Trigger};
pub use store::{HeldBy, Holder, Store, StoreError};
