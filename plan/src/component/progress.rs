//! How far the receiver of a sink says that it has everything: for sinks whose receiver keeps that
//! beside its rows, such as a database.
//!
//! ```text
//!  engine  batches, and word of each complete epoch ──▶ sink ──▶ rows and progress, together
//!    ▲                                                    │
//!    └──────── told again at each start and commit ◀──────┘
//! ```
//!
//! A receiver may go back: a database is restored from an older copy. Then the sink says so, and
//! the engine gives it again what it lacks, as far as that is kept.

use azud_event::time::EventTime;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What a receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// It has everything of the epochs before this.
    pub next: u64,
    /// When it was last written, if it says so.
    pub at: Option<EventTime>,
}

/// What a receiver lacks that it once had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewind {
    /// What it has.
    pub from: Stored,
    /// It once had everything of the epochs before this.
    pub to: u64,
}

/// The progress of one sink, shared by the sink and the engine.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
    changed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Debug, Default)]
struct State {
    /// What the receiver has by its last word.
    now: u64,
    /// The most that it ever had.
    most: u64,
    asked: Option<Rewind>,
}

impl Progress {
    /// Notes what the receiver has; called by the sink before it delivers anything, and whenever
    /// the receiver has more, or less.
    ///
    /// `false` when that is less than it had: from then on, until [`Progress::is_rewound`], what is
    /// delivered does not follow on what the receiver has, and no progress may be written.
    pub fn tell(&self, stored: Stored) -> bool {
        let mut state = self.lock();
        let went_back = stored.next < state.now;
        if went_back {
            let to = state.most;
            state.asked = Some(Rewind { from: stored, to });
        }
        state.now = stored.next;
        state.most = state.most.max(stored.next);
        drop(state);
        if let Some(changed) = self.changed.get() {
            changed();
        }
        !went_back
    }

    /// Whether what is delivered from now on follows on what the receiver has.
    pub fn is_rewound(&self) -> bool {
        self.lock().asked.is_none()
    }

    /// Notes what the receiver had by the word of an earlier run; called by the engine before the
    /// sink runs.
    pub fn expect(&self, next: u64) {
        let mut state = self.lock();
        (state.now, state.most) = (next, next);
    }

    /// Has `changed` called whenever the sink has told something; set once, by the engine.
    pub fn listen(&self, changed: impl Fn() + Send + Sync + 'static) {
        // A second call could only come from running a sink twice, which nothing does.
        let _ = self.changed.set(Box::new(changed));
    }

    /// Tells what the receiver has had: everything of the epochs before this.
    pub fn most(&self) -> u64 {
        self.lock().most
    }

    /// Gives what is to be delivered again.
    pub fn asked(&self) -> Option<Rewind> {
        self.lock().asked
    }

    /// Notes that everything that was given to the sink is confirmed, and that what comes now
    /// begins where the receiver is.
    pub fn rewound(&self) {
        self.lock().asked = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lock().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(next: u64) -> Stored {
        Stored { next, at: None }
    }

    #[test]
    fn a_receiver_that_went_back_is_given_what_it_lacks() {
        let progress = Progress::default();
        progress.expect(7);
        assert!(progress.tell(stored(7)) && progress.tell(stored(9)));
        assert_eq!((progress.most(), progress.asked()), (9, None));
        assert!(!progress.tell(stored(3)));
        assert!(!progress.is_rewound());
        assert_eq!(progress.asked(), Some(Rewind { from: stored(3), to: 9 }));
        progress.rewound();
        // What it had counts until it has it again: a restart meanwhile must know.
        assert!(progress.is_rewound() && progress.tell(stored(5)) && progress.most() == 9);
        assert!(!progress.tell(stored(4)));
        assert_eq!(progress.asked(), Some(Rewind { from: stored(4), to: 9 }));
    }

    #[test]
    fn what_was_never_had_is_not_missed() {
        let progress = Progress::default();
        assert!(progress.tell(stored(0)) && progress.tell(stored(4)));
        let restarted = Progress::default();
        restarted.expect(progress.most());
        assert!(!restarted.tell(stored(0)), "an empty database");
    }
}
