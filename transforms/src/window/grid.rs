//! Tumbling and hopping windows: stretches of a timeline, cut into panes of one slide each.

use super::timeline::{Timeline, Zone};
use azud_event::time::EventTime;
use std::time::Duration;

/// How many panes a window may have. A day that hops by the minute has 1,440; each window merges
/// them all, and a record that comes late touches as many windows.
pub const PANES_PER_WINDOW_MAX: u64 = 1_500;

/// A half-open stretch of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Its first instant.
    pub start: EventTime,
    /// The first instant behind it.
    pub end: EventTime,
}

/// Tumbling or hopping windows: one begins every `slide` and holds `panes` slides.
///
/// Windows and panes are numbered along the timeline; window `n` is made of the panes `n` to `n +
/// panes - 1`. Where the clock on the wall jumps over a pane, it is empty and takes no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    timeline: Timeline,
    /// Where pane 0 begins, on the timeline.
    origin: i128,
    slide: i128,
    panes: i64,
    /// The same in few bits, where panes run evenly over event time.
    even: Option<Even>,
}

/// Where panes begin that run evenly over event time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Even {
    origin: i64,
    slide: i64,
}

impl Even {
    fn start(self, pane: i64) -> Option<EventTime> {
        let start = pane.checked_mul(self.slide)?.checked_add(self.origin)?;
        Some(EventTime::from_nanoseconds(start))
    }

    fn pane(self, time: EventTime) -> Option<i64> {
        Some(time.nanoseconds().checked_sub(self.origin)?.div_euclid(self.slide))
    }
}

const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// By how much clocks are put back in autumn.
const HOUR_NANOSECONDS: i128 = 3_600_000_000_000;
/// The first Monday, 1970-01-05.
const MONDAY: Duration = Duration::from_secs(4 * 86_400);

impl Grid {
    /// Makes windows of `panes` slides, aligned to 1970-01-01T00:00 in `zone`, and `offset` later;
    /// whole weeks begin on Mondays.
    ///
    /// `slide` is not zero, and `panes` is at least one.
    pub fn new(zone: Zone, slide: Duration, panes: u64, offset: Duration) -> Self {
        let nanoseconds = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        let weeks = slide.as_nanos().is_multiple_of(WEEK.as_nanos());
        let first = if weeks { MONDAY } else { Duration::ZERO };
        let timeline = Timeline::new(zone, slide);
        let (origin, slide) = (nanoseconds(first + offset), nanoseconds(slide).max(1));
        let panes = i64::try_from(panes).unwrap_or(i64::MAX).max(1);
        let even = match timeline {
            Timeline::Even(shift) => i64::try_from(origin - shift).ok().zip(slide.try_into().ok()),
            Timeline::Wall(_) => None,
        };
        let even = even.map(|(origin, slide)| Even { origin, slide });
        Grid { timeline, origin, slide, panes, even }
    }

    /// Gives the pane that holds `time`.
    pub fn pane(&self, time: EventTime) -> i64 {
        self.even.and_then(|even| even.pane(time)).unwrap_or_else(|| self.any_pane(time))
    }

    /// As [`Grid::pane`], of any panes and times.
    #[inline(never)]
    fn any_pane(&self, time: EventTime) -> i64 {
        let at = self.timeline.at(time) - self.origin;
        // A slide is a millisecond at least, and event time has 2^64 nanoseconds.
        at.div_euclid(self.slide) as i64
    }

    /// Gives the instant at which a pane begins.
    pub fn start(&self, pane: i64) -> EventTime {
        self.even.and_then(|even| even.start(pane)).unwrap_or_else(|| self.any_start(pane))
    }

    /// As [`Grid::start`], of any panes.
    #[inline(never)]
    fn any_start(&self, pane: i64) -> EventTime {
        self.timeline.instant(i128::from(pane) * self.slide + self.origin)
    }

    /// Gives a window by its number.
    pub fn window(&self, number: i64) -> Window {
        Window { start: self.start(number), end: self.end(number) }
    }

    /// Gives the end of a window.
    pub fn end(&self, number: i64) -> EventTime {
        self.start(number.saturating_add(self.panes))
    }

    /// Gives the first of the windows that a pane belongs to; the last has the pane's own number.
    pub fn first_window(&self, pane: i64) -> i64 {
        pane.saturating_sub(self.panes - 1)
    }

