//! Whether what a poller gives is late though its polls succeed, and the words for it.

use super::schedule::Schedule;
use super::state::State;
use super::value::render_time;
use azud_event::time::EventTime;
use azud_plan::component::{Behind, Late};
use std::time::Duration;

/// What polls last without being long, however often they are due.
const SHORT: Duration = Duration::from_secs(1);

/// A poll that is under way for so many times as long as it may take has the next ones late.
const LATE_INTERVALS: u32 = 3;

/// How long a poll may take: until the next is due.
pub(super) fn allowance(schedule: &Schedule, begun: EventTime) -> Duration {
    let interval = match schedule {
        Schedule::Every(every) => *every,
        Schedule::Calendar(calendar) => {
            calendar.after(begun).map_or(Duration::MAX, |due| due.since(begun))
        }
    };
    interval.max(SHORT)
}

/// Gives the pauses after which a poll that is under way is told to be late: a few intervals, and
/// then each.
pub(super) fn under_way(allowed: Duration, told: u32) -> Duration {
    if told == 0 { allowed.saturating_mul(LATE_INTERVALS) } else { allowed }
}

/// Says that a poll is still under way.
pub(super) fn still(took: Duration, allowed: Duration) -> Behind {
    let message = format!(
        "a poll has been under way for {}, and one is due every {}: there is much to catch up, the \
         other side answers slowly, or a pipeline does not take what it gives (see \
         `azud_epoch_age_seconds`)",
        span(took),
        span(allowed)
    );
    Behind { what: Late::Overdue, message }
}

/// Says of a poll that has ended whether it took too long, or gave what is too old.
pub(super) fn ended(
    (took, allowed): (Duration, Duration),
    (state, now): (&State, EventTime),
    max_lag: Option<Duration>,
    since: EventTime,
) -> Option<Behind> {
    if took > allowed {
        let message = format!(
            "the last poll took {}, and one is due every {}: poll less often, or ask for more \
             records a page",
            span(took),
            span(allowed)
        );
        return Some(Behind { what: Late::Overdue, message });
    }
    let max_lag = max_lag?;
    let newest = state.last_event_time.map(EventTime::from_nanoseconds);
    // Without any record it is as late as it has run.
    let lag = now.since(newest.unwrap_or(since));
    if lag <= max_lag {
        return None;
    }
    let newest = match newest {
        Some(newest) => format!("the newest record is of {}", render_time(newest)),
        None => format!("there was no record since {}", render_time(since)),
    };
    let message = format!(
        "{newest}, {} ago, and `max_lag` is {}: the other side gives records late or none at all; \
         see what it has, or let `max_lag` be longer if that is in order",
        span(lag),
        span(max_lag)
    );
    Some(Behind { what: Late::Lagging, message })
}

/// Writes a span of time for people: `7 min`.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Calendar;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(second: u64) -> EventTime {
        EventTime::EPOCH.saturating_add(seconds(second))
    }

    #[test]
    fn a_poll_may_take_until_the_next_is_due() {
        let every = |interval| allowance(&Schedule::Every(interval), at(0));
        assert_eq!(every(seconds(60)), seconds(60));
        assert_eq!(every(Duration::from_millis(100)), SHORT, "nobody looks at so little");
        let calendar = Schedule::Calendar(Calendar::parse("*/15 * * * *").unwrap());
        assert_eq!(allowance(&calendar, at(600)), seconds(300));
        assert_eq!([0, 1, 2].map(|told| under_way(seconds(60), told).as_secs()), [180, 60, 60]);
    }

    #[test]
    fn what_is_late_is_told_with_what_to_do() {
        let state = |newest: Option<u64>| State {
            last_event_time: newest.map(|newest| at(newest).nanoseconds()),
            ..State::default()
        };
        let told = |took, newest, now, max_lag: Option<u64>| {
            let behind = ended(
                (seconds(took), seconds(60)),
                (&state(newest), at(now)),
                max_lag.map(seconds),
                at(1_000),
            );
            behind.map(|behind| (behind.what, behind.message))
        };
        assert_eq!(told(60, Some(0), 99_999, None), None, "old records alone say nothing");
        assert_eq!(told(60, Some(5_000), 8_600, Some(3_600)), None);
        let (what, message) = told(61, Some(0), 99_999, Some(1)).unwrap();
        assert_eq!(what, Late::Overdue);
        assert!(message.starts_with("the last poll took 61 s, and one is due every 60 s: poll"));
        let (what, message) = told(60, Some(5_000), 12_601, Some(3_600)).unwrap();
        assert_eq!(what, Late::Lagging);
        let begins =
            "the newest record is of 1970-01-01T01:23:20Z, 2 h ago, and `max_lag` is 60 min";
        assert!(message.starts_with(begins), "{message}");
        assert_eq!(told(1, None, 4_600, Some(3_600)), None);
        let (_, message) = told(1, None, 4_601, Some(3_600)).unwrap();
        assert!(message.starts_with("there was no record since 1970-01-01T00:16:40Z"), "{message}");
        assert!(still(seconds(180), seconds(60)).message.contains("under way for 3 min"));
    }
}
