//! The timeline that windows are laid on: a clock that never goes back.
//!
//! Windows shorter than the changes of a zone's clocks are laid on *even* time, shifted so that
//! they begin at whole hours of the zone. Longer ones follow the *clock on the wall*, so that a day
//! begins at midnight however long the day before was. Twice a year that clock jumps:
//!
//! ```text
//!  spring   01:59 ─▶ 03:00          a boundary that falls between is where the clock jumps
//!  autumn   02:59 ─▶ 02:00          until 03:00 comes for good, it stands at the end of 02:59
//! ```
//!
//! So the timeline never goes back, and windows are whole stretches of event time: in autumn the
//! day is 25 hours long.

use azud_event::time::EventTime;
use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::time::Duration;

const NANOSECONDS: i128 = 1_000_000_000;

/// The longest slide that is laid on even time: clocks are changed by half an hour or an hour, so
/// windows that divide an hour need not follow them.
const EVEN_MAX: Duration = Duration::from_secs(3600);

/// When a zone's offset is read for even time: 2000-01-01. Changes by parts of an hour are rare,
/// and any fixed moment will do as long as it is always the same.
const OFFSET_OF: i64 = 946_684_800;

/// How far from a boundary the clock may jump over it: Samoa left out a whole day in 2011.
const JUMP_MAX: i128 = 48 * 3600 * NANOSECONDS;

/// A time zone, as written in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// One with rules, by its name in the IANA database.
    Named(Tz),
    /// A fixed distance from UTC.
    Offset(FixedOffset),
}

impl Zone {
    /// Reads a zone: `Europe/Madrid`, `UTC`, `+05:30`.
    pub fn parse(text: &str) -> Option<Self> {
        let named = text.parse().ok().map(Zone::Named);
        named.or_else(|| text.parse().ok().map(Zone::Offset))
    }

    /// Gives how far its clocks are before UTC, in nanoseconds.
    fn offset_at(self, time: NaiveDateTime) -> i128 {
        let offset = match self {
            Zone::Named(zone) => zone.offset_from_utc_datetime(&time).fix(),
            Zone::Offset(offset) => offset,
        };
        i128::from(offset.local_minus_utc()) * NANOSECONDS
    }
}

/// A clock that never goes back. Its times are nanoseconds since 1970-01-01T00:00 on that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// Event time with a fixed shift, in nanoseconds.
    Even(i128),
    /// The clock on the wall.
    Wall(Tz),
}

impl Timeline {
    /// Gives the timeline for windows of a zone that begin every `slide`.
    pub fn new(zone: Zone, slide: Duration) -> Self {
        let follows = slide > EVEN_MAX && slide.as_nanos().is_multiple_of(EVEN_MAX.as_nanos());
        match zone {
            Zone::Named(zone) if follows && zone != Tz::UTC => Timeline::Wall(zone),
            zone => Timeline::Even(zone.offset_at(naive(i128::from(OFFSET_OF) * NANOSECONDS))),
        }
    }

    /// Reads the clock.
    pub fn at(&self, time: EventTime) -> i128 {
        let instant = i128::from(time.nanoseconds());
        match self {
            Timeline::Even(shift) => instant + shift,
            Timeline::Wall(zone) => wall(*zone, instant),
        }
    }

    /// Gives the first instant at which the clock shows at least `shown`.
    pub fn instant(&self, shown: i128) -> EventTime {
        saturate(match self {
            Timeline::Even(shift) => shown - shift,
            Timeline::Wall(zone) => unwall(*zone, shown),
        })
    }
}

fn saturate(instant: i128) -> EventTime {
    let end = if instant < 0 { i64::MIN } else { i64::MAX };
    EventTime::from_nanoseconds(i64::try_from(instant).unwrap_or(end))
}

/// Gives a time as `chrono` reads it; what it cannot hold is far beyond any [`EventTime`].
fn naive(instant: i128) -> NaiveDateTime {
    let seconds = i64::try_from(instant.div_euclid(NANOSECONDS)).unwrap_or(i64::MAX);
    let nanoseconds = instant.rem_euclid(NANOSECONDS) as u32;
    let end = if instant < 0 {
        DateTime::<chrono::Utc>::MIN_UTC
    } else {
        DateTime::<chrono::Utc>::MAX_UTC
    };
    DateTime::from_timestamp(seconds, nanoseconds).unwrap_or(end).naive_utc()
}

fn offset_at(zone: Tz, instant: i128) -> i128 {
    Zone::Named(zone).offset_at(naive(instant))
}

fn wall(zone: Tz, instant: i128) -> i128 {
    let offset = offset_at(zone, instant);
    let shown = instant + offset;
    let MappedLocalTime::Ambiguous(first, _) = zone.offset_from_local_datetime(&naive(shown))
    else {
        return shown;
    };
    let before = i128::from(first.fix().local_minus_utc()) * NANOSECONDS;
    if before == offset {
        return shown;
    }
    // The clock shows this hour for the second time. It stands until it has caught up with what it
    // showed before it was put back.
    let back = first_instant(shown - before, instant, |instant| offset_at(zone, instant) != before);
    back + before - 1
}

