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
                // A machine whose clock stands before 1970 gets the epoch: no event of its is
                // worth a panic, and the receive time is marked as such wherever it is used.
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                EventTime::EPOCH.saturating_add(since)
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
