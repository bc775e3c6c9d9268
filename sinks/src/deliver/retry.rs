//! Trying again: how long to wait, and what is told meanwhile.

use crate::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use azud_client::Backoff;
use std::error::Error;
use std::time::Duration;

/// The trouble of one sink with the outside: how long to wait before the next attempt, and what is
/// told.
///
/// The log gets one line when trouble begins or changes, and one when it is over, however many
/// attempts lie between.
#[derive(Debug)]
pub(crate) struct Trouble {
    sink: String,
    backoff: Backoff,
    told: Option<String>,
}

impl Trouble {
    /// Makes the record of a sink that is well.
    pub fn new(sink: &str) -> Self {
        Trouble::pausing(sink, RETRY_PAUSE_MIN, RETRY_PAUSE_MAX)
    }

    /// As [`Trouble::new`], with the bounds of its pauses.
    pub fn pausing(sink: &str, first: Duration, longest: Duration) -> Self {
        let backoff = Backoff::new(sink, first, longest);
        Trouble { sink: sink.to_owned(), backoff, told: None }
    }

    /// Notes a failed attempt and gives the pause before the next.
    pub fn failed(&mut self, error: &dyn Error) -> Duration {
        let text = causes(error);
        if self.told.as_ref() != Some(&text) {
            let sink = self.sink.as_str();
            tracing::error!(
                sink,
                error = text,
                "the sink cannot deliver; it waits and tries again"
            );
            self.told = Some(text);
        }
        self.backoff.next_pause()
    }

    /// Notes a delivery.
    pub fn over(&mut self) {
        self.backoff.reset();
        if self.told.take().is_some() {
            tracing::info!(sink = self.sink.as_str(), "the sink delivers again");
        }
    }
}

/// Writes an error with what caused it, in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_client::{RETRY_AFTER_MAX, retry_after};
    use azud_event::time::EventTime;

    #[test]
    fn pauses_grow_to_a_bound_and_differ_between_sinks() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let mut one = Trouble::new("one");
        let mut other = Trouble::new("other");
        let pauses: Vec<_> = (0..400).map(|_| one.failed(&error)).collect();
        assert!(pauses[0] <= RETRY_PAUSE_MIN);
        let late = &pauses[100..];
        assert!(late.iter().all(|pause| *pause >= RETRY_PAUSE_MAX / 16));
        assert!(late.iter().all(|pause| *pause <= RETRY_PAUSE_MAX));
        // Over the whole of the time, not at its end.
        assert!(late.iter().any(|pause| *pause < RETRY_PAUSE_MAX / 4));
        assert!(late.iter().any(|pause| *pause > RETRY_PAUSE_MAX / 4 * 3));
        assert_ne!(pauses[39], (0..40).map(|_| other.failed(&error)).next_back().unwrap());
        one.over();
        assert!(one.failed(&error) <= RETRY_PAUSE_MIN);
    }

    #[test]
    fn the_other_side_says_when_to_come_back() {
        let now = EventTime::from_nanoseconds(784_111_777_000_000_000);
        let after = |value| retry_after(value, now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("Sat, 06 Nov 2094 08:00:00 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!((after("soon"), after("-1"), after("")), (None, None, None));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("/var/log/x cannot be written")]
        struct Outer(#[source] std::io::Error);
        let text = causes(&Outer(std::io::Error::other("no more ink")));
        assert_eq!(text, "/var/log/x cannot be written: no more ink");
    }
}