fn unwall(zone: Tz, shown: i128) -> i128 {
    match zone.offset_from_local_datetime(&naive(shown)) {
        MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(offset, _) => {
            shown - i128::from(offset.fix().local_minus_utc()) * NANOSECONDS
        }
        MappedLocalTime::None => first_instant(shown - JUMP_MAX, shown + JUMP_MAX, |instant| {
            instant + offset_at(zone, instant) >= shown
        }),
    }
}

/// Finds the first instant behind `low`, up to `high`, for which `holds`, by halving.
fn first_instant(mut low: i128, mut high: i128, holds: impl Fn(i128) -> bool) -> i128 {
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn time(text: &str) -> EventTime {
        EventTime::from_chrono(text.parse().unwrap())
    }

    fn timeline(zone: &str) -> Timeline {
        Timeline::new(Zone::parse(zone).unwrap(), DAY)
    }

    fn shown(text: &str) -> i128 {
        i128::from(time(&format!("{text}Z")).nanoseconds())
    }

    #[test]
    fn in_spring_a_time_that_is_left_out_is_where_the_clock_jumps() {
        let madrid = timeline("Europe/Madrid");
        let jump = time("2026-03-29T01:00:00Z");
        assert_eq!(madrid.instant(shown("2026-03-29T02:30:00")), jump);
        assert_eq!(madrid.at(jump), shown("2026-03-29T03:00:00"));
        assert_eq!(madrid.instant(shown("2026-03-29T03:00:00")), jump);
    }

    #[test]
    fn in_autumn_the_clock_stands_until_it_has_caught_up() {
        let madrid = timeline("Europe/Madrid");
        let last = shown("2026-10-25T03:00:00") - 1;
        assert_eq!(madrid.at(time("2026-10-25T00:30:00Z")), shown("2026-10-25T02:30:00"));
        assert_eq!(madrid.at(time("2026-10-25T01:00:00Z")), last);
        assert_eq!(madrid.at(time("2026-10-25T01:59:59Z")), last);
        assert_eq!(madrid.at(time("2026-10-25T02:00:00Z")), last + 1);
        assert_eq!(madrid.instant(shown("2026-10-25T02:30:00")), time("2026-10-25T00:30:00Z"));
        assert_eq!(madrid.instant(last + 1), time("2026-10-25T02:00:00Z"));
    }

    #[test]
    fn a_day_may_be_left_out_and_midnight_may_be_too() {
        let samoa = timeline("Pacific/Apia");
        let jump = time("2011-12-30T10:00:00Z");
        assert_eq!(samoa.instant(shown("2011-12-30T00:00:00")), jump);
        assert_eq!(samoa.instant(shown("2011-12-31T00:00:00")), jump);
        let beirut = timeline("Asia/Beirut");
        assert_eq!(beirut.instant(shown("2026-03-29T00:00:00")), time("2026-03-28T22:00:00Z"));
        // Havana puts its clocks back from 01:00 to 00:00: midnight comes once for a day.
        let havana = timeline("America/Havana");
        assert_eq!(havana.instant(shown("2026-11-01T00:00:00")), time("2026-11-01T04:00:00Z"));
        assert!(havana.at(time("2026-11-01T05:10:00Z")) > shown("2026-11-01T00:59:00"));
    }

    #[test]
    fn short_slides_run_evenly() {
        let zone = Zone::parse("Asia/Kolkata").unwrap();
        let half_past = 19_800 * NANOSECONDS;
        assert_eq!(Timeline::new(zone, EVEN_MAX), Timeline::Even(half_past));
        assert!(matches!(Timeline::new(zone, 2 * EVEN_MAX), Timeline::Wall(_)));
        assert_eq!(Timeline::new(Zone::parse("UTC").unwrap(), DAY), Timeline::Even(0));
        assert_eq!(Timeline::new(Zone::parse("+05:30").unwrap(), DAY), Timeline::Even(half_past));
        assert_eq!(Zone::parse("Europe/Nowhere"), None);
    }

    const ZONES: [&str; 7] = [
        "Europe/Madrid",
        "America/Sao_Paulo",
        "America/Havana",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Beirut",
        "Africa/Casablanca",
    ];

    proptest! {
        #[test]
        fn the_clock_never_goes_back_and_is_read_backwards(
            zone in 0..ZONES.len(), time in any::<i64>(), near in 0..200_i64,
            later in 0..90_000_i64,
        ) {
            let timeline = timeline(ZONES[zone]);
            // Half of the times are of this century, where clocks are changed.
            let time = if near < 100 { time } else { time.rem_euclid(4_000_000_000_000_000_000) };
            let one = EventTime::from_nanoseconds(time);
            let other = one.saturating_add(Duration::from_secs(later as u64));
            prop_assert!(timeline.at(one) <= timeline.at(other));
            let first = timeline.instant(timeline.at(one));
            prop_assert!(first <= one, "{first} {one}");
            prop_assert_eq!(timeline.at(first), timeline.at(one));
            if first.nanoseconds() > i64::MIN {
                let before = EventTime::from_nanoseconds(first.nanoseconds() - 1);
                prop_assert!(timeline.at(before) < timeline.at(one));
            }
        }
    }
}
