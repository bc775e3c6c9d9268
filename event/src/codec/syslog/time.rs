//! The times of syslog: RFC 3339 as RFC 5424 wants it, `Mmm dd hh:mm:ss` of RFC 3164, and what
//! senders make of them.
//!
//! A time of RFC 3164 has neither year nor zone. The zone is the listener's; the year is the one
//! that puts the time nearest to when the message came. So a message of December that comes in
//! January is of last year, one from a clock a little ahead in the last minutes of December is of
//! next year, and February 29 is of a leap year.
//!
//! Nothing here uses a calendar library but for the rules of named zones: a message has a time, and
//! there are millions. Source: Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*.

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

/// Finds a time of RFC 3339 at `at`. Also taken: `/` in the date, a space or lower case before the
/// time, a comma before the fraction, any number of digits in it, an offset without colon or
/// minutes, a zone's name, no zone.
pub(super) fn iso(line: &[u8], at: usize, context: Context<'_>) -> Option<Stamp> {
    const DASHED: Pattern = Pattern::new(b"0000-00-");
    const SLASHED: Pattern = Pattern::new(b"0000/00/");
    const DAY_TO_MINUTE: Pattern = Pattern::new(b"00?00:00");
    let date = DASHED.read(line, at).or_else(|| SLASHED.read(line, at))?;
    let day = DAY_TO_MINUTE.read(line, at + 8)?;
    let [b':', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = *line.get(at + 16..at + 19)? else {
        return None;
    };
    if !matches!(line[at + 10], b'T' | b't' | b' ') {
        return None;
    }
    let mut end = at + 19;
    let clock = Clock {
        hour: day.two(3),
        minute: day.two(6),
        second: u32::from(tens - b'0') * 10 + u32::from(ones - b'0'),
        nanosecond: fraction(line, &mut end, b".,"),
    };
    let written = written_zone(line, &mut end);
    if !ends_at(line, end) {
        return None;
    }
    let year = i64::from(date.two(0) * 100 + date.two(2));
    let date = Date { year, month: date.two(5), day: day.two(0) };
    let time = moment(date, clock, written, context)?;
    Some(Stamp { time, end, unsynced: false })
}

/// Finds a time of RFC 3164 at `at`: `Mmm dd hh:mm:ss`, the month in any case, the day with one
/// digit or two. Also taken: a day of the week before it; the year before it, behind the day or
/// behind the time; a fraction, AM or PM, and a zone behind the time; a colon at the end.
fn legacy(line: &[u8], at: usize, context: Context<'_>) -> Option<Stamp> {
    let mut at = at;
    let mut year = None;
    if !line.get(at)?.is_ascii_alphabetic() {
        year = Some(year_at(line, &mut at)?);
        at = skip_spaces(line, at);
    } else if is_weekday(line, at) {
        at += 3 + usize::from(line.get(at + 3) == Some(&b','));
        at = spaces(line, at)?;
    }
    let month = month_at(line, at)?;
    let (day, end) = number(line, spaces(line, at + 3)?, 2)?;
    at = spaces(line, end + usize::from(line.get(end) == Some(&b',')))?;
    if year.is_none() {
        year = year_at(line, &mut at);
        at = skip_spaces(line, at);
    }
    let mut clock = clock_at(line, &mut at)?;
    clock.nanosecond = fraction(line, &mut at, b".");
    clock.hour = half_day(line, &mut at, clock.hour)?;
    let mut written = written_zone(line, &mut at);
    if year.is_none() && line.get(at) == Some(&b' ') {
        let mut end = at + 1;
        year = year_at(line, &mut end);
        if year.is_some() {
            at = end;
            if matches!(written, Written::Nothing) {
                written = written_zone(line, &mut at);
            }
        }
    }
    if !ends_at(line, at) {
        return None;
    }
    if line.get(at) == Some(&b':') {
        at += 1;
    }
    let day = u32::try_from(day).ok()?;
    let year = year.or_else(|| nearest_year(month, day, clock, written, context))?;
    let time = moment(Date { year, month, day }, clock, written, context)?;
    Some(Stamp { time, end: at, unsynced: false })
}

/// Finds seconds since the Unix epoch at `at`, with a fraction, or milliseconds: 10 or 13 digits,
/// which is from 2001 to 2286.
fn unix(line: &[u8], at: usize) -> Option<Stamp> {
    let (count, mut end) = number(line, at, 13)?;
    let nanoseconds = match end - at {
        10 => {
            let nanosecond = i64::from(fraction(line, &mut end, b"."));
            count.checked_mul(NANOSECONDS)?.checked_add(nanosecond)?
        }
        13 => count.checked_mul(1_000_000)?,
        _ => return None,
    };
    if line[at] == b'0' || !ends_at(line, end) {
        return None;
    }
    Some(Stamp { time: EventTime::from_nanoseconds(nanoseconds), end, unsynced: false })
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug)]
struct Date {
    year: i64,
    month: u32,
    day: u32,
}

