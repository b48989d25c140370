use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::*;

/// What a turn was, and when it began: `(name, why, seconds)`.
type Seen = Arc<Mutex<Vec<(&'static str, Vec<&'static str>, u64)>>>;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(8), longest: Duration::from_mins(1) };

/// Serves turns of ten seconds each, whose results are those of `script` in turn, then `Rest`.
async fn scene<Fut: Future<Output = ()>>(
    parallel: usize,
    script: &[Next],
    requests: impl FnOnce(Queue<&'static str, &'static str>) -> Fut,
) -> Vec<(&'static str, Vec<&'static str>, u64)> {
    let (queue, turns) = queue(parallel, BACKOFF);
    let seen = Seen::default();
    let script = Arc::new(Mutex::new(script.iter().rev().copied().collect::<Vec<_>>()));
    let start = Instant::now();
    let log = Arc::clone(&seen);
    let work = move |turn: Turn<&'static str, &'static str>| {
        log.lock().unwrap().push((turn.key, turn.why, start.elapsed().as_secs()));
        let next = script.lock().unwrap().pop().unwrap_or(Next::Rest);
        async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            next
        }
    };
    let never = CancellationToken::new();
    tokio::join!(turns.serve(&never, work), requests(queue));
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_request_starts_at_once_and_the_rest_are_done_together_afterwards() {
    let seen = scene(4, &[], |queue| async move {
        for why in ["commit", "poll", "poll", "timer"] {
            queue.put("demo", why, Urgency::Fresh);
            seconds(1).await;
        }
    })
    .await;
    assert_eq!(seen, [("demo", vec!["commit"], 0), ("demo", vec!["poll", "timer"], 10)]);
}

#[tokio::test(start_paused = true)]
async fn names_run_side_by_side_up_to_the_limit_in_the_order_in_which_they_came() {
    let seen = scene(2, &[], |queue| async move {
        for name in ["c", "a", "b"] {
            queue.put(name, "commit", Urgency::Fresh);
        }
    })
    .await;
    let order: Vec<_> = seen.iter().map(|(name, _, at)| (*name, *at)).collect();
    assert_eq!(order, [("c", 0), ("a", 0), ("b", 10)]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_by_its_target_is_tried_again_later_each_time() {
    let seen = scene(2, &[Next::Retry, Next::Retry], |queue| async move {
        queue.put("demo", "commit", Urgency::Fresh);
    })
    .await;
    let at: Vec<_> = seen.iter().map(|(_, why, at)| (why.clone(), *at)).collect();
    assert_eq!(at.len(), 3);
    assert!(at.iter().all(|(why, _)| *why == ["commit"]));
    // Up to a quarter of a wait is taken off by chance.
    assert!((16..=18).contains(&at[1].1), "{at:?}");
    assert!((at[1].1 + 22..=at[1].1 + 26).contains(&at[2].1), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_request_ends_a_back_off_and_a_routine_one_joins_it() {
    for (urgency, at_most) in [(Urgency::Fresh, 12), (Urgency::Routine, 18)] {
        let seen = scene(2, &[Next::Retry], |queue| async move {
            queue.put("demo", "commit", Urgency::Fresh);
            seconds(12).await;
            queue.put("demo", "more", urgency);
        })
        .await;
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[1].1, ["commit", "more"]);
        assert!(seen[1].2 <= at_most && (urgency == Urgency::Fresh || seen[1].2 >= 16), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_world_that_moved_is_looked_at_again_at_once_but_only_the_first_time() {
    let seen = scene(2, &[Next::Again, Next::Again], |queue| async move {
        queue.put("demo", "commit", Urgency::Fresh);
    })
    .await;
    let at: Vec<_> = seen.iter().map(|(.., at)| *at).collect();
    assert_eq!((at.len(), at[1]), (3, 10));
    assert!(at[2] >= 32, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_request_tells_the_turn_that_runs() {
    let (queue, turns) = queue::<_, ()>(1, BACKOFF);
    queue.put("demo", (), Urgency::Fresh);
    let told = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let log = Arc::clone(&told);
    let work = move |turn: Turn<&'static str, ()>| {
        let log = Arc::clone(&log);
        async move {
            tokio::time::timeout(Duration::from_mins(1), turn.newer.cancelled()).await.ok();
            log.lock().unwrap().push(start.elapsed().as_secs());
            Next::Rest
        }
    };
    let requests = async {
        seconds(5).await;
        queue.put("demo", (), Urgency::Routine);
        seconds(5).await;
        queue.put("demo", (), Urgency::Fresh);
        drop(queue);
    };
    let never = CancellationToken::new();
    tokio::join!(turns.serve(&never, work), requests);
    assert_eq!(*told.lock().unwrap(), [10, 70]);
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_no_turn_begins_and_those_that_run_end() {
    let (queue, turns) = queue(1, BACKOFF);
    queue.put("a", (), Urgency::Fresh);
    queue.put("b", (), Urgency::Fresh);
    let cancel = CancellationToken::new();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&ended);
    let work = move |turn: Turn<&'static str, ()>| {
        let log = Arc::clone(&log);
        async move {
            seconds(10).await;
            log.lock().unwrap().push(turn.key);
            Next::Rest
        }
    };
    let stop = async {
        seconds(5).await;
        cancel.cancel();
    };
    tokio::join!(turns.serve(&cancel, work), stop);
    assert_eq!(*ended.lock().unwrap(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_says_who_waits_who_rests_and_who_runs() {
    let mut depths = Vec::new();
    scene(1, &[Next::Retry], |queue| {
        let depths = &mut depths;
        async move {
            queue.put("a", "commit", Urgency::Fresh);
            queue.put("b", "commit", Urgency::Fresh);
            seconds(1).await;
            depths.push(queue.depth().await);
            seconds(10).await;
            depths.push(queue.depth().await);
        }
    })
    .await;
    let depth = |waiting, resting, running| Some(Depth { waiting, resting, running });
    assert_eq!(depths, [depth(1, 0, 1), depth(0, 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_serves_any_more_says_nothing() {
    let (queue, turns) = queue::<&str, &str>(1, BACKOFF);
    drop(turns);
    assert_eq!(queue.depth().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_more_names_run_at_once() {
    let seen = scene(1, &[], |queue| async move {
        queue.put("a", "commit", Urgency::Fresh);
        queue.put("b", "commit", Urgency::Fresh);
        seconds(3).await;
        queue.set_parallel(2);
    })
    .await;
    assert_eq!(seen, [("a", vec!["commit"], 0), ("b", vec!["commit"], 3)]);
}
