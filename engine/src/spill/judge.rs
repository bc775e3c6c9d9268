//! Says when a sink is stalled: a record waits for too long, or too much waits for too long while
//! other sinks could go on.

use crate::limits::PRESSED_FOR;
use std::time::Duration;

/// What is known of a sink when it is judged. Times are those of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// What time it is.
    pub now: Duration,
    /// Since when the oldest batch has waited that is not delivered.
    pub oldest: Option<Duration>,
    /// How many bytes wait in memory, charged to the pipeline's credit.
    pub waiting_bytes: usize,
}

/// Judges one sink.
#[derive(Debug)]
pub struct Judge {
    after: Duration,
    /// From how many waiting bytes on the sink holds up others; `None` when there are none.
    share_bytes: Option<usize>,
    /// Since when so much waits.
    pressed: Option<Duration>,
}

impl Judge {
    /// Makes a judge who lets a record wait for `after`, and `share_bytes` for half a second.
    pub fn new(after: Duration, share_bytes: Option<usize>) -> Self {
        Judge { after, share_bytes, pressed: None }
    }

    /// Whether the sink is stalled.
    pub fn is_stalled(&mut self, sight: Sight) -> bool {
        self.pressed = match self.share_bytes {
            Some(share) if sight.waiting_bytes >= share => self.pressed.or(Some(sight.now)),
            _ => None,
        };
        self.is_late(sight) || self.pressed.is_some_and(|since| since + PRESSED_FOR <= sight.now)
    }

    /// Whether a record has waited for too long.
    pub fn is_late(&self, sight: Sight) -> bool {
        sight.oldest.is_some_and(|oldest| oldest + self.after <= sight.now)
    }

    /// Tells in how long the sink may count as stalled, if nothing happens meanwhile.
    pub fn look_in(&self, sight: Sight) -> Option<Duration> {
        let late = sight.oldest.map(|oldest| oldest + self.after);
        let pressed = self.pressed.map(|since| since + PRESSED_FOR);
        let at = [late, pressed].into_iter().flatten().filter(|at| *at > sight.now).min()?;
        Some(at - sight.now)
    }

    /// Tells how long a record may wait.
    pub fn after(&self) -> Duration {
        self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_record_that_waits_and_bytes_that_press_stall_a_sink() {
        let mut judge = Judge::new(seconds(5), Some(100));
        let sight = |now, oldest, waiting_bytes| Sight { now, oldest, waiting_bytes };
        assert!(!judge.is_stalled(sight(seconds(9), None, 0)));
        assert_eq!(judge.look_in(sight(seconds(9), None, 0)), None);
        let young = sight(seconds(9), Some(seconds(5)), 99);
        assert!(!judge.is_stalled(young));
        assert_eq!(judge.look_in(young), Some(seconds(1)));
        assert!(judge.is_stalled(sight(seconds(10), Some(seconds(5)), 0)));
        // A burst that passes presses nobody.
        let pressed = sight(seconds(20), Some(seconds(20)), 100);
        assert!(!judge.is_stalled(pressed));
        assert_eq!(judge.look_in(pressed), Some(PRESSED_FOR));
        assert!(!judge.is_stalled(sight(seconds(21), Some(seconds(21)), 10)));
        assert!(!judge.is_stalled(sight(seconds(22), Some(seconds(22)), 100)));
        assert!(judge.is_stalled(sight(seconds(23), Some(seconds(23)), 100)));
        let mut alone = Judge::new(seconds(5), None);
        assert!(!alone.is_stalled(sight(seconds(9), Some(seconds(8)), usize::MAX)));
    }
}