/// Gives the moment at which clocks show `date` and `clock`. `None` when there is none, or it is
/// out of range.
fn moment(
    date: Date,
    clock: Clock,
    written: Written<'_>,
    context: Context<'_>,
) -> Option<EventTime> {
    if !date.exists() || !YEARS.contains(&date.year) {
        return None;
    }
    let local = date.days() * DAY_SECONDS + clock.seconds()?;
    let offset = match written {
        Written::Offset(offset) => offset,
        Written::Name(name, usual) => context.zone.offset_named(name, local).unwrap_or(usual),
        Written::Nothing => context.zone.offset_of_local(local, context.received_at.seconds()),
    };
    let nanoseconds = (local - offset) * NANOSECONDS + i64::from(clock.nanosecond);
    Some(EventTime::from_nanoseconds(nanoseconds))
}

/// Gives the year that puts a day and time nearest to when the message came.
///
/// Nearest on the clocks of the sender's zone, as they are set when the message comes: a summer
/// time in between, which no message that is half a year off can tell from an hour's delay, is left
/// out.
fn nearest_year(
    month: u32,
    day: u32,
    clock: Clock,
    written: Written<'_>,
    context: Context<'_>,
) -> Option<i64> {
    let received = context.received_at.seconds();
    let offset = match written {
        Written::Offset(offset) | Written::Name(_, offset) => offset,
        Written::Nothing => context.zone.offset_at(received),
    };
    let reference = received + offset;
    let seconds = clock.seconds()?;
    let from_reference = |year: &i64| {
        let date = Date { year: *year, month, day };
        (date.days() * DAY_SECONDS + seconds - reference).abs()
    };
    let this = year_of(reference.div_euclid(DAY_SECONDS));
    if from_reference(&this) < 182 * DAY_SECONDS && (month, day) != (2, 29) {
        return Some(this);
    }
    // Two leap years are at most eight years apart, over the turn of most centuries.
    let reach = if (month, day) == (2, 29) { 8 } else { 1 };
    let exists = |year: &i64| Date { year: *year, month, day }.exists();
    (this - reach..=this + reach).filter(exists).min_by_key(from_reference)
}

impl Date {
    fn exists(self) -> bool {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let last = match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => return false,
        };
        (1..=last).contains(&self.day)
    }

    /// Gives the days since 1970-01-01 in the Gregorian calendar, by eras of 400 years that begin
    /// in March, so that the leap day is the last of its year.
    fn days(self) -> i64 {
        let shifted = (i64::from(self.month) + 9) % 12;
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }
}

/// Gives the year of a day, in days since 1970-01-01: the way back from [`Date::days`].
fn year_of(days: i64) -> i64 {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From day 306 of a year that begins in March it is January of the next.
    era * 400 + year_of_era + i64::from(day_of_year >= 306)
}

impl Clock {
    /// Gives the seconds since midnight; second 60 is the first of the next minute. `None` when no
    /// clock shows it.
    fn seconds(self) -> Option<i64> {
        let shown = self.hour < 24 && self.minute < 60 && self.second <= 60;
        shown.then(|| i64::from(self.hour * 3_600 + self.minute * 60 + self.second))
    }
}

/// Reads `hh:mm:ss` or `h:mm:ss`.
fn clock_at(line: &[u8], at: &mut usize) -> Option<Clock> {
    const LONG: Pattern = Pattern::new(b"00:00:00");
    const SHORT: Pattern = Pattern::new(b"?0:00:00");
    if let Some(digits) = LONG.read(line, *at) {
        *at += 8;
        let [hour, minute, second] = [0, 3, 6].map(|place| digits.two(place));
        return Some(Clock { hour, minute, second, nanosecond: 0 });
    }
    // Read one further to the left, where there is at least a space, to have eight bytes.
    let digits = SHORT.read(line, at.checked_sub(1)?)?;
    *at += 7;
    let [hour, minute, second] = [digits.one(1), digits.two(3), digits.two(6)];
    Some(Clock { hour, minute, second, nanosecond: 0 })
}

/// Reads the digits behind one of `marks` as nanoseconds; those behind the ninth say nothing to us.
fn fraction(line: &[u8], at: &mut usize, marks: &[u8]) -> u32 {
    let digit = |place: usize| line.get(place).filter(|byte| byte.is_ascii_digit());
    let marked = line.get(*at).is_some_and(|byte| marks.contains(byte));
    if !marked || digit(*at + 1).is_none() {
        return 0;
    }
    *at += 1;
    let mut unit = 100_000_000;
    let mut nanosecond = 0;
    while let Some(digit) = digit(*at) {
        nanosecond += u32::from(digit - b'0') * unit;
        unit /= 10;
        *at += 1;
    }
    nanosecond
}

