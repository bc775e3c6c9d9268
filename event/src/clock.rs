//! The only place of the server side that reads the wall clock. Everything else is given a
//! [`Clock`].

use crate::time::EventTime;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Gives the wall clock of this machine.
    pub const fn system() -> Self {
        Clock(Kind::System)
    }

    /// Gives a clock that stands at `start` until [`Clock::advance`] moves it, for tests.
    pub fn manual(start: EventTime) -> Self {
        Clock(Kind::Manual(Arc::new(AtomicI64::new(start.nanoseconds()))))
    }

    /// Tells the present time.
    pub fn now(&self) -> EventTime {
        match &self.0 {
            Kind::System => {
                static STEADY: Steady = Steady::new();
                // A machine whose clock stands before 1970 gets the epoch: no event of its is
                // worth a panic, and the receive time is marked as such wherever it is used.
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                STEADY.tell(EventTime::EPOCH.saturating_add(since), self.monotonic())
            }
            Kind::Manual(time) => EventTime::from_nanoseconds(time.load(Ordering::SeqCst)),
        }
    }

    /// Tells how long this process has run (of a manual clock: the time since the Unix epoch).
    /// Never goes back.
    pub fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Kind::System => START.get_or_init(Instant::now).elapsed(),
            Kind::Manual(_) => self.now().since(EventTime::EPOCH),
        }
    }

    /// Moves a manual clock forward by `span`; the system's clock is not ours to move.
    pub fn advance(&self, span: Duration) {
        if let Kind::Manual(time) = &self.0 {
            let later = self.now().saturating_add(span);
            time.store(later.nanoseconds(), Ordering::SeqCst);
        }
    }
}

/// How far the wall clock may be moved against the monotonic one and be believed at once.
const STEP_MAX: i64 = 5 * 60 * 1_000_000_000;

/// For how long a step that is larger must stand before it is believed.
const PERSISTS: Duration = Duration::from_secs(60);

/// A wall clock whose steps are not believed at once.
///
/// Receive times and windows hang on the wall clock. Where somebody sets it wrong, or a virtual
/// machine wakes with a clock of its own, and it is put right again soon, nothing of that is to
/// show: until the step persists, time goes on at the pace of the monotonic clock.
#[derive(Debug)]
struct Steady {
    /// The wall clock less the monotonic one, in nanoseconds, as last believed; [`UNKNOWN`] at
    /// first.
    offset: AtomicI64,
    /// Since when, by the monotonic clock in nanoseconds, the two disagree; [`UNKNOWN`] while they
    /// do not.
    since: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

impl Steady {
    const fn new() -> Self {
        Steady { offset: AtomicI64::new(UNKNOWN), since: AtomicI64::new(UNKNOWN) }
    }

    /// Tells the time when the two clocks show this.
    fn tell(&self, wall: EventTime, monotonic: Duration) -> EventTime {
        let running = i64::try_from(monotonic.as_nanos()).unwrap_or(i64::MAX);
        let offset = wall.nanoseconds().saturating_sub(running);
        let known = self.offset.load(Ordering::Relaxed);
        if known == UNKNOWN || offset.saturating_sub(known).abs() <= STEP_MAX {
            self.offset.store(offset, Ordering::Relaxed);
            self.since.store(UNKNOWN, Ordering::Relaxed);
            return wall;
        }
        let begun =
            self.since.compare_exchange(UNKNOWN, running, Ordering::Relaxed, Ordering::Relaxed);
        let since = begun.err().unwrap_or(running);
        if running.saturating_sub(since) as u128 >= PERSISTS.as_nanos() {
            self.offset.store(offset, Ordering::Relaxed);
            self.since.store(UNKNOWN, Ordering::Relaxed);
            return wall;
        }
        EventTime::from_nanoseconds(known.saturating_add(running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;

    /// What is told when the wall clock shows this second, after the program has run so long.
    fn tell(steady: &Steady, wall: i64, running: u64) -> i64 {
        let wall = EventTime::from_nanoseconds((START + wall) * 1_000_000_000);
        steady.tell(wall, Duration::from_secs(running)).seconds() - START
    }

    #[test]
    fn small_steps_are_believed() {
        let steady = Steady::new();
        assert_eq!(tell(&steady, 0, 100), 0);
        assert_eq!(tell(&steady, 300, 101), 300);
        assert_eq!(tell(&steady, 2, 102), 2);
    }

    #[test]
    fn a_step_that_is_put_right_does_not_show() {
        let steady = Steady::new();
        for step in [3_600, -3_600] {
            assert_eq!(tell(&steady, 0, 100), 0);
            assert_eq!(tell(&steady, step + 1, 101), 1);
            assert_eq!(tell(&steady, step + 59, 159), 59);
            assert_eq!(tell(&steady, 60, 160), 60);
            // The next step has its own time.
            assert_eq!(tell(&steady, step + 70, 170), 70);
            assert_eq!(tell(&steady, step + 129, 229), 129);
            assert_eq!(tell(&steady, 0, 100), 0);
        }
    }

    #[test]
    fn a_step_that_persists_is_believed() {
        let steady = Steady::new();
        assert_eq!(tell(&steady, 0, 100), 0);
        assert_eq!(tell(&steady, 3_601, 101), 1);
        assert_eq!(tell(&steady, 3_661, 161), 3_661);
        assert_eq!(tell(&steady, 3_662, 162), 3_662);
    }
}
