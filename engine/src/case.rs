//! Runs a case: some records through a pipeline's transforms, on this thread, without sources and
//! sinks.
//!
//! The same chains and states run here as under timely; only who calls them differs. All records
//! form one epoch, and behind it is the end of all input: what a case is asked about is how things
//! end.

use crate::chain::Chain;
use azud_event::id::{Partitioner, StreamId, source_key};
use azud_event::record::{Origin, Record};
use azud_event::row::{Place, Row};
use azud_event::time::EventTime;
use azud_plan::component::{Change, EpochClock, KeyedState, Progress, Running, Told};
use azud_plan::plan::{Pipeline, Reader};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use vrl::value::Value;

/// A record put into a pipeline.
#[derive(Clone, Debug)]
pub struct Insert {
    /// The transform that gets it, by index.
    pub transform: usize,
    /// The record.
    pub value: Value,
    /// When it happened.
    pub event_time: EventTime,
}

/// A record that a transform gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The transform, by index.
    pub transform: usize,
    /// Its output, by index.
    pub port: usize,
    /// The record.
    pub value: Value,
}

/// What transforms gave, in order.
pub(crate) type Taps = Rc<RefCell<Vec<Emitted>>>;

/// The secret of cases: any will do, as long as it is always the same.
const SECRET: [u8; 16] = *b"a case, no enemy";

/// Runs `inserts` through the transforms of `pipeline`; gives everything that any transform gave,
/// in order.
pub fn run(pipeline: &Pipeline, inserts: &[Insert]) -> Vec<Emitted> {
    let taps = Taps::default();
    let partitioner = Partitioner::new(SECRET);
    let mut record = Record::new();
    record.set_journaling(true);
    let mut rows: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
    for (number, insert) in (0..).zip(inserts) {
        let mut chain =
            Chain::for_case(pipeline, Reader::Transform(insert.transform), partitioner, &taps);
        record.begin_value(insert.value.clone(), origin(insert, number));
        chain.value(0, &mut record);
        chain.take_rows(|index, made| rows.entry(index).or_default().append(made));
    }
    let now = inserts.iter().map(|insert| insert.event_time).max().unwrap_or_default();
    for index in 0..pipeline.transforms.len() {
        let node = &pipeline.transforms[index];
        let Running::Keyed { state, .. } = node.spec.build() else { continue };
        let mut chain = Chain::behind_keyed(pipeline, index, partitioner);
        chain.tap(&taps);
        let mine = rows.remove(&index).unwrap_or_default();
        apply(&*state, source_key(&node.id), mine, now, |told, origin| {
            let Told { port, value, .. } = told;
            let emitted = Emitted { transform: index, port, value: value.clone() };
            taps.borrow_mut().push(emitted);
            record.begin_value(value, origin);
            chain.value(port, &mut record);
        });
        chain.take_rows(|index, made| rows.entry(index).or_default().append(made));
    }
    last_revisions(pipeline, taps.take())
}

/// Of what is revised, leaves the last revision of each id: what a case is asked about is how
/// things end.
fn last_revisions(pipeline: &Pipeline, mut emitted: Vec<Emitted>) -> Vec<Emitted> {
    let id = |one: &Emitted| {
        let port = &pipeline.transforms[one.transform].outputs[one.port].port;
        let id = one.value.as_object()?.get("id")?;
        (port.change == Change::Revised).then(|| (one.transform, one.port, id.to_string()))
    };
    let mut seen = BTreeSet::new();
    emitted.reverse();
    emitted.retain(|one| id(one).is_none_or(|id| seen.insert(id)));
    emitted.reverse();
    emitted
}

fn origin(insert: &Insert, number: u64) -> Origin {
    let place = Place {
        event_time: insert.event_time,
        source: 0,
        stream: StreamId(0),
        position: number,
        index: 0,
    };
    Origin::made(place, insert.event_time)
}

/// Applies rows to fresh states, group by group, each in canonical order: as one epoch, and then
/// the end of all input, which tells what waited for more.
fn apply(
    make: &dyn Fn() -> Box<dyn KeyedState>,
    source: u64,
    mut rows: Vec<Row>,
    now: EventTime,
    mut emit: impl FnMut(Told, Origin),
) {
    rows.sort_unstable_by_key(|row| (row.group, row.place));
    let clock = |watermark| {
        let missing = Arc::new([]);
        EpochClock { now, watermark, late_before: EventTime::MIN, missing }
    };
    for rows in rows.chunk_by(|a, b| a.group == b.group) {
        let mut state = make();
        let mut told = 0;
        for (mut rows, clock) in [(rows, clock(now)), (&[][..], clock(EventTime::MAX))] {
            let group = rows.first().map_or(0, |row| row.group.0);
            let mut apply = |rows: &[Row]| {
                let state = &mut *state;
                crate::dataflow::apply(state, source, group, rows, &clock, &mut told, &mut emit)
            };
            while apply(rows) == Progress::More {
                rows = &[];
            }
        }
    }
}
