//! Trying again: how long to wait, and what is told meanwhile.

use crate::limits::{RETRY_AFTER_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use azud_event::time::EventTime;
use chrono::DateTime;
use std::error::Error;
use std::time::Duration;

/// The pauses between attempts: at random between nothing and a bound that doubles ("full jitter"),
/// so that senders that failed together spread over the whole time.
///
/// Source: Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    longest: Duration,
    seed: u64,
    attempts: u32,
}

impl Backoff {
    /// Makes the pauses of a sink; its id is their seed, so that two sinks differ and a run can be
    /// repeated.
    pub fn new(sink: &str, first: Duration, longest: Duration) -> Self {
        // FNV-1a: any spread will do.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let seed = sink.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        Backoff { first, longest, seed, attempts: 0 }
    }

    /// Gives the pause after a failed attempt. Never quite nothing: a failure that comes at once
    /// would otherwise be repeated at once.
    pub fn next(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.attempts.min(16)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        bound / 16 + (bound - bound / 16).mul_f64(self.random())
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Gives the next of a sequence in `[0, 1)` (SplitMix64, Steele et al., OOPSLA 2014).
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

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
        self.backoff.next()
    }

    /// Notes a delivery.
    pub fn over(&mut self) {
        self.backoff.reset();
        if self.told.take().is_some() {
            tracing::info!(sink = self.sink.as_str(), "the sink delivers again");
        }
    }
}

/// Reads `Retry-After`: seconds, or the date of RFC 9110 §5.6.7 that senders may write. Gives at
/// most [`RETRY_AFTER_MAX`], and `None` for what cannot be read.
pub(crate) fn retry_after(value: &str, now: EventTime) -> Option<Duration> {
    let value = value.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(value).ok()?;
            EventTime::from_chrono(date.to_utc()).since(now)
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
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
