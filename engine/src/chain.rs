//! A [`Chain`]: everything stateless behind one entry of a pipeline, fused, on one worker.
//!
//! A block is framed, and each frame decoded into the one reused record; the record walks depth
//! first through every transform that reads it, and is encoded straight into the open buffers of
//! sinks or made into a row for a keyed transform. No event is stored, cloned or sent to be looked
//! at by the next step. Where a record goes several ways, the undo journal of the record takes back
//! what one way changed before the next begins.
//!
//! User code (decoders and programs) runs under guard, a block at a time. If something panics, the
//! buffers are cut back to where they were before the block, the transforms are built anew, and the
//! block is run once more record by record, so that only the guilty record is set aside.

mod ends;
mod entry;
#[cfg(test)]
mod tests;

use crate::case::{Emitted, Taps};
use crate::dead_letter;
use crate::egress::Encoded;
use crate::event_clock::Observation;
use crate::limits::{BATCH_BYTES, PARTITIONS_OPEN_MAX};
use crate::telemetry::{ComponentMeter, Pending, count_alert};
use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::framing::frames;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::id::{Partitioner, source_key};
use azud_event::record::{Building, Path, Record, Wanted};
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{Next, RowContext, Running, Taken, Transform, TransformSpec};
use azud_plan::plan::{FUTURE, Output, Pipeline, Plan, Reader, SourceInput};
use ends::{KeyedEnd, SinkEnd};
use entry::{Prefilter, Sight, SourceEntry};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use vrl::path::{OwnedTargetPath, OwnedValuePath, PathPrefix};

/// Before every event: nothing is over yet.
const NEVER: EventTime = EventTime::from_nanoseconds(i64::MIN);

/// Everything stateless behind one entry of a pipeline, on one worker.
pub struct Chain {
    sources: HashMap<u32, SourceEntry>,
    entry: Vec<Readers>,
    steps: Vec<Option<Step>>,
    keyed: Vec<Option<KeyedEnd>>,
    sinks: Vec<SinkEnd>,
    /// The place of the dead letters among `sinks`: the last.
    dead: usize,
    partitioner: Partitioner,
    /// For each transform, what was over when the epoch under way opened.
    late_before: Arc<[EventTime]>,
    place: Place,
    /// Of a chain behind a keyed transform: whose results these are.
    results_of: Option<(Arc<str>, ComponentMeter)>,
    /// What blocks showed of event time since it was last asked for.
    observed: Vec<Observation>,
    /// Where a case looks at what transforms give.
    taps: Option<Taps>,
    /// Used again for each block and each result.
    marks: Marks,
}

/// Who reads a port. Shared, so that the walk can hold it while the chain is borrowed.
type Readers = Rc<[Reader]>;

/// Whose record is under way: for dead letters.
#[derive(Default)]
struct Place {
    source: Arc<str>,
}

struct Step {
    id: Arc<str>,
    /// Taken out while it runs; missing after a panic.
    transform: Option<Box<dyn Transform>>,
    outputs: Vec<Readers>,
    /// Whether what it gives is alerts that begin here, which are counted as such.
    raises: bool,
    meter: ComponentMeter,
    spec: Arc<dyn TransformSpec>,
}

/// Makes a path within the event ready to be followed.
fn path_of(path: OwnedValuePath) -> Path {
    OwnedTargetPath { prefix: PathPrefix::Event, path }.into()
}

/// Where the chain stood before a block, or before a result.
#[derive(Default)]
struct Marks {
    buffers: Vec<Vec<(usize, usize)>>,
    rows: Vec<usize>,
    counted: Vec<Pending>,
}

