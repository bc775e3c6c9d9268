//! The times of syslog: RFC 3339 as RFC 5424 wants it, `Mmm dd hh:mm:ss` of RFC 3164, and what senders make of them.
//!
//! A time of RFC 3164 has neither year nor zone. The zone is the listener's; the year is the one that puts the time
//! nearest to when the message came. So a message of December that comes in January is of last year, one from a clock a
//! little ahead in the last minutes of December is of next year, and February 29 is of a leap year.
//!
//! Nothing here uses a calendar library but for the rules of named zones: a message has a time, and there are millions.
//! Source: Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*.

use super::digits::{Pattern, number};
use super::zone::{Zone, usual_offset_minutes};
use crate::time::EventTime;

/// A time that was found, and where its text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) time: EventTime,
    pub(super) end: usize,
    /// Whether the sender says that its clock is not set, or not in step.
    pub(super) unsynced: bool,
}

/// What is known beside the text: when the message came, and which zone the listener was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) received_at: EventTime,
    pub(super) zone: &'a Zone,
}

const DAY_SECONDS: i64 = 86_400;
const NANOSECONDS: i64 = 1_000_000_000;

/// The years of which every moment fits in an [`EventTime`].
const YEARS: std::ops::RangeInclusive<i64> = 1678..=2261;

/// The time of day, with a leap second as second 60.
#[derive(Clone, Copy, Debug)]
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
}

/// What the text says about the zone.
#[derive(Clone, Copy, Debug)]
enum Written<'a> {
    /// Nothing.
    Nothing,
    /// So many seconds east of UTC.
    Offset(i64),
    /// A name, and what it usually means in seconds.
    Name(&'a [u8], i64),
}

/// Finds the time that begins at `at`, in any form known here.
pub(super) fn stamp(line: &[u8], at: usize, context: Context<'_>) -> Option<Stamp> {
    match line.get(at)? {
        b'0'..=b'9' => match line.get(at + 4)? {
            b'-' | b'/' => iso(line, at, context),
            b' ' => legacy(line, at, context),
            _ => unix(line, at),
        },
        // Cisco: the clock was never set, or has lost its server.
        b'*' | b'.' => {
            let stamp = stamp(line, skip_spaces(line, at + 1), context)?;
            Some(Stamp { unsynced: true, ..stamp })
        }
        b':' => legacy(line, skip_spaces(line, at + 1), context),
        byte if byte.is_ascii_alphabetic() => legacy(line, at, context),
        _ => None,
    }
}

/// Finds a time of RFC 3339 at `at`. Also taken: `/` in the date, a space or lower case before the time, a comma before
/// the fraction, any number of digits in it, an offset without colon or minutes, a zone's name, no zone at all.
pub(super) fn iso(line: &[u8], at: usize, context: Context<'_>) -> Option<Stamp> {
    const DASHED: Pattern = Pattern::new(b"0000-00-");
    const SLASHED: Pattern = Pattern::new(b"0000/00/");
    const DAY_TO_MINUTE: Pattern = Pattern::new(b"00?00:00");
    const TO_SECOND: Pattern = Pattern::new(b"0:00:00?");
    let date = DASHED.read(line, at).or_else(|| SLASHED.read(line, at))?;
    let day = DAY_TO_MINUTE.read(line, at + 8)?;
    // The last eight of 19 bytes, one further to the left so as not to ask for more than there is.
    let second = TO_SECOND.read(line, at + 12).or_else(|| seconds_at_end(line, at + 11))?;
    if !matches!(line[at + 10], b'T' | b't' | b' ') {
        return None;
    }
    let mut end = at + 19;
    let nanosecond = fraction(line, &mut end, b".,");
    let clock = Clock { hour: day.two(3), minute: day.two(6), second, nanosecond };
    let written = written_zone(line, &mut end);
    let year = i64::from(date.two(0) * 100 + date.two(2));
    let days = days_of(year, date.two(5), day.two(0))?;
    ends_at(line, end).then_some(())?;
    let time = moment(days, clock, written, context)?;
    Some(Stamp { time, end, unsynced: false })
}
