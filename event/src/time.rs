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
    pub fn from_rfc3339(text: impl AsRef<[u8]>) -> Option<Self> {
        let text = text.as_ref();
        if let Some(time) = from_usual_form(text) {
            return Some(time);
        }
        let time = DateTime::parse_from_rfc3339(str::from_utf8(text).ok()?).ok()?;
        Some(EventTime::from_chrono(time.with_timezone(&Utc)))
    }

    /// Reads a time as others write it: RFC 3339, its offset also as `+0000`, or a number since
    /// the Unix epoch ([`EventTime::from_number`]; with a fraction it counts seconds). `None` when
    /// it is something else.
    pub fn from_text(text: impl AsRef<[u8]>) -> Option<Self> {
        let text = text.as_ref();
        EventTime::from_rfc3339(text).or_else(|| {
            let text = str::from_utf8(text).ok()?;
            if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
                return Some(EventTime::from_chrono(time.to_utc()));
            }
            if let Ok(number) = text.parse::<i64>() {
                return EventTime::from_number(number);
            }
            let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() < 9e9)?;
            Some(EventTime((seconds * 1e9) as i64))
        })
    }

    /// Reads a number since the Unix epoch: seconds, milliseconds, microseconds or nanoseconds,
    /// told apart by their size, as dates between 1973 and 2286 allow.
    pub fn from_number(number: i64) -> Option<Self> {
        let per_unit = match number.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        number.checked_mul(per_unit).map(EventTime)
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

/// Reads the form that nearly all times have, `2026-03-01T10:00:00.123Z` with or without a
/// fraction; `None` when it is another, or no time.
fn from_usual_form(text: &[u8]) -> Option<EventTime> {
    let (head, tail) = text.split_first_chunk::<19>()?;
    // Everything is looked at before anything is decided: nearly all of what comes here is a time.
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let mut wrong = marks.iter().fold(false, |wrong, (at, mark)| wrong | (head[*at] != *mark));
    let mut pair = |at: usize| {
        let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        wrong |= (tens > 9) | (ones > 9);
        10 * u32::from(tens) + u32::from(ones)
    };
    let (year, month, day) = (100 * pair(0) + pair(2), pair(5), pair(8));
    let (hour, minute, second) = (pair(11), pair(14), pair(17));
    if wrong {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match tail {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let number = digits.iter().try_fold(0_i64, |number, byte| {
                byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
            });
            number? * 10_i64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    // Years that begin in March have their leap day at the end (Howard Hinnant, "chrono-Compatible
    // Low-Level Date Algorithms").
    // 400 of them more, so that none is negative.
    let year = year + 400 - u32::from(month < 3);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    let days = i64::from(days) - 719_468 - 146_097;
    let seconds = days * 86_400 + i64::from(3_600 * hour + 60 * minute + second);
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction).map(EventTime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_chrono(text: &str) -> Option<EventTime> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        Some(EventTime::from_chrono(time.with_timezone(&Utc)))
    }

    proptest! {
        #[test]
        fn the_usual_form_is_read_as_chrono_reads_it(
            nanoseconds: i64,
            digits in 0..4_usize,
            damage in proptest::option::of((0..30_usize, proptest::num::u8::ANY)),
        ) {
            let forms = [SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Micros];
            let form = *forms.get(digits).unwrap_or(&SecondsFormat::Nanos);
            let time = EventTime::from_nanoseconds(nanoseconds);
            let mut text = time.to_chrono().to_rfc3339_opts(form, true).into_bytes();
            if let Some((at, byte)) = damage
                && let Some(there) = text.get_mut(at)
            {
                *there = byte & 0x7f;
            }
            let text = String::from_utf8(text).unwrap();
            if let Some(read) = from_usual_form(text.as_bytes()) {
                prop_assert_eq!(Some(read), by_chrono(&text), "{}", text);
            } else if damage.is_none() && (i64::MIN / 2..i64::MAX / 2).contains(&nanoseconds) {
                prop_assert!(false, "{} is not read", text);
            }
        }

        #[test]
        fn numbers_that_are_no_dates_are_left_to_chrono(
            year in 0..=9999_u32, month in 0..=13_u32, day in 0..=32_u32,
            hour in 0..=25_u32, minute in 0..=61_u32, second in 0..=61_u32,
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            if let Some(read) = from_usual_form(text.as_bytes()) {
                prop_assert_eq!(Some(read), by_chrono(&text), "{}", text);
            }
        }
    }

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
        assert_eq!(EventTime::from_rfc3339(time.to_rfc3339()), Some(time));
        let east = EventTime::from_rfc3339("2026-03-01T11:00:00.123456+01:00");
        assert_eq!(east, Some(time));
        assert_eq!(EventTime::from_rfc3339("yesterday"), None);
    }

    #[test]
    fn the_unit_of_a_number_follows_from_its_size() {
        let expected = Some(EventTime::from_nanoseconds(1_772_000_000_000_000_000));
        for number in [1_772_000_000, 1_772_000_000_000, 1_772_000_000_000_000] {
            assert_eq!(EventTime::from_number(number), expected);
        }
        assert_eq!(EventTime::from_number(1_772_000_000_000_000_000), expected);
        for text in
            ["2026-02-25T06:13:20Z", "2026-02-25T07:13:20.000+0100", "1772000000", "1772000000.0"]
        {
            assert_eq!(EventTime::from_text(text), expected, "{text}");
        }
        for text in ["", "yesterday", "1e300", "2026-02-25"] {
            assert_eq!(EventTime::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let last = EventTime::from_nanoseconds(i64::MAX);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        assert_eq!(EventTime::EPOCH.since(last), Duration::ZERO);
    }
}