    /// Says how long a window is at most: where it follows the clock on the wall, one in which that
    /// is put back is an hour longer.
    pub fn longest(&self) -> Duration {
        let even = matches!(self.timeline, Timeline::Even(_));
        let put_back = if even { 0 } else { HOUR_NANOSECONDS };
        let span = self.slide.saturating_mul(i128::from(self.panes)) + put_back;
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// Gives the panes of a window.
    pub fn panes(&self, number: i64) -> std::ops::Range<i64> {
        number..number.saturating_add(self.panes)
    }

    /// Gives the first window that does not end, with `lateness`, at or before `before`.
    pub fn first_open(&self, before: EventTime, lateness: Duration) -> i64 {
        let pane = self.pane(before.saturating_sub(lateness));
        pane.saturating_sub(self.panes).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn time(text: &str) -> EventTime {
        EventTime::from_chrono(text.parse().unwrap())
    }

    fn window_of(grid: &Grid, text: &str) -> (String, String) {
        let window = grid.window(grid.pane(time(text)));
        (window.start.to_string(), window.end.to_string())
    }

    fn tumbling(zone: &str, size: Duration) -> Grid {
        Grid::new(Zone::parse(zone).unwrap(), size, 1, Duration::ZERO)
    }

    #[track_caller]
    fn assert_window(grid: &Grid, at: &str, start: &str, end: &str) {
        let (start, end) = (time(start).to_string(), time(end).to_string());
        assert_eq!(window_of(grid, at), (start, end));
    }

    #[test]
    fn days_follow_the_clock_on_the_wall() {
        let days = tumbling("Europe/Madrid", DAY);
        let day = |at, start, end| assert_window(&days, at, start, end);
        day("2026-01-15T12:00:00Z", "2026-01-14T23:00:00Z", "2026-01-15T23:00:00Z");
        // 23 hours in spring, 25 in autumn.
        day("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        day("2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    }

    #[test]
    fn years_and_leap_days_begin_at_midnight() {
        let days = tumbling("Europe/Madrid", DAY);
        let day = |at, start, end| assert_window(&days, at, start, end);
        day("2025-12-31T22:59:59Z", "2025-12-30T23:00:00Z", "2025-12-31T23:00:00Z");
        day("2025-12-31T23:00:00Z", "2025-12-31T23:00:00Z", "2026-01-01T23:00:00Z");
        day("2028-02-29T12:00:00Z", "2028-02-28T23:00:00Z", "2028-02-29T23:00:00Z");
        day("2028-02-29T23:00:00Z", "2028-02-29T23:00:00Z", "2028-03-01T23:00:00Z");
    }

    #[test]
    fn hours_stay_hours_when_clocks_are_changed() {
        let hours = tumbling("Europe/Madrid", HOUR);
        let hour = |at, start, end| assert_window(&hours, at, start, end);
        hour("2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z");
        hour("2026-03-29T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z");
        let quarters = tumbling("Europe/Madrid", 6 * HOUR);
        let quarter = |at, start, end| assert_window(&quarters, at, start, end);
        quarter("2026-07-01T05:00:00Z", "2026-07-01T04:00:00Z", "2026-07-01T10:00:00Z");
        quarter("2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z");
    }

    #[test]
    fn weeks_begin_on_mondays_and_an_offset_shifts() {
        let weeks = tumbling("UTC", WEEK);
        assert_window(
            &weeks,
            "2026-03-01T10:00:00Z",
            "2026-02-23T00:00:00Z",
            "2026-03-02T00:00:00Z",
        );
        let shifts = Grid::new(Zone::parse("UTC").unwrap(), DAY, 1, 8 * HOUR);
        assert_window(
            &shifts,
            "2026-03-01T07:00:00Z",
            "2026-02-28T08:00:00Z",
            "2026-03-01T08:00:00Z",
        );
    }

    proptest! {
        #[test]
        fn a_pane_holds_its_times_and_windows_are_open_or_over(
            time in any::<i64>(), zone in 0..3_usize, slide in 1..200_u64, panes in 1..20_u64,
            before in any::<i64>(), lateness in 0..100_000_u64, far in any::<i64>(),
        ) {
            let zone = Zone::parse(["UTC", "Europe/Madrid", "Australia/Lord_Howe"][zone]).unwrap();
            let slide = HOUR * u32::try_from(slide).unwrap();
            let grid = Grid::new(zone, slide, panes, Duration::ZERO);
            let time = EventTime::from_nanoseconds(time);
            let pane = grid.pane(time);
            prop_assert!(grid.start(pane) <= time);
            prop_assert_eq!(pane, grid.any_pane(time));
            for pane in [pane, pane + 1, far] {
                prop_assert_eq!(grid.start(pane), grid.any_start(pane));
            }
            let next = grid.start(pane + 1);
            prop_assert!(time < next || next.nanoseconds() == i64::MAX);
            prop_assert!(grid.panes(grid.first_window(pane)).contains(&pane));
            prop_assert!(!grid.panes(grid.first_window(pane) - 1).contains(&pane));

            let before = EventTime::from_nanoseconds(before);
            let lateness = Duration::from_secs(lateness);
            let open = grid.first_open(before, lateness);
            let earlier = before.saturating_sub(lateness);
            prop_assert!(grid.end(open) > earlier || earlier.nanoseconds() == i64::MAX);
            prop_assert!(grid.end(open - 1) <= earlier);
        }
    }
}