impl Chain {
    /// Builds the chain behind the sources of a pipeline.
    ///
    /// `counts` says whether this pipeline counts what a source received, one pipeline for each
    /// source.
    pub fn behind_sources(
        plan: &Plan,
        pipeline: &Pipeline,
        partitioner: Partitioner,
        counts: impl Fn(&SourceInput) -> bool,
    ) -> Self {
        let mut chain = Chain::empty(pipeline, partitioner);
        for (lane, input) in pipeline.sources.iter().enumerate() {
            let source = &plan.sources[input.source.0 as usize];
            let is_future = |output: &&Output| output.port.name.as_deref() == Some(FUTURE);
            let (future, outputs): (Vec<_>, Vec<_>) = input.outputs.iter().partition(is_future);
            let readers = |outputs: Vec<&Output>| -> Readers {
                outputs.into_iter().flat_map(|output| output.readers.iter().copied()).collect()
            };
            let (future, readers) = (readers(future), readers(outputs));
            for reader in readers.iter().chain(future.iter()) {
                chain.reach(pipeline, *reader);
            }
            let decoder = source.spec.decoder();
            let sight = pipeline.is_keyed().then(|| Sight::new(lane, &source.timing.expect));
            // Where somebody waits for event time, every record shows it, kept or not.
            let looks = source.timing.event_time.is_some() || sight.is_some();
            let prefilter = chain.prefilter(&readers, &*decoder).filter(|_| !looks);
            let mut paths: Vec<_> = source.timing.event_time.clone().into_iter().collect();
            paths.extend(sight.iter().flat_map(Sight::reads));
            let ways = readers.iter().chain(future.iter());
            let few = ways.copied().all(|reader| chain.reads(reader, &mut paths));
            let wanted = few.then(|| Wanted::of(&paths)).flatten();
            let way = entry::Way {
                id: source.id.as_str().into(),
                key: source_key(&source.id),
                event_time: source.timing.event_time.clone().map(path_of),
                timing: source.timing.clone(),
                readers,
                future,
                meter: ComponentMeter::new(&source.id, "source", source.kind, &pipeline.name),
                counts: counts(input),
                sight,
            };
            let spec = Arc::clone(&source.spec);
            let mut entry = SourceEntry { decoder, prefilter, spec, wanted, way };
            entry.renew();
            chain.sources.insert(input.source.0, entry);
        }
        chain
    }

    /// Builds the chain behind a keyed transform of a pipeline.
    pub fn behind_keyed(pipeline: &Pipeline, transform: usize, partitioner: Partitioner) -> Self {
        let mut chain = Chain::empty(pipeline, partitioner);
        let node = &pipeline.transforms[transform];
        let meter = ComponentMeter::new(&node.id, "transform", node.kind, &pipeline.name);
        chain.results_of = Some((node.id.as_str().into(), meter));
        chain.entry = readers(&node.outputs);
        for reader in all(&chain.entry.clone()) {
            chain.reach(pipeline, reader);
        }
        chain
    }

    /// Builds the chain behind one reader, for a case.
    pub(crate) fn for_case(
        pipeline: &Pipeline,
        reader: Reader,
        partitioner: Partitioner,
        taps: &Taps,
    ) -> Self {
        let mut chain = Chain::empty(pipeline, partitioner);
        chain.entry = vec![[reader].as_slice().into()];
        chain.reach(pipeline, reader);
        chain.tap(taps);
        chain
    }

    /// Notes from now on what transforms give.
    pub(crate) fn tap(&mut self, taps: &Taps) {
        self.taps = Some(Rc::clone(taps));
    }

    fn empty(pipeline: &Pipeline, partitioner: Partitioner) -> Self {
        let meter = |id: &str, kind| ComponentMeter::new(id, "sink", kind, &pipeline.name);
        let sinks = pipeline
            .sinks
            .iter()
            .map(|sink| SinkEnd::new(&sink.id, sink.spec.encoder(), meter(&sink.id, sink.kind)));
        let mut sinks: Vec<_> = sinks.collect();
        let (dead, id) = (sinks.len(), dead_letter::COMPONENT);
        sinks.push(SinkEnd::new(id, Box::new(dead_letter::NoEncoder), meter(id, id)));
        Chain {
            sources: HashMap::new(),
            entry: Vec::new(),
            steps: pipeline.transforms.iter().map(|_| None).collect(),
            keyed: pipeline.transforms.iter().map(|_| None).collect(),
            sinks,
            dead,
            partitioner,
            late_before: vec![NEVER; pipeline.transforms.len()].into(),
            place: Place::default(),
            results_of: None,
            observed: Vec::new(),
            taps: None,
            marks: Marks::default(),
        }
    }

