//! How long to wait before something is tried again.
//!
//! Waits double up to a limit; a random part keeps several from trying at the same moment.

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Blame, TargetError};

/// Waits that double from `first` to `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after `failures` failures in a row, without the random part.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(31));
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// Returns the wait after `failures` failures in a row, shortened by up to a quarter by chance.
    pub fn jittered(&self, failures: u32) -> Duration {
        let wait = self.after(failures);
        // A fresh `RandomState` is seeded at random; no generator is needed for a jitter.
        let chance = RandomState::new().build_hasher().finish() % 256;
        wait.mul_f64(1.0 - f64::from(u8::try_from(chance).expect("it is below 256")) / 1024.0)
    }
}

/// How often in all a call is made that somebody else has got in the way of. The next one sees what is there now.
const MOVES: u32 = 5;

/// Tries again what failed by the target or its time, for as long as `patience` lasts, and a few times what moved
/// while it was done.
pub(crate) async fn until_done<F, Fut>(patience: Duration, call: F) -> Result<(), TargetError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), TargetError>>,
{
    let backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };
    let deadline = Instant::now() + patience;
    for failures in 1.. {
        let Err(error) = call().await else { break };
        let wait = backoff.jittered(failures);
        let may_pass = match error.blame {
            Blame::Target | Blame::Away | Blame::TimedOut => true,
            Blame::Moved => failures < MOVES,
            Blame::Manifest | Blame::Cancelled => false,
        };
        if !may_pass || Instant::now() + wait > deadline {
            return Err(error);
        }
        tracing::debug!(%error, ?wait, "tried again");
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        let waits: Vec<_> = [1, 2, 3, 4, 5, 99].map(|n| backoff.after(n).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert!((1..50).all(|n| {
            let (jittered, whole) = (backoff.jittered(n), backoff.after(n));
            jittered <= whole && jittered >= whole / 4 * 3
        }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_target_is_tried_again_until_it_works() {
        let calls = AtomicU32::new(0);
        let result = until_done(Duration::from_mins(1), || async {
            let works = calls.fetch_add(1, Relaxed) == 3;
            works.then_some(()).ok_or_else(|| TargetError::new(Blame::Target, "no"))
        })
        .await;
        assert_eq!((result, calls.into_inner()), (Ok(()), 4));
    }

    async fn calls_within(patience: u64, blame: Blame) -> u32 {
        let calls = AtomicU32::new(0);
        let call = || {
            calls.fetch_add(1, Relaxed);
            std::future::ready(Err(TargetError::new(blame, "no")))
        };
        until_done(Duration::from_secs(patience), call).await.unwrap_err();
        calls.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_and_a_manifest_is_not_tried_again() {
        assert!((3..=30).contains(&calls_within(20, Blame::Target).await));
        assert_eq!(calls_within(20, Blame::Manifest).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_each_time_is_tried_a_few_times() {
        assert_eq!(calls_within(60, Blame::Moved).await, MOVES);
    }
}
