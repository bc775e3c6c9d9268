//! When polls begin: every so often, or by a calendar (`*/15 * * * *`, in UTC).

use azud_event::time::EventTime;
use chrono::{DateTime, Datelike, Duration as Span, Timelike, Utc};
use std::time::Duration;

/// How far ahead a time is looked for: the 29th of February comes within eight years.
const DAYS_MAX: i64 = 9 * 366;

/// When polls begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    Every(Duration),
    Calendar(Calendar),
}

/// Five fields of cron: minute, hour, day of the month, month, day of the week; each a set of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// As cron has it: where both days are restricted, one of them is enough.
    either_day: bool,
}

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// How many times of a calendar are looked at for the longest pause between two.
const PAUSES: usize = 400;

impl Schedule {
    /// Gives how long it is from `now` until the next poll begins, at most.
    pub(super) fn pause(&self, now: EventTime) -> Duration {
        match self {
            Schedule::Every(every) => *every,
            Schedule::Calendar(calendar) => {
                calendar.after(now).map_or(Duration::ZERO, |due| due.since(now))
            }
        }
    }

    /// Gives the longest time between two polls; of a calendar, as it is at first.
    pub(super) fn longest_pause(&self) -> Duration {
        let mut time = EventTime::from_nanoseconds(0);
        let mut longest = self.pause(time);
        for _ in 0..PAUSES {
            let pause = self.pause(time);
            longest = longest.max(pause);
            time = time.saturating_add(pause);
        }
        longest
    }
}

impl Calendar {
    /// Reads the five fields.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str) -> Result<Calendar, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("a schedule has five fields, and this has {}", fields.len()));
        };
        let mut weekdays = field(weekday, 0, 7, WEEKDAYS)?;
        // Sunday is 0, and 7.
        weekdays |= weekdays >> 7 & 1;
        let calendar = Calendar {
            minutes: field(minute, 0, 59, &[])?,
            hours: field(hour, 0, 23, &[])?,
            days: field(day, 1, 31, &[])?,
            months: field(month, 1, 12, MONTHS)?,
            weekdays,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        match calendar.after(EventTime::from_nanoseconds(1_772_359_200_000_000_000)) {
            Some(_) => Ok(calendar),
            None => Err("there is no such day".to_owned()),
        }
    }

    /// Gives the first time behind `time`.
    pub(super) fn after(&self, time: EventTime) -> Option<EventTime> {
        let start = time.to_chrono().with_second(0)?.with_nanosecond(0)? + Span::minutes(1);
        let has = |set: u64, value: u32| set >> value & 1 == 1;
        for days in 0..DAYS_MAX {
            let day = match days {
                0 => start,
                days => (start + Span::days(days)).with_hour(0)?.with_minute(0)?,
            };
            if !has(self.months, day.month()) || !self.is_day(&day) {
                continue;
            }
            for minute in day.hour() * 60 + day.minute()..24 * 60 {
                if has(self.hours, minute / 60) && has(self.minutes, minute % 60) {
                    let found = day.with_hour(minute / 60)?.with_minute(minute % 60)?;
                    return Some(EventTime::from_chrono(found));
                }
            }
        }
        None
    }

    fn is_day(&self, day: &DateTime<Utc>) -> bool {
        let of_month = self.days >> day.day() & 1 == 1;
        let of_week = self.weekdays >> day.weekday().num_days_from_sunday() & 1 == 1;
        if self.either_day { of_month || of_week } else { of_month && of_week }
    }
}

/// Reads a field: `*`, `*/5`, `1-5`, `1-30/2`, `7`, names, and lists of them.
fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let number = |text: &str| -> Result<u32, String> {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(index) => Some(u32::try_from(index).unwrap_or(0) + least),
            None => text.parse().ok(),
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("`{text}` is not within {least} and {most}"))
    };
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<u32>().ok().filter(|step| *step > 0);
                (range, step.ok_or_else(|| format!("`{part}` has no step"))?)
            }
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(format!("`{range}` ends before it begins"));
        }
        (from..=to).step_by(step as usize).for_each(|value| set |= 1 << value);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(schedule: &str, time: &str) -> String {
        let calendar = Calendar::parse(schedule).unwrap();
        let time = EventTime::from_rfc3339(time).unwrap();
        super::super::value::render_time(calendar.after(time).unwrap())
    }

    #[test]
    fn the_next_time_is_found() {
        for (schedule, time, expected) in [
            ("*/15 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:15:00Z"),
            ("*/15 * * * *", "2026-03-01T10:59:59.9Z", "2026-03-01T11:00:00Z"),
            ("0 3 * * *", "2026-03-01T10:00:00Z", "2026-03-02T03:00:00Z"),
            ("30 6 1 jan *", "2026-03-01T10:00:00Z", "2027-01-01T06:30:00Z"),
            ("0 0 29 2 *", "2026-03-01T10:00:00Z", "2028-02-29T00:00:00Z"),
            ("5 9-17/4 * * mon-fri", "2026-03-06T17:05:00Z", "2026-03-09T09:05:00Z"),
            ("0 0 13 * fri", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z"),
            ("0 12 * * 7", "2026-03-01T12:00:00Z", "2026-03-08T12:00:00Z"),
            ("1,2,40 * * * *", "2026-03-01T10:02:00Z", "2026-03-01T10:40:00Z"),
        ] {
            assert_eq!(after(schedule, time), expected, "{schedule}");
        }
    }

    #[test]
    fn the_longest_pause_is_known() {
        for (schedule, hours) in [("0 * * * *", 1), ("0 9-17 * * mon-fri", 64), ("0 3 * * *", 24)] {
            let schedule = Schedule::Calendar(Calendar::parse(schedule).unwrap());
            assert_eq!(schedule.longest_pause(), Duration::from_secs(hours * 3600));
        }
        let every = Schedule::Every(Duration::from_secs(30));
        assert_eq!(every.longest_pause(), Duration::from_secs(30));
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "0 0 31 2 *",
            "-1 * * * *",
        ] {
            assert!(Calendar::parse(bad).is_err(), "{bad}");
        }
    }
}