    /// Builds everything that a reader leads to, up to keyed transforms.
    fn reach(&mut self, pipeline: &Pipeline, reader: Reader) {
        let Reader::Transform(index) = reader else { return };
        if self.steps[index].is_some() || self.keyed[index].is_some() {
            return;
        }
        let node = &pipeline.transforms[index];
        let id: Arc<str> = node.id.as_str().into();
        let meter = ComponentMeter::new(&node.id, "transform", node.kind, &pipeline.name);
        let spec = Arc::clone(&node.spec);
        match node.spec.build() {
            Running::Stateless(transform) => {
                let outputs = readers(&node.outputs);
                let raises = spec.rule().is_some();
                let transform = Some(transform);
                let step = Step { id, transform, outputs: outputs.clone(), raises, meter, spec };
                self.steps[index] = Some(step);
                for reader in all(&outputs) {
                    self.reach(pipeline, reader);
                }
            }
            Running::Keyed { rows: maker, .. } => {
                let late =
                    spec.late_port().map(|port| (port, readers(&node.outputs)[port].clone()));
                let keyed =
                    KeyedEnd { id, maker, rows: Vec::new(), late: late.clone(), meter, spec };
                self.keyed[index] = Some(keyed);
                for reader in late.iter().flat_map(|(_, readers)| readers.iter()) {
                    self.reach(pipeline, *reader);
                }
            }
        }
    }

    /// Adds the fields that a reader, and whoever reads what it sends on, looks at; `false` when
    /// that may be all.
    fn reads(&self, reader: Reader, paths: &mut Vec<OwnedValuePath>) -> bool {
        let Reader::Transform(index) = reader else { return false };
        let (spec, readers) = match (&self.steps[index], &self.keyed[index]) {
            (Some(step), _) => (&step.spec, all(&step.outputs).collect()),
            (None, Some(keyed)) => {
                let late = keyed.late.iter().flat_map(|(_, readers)| readers.iter().copied());
                (&keyed.spec, late.collect::<Vec<_>>())
            }
            (None, None) => return false,
        };
        let Some(own) = spec.reads() else { return false };
        paths.extend(own);
        readers.into_iter().all(|reader| self.reads(reader, paths))
    }

    /// Gives the prefilter of a source: its one reader must look for a text in a field that stands
    /// in the frame as it is. Nobody may want the event time of what is passed over.
    fn prefilter(&self, readers: &[Reader], decoder: &dyn Decoder) -> Option<Prefilter> {
        let [Reader::Transform(reader)] = readers else { return None };
        let needle = self.steps[*reader].as_ref()?.spec.needle()?;
        let verbatim = decoder.verbatim_field()? == needle.field;
        verbatim.then(|| Prefilter::new(needle, *reader))
    }

    /// Whether records must journal their changes: when one record goes several ways, or a program
    /// may have to be undone.
    pub fn journals(&self) -> bool {
        let fans_out = |readers: &[Reader]| readers.len() > 1;
        self.sources.values().any(|source| fans_out(&source.way.readers))
            || self.entry.iter().any(|readers| fans_out(readers))
            || self
                .steps
                .iter()
                .flatten()
                .any(|step| step.spec.rolls_back() || all(&step.outputs).count() > 1)
    }

    /// Works through a block.
    pub fn block(&mut self, block: &Block, record: &mut Record) {
        let Some(mut source) = self.sources.remove(&block.source.0) else {
            // A pipeline reads only its own sources' rings.
            unreachable!("a block of a source that this pipeline does not read");
        };
        self.place.source = Arc::clone(&source.way.id);
        record.origin_mut().source_key = source.way.key;
        if let Some(sight) = &mut source.way.sight {
            sight.begin(block);
        }
        let counted = source.way.meter.pending();
        if let Layout::Refused { reason, length } = block.layout {
            self.refused(block, reason, length, &mut source);
        } else if self.guarded(|chain| chain.frames(block, None, record, &mut source)).is_err() {
            source.way.meter.rewind(counted);
            self.frame_by_frame(block, record, &mut source);
        }
        if let Some(sight) = &source.way.sight {
            sight.seen(block, &mut self.observed);
        }
        self.sources.insert(block.source.0, source);
    }

