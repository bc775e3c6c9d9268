//! Runs a case: some records through a pipeline's transforms, on this thread, without sources and
//! sinks.
//!
//! The same chains and states run here as under timely; only who calls them differs. What a case is
//! asked about is how things end: behind its records is the end of all input, and of what is
//! revised the last revision counts. So a case may be fed in many ways ([`Schedule`]), all of which
//! must end alike.

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
    /// Its stream: records of one come in their order, whatever the schedule.
    pub stream: u64,
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

/// In which order records arrive, and how they are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The epochs, each with the records that arrive in it, by index.
    epochs: Vec<Vec<usize>>,
    /// After which epochs, by the bits of this number, states are written and read back.
    restores: u64,
}

impl Schedule {
    /// Everything in one epoch, as it was written.
    pub fn straight(inserts: &[Insert]) -> Self {
        Schedule { epochs: vec![(0..inserts.len()).collect()], restores: 0 }
    }

    /// Streams interleaved at random and cut into epochs at random; the same for the same seed.
    pub fn shuffled(inserts: &[Insert], seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let mut streams: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, insert) in inserts.iter().enumerate().rev() {
            streams.entry(insert.stream).or_default().push(index);
        }
        let mut streams: Vec<Vec<usize>> = streams.into_values().collect();
        let mut epochs = vec![Vec::new()];
        while !streams.is_empty() {
            let next = random.below(streams.len());
            if let Some(index) = streams[next].pop()
                && let Some(epoch) = epochs.last_mut()
            {
                epoch.push(index);
            }
            if streams[next].is_empty() {
                streams.swap_remove(next);
            }
            if random.below(4) == 0 {
                epochs.push(Vec::new());
            }
        }
        // Behind one epoch in eight.
        let restores = random.next() & random.next() & random.next();
        Schedule { epochs, restores }
    }

    /// Gives for each epoch the time before which nothing comes any more behind it.
    fn watermarks(&self, inserts: &[Insert]) -> Vec<EventTime> {
        let mut least = EventTime::MAX;
        let mut watermarks: Vec<EventTime> = Vec::with_capacity(self.epochs.len());
        for epoch in self.epochs.iter().rev() {
            watermarks.push(least);
            least =
                epoch.iter().map(|index| inserts[*index].event_time).fold(least, EventTime::min);
        }
        watermarks.reverse();
        watermarks
    }
}

/// The generator of Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Gives a number below `count`, which is small.
    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

/// Runs `inserts` through the transforms of `pipeline`; gives everything that any transform gave,
/// in order, of what is revised only the last revisions.
///
/// # Errors
/// When a state that was written could not be read back: the transform, and why.
pub fn run(
    pipeline: &Pipeline,
    inserts: &[Insert],
    schedule: &Schedule,
) -> Result<Vec<Emitted>, String> {
    let mut run = Run::new(pipeline, inserts);
    let watermarks = schedule.watermarks(inserts);
    for (number, (epoch, watermark)) in schedule.epochs.iter().zip(&watermarks).enumerate() {
        // What comes to an end with the last record is told before the end of all input is.
        let watermark = if *watermark == EventTime::MAX { run.now } else { *watermark };
        run.epoch(epoch, watermark);
        if schedule.restores >> (number % 64) & 1 == 1 {
            run.restore()?;
        }
    }
    run.epoch(&[], EventTime::MAX);
    Ok(last_revisions(pipeline, run.taps.take()))
}

/// A case under way.
struct Run<'a> {
    pipeline: &'a Pipeline,
    inserts: &'a [Insert],
    partitioner: Partitioner,
    taps: Taps,
    /// The chain behind each place where records are put in, by transform.
    entries: BTreeMap<usize, Chain>,
    /// The keyed transforms, in the order of the flow.
    keyed: Vec<Keyed>,
    rows: BTreeMap<usize, Vec<Row>>,
    record: Record,
    /// The clock of every epoch: the time of the last record, so that it does not show when what
    /// arrived.
    now: EventTime,
    watermark: EventTime,
}

/// A keyed transform.
struct Keyed {
    transform: usize,
    make: Box<dyn Fn() -> Box<dyn KeyedState> + Send>,
    /// The states of its key groups, and how many records each has told.
    states: BTreeMap<u8, (Box<dyn KeyedState>, u64)>,
    /// What stands behind it.
    chain: Chain,
}

impl<'a> Run<'a> {
    fn new(pipeline: &'a Pipeline, inserts: &'a [Insert]) -> Self {
        let (taps, partitioner) = (Taps::default(), Partitioner::new(SECRET));
        let keyed = pipeline.transforms.iter().enumerate().filter_map(|(transform, node)| {
            let Running::Keyed { state: make, .. } = node.spec.build() else { return None };
            let mut chain = Chain::behind_keyed(pipeline, transform, partitioner);
            chain.tap(&taps);
            Some(Keyed { transform, make, states: BTreeMap::new(), chain })
        });
        let keyed = keyed.collect();
        let mut record = Record::new();
        record.set_journaling(true);
        let now = inserts.iter().map(|insert| insert.event_time).max().unwrap_or_default();
        Run {
            pipeline,
            inserts,
            partitioner,
            taps,
            entries: BTreeMap::new(),
            keyed,
            rows: BTreeMap::new(),
            record,
            now,
            watermark: EventTime::MIN,
        }
    }

