//! Complaints about remote clients: each kind is logged seldom, with how often it happened since.

use crate::limits::COMPLAINT_EVERY;
use azud_event::clock::Clock;
use std::sync::Mutex;
use std::time::Duration;

/// One kind of complaint, bounded in how often it may be logged.
#[derive(Debug)]
pub(crate) struct Complaint {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Duration>,
    held_back: u64,
}

impl Complaint {
    /// Makes a complaint that was not made yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Complaint { clock, state: Mutex::default() }
    }

    /// Asks whether to log now; gives how many were held back since the last time.
    pub(crate) fn due(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited = state.last.is_none_or(|last| now.saturating_sub(last) >= COMPLAINT_EVERY);
        if !waited {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_event::time::EventTime;

    #[test]
    fn a_flood_of_complaints_is_counted_not_logged() {
        let clock = Clock::manual(EventTime::EPOCH);
        let complaint = Complaint::new(clock.clone());
        assert_eq!(complaint.due(), Some(0));
        for _ in 0..1_000 {
            assert_eq!(complaint.due(), None);
        }
        clock.advance(COMPLAINT_EVERY);
        assert_eq!(complaint.due(), Some(1_000));
        assert_eq!(complaint.due(), None);
    }
}