/// Reads `AM` or `PM` behind a time and gives the hour of the day. `None` when there is no such
/// hour.
fn half_day(line: &[u8], at: &mut usize, hour: u32) -> Option<u32> {
    let start = skip_spaces(line, *at);
    let (Some(half), true) = (line.get(start..start + 2), ends_at(line, start + 2)) else {
        return Some(hour);
    };
    let noon = match [half[0].to_ascii_uppercase(), half[1].to_ascii_uppercase()] {
        [b'A', b'M'] => 0,
        [b'P', b'M'] => 12,
        _ => return Some(hour),
    };
    *at = start + 2;
    (1..=12).contains(&hour).then(|| hour % 12 + noon)
}

/// Reads what stands for the zone behind a time: `Z`, an offset, or behind a space an offset or a
/// zone's name.
fn written_zone<'a>(line: &'a [u8], at: &mut usize) -> Written<'a> {
    let found = match line.get(*at) {
        Some(b'Z' | b'z') => Some((Written::Offset(0), *at + 1)),
        Some(b'+' | b'-') => offset_at(line, *at),
        Some(b' ') => match line.get(*at + 1) {
            Some(b'+' | b'-') => offset_at(line, *at + 1),
            Some(b'A'..=b'Z') => zone_name(line, *at + 1),
            _ => None,
        },
        _ => None,
    };
    match found {
        Some((written, end)) if ends_at(line, end) => {
            *at = end;
            written
        }
        _ => Written::Nothing,
    }
}

/// Reads `+hh:mm`, `+hhmm`, `+hh` or `+h`, or the same with a minus.
fn offset_at(line: &[u8], at: usize) -> Option<(Written<'static>, usize)> {
    let (digits, end) = number(line, at + 1, 4)?;
    let (hours, minutes, end) = match end - at - 1 {
        4 => (digits / 100, digits % 100, end),
        1 | 2 if line.get(end) == Some(&b':') && line.get(end + 1)?.is_ascii_digit() => {
            let (minutes, end) = number(line, end + 1, 2)?;
            (digits, minutes, end)
        }
        1 | 2 => (digits, 0, end),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3_600 + minutes * 60;
    let seconds = if line[at] == b'-' { -seconds } else { seconds };
    Some((Written::Offset(seconds), end))
}

/// Reads the name of a zone; `GMT` and `UTC` may have an offset behind them.
fn zone_name(line: &[u8], at: usize) -> Option<(Written<'_>, usize)> {
    let letters = line[at..].iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    let end = at + letters;
    let name = &line[at..end];
    if matches!(name, b"GMT" | b"UTC") && matches!(line.get(end), Some(b'+' | b'-')) {
        return offset_at(line, end);
    }
    let usual = usual_offset_minutes(name)? * 60;
    Some((Written::Name(name, usual), end))
}

/// Reads a year of four digits behind which the number ends.
fn year_at(line: &[u8], at: &mut usize) -> Option<i64> {
    let (year, end) = number(line, *at, 4)?;
    if !(1970..2200).contains(&year) || !ends_at(line, end) {
        return None;
    }
    *at = end;
    Some(year)
}

/// Gives the number of the month whose three letters stand at `at`, 1 for January.
fn month_at(line: &[u8], at: usize) -> Option<u32> {
    let month = match &letters_at(line, at)? {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    };
    Some(month)
}

fn is_weekday(line: &[u8], at: usize) -> bool {
    let days: [&[u8; 3]; 7] = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    letters_at(line, at).is_some_and(|letters| days.contains(&&letters))
}

fn letters_at(line: &[u8], at: usize) -> Option<[u8; 3]> {
    let letters: &[u8; 3] = line.get(at..)?.first_chunk()?;
    // Sets the bit that makes a letter small; what it makes of other bytes is no letter.
    Some(letters.map(|byte| byte | 0x20))
}

/// Tells whether a time, or a part of it, may end at `at`: the word does, or its colon does.
fn ends_at(line: &[u8], at: usize) -> bool {
    let is_blank = |at: usize| matches!(line.get(at), None | Some(b' ' | b'\t' | b'\n' | b'\r'));
    is_blank(at) || line[at] == b':' && is_blank(at + 1)
}

/// Passes over one space or more.
fn spaces(line: &[u8], at: usize) -> Option<usize> {
    (line.get(at) == Some(&b' ')).then(|| skip_spaces(line, at))
}

/// Passes over spaces, if there are any.
pub(super) fn skip_spaces(line: &[u8], at: usize) -> usize {
    let mut at = at;
    while line.get(at) == Some(&b' ') {
        at += 1;
    }
    at
}
