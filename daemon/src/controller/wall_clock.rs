//! Waits for a moment of the wall clock, also when somebody sets it.

use std::io;

use jiff::Timestamp;
use rustix::{
    fd::OwnedFd,
    fs::Timespec,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Waits until `moment`, or until somebody sets the clock: then it may be another one
/// (<https://man7.org/linux/man-pages/man2/timerfd_create.2.html>, `TFD_TIMER_CANCEL_ON_SET`).
pub(crate) async fn until(moment: Timestamp) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Timespec { tv_sec: moment.as_second().max(1), tv_nsec: 0 };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(&timer, flags, &Itimerspec { it_interval: once, it_value: at })?;
    // Readable both when the time has come and when the clock was set.
    watched(timer)?.readable().await.map(drop)
}

#[expect(deprecated, reason = "its heir is `unsafe` for the promise that an `OwnedFd` keeps by its type")]
fn watched(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_moment_that_is_over_is_not_waited_for() {
        for over in [Timestamp::now(), Timestamp::UNIX_EPOCH] {
            tokio::time::timeout(Duration::from_mins(1), until(over)).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_moment_is_not_there_before_its_time() {
        let moment = Timestamp::from_second(Timestamp::now().as_second() + 2).unwrap();
        until(moment).await.unwrap();
        assert!(Timestamp::now() >= moment);
    }
}
