//! The time zones of senders that do not name one.

use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{OffsetName, Tz};

/// The time zone in which a sender's clock is read when its messages do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Always as far from UTC.
    Fixed(FixedOffset),
    /// A zone of the IANA database, with its summer times.
    Named(Tz),
}

impl Zone {
    /// Universal time, the default.
    pub const UTC: Zone = Zone::Named(Tz::UTC);

    /// Reads a zone as a document writes it: a name of the IANA database such as `Europe/Berlin`,
    /// or an offset such as `+05:30`. `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(['+', '-']) {
            return text.parse().ok().map(Zone::Fixed);
        }
        text.parse().ok().map(Zone::Named)
    }

    /// Gives the offset from UTC in seconds at a time, given in seconds since the Unix epoch.
    pub(super) fn offset_at(&self, seconds: i64) -> i64 {
        match self {
            Zone::Fixed(offset) => i64::from(offset.local_minus_utc()),
            Zone::Named(Tz::UTC) => 0,
            Zone::Named(zone) => {
                let Some(time) = DateTime::from_timestamp(seconds, 0) else { return 0 };
                let offset = zone.offset_from_utc_datetime(&time.naive_utc());
                i64::from(offset.fix().local_minus_utc())
            }
        }
    }

    /// Gives the offset from UTC in seconds when clocks show `local`, in seconds since
    /// 1970-01-01T00:00:00 on them.
    ///
    /// When clocks were set back and showed it twice, it is the time nearer to `near`, in seconds
    /// since the Unix epoch. When they were set forward and never showed it, the sender had not set
    /// its clock yet.
    pub(super) fn offset_of_local(&self, local: i64, near: i64) -> i64 {
        let zone = match self {
            Zone::Fixed(offset) => return i64::from(offset.local_minus_utc()),
            Zone::Named(Tz::UTC) => return 0,
            Zone::Named(zone) => zone,
        };
        let Some(shown) = naive(local) else { return 0 };
        let seconds = |offset: <Tz as TimeZone>::Offset| i64::from(offset.fix().local_minus_utc());
        match zone.offset_from_local_datetime(&shown) {
            MappedLocalTime::Single(offset) => seconds(offset),
            MappedLocalTime::Ambiguous(first, second) => {
                let distance = |offset: &i64| (local - offset).abs_diff(near);
                let nearer = [seconds(first), seconds(second)].into_iter().min_by_key(distance);
                nearer.unwrap_or_default()
            }
            MappedLocalTime::None => {
                seconds(zone.offset_from_utc_datetime(&(shown - TimeDelta::days(1))))
            }
        }
    }

    /// Gives the offset from UTC in seconds when clocks show `local` and call the zone `name`, if
    /// this zone has that name then: `CST` means one thing in Chicago and another in Shanghai.
    pub(super) fn offset_named(&self, name: &[u8], local: i64) -> Option<i64> {
        let Zone::Named(zone) = self else { return None };
        let offsets = match zone.offset_from_local_datetime(&naive(local)?) {
            MappedLocalTime::Single(offset) => [Some(offset), None],
            MappedLocalTime::Ambiguous(first, second) => [Some(first), Some(second)],
            MappedLocalTime::None => [None, None],
        };
        let has_name = |offset: &<Tz as TimeZone>::Offset| {
            offset.abbreviation().is_some_and(|text| text.as_bytes() == name)
        };
        let offset = offsets.into_iter().flatten().find(has_name)?;
        Some(i64::from(offset.fix().local_minus_utc()))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Zone::UTC
    }
}

fn naive(local: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(local, 0).map(|time| time.naive_utc())
}

/// Gives the offset from UTC in minutes of the zone names that senders write, as most of them mean
/// it.
pub(super) fn usual_offset_minutes(name: &[u8]) -> Option<i64> {
    let hours_and_minutes = |hours: i64, minutes: i64| hours * 60 + minutes;
    let minutes = match name {
        b"UTC" | b"GMT" | b"Z" | b"WET" => 0,
        b"CET" | b"MET" | b"BST" | b"WEST" => 60,
        b"CEST" | b"MEST" | b"EET" | b"SAST" => 120,
        b"EEST" | b"MSK" => 180,
        b"PKT" => 300,
        b"IST" => hours_and_minutes(5, 30),
        b"HKT" | b"SGT" | b"AWST" => 480,
        b"JST" | b"KST" => 540,
        b"ACST" => hours_and_minutes(9, 30),
        b"AEST" => 600,
        b"ACDT" => hours_and_minutes(10, 30),
        b"AEDT" => 660,
        b"NZST" => 720,
        b"NZDT" => 780,
        b"BRT" | b"ADT" => -180,
        b"AST" | b"EDT" => -240,
        b"EST" | b"CDT" => -300,
        b"CST" | b"MDT" => -360,
        b"MST" | b"PDT" => -420,
        b"PST" | b"AKDT" => -480,
        b"AKST" => -540,
        b"HST" => -600,
        _ => return None,
    };
    Some(minutes)
}
