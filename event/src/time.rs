//! Time as data: when an event happened, or when a block was received.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A point in time: nanoseconds since the Unix epoch, UTC.
///
/// Covers the years 1677 to 2262; arithmetic saturates at those ends. The name says what it mostly
/// is, the *event time* of a record; the receive time of a block has the same type.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventTime(i64);

impl EventTime {
    /// The Unix epoch, 1970-01-01T00:00:00Z.
    pub const EPOCH: EventTime = EventTime(0);

    /// The first time of all.
    pub const MIN: EventTime = EventTime(i64::MIN);

    /// The last time of all; a watermark that is there says that nothing will come.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// Gives the time that is `nanoseconds` after the Unix epoch (before it, when negative).
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        EventTime(nanoseconds)
    }

    /// Gives the nanoseconds since the Unix epoch.
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Gives the whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Gives the same time as `chrono` writes it.
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }

    /// Converts from `chrono`; a time outside the range saturates.
    pub fn from_chrono(time: DateTime<Utc>) -> Self {
        let end = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
        EventTime(time.timestamp_nanos_opt().unwrap_or(end))
    }

    /// Reads RFC 3339 (`2026-03-01T10:00:00+01:00`); `None` when it is something else.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        Some(EventTime::from_chrono(time.with_timezone(&Utc)))
    }

    /// Gives the time `span` later, at most the end of the range.
    pub fn saturating_add(self, span: Duration) -> Self {
        EventTime(self.0.saturating_add(nanoseconds_of(span)))
    }

    /// Gives the time `span` earlier, at least the start of the range.
    pub fn saturating_sub(self, span: Duration) -> Self {
        EventTime(self.0.saturating_sub(nanoseconds_of(span)))
    }

    /// Gives how long after `earlier` this is, zero when it is not after.
    pub fn since(self, earlier: EventTime) -> Duration {
        let span = self.0.saturating_sub(earlier.0);
        Duration::from_nanos(u64::try_from(span).unwrap_or(0))
    }

    /// Gives the start of the half-open span of length `size` that holds this time, aligned to the
    /// Unix epoch.
    ///
    /// A `size` of zero counts as one nanosecond.
    pub fn aligned_to(self, size: Duration) -> Self {
        let size = nanoseconds_of(size).max(1);
        EventTime(self.0.div_euclid(size).saturating_mul(size))
    }

    /// Writes RFC 3339 in UTC with six digits, the form of the tables
    /// (`2026-03-01T10:00:00.000000Z`).
    pub fn to_rfc3339(self) -> String {
        self.to_chrono().to_rfc3339_opts(SecondsFormat::Micros, true)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

fn nanoseconds_of(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_aligned_before_the_epoch_too() {
        let minute = Duration::from_secs(60);
        let time = EventTime::from_nanoseconds(-1);
        assert_eq!(time.aligned_to(minute).seconds(), -60);
        assert_eq!(EventTime::EPOCH.aligned_to(minute), EventTime::EPOCH);
    }

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let time = EventTime::from_nanoseconds(1_772_359_200_123_456_000);
        assert_eq!(EventTime::from_rfc3339(&time.to_rfc3339()), Some(time));
        let east = EventTime::from_rfc3339("2026-03-01T11:00:00.123456+01:00");
        assert_eq!(east, Some(time));
        assert_eq!(EventTime::from_rfc3339("yesterday"), None);
    }

    #[test]
    fn arithmetic_saturates() {
        let last = EventTime::from_nanoseconds(i64::MAX);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        assert_eq!(EventTime::EPOCH.since(last), Duration::ZERO);
    }
}
