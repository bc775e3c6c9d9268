//! When to come again.

use crate::limits::RETRY_AFTER_MAX;
use azud_event::time::EventTime;
use chrono::{DateTime, NaiveDateTime};
use std::time::Duration;

/// The pauses between attempts: at random between nothing and a bound that doubles ("full jitter"),
/// so that those that failed together spread over the whole time.
///
/// Source: Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    seed: u64,
    attempts: u32,
}

impl Backoff {
    /// Makes the pauses of a component; its name is their seed, so that two differ and a run can be
    /// repeated.
    pub fn new(name: &str, first: Duration, longest: Duration) -> Self {
        // FNV-1a: any spread will do.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        Backoff { first, longest, seed, attempts: 0 }
    }

    /// Gives pauses of their own for one request among many, at other times than those of others.
    pub fn fork(&mut self) -> Self {
        self.random();
        Backoff { attempts: 0, ..self.clone() }
    }

    /// Gives the pause after a failed attempt. Never quite nothing: a failure that comes at once
    /// would otherwise be repeated at once.
    pub fn next_pause(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.attempts.min(16)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        bound / 16 + (bound - bound / 16).mul_f64(self.random())
    }

    /// How many attempts failed in a row.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Gives the next of a sequence in `[0, 1)` (SplitMix64, Steele et al., OOPSLA 2014).
    pub fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Reads `Retry-After`: seconds, or a date. Gives at most fifteen minutes, and `None` for what
/// cannot be read.
pub fn retry_after(value: &str, now: EventTime) -> Option<Duration> {
    let value = value.trim();
    let pause = match value.parse::<f64>() {
        Ok(seconds) if seconds >= 0.0 => Duration::try_from_secs_f64(seconds).ok()?,
        Ok(_) => return None,
        Err(_) => http_date(value)?.since(now),
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

/// Reads a date of RFC 9110 §5.6.7, in all three of its forms.
pub fn http_date(text: &str) -> Option<EventTime> {
    let text = text.trim();
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(EventTime::from_chrono(date.to_utc()));
    }
    let naive = NaiveDateTime::parse_from_str(text, "%A, %d-%b-%y %H:%M:%S GMT")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%a %b %e %H:%M:%S %Y"));
    Some(EventTime::from_chrono(naive.ok()?.and_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_ceiling() {
        let now = EventTime::from_rfc3339("1994-11-06T08:49:00Z").unwrap();
        let after = |value: &str| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(after(" 120 "), Some(120));
        assert_eq!(after("0.5"), Some(0));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(after("Sunday, 06-Nov-94 08:49:37 GMT"), Some(37));
        assert_eq!(after("Sun Nov  6 08:49:37 1994"), Some(37));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "gone by");
        assert_eq!(after("86400"), Some(RETRY_AFTER_MAX.as_secs()));
        for bad in ["", "soon", "-1", "1e400", "NaN"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ_by_name() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(30));
        let (mut one, mut other) =
            (Backoff::new("one", first, longest), Backoff::new("other", first, longest));
        let pauses: Vec<_> = (0..400).map(|_| one.next_pause()).collect();
        assert!(pauses[0] <= first);
        let late = &pauses[100..];
        assert!(late.iter().all(|pause| *pause >= longest / 16 && *pause <= longest));
        assert!(late.iter().any(|pause| *pause < longest / 4));
        assert_ne!(pauses[39], (0..40).map(|_| other.next_pause()).next_back().unwrap());
        one.reset();
        assert!(one.next_pause() <= first);
    }
}