    /// Takes what blocks showed of event time since the last call.
    pub fn take_observed(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.observed)
    }

    /// Says that what comes from now on is of an epoch for which this was over: for each transform,
    /// as of [`RowContext::late_before`].
    pub fn begin_epoch(&mut self, late_before: &Arc<[EventTime]>) {
        if !Arc::ptr_eq(&self.late_before, late_before) {
            self.late_before = Arc::clone(late_before);
        }
    }

    /// Writes what a keyed transform gave where it leaves, if one sink alone reads it and takes
    /// JSON text as it is. Whether that was so; else it has to become a record, for
    /// [`Chain::value`].
    pub fn write(&mut self, port: usize, build: impl FnOnce(&mut Building<'_>)) -> bool {
        let readers = self.entry.get(port).map(|readers| &**readers);
        let written = match readers {
            Some([Reader::Sink(index)]) if self.taps.is_none() => self.sinks[*index].write(build),
            _ => false,
        };
        if written {
            self.count_result();
        }
        written
    }

    fn count_result(&mut self) {
        if let Some((_, meter)) = &mut self.results_of {
            meter.sent(1);
        }
    }

    /// Runs a value that a keyed transform gave through the readers of its port.
    pub fn value(&mut self, port: usize, record: &mut Record) {
        let Some(readers) = self.entry.get(port).cloned() else { return };
        let run = |chain: &mut Chain| {
            chain.count_result();
            chain.forward(&readers, record, true);
        };
        if self.guarded(run).is_err() {
            self.rebuild();
            let fault = Fault::new(Reason::Panic, "a component panicked on a result");
            let Some((id, meter)) = &mut self.results_of else { return };
            meter.dead(fault.reason);
            let id = Arc::clone(id);
            self.set_aside(&id, None, &fault, record);
        }
    }

    /// Gives every buffer that is full, or with `all` every buffer that holds anything.
    pub fn flush(&mut self, all: bool, mut give: impl FnMut(Encoded)) {
        for (index, sink) in self.sinks.iter_mut().enumerate() {
            let crowded = sink.buffers.len() > PARTITIONS_OPEN_MAX;
            for buffer in &mut sink.buffers {
                let full = all || crowded || buffer.bytes.len() >= BATCH_BYTES;
                if buffer.records > 0 && full {
                    let (bytes, records) = buffer.take();
                    let partition = Arc::clone(&buffer.partition);
                    give(Encoded { sink: index, bytes, records, partition });
                }
            }
            if crowded {
                sink.close();
            }
        }
    }

    /// Gives the rows made for each keyed transform, by the transform's index.
    pub fn take_rows(&mut self, mut give: impl FnMut(usize, &mut Vec<Row>)) {
        self.drain();
        for (index, keyed) in self.keyed.iter_mut().enumerate() {
            if let Some(keyed) = keyed
                && !keyed.rows.is_empty()
            {
                give(index, &mut keyed.rows);
                keyed.rows.clear();
            }
        }
    }

    fn drain(&mut self) {
        for keyed in self.keyed.iter_mut().flatten() {
            keyed.maker.drain(&mut keyed.rows);
        }
    }

    /// Lists the keyed transforms that this chain feeds.
    pub fn feeds(&self) -> Vec<usize> {
        (0..self.keyed.len()).filter(|index| self.keyed[*index].is_some()).collect()
    }

    /// Hands what was counted to the recorder.
    pub fn flush_meters(&mut self) {
        self.meters().for_each(ComponentMeter::flush);
    }

    fn meters(&mut self) -> impl Iterator<Item = &mut ComponentMeter> {
        let sources = self.sources.values_mut().map(|source| &mut source.way.meter);
        let steps = self.steps.iter_mut().flatten().map(|step| &mut step.meter);
        let keyed = self.keyed.iter_mut().flatten().map(|keyed| &mut keyed.meter);
        let sinks = self.sinks.iter_mut().map(|sink| &mut sink.meter);
        let results = self.results_of.iter_mut().map(|(_, meter)| meter);
        sources.chain(steps).chain(keyed).chain(sinks).chain(results)
    }

    /// Runs `work`; if it panics, cuts buffers, rows and counts back to where they were and says
    /// so.
    fn guarded(&mut self, work: impl FnOnce(&mut Chain)) -> Result<(), ()> {
        let mut marks = std::mem::take(&mut self.marks);
        self.mark(&mut marks);
        let guard = crate::supervise::UserCode::enter();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        drop(guard);
        if outcome.is_err() {
            self.cut_back(&mut marks);
        }
        self.marks = marks;
        outcome.map_err(drop)
    }

    fn mark(&mut self, marks: &mut Marks) {
        let Marks { buffers, rows, counted } = marks;
        buffers.resize_with(self.sinks.len(), Vec::new);
        buffers.iter_mut().zip(&self.sinks).for_each(|(marks, sink)| sink.mark(marks));
        rows.clear();
        rows.extend(self.keyed.iter().map(|keyed| keyed.as_ref().map_or(0, |it| it.rows.len())));
        for (number, meter) in self.meters().enumerate() {
            if number == counted.len() {
                counted.push(Pending::default());
            }
            meter.note(&mut counted[number]);
        }
    }

    fn cut_back(&mut self, marks: &mut Marks) {
        for (sink, marks) in self.sinks.iter_mut().zip(&marks.buffers) {
            sink.cut_back(marks);
        }
        for (keyed, rows) in self.keyed.iter_mut().zip(&marks.rows) {
            if let Some(keyed) = keyed {
                keyed.rows.truncate(*rows);
            }
        }
        self.meters().zip(marks.counted.drain(..)).for_each(|(meter, counted)| {
            meter.rewind(counted);
        });
    }

    /// Runs every frame of a block, or only the one of this index.
    fn frames(
        &mut self,
        block: &Block,
        only: Option<u64>,
        record: &mut Record,
        source: &mut SourceEntry,
    ) {
        let SourceEntry { decoder, prefilter, way, .. } = source;
        let mut hit = prefilter.as_ref().and_then(|prefilter| prefilter.first(block));
        for (number, frame) in (0..).zip(frames(block)) {
            if only.is_some_and(|only| only != number) {
                continue;
            }
            way.received();
            if let Some(prefilter) = prefilter
                && !prefilter.may_pass(block, &frame, &mut hit)
            {
                way.meter.sent(1);
                if let Some(step) = &mut self.steps[prefilter.reader] {
                    step.meter.received(1);
                    step.meter.discarded();
                }
                continue;
            }
            record.begin(block, &frame);
            let mut emit = |record: &mut Record| self.decoded(way, record);
            if let Err(fault) = decoder.decode(block, &frame, record, &mut emit) {
                way.meter.dead(fault.reason);
                record.begin(block, &frame);
                self.set_aside(&Arc::clone(&way.id), peer_of(block, &frame), &fault, record);
            }
        }
    }

    /// Sends a record of a source to its readers, once its event time is known.
    fn decoded(&mut self, way: &mut entry::Way, record: &mut Record) {
        if let Some(path) = &way.event_time {
            crate::event_time::read(path, record);
        }
        if let Some(sight) = &mut way.sight {
            sight.see(record);
        }
        let (happened, received) = (record.event_time(), record.origin().received_at);
        if happened <= received.saturating_add(way.timing.max_ahead) {
            way.meter.sent(1);
            self.forward(&way.readers, record, true);
        } else if !way.future.is_empty() {
            way.meter.sent(1);
            self.forward(&way.future, record, true);
        } else {
            let message = format!("it says it happened at {happened}, and came at {received}");
            let fault = Fault::new(Reason::Future, message);
            way.meter.dead(fault.reason);
            self.set_aside_with_peer(&Arc::clone(&way.id), &fault, record);
        }
    }

    /// Runs a block that panicked once more, each record under its own guard.
    fn frame_by_frame(&mut self, block: &Block, record: &mut Record, source: &mut SourceEntry) {
        self.rebuild();
        source.renew();
        for (number, frame) in (0..).zip(frames(block)) {
            let counted = source.way.meter.pending();
            let run = |chain: &mut Chain| chain.frames(block, Some(number), record, source);
            if self.guarded(run).is_ok() {
                // What a maker holds goes with it when a later record makes it panic.
                self.drain();
                continue;
            }
            self.rebuild();
            source.renew();
            source.way.meter.rewind(counted);
            let fault = Fault::new(Reason::Panic, "a component panicked on this record");
            source.way.received();
            source.way.meter.dead(fault.reason);
            record.begin(block, &frame);
            let id = Arc::clone(&source.way.id);
            self.set_aside(&id, peer_of(block, &frame), &fault, record);
        }
    }

    /// Builds anew what a panic may have left half done.
    fn rebuild(&mut self) {
        for step in self.steps.iter_mut().flatten() {
            if let Running::Stateless(transform) = step.spec.build() {
                step.transform = Some(transform);
            }
        }
        for keyed in self.keyed.iter_mut().flatten() {
            if let Running::Keyed { rows, .. } = keyed.spec.build() {
                keyed.maker = rows;
            }
        }
    }

    fn refused(&mut self, block: &Block, reason: Reason, length: u64, source: &mut SourceEntry) {
        source.way.received();
        source.way.meter.dead(reason);
        let peer = block.peers.first().map(|peer| &peer.host[..]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let fault = Fault::new(reason, dead_letter::refusal(reason, length));
        let letter = dead_letter::Letter {
            received_at: block.received_at,
            component: &source.way.id,
            source: &source.way.id,
            peer,
            fault: &fault,
            raw: &block.bytes,
            raw_bytes: length,
            response_code: None,
        };
        self.sinks[self.dead].append(1, |out| letter.write(out));
    }

    /// Sends a record to all readers of a port.
    fn forward(&mut self, readers: &[Reader], record: &mut Record, last: bool) {
        for (number, reader) in readers.iter().enumerate() {
            if last && number + 1 == readers.len() {
                self.step(*reader, record);
            } else {
                let mark = record.mark();
                self.step(*reader, record);
                record.undo_to(mark);
            }
        }
    }

    fn step(&mut self, reader: Reader, record: &mut Record) {
        match reader {
            Reader::Sink(index) => self.encode(index, record),
            Reader::Transform(index) if self.keyed[index].is_some() => self.make_row(index, record),
            Reader::Transform(index) => self.transform(index, record),
        }
    }

    fn transform(&mut self, index: usize, record: &mut Record) {
        let Some(step) = &mut self.steps[index] else { return };
        step.meter.received(1);
        let Some(mut transform) = step.transform.take() else {
            unreachable!("plans have no cycles, and a panic rebuilds every transform");
        };
        let outcome = transform.apply(record, &mut Way { chain: self, step: index });
        if let Some(step) = &mut self.steps[index] {
            step.transform = Some(transform);
            if let Err(fault) = outcome {
                step.meter.dead(fault.reason);
                let id = Arc::clone(&step.id);
                self.set_aside_with_peer(&id, &fault, record);
            }
        }
    }

    fn make_row(&mut self, index: usize, record: &mut Record) {
        let (partitioner, late_before) = (self.partitioner, self.late_before[index]);
        let Some(keyed) = &mut self.keyed[index] else { return };
        keyed.meter.received(1);
        match keyed.maker.take(record, &RowContext { partitioner, late_before }) {
            Ok(Taken::Counted) => {}
            Ok(Taken::Discarded) => keyed.meter.discarded(),
            Ok(Taken::Late) => self.late(index, record),
            Err(fault) => {
                keyed.meter.dead(fault.reason);
                let id = Arc::clone(&keyed.id);
                self.set_aside_with_peer(&id, &fault, record);
            }
        }
    }

    /// Sends a record that is too late to those who asked for such, else sets it aside.
    fn late(&mut self, index: usize, record: &mut Record) {
        let Some(keyed) = &mut self.keyed[index] else { return };
        if let Some((port, readers)) = &keyed.late
            && !readers.is_empty()
        {
            keyed.meter.sent(1);
            let (port, readers) = (*port, Rc::clone(readers));
            self.note(index, port, record);
            return self.forward(&readers, record, true);
        }
        let over = self.late_before[index];
        let happened = record.event_time();
        let message = format!("it happened at {happened}, and what ended by {over} is over");
        let fault = Fault::new(Reason::Late, message);
        keyed.meter.dead(fault.reason);
        let id = Arc::clone(&keyed.id);
        self.set_aside_with_peer(&id, &fault, record);
    }

    /// Lets a case see what a transform gives.
    fn note(&self, transform: usize, port: usize, record: &Record) {
        if let Some(taps) = &self.taps {
            let value = record.to_value();
            taps.borrow_mut().push(Emitted { transform, port, value });
        }
    }

    fn encode(&mut self, index: usize, record: &mut Record) {
        if let Err(fault) = self.sinks[index].encode(record) {
            self.sinks[index].meter.dead(fault.reason);
            let id = Arc::clone(&self.sinks[index].id);
            self.set_aside_with_peer(&id, &fault, record);
        }
    }

    fn set_aside_with_peer(&mut self, component: &str, fault: &Fault, record: &Record) {
        let peer = record.peer().map(|peer| peer.host.clone());
        self.set_aside(component, peer.as_deref(), fault, record);
    }

    fn set_aside(&mut self, component: &str, peer: Option<&[u8]>, fault: &Fault, record: &Record) {
        let source = Arc::clone(&self.place.source);
        let raw = record.raw();
        let letter = dead_letter::Letter {
            received_at: record.origin().received_at,
            component,
            source: &source,
            peer,
            fault,
            raw,
            raw_bytes: raw.len(),
            response_code: None,
        };
        self.sinks[self.dead].append(1, |out| letter.write(out));
    }
}

/// The way on from one transform.
struct Way<'a> {
    chain: &'a mut Chain,
    step: usize,
}