    /// Runs the records of an epoch through what is stateless, then the whole epoch through each
    /// keyed transform.
    fn epoch(&mut self, epoch: &[usize], watermark: EventTime) {
        let late_before = std::mem::replace(&mut self.watermark, watermark);
        let over: Arc<[EventTime]> = vec![late_before; self.pipeline.transforms.len()].into();
        for index in epoch {
            let insert = &self.inserts[*index];
            let chain = self.entries.entry(insert.transform).or_insert_with(|| {
                let reader = Reader::Transform(insert.transform);
                Chain::for_case(self.pipeline, reader, self.partitioner, &self.taps)
            });
            chain.begin_epoch(&over);
            self.record.begin_value(insert.value.clone(), origin(insert, *index as u64));
            chain.value(0, &mut self.record);
        }
        for chain in self.entries.values_mut() {
            chain.take_rows(|index, made| self.rows.entry(index).or_default().append(made));
        }
        let clock = EpochClock { now: self.now, watermark, late_before, missing: Arc::new([]) };
        for keyed in &mut self.keyed {
            let rows = self.rows.remove(&keyed.transform).unwrap_or_default();
            keyed.chain.begin_epoch(&over);
            let source = source_key(&self.pipeline.transforms[keyed.transform].id);
            keyed.apply(source, rows, &clock, &self.taps, &mut self.record);
            let rows = &mut self.rows;
            keyed.chain.take_rows(|index, made| rows.entry(index).or_default().append(made));
        }
    }

    /// Writes every state, and goes on with what is read back.
    fn restore(&mut self) -> Result<(), String> {
        for Keyed { transform, make, states, .. } in &mut self.keyed {
            for (state, _) in states.values_mut() {
                let mut again = make();
                let read = again.restore(&state.snapshot());
                let id = &self.pipeline.transforms[*transform].id;
                read.map_err(|why| format!("the state of `{id}` cannot be read back: {why}"))?;
                *state = again;
            }
        }
        Ok(())
    }
}

impl Keyed {
    /// Applies the rows of an epoch group by group, each in canonical order, and wakes the groups
    /// that wait for its watermark.
    fn apply(
        &mut self,
        source: u64,
        mut rows: Vec<Row>,
        clock: &EpochClock,
        taps: &Taps,
        record: &mut Record,
    ) {
        rows.sort_unstable_by_key(|row| (row.group, row.place));
        let mut groups: BTreeMap<u8, &[Row]> = BTreeMap::new();
        for rows in rows.chunk_by(|a, b| a.group == b.group) {
            groups.insert(rows[0].group.0, rows);
        }
        for (group, (state, _)) in &self.states {
            if state.due().watermark.is_some_and(|due| due <= clock.watermark) {
                groups.entry(*group).or_default();
            }
        }
        let Keyed { transform, make, states, chain } = self;
        let mut emit = |told: Told<'_>, origin: Origin| {
            let port = told.begin(record, origin);
            let value = record.to_value();
            taps.borrow_mut().push(Emitted { transform: *transform, port, value });
            chain.value(port, record);
        };
        for (group, mut rows) in groups {
            let (state, told) = states.entry(group).or_insert_with(|| (make(), 0));
            let mut apply = |rows: &[Row]| {
                crate::dataflow::apply(&mut **state, source, group, rows, clock, told, &mut emit)
            };
            while apply(rows) == Progress::More {
                rows = &[];
            }
        }
    }
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
        stream: StreamId(insert.stream),
        position: number,
        index: 0,
    };
    Origin::made(place, insert.event_time)
}

/// What a revision says of how it came about, and what hangs on when it was first told.
const OF_THE_WAY: [&str; 8] =
    ["anchor", "change", "completeness", "id", "raised_at", "revision", "supersedes", "updated_at"];

/// Gives how things ended, so that two runs of one case can be compared: what was taken back is
/// left out, and of the rest how it came about. Sorted, for results come in no order of their own.
pub fn ends(pipeline: &Pipeline, emitted: &[Emitted]) -> Vec<(usize, usize, String)> {
    let mut ends = Vec::with_capacity(emitted.len());
    for Emitted { transform, port, value } in emitted {
        let revised = pipeline.transforms[*transform].outputs[*port].port.change == Change::Revised;
        let mut value = value.clone();
        if let Value::Object(members) = &mut value
            && revised
        {
            let says = |name: &str, word: &str| {
                members.get(name).is_some_and(|value| value.to_string_lossy() == word)
            };
            if says("change", "withdrawn") || says("state", "withdrawn") {
                continue;
            }
            members.retain(|name, _| !OF_THE_WAY.contains(&name.as_str()));
        }
        ends.push((*transform, *port, value.to_string()));
    }
    ends.sort_unstable();
    ends
}
