//! Windows that are told before they close.
//!
//! A demand that can only become truer holds of a window for good once it holds. Whether it does is
//! looked up in what has been gathered, in two steps, neither of which makes a result: first by
//! numbers that are cheap and never too low (a window has at most as many different values as its
//! panes have together), then exactly, by merging the few fields that are asked about.
//!
//! A record touches as many windows as a window has panes. What no window of a stretch can meet is
//! seen from all their panes together; only where these would meet it are the windows looked at
//! half by half.

use super::gathered::Gathered;
use super::grid::Grid;
use crate::aggregate::{Aggregate, Partial};
use azud_plan::component::{Demand, Threshold};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use vrl::compiler::value::VrlValueArithmetic;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// Which windows are told before they close.
#[derive(Clone, Debug, PartialEq)]
pub enum Early {
    /// None.
    Never,
    /// Those of which this holds.
    When(Growth),
    /// All.
    Always,
}

impl Early {
    /// Whether there are any.
    pub fn at_all(&self) -> bool {
        *self != Early::Never
    }
}

/// What must hold of what a window has gathered. Once it holds it goes on to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Growth {
    /// Something has come so far.
    Reaches(Reach),
    /// All of these hold.
    All(Vec<Growth>),
    /// One of these holds.
    Any(Vec<Growth>),
}

/// What only grows in a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Grown {
    /// The count of records.
    Records,
    /// A field, by its place among those that are gathered.
    Field(usize, Aggregate),
}

/// A number that something must come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// What must come to it.
    pub what: Grown,
    /// The number.
    pub number: Value,
    /// Whether it must be above it, and not only at it.
    pub above: bool,
}

impl Growth {
    /// Makes what is looked up in what is gathered of what is wanted of results; `field` finds a
    /// field. `None` when there is none.
    pub fn of(demand: &Demand, field: &dyn Fn(&OwnedValuePath) -> Option<Grown>) -> Option<Self> {
        let all = |demands: &[Demand]| -> Option<Vec<Growth>> {
            demands.iter().map(|it| Growth::of(it, field)).collect()
        };
        Some(match demand {
            Demand::Reaches(Threshold { field: path, number, above }) => {
                let (number, above) = (number.clone(), *above);
                Growth::Reaches(Reach { what: field(path)?, number, above })
            }
            Demand::All(demands) => Growth::All(all(demands)?),
            Demand::Any(demands) => Growth::Any(all(demands)?),
        })
    }

    /// Whether it holds of all that these parts have gathered.
    pub fn holds(&self, parts: &[&Gathered]) -> bool {
        self.judge(&|reach| reach.may_hold(parts)) && self.judge(&|reach| reach.holds(parts))
    }

    fn judge(&self, holds: &dyn Fn(&Reach) -> bool) -> bool {
        match self {
            Growth::Reaches(reach) => holds(reach),
            Growth::All(all) => all.iter().all(|growth| growth.judge(holds)),
            Growth::Any(all) => all.iter().any(|growth| growth.judge(holds)),
        }
    }

    /// Adds those of some windows of which it holds. `panes` are all that these windows have,
    /// `known` windows that need not be looked at.
    pub fn find(
        &self,
        grid: &Grid,
        windows: RangeInclusive<i64>,
        panes: &[(i64, &Gathered)],
        known: &BTreeSet<i64>,
        found: &mut Vec<i64>,
    ) {
        let (first, last) = (*windows.start(), *windows.end());
        if first > last || known.range(windows).count() as i64 == last - first + 1 {
            return;
        }
        let place = |number: i64| panes.partition_point(|(pane, _)| *pane < number);
        let panes = &panes[place(first)..place(grid.panes(last).end)];
        let parts: Vec<&Gathered> = panes.iter().map(|(_, gathered)| *gathered).collect();
        if !self.holds(&parts) {
            return;
        }
        if first == last {
            found.push(first);
            return;
        }
        let middle = first + (last - first) / 2;
        self.find(grid, first..=middle, panes, known, found);
        self.find(grid, middle + 1..=last, panes, known, found);
    }
}

impl Reach {
    /// Whether it may hold, by numbers that are never too low.
    fn may_hold(&self, parts: &[&Gathered]) -> bool {
        let most = match &self.what {
            Grown::Records => parts.iter().map(|part| part.count as f64).sum(),
            Grown::Field(place, aggregate) => {
                aggregate.at_most(parts.iter().map(|it| &it.partials[*place]))
            }
        };
        let number = match &self.number {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => **number,
            _ => return true,
        };
        most >= number
    }