impl Next for Way<'_> {
    fn emit(&mut self, port: usize, record: &mut Record, last: bool) {
        let Some(step) = &mut self.chain.steps[self.step] else { return };
        step.meter.sent(1);
        let readers = Rc::clone(&step.outputs[port]);
        if step.raises {
            count_alert(record);
        }
        self.chain.note(self.step, port, record);
        self.chain.forward(&readers, record, last);
    }

    fn connected(&self, port: usize) -> bool {
        let step = self.chain.steps[self.step].as_ref();
        step.and_then(|step| step.outputs.get(port)).is_some_and(|readers| !readers.is_empty())
    }

    fn discard(&mut self) {
        if let Some(step) = &mut self.chain.steps[self.step] {
            step.meter.discarded();
        }
    }

    fn error(&mut self, fault: &Fault) {
        if let Some(step) = &mut self.chain.steps[self.step] {
            step.meter.error(fault.reason);
            tracing::debug!(component_id = %step.id, reason = %fault.reason, "{fault}");
        }
    }
}

fn readers(outputs: &[Output]) -> Vec<Readers> {
    outputs.iter().map(|output| output.readers.as_slice().into()).collect()
}

fn all(outputs: &[Readers]) -> impl Iterator<Item = Reader> {
    outputs.iter().flat_map(|readers| readers.iter().copied())
}

fn peer_of<'a>(block: &'a Block, frame: &Frame) -> Option<&'a [u8]> {
    block.peers.get(frame.peer).map(|peer| &peer.host[..])
}
