//! A process that dies at any point leaves what the next one brings to an end.

use proptest::prelude::*;
use trueup_engine::{
    Blame, Outcome, RunId, TargetError,
    crash::{CrashPoint, Side},
    fake::{Strike, Trouble},
};

use crate::{
    bench::{Bench, assert_as_it_was, block_on},
    sketch::{self, Sketch},
};

const SIDES: [Side; 2] = [Side::Before, Side::After];

/// Recovers, dying at each given write of the journal in turn, and at last not any more.
async fn recover(bench: &Bench, deaths: &[CrashPoint]) {
    for death in deaths {
        bench.store.crash(Some(*death));
        bench.recover().await;
    }
    bench.store.crash(None);
    bench.recover().await.expect("it lives");
}

/// Asserts that the environment is where it was, or where it was to be.
async fn assert_converged(bench: &Bench, before: &Started, after: &Sketch) {
    bench.assert_clean().await;
    let last = bench.last_run().await;
    // Where it died before the run's first line was written, the last run is the one before.
    if last.id > RunId(1) && last.outcome == Some(Outcome::Applied) {
        assert!(bench.plan(after).await.is_empty());
    } else {
        assert_as_it_was(&before.things, &bench.world.things(), &before.plan);
    }
    // Whatever it was, the next run works.
    let again = bench.plan(after).await;
    bench.world.strike(None);
    bench.run(&again).await.unwrap().unwrap();
    assert!(bench.plan(after).await.is_empty());
}

struct Started {
    things: std::collections::BTreeMap<trueup_plan::ResourceId, trueup_engine::fake::Thing>,
    plan: trueup_plan::Plan,
}

async fn start(before: &Sketch, after: &Sketch) -> (Bench, Started) {
    let bench = Bench::at(before).await;
    let started = Started { things: bench.world.things(), plan: bench.plan(after).await };
    bench.store.crash(None);
    bench.world.strike(None);
    (bench, started)
}

/// Returns how many calls and journal writes a run makes, failing at `call` where there is one.
async fn count(before: &Sketch, after: &Sketch, trouble: Option<&Trouble>) -> (u64, u64) {
    let (bench, started) = start(before, after).await;
    bench.world.strike(trouble.cloned());
    bench.run(&started.plan).await.expect("it lives").ok();
    (bench.world.calls(), bench.store.written())
}

fn failure(call: u64) -> Trouble {
    let strike = Strike::Fail(TargetError::new(Blame::Manifest, "struck"));
    Trouble { call, side: Side::After, strike }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn a_crash_at_any_journal_write_of_a_run_converges(before in sketch::any(), after in sketch::any()) {
        block_on(async {
            let (_, writes) = count(&before, &after, None).await;
            for write in 1..=writes {
                for side in SIDES {
                    let (bench, started) = start(&before, &after).await;
                    bench.store.crash(Some(CrashPoint { write, side }));
                    prop_assert!(bench.run(&started.plan).await.is_none());
                    recover(&bench, &[]).await;
                    assert_converged(&bench, &started, &after).await;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn a_crash_at_any_call_of_a_run_converges(before in sketch::any(), after in sketch::any()) {
        block_on(async {
            let (calls, _) = count(&before, &after, None).await;
            for call in 1..=calls {
                for side in SIDES {
                    let (bench, started) = start(&before, &after).await;
                    bench.world.strike(Some(Trouble { call, side, strike: Strike::Crash }));
                    prop_assert!(bench.run(&started.plan).await.is_none());
                    bench.world.strike(None);
                    recover(&bench, &[]).await;
                    assert_converged(&bench, &started, &after).await;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn a_crash_at_any_journal_write_of_a_way_back_converges(
        before in sketch::any(),
        after in sketch::any(),
        at in any::<prop::sample::Index>(),
    ) {
        block_on(async {
            let (calls, _) = count(&before, &after, None).await;
            if calls == 0 {
                return Ok(());
            }
            let trouble = failure(at.index(usize::try_from(calls).unwrap()) as u64 + 1);
            let (_, writes) = count(&before, &after, Some(&trouble)).await;
            for write in 1..=writes {
                for side in SIDES {
                    let (bench, started) = start(&before, &after).await;
                    bench.world.strike(Some(trouble.clone()));
                    bench.store.crash(Some(CrashPoint { write, side }));
                    prop_assert!(bench.run(&started.plan).await.is_none());
                    bench.world.strike(None);
                    recover(&bench, &[]).await;
                    assert_converged(&bench, &started, &after).await;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn a_crash_at_any_journal_write_of_a_recovery_converges(
        before in sketch::any(),
        after in sketch::any(),
        at in any::<prop::sample::Index>(),
    ) {
        block_on(async {
            let (_, writes) = count(&before, &after, None).await;
            let write = at.index(usize::try_from(writes).unwrap()) as u64 + 1;
            let first = CrashPoint { write, side: Side::After };
            let recovering = {
                let (bench, started) = start(&before, &after).await;
                bench.store.crash(Some(first));
                bench.run(&started.plan).await;
                bench.store.crash(None);
                bench.recover().await.expect("it lives");
                bench.store.written()
            };
            for write in 1..=recovering {
                for side in SIDES {
                    let (bench, started) = start(&before, &after).await;
                    bench.store.crash(Some(first));
                    bench.run(&started.plan).await;
                    let second = CrashPoint { write: 1, side };
                    recover(&bench, &[CrashPoint { write, side }, second]).await;
                    assert_converged(&bench, &started, &after).await;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