    fn holds(&self, parts: &[&Gathered]) -> bool {
        let value = match &self.what {
            Grown::Records => {
                let count = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.count));
                Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
            }
            Grown::Field(place, aggregate) => {
                let mut parts = parts.iter().map(|part| &part.partials[*place]);
                let Some(first) = parts.next() else { return false };
                let mut all: Partial = first.clone();
                parts.for_each(|part| all.merge(part));
                all.finish(aggregate)
            }
        };
        let number = self.number.clone();
        let held = if self.above { value.try_gt(number) } else { value.try_ge(number) };
        held == Ok(Value::Boolean(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{
        Answer, Bounds, Fields, Gap, Look, Panes, Sessions, State, Teller, Telling, Windows, Zone,
    };
    use azud_event::id::{KeyGroup, Partitioner, StreamId};
    use azud_event::record::Building;
    use azud_event::row::{Place, Row};
    use azud_event::time::EventTime;
    use azud_plan::component::{EpochClock, KeyedState};
    use smallvec::SmallVec;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Counts the results that are made.
    struct Counting(Arc<AtomicUsize>);

    impl Teller for Counting {
        fn look(&mut self, answer: &Answer<'_>) -> Look {
            self.0.fetch_add(1, Ordering::SeqCst);
            let digest = [answer.gathered.count as u8; 16];
            Look { digest, fields: SmallVec::new(), holds: true }
        }

        fn write(&self, _: &Telling<'_>, _: &mut Building<'_>) {}
    }

    fn place(second: i64) -> Place {
        let event_time = EventTime::from_nanoseconds(second * 1_000_000_000);
        Place { event_time, source: 0, stream: StreamId(0), position: second as u64, index: 0 }
    }

    fn at_least(number: i64) -> Early {
        let number = Value::Integer(number);
        Early::When(Growth::Reaches(Reach { what: Grown::Records, number, above: false }))
    }

    /// Feeds one record a second, each an epoch of its own, under a watermark that stands; gives
    /// how many results were made and how many told, after each.
    fn fed(windows: Windows, seconds: std::ops::Range<i64>) -> Vec<(usize, usize)> {
        use crate::window::{PanesMaker, SessionsMaker};
        use azud_plan::component::RowContext;
        let fields = Arc::new(Fields { fields: Vec::new(), evidence: Default::default() });
        let looks = Arc::<AtomicUsize>::default();
        let bounds = Bounds { keys: 9, bytes: 1 << 30, closed_bytes: 1 << 30 };
        let least = EventTime::MIN;
        let teller = Counting(Arc::clone(&looks));
        let mut state = State::new(Arc::new(windows.clone()), Arc::clone(&fields), bounds, teller);
        let missing: Arc<[String]> = Arc::new([]);
        let clock = EpochClock { now: least, watermark: least, late_before: least, missing };
        let mut told = 0;
        let mut epoch = |second: i64| {
            let mut rows: Vec<Row> = Vec::new();
            let place = place(second);
            let partitioner = Partitioner::new([7; 16]);
            let count = |gathered: Option<&mut Gathered>| {
                gathered.unwrap().count(place.event_time, place.event_time);
            };
            match &windows {
                Windows::Panes(windows) => {
                    let mut maker = PanesMaker::new(windows.clone());
                    let context = RowContext { partitioner, late_before: least };
                    count(maker.gather(b"key", &place, &context, &fields));
                    maker.drain(&partitioner, &mut rows);
                }
                Windows::Sessions(windows) => {
                    let mut maker = SessionsMaker::new(windows.clone());
                    count(maker.gather(b"key", &place, least, &fields));
                    maker.drain(&partitioner, &mut rows);
                }
            }
            rows.iter_mut().for_each(|row| row.group = KeyGroup(0));
            state.on_epoch(&rows, &clock, &mut |_| told += 1);
            (looks.load(Ordering::SeqCst), told)
        };
        seconds.map(&mut epoch).collect()
    }

    #[test]
    fn nothing_is_made_of_open_windows_that_nobody_waits_for() {
        let grid = Grid::new(Zone::parse("UTC").unwrap(), MINUTE, 60, Duration::ZERO);
        let early = at_least(20);
        let panes = Panes { grid, lateness: MINUTE, early: early.clone(), empty: false };
        let gap = Gap { gap: MINUTE, max: 60 * MINUTE };
        let sessions = Sessions { gap, lateness: MINUTE, early };
        for (windows, together) in [(Windows::Panes(panes), 60), (Windows::Sessions(sessions), 1)] {
            let seen = fed(windows, 0..21);
            assert!(seen[..19].iter().all(|seen| *seen == (0, 0)), "{seen:?}");
            assert_eq!(seen[19..], [(together, together), (2 * together, 2 * together)]);
        }
    }

    #[test]
    fn of_windows_that_overlap_those_are_told_that_hold_enough() {
        let grid = Grid::new(Zone::parse("UTC").unwrap(), MINUTE, 10, Duration::ZERO);
        let panes = Panes { grid, lateness: MINUTE, early: at_least(20), empty: false };
        // Twelve in the first minute, one in each of the following: the windows that begin with the
        // first minute or the one before come to 20.
        let mut seen = Vec::new();
        let seconds: Vec<i64> = (0..12).chain((1..10).map(|minute| minute * 60)).collect();
        for (number, _) in seconds.iter().enumerate() {
            let upto: Vec<i64> = seconds[..=number].to_vec();
            let mut told = 0;
            for window in -9..=9_i64 {
                let inside = |second: &&i64| (window..window + 10).contains(&(**second / 60));
                told += usize::from(upto.iter().filter(inside).count() >= 20);
            }
            seen.push(told);
        }
        let fields = Fields { fields: Vec::new(), evidence: Default::default() };
        let Early::When(growth) = &panes.early else { panic!("it is not") };
        for (number, expected) in seen.iter().enumerate() {
            let mut by_pane = std::collections::BTreeMap::new();
            for second in &seconds[..=number] {
                let gathered: &mut Gathered =
                    by_pane.entry(second / 60).or_insert_with(|| Gathered::new(&fields));
                gathered.count(place(*second).event_time, place(*second).event_time);
            }
            let panes_of: Vec<(i64, &Gathered)> =
                by_pane.iter().map(|(pane, gathered)| (*pane, gathered)).collect();
            let mut found = Vec::new();
            growth.find(&panes.grid, -9..=9, &panes_of, &BTreeSet::new(), &mut found);
            assert_eq!(found.len(), *expected, "{number}");
        }
        assert_eq!(seen.last(), Some(&2));
    }
}
