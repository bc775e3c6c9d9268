//! What a pipeline takes, and when: fair over its sources, within its credit, cut into epochs.
//!
//! A [`Feed`] is the one place of a pipeline where decisions are made that a later run must repeat:
//! which block goes into which epoch. Any worker that has nothing to do makes the next decisions,
//! for all workers, under one lock; a block is a quarter of a megabyte, so the lock is taken some
//! thousand times a second at the most.
//!
//! ```text
//! rings ──deficit round robin──▶ open epoch ──by stream──▶ inbox of each worker ──▶ dataflow
//!             ▲ credit                                                              │
//!             └─────────── completed epochs: every worker, every sink ◀─────────────┘
//! ```
//!
//! Where a pipeline has keyed steps, an epoch has clocks ([`Timeline`]); while one of them waits
//! for time to pass, epochs without data are made. Where there is a log, each decision goes into it
//! ([`Journal`]), those of an earlier run are repeated first, and every so often a checkpoint is
//! made at an epoch ([`Draft`]).
//!
//! Invariants, each with its test below:
//! - A stream always goes to one worker, so its order is kept.
//! - Bytes taken or made and not yet complete exceed the credit by at most one block for each
//!   source, and what one activation of each worker makes. Closing an epoch never needs credit.
//! - A flooded source gets no more than its share while others have data.
//! - Nothing ticks when there is nothing to do.

mod draft;
mod journal;
mod keeping;
mod repeat;
mod timeline;

pub use journal::{Gate, Replayed};

use crate::archive::SegmentState;
use crate::checkpoint::GroupState;
use crate::doorbell::Doorbell;
use crate::durable::Door;
use crate::epoch_record::{EpochDecision, TakenTo};
use crate::event_clock::{EventClock, Observation, Streams};
use crate::intake::{ReaderIndex, Ring, Taken};
use crate::limits::{
    BLOCKS_PER_ACTIVATION, EPOCH_AGE, EPOCH_AGE_BEHIND, EPOCH_BYTES, EPOCHS_IN_FLIGHT_MAX,
    QUANTUM_BYTES,
};
use crate::log::{Log, LogPosition};
use crate::spill::Ledger;
use azud_event::block::Block;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{Due, EpochClock};
use journal::Journal;
use keeping::Checkpoints;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timeline::{Clocks, Timeline};

/// The engine's step of progress, counted per pipeline from 0; timely's timestamp.
pub type Epoch = u64;

/// Deals blocks of a pipeline's sources to its workers.
pub struct Feed {
    state: Mutex<State>,
    bells: Arc<[Doorbell]>,
    clock: Clock,
    credit_bytes: usize,
    gate: Gate,
    first: Epoch,
    /// Every epoch before this is complete.
    complete_before: AtomicU64,
    /// The keys of its steps.
    steps: Vec<u64>,
}

/// What a feed is made of.
pub struct FeedParts {
    /// The sources.
    pub sources: Vec<FeedSource>,
    /// The keys of all transforms of the pipeline.
    pub steps: Vec<u64>,
    /// A bell for each worker.
    pub bells: Arc<[Doorbell]>,
    /// The time.
    pub clock: Clock,
    /// How many bytes may be under way.
    pub credit_bytes: usize,
    /// Of a pipeline that has keyed steps, and how many.
    pub event_clock: Option<(EventClock, usize)>,
    /// Where decisions are recorded, if they are.
    pub journaling: Option<Journaling>,
}

/// A source, as a feed knows it.
pub struct FeedSource {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: u64,
    /// Where its blocks are.
    pub ring: Arc<Ring>,
    /// Where in the log the pipeline begins to read it.
    pub from: Option<LogPosition>,
}

/// How a feed uses the log.
pub struct Journaling {
    /// The log.
    pub log: Arc<Log>,
    /// The pipeline's key.
    pub pipeline: u64,
    /// The epochs of an earlier run that are to be repeated.
    pub replay: VecDeque<Replayed>,
    /// The first epoch of this run, repeated or not.
    pub first: Epoch,
    /// The clock of the epoch before it.
    pub now: EventTime,
    /// How often a checkpoint is made.
    pub interval: Duration,
    /// Takes checkpoints.
    pub keep: Door,
    /// The accounts of the sinks' spills.
    pub spills: Vec<Arc<Ledger>>,
}

struct State {
    lanes: Vec<Lane>,
    next_lane: usize,
    inboxes: Vec<VecDeque<Assigned>>,
    /// The epoch that takes blocks now.
    open: Epoch,
    /// When the open epoch took its first block, by the monotonic clock.
    opened_at: Option<Duration>,
    /// Whether something in it came just now, and did not wait in the log.
    fresh: bool,
    open_bytes: usize,
    /// Epochs under way, the open one last when it has blocks.
    epochs: VecDeque<EpochState>,
    in_flight_bytes: usize,
    /// The logged clock: never goes back.
    now: EventTime,
    /// When the last epoch was closed, by the monotonic clock.
    closed_at: Duration,
    starved: bool,
    /// Of a pipeline with keyed steps.
    timeline: Option<Timeline>,
    /// Of one whose decisions are recorded.
    journal: Option<Journal>,
    checkpoints: Option<Checkpoints>,
    /// Rung when more results may leave.
    listeners: Vec<Doorbell>,
}

/// A source as this pipeline takes from it.
struct Lane {
    ring: Arc<Ring>,
    reader: ReaderIndex,
    deficit_bytes: usize,
    /// Whether an epoch says already that nothing will ever come.
    closed: bool,
    id: String,
    key: u64,
    /// Everything of the source before this in the log is taken.
    position: LogPosition,
}

/// An epoch under way. What the epoch record of the log will say of it.
struct EpochState {
    epoch: Epoch,
    bytes: usize,
    /// The clock of the epoch.
    now: EventTime,
    /// For each lane, the index behind the last block taken; `None` when none was.
    taken: Vec<Option<u64>>,
    /// The lanes that ended for good in it.
    closed: Vec<usize>,
    opened_at: Duration,
    /// For each step, what was over when it opened.
    late_before: Arc<[EventTime]>,
    /// Its clocks, once they are known.
    clocks: Option<Clocks>,
}

/// An epoch, as a keyed step sees it.
#[derive(Debug)]
pub struct StepEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// Its clocks.
    pub clock: EpochClock,
    /// Whether a checkpoint is made at its end.
    pub snapshot: bool,
}

/// A block in its epoch.
#[derive(Debug)]
pub struct Assigned {
    /// The epoch.
    pub epoch: Epoch,
    /// For each step, what was over when the epoch opened.
    pub late_before: Arc<[EventTime]>,
    /// The block.
    pub block: Block,
}

/// What a worker gets from [`Feed::pull`].
#[derive(Debug)]
pub struct Pulled {
    /// Blocks to work on, in order.
    pub blocks: Vec<Assigned>,
    /// No block of an earlier epoch will ever come to this worker.
    pub frontier: Epoch,
    /// Whether there is more to take right now.
    pub more: bool,
    /// In how long to pull again though no bell rings: an epoch must be closed, or made.
    pub again_in: Option<Duration>,
    /// Every source has ended and this worker has got everything.
    pub ended: bool,
}

/// How far event time has come in a pipeline.
pub struct EventTimes {
    /// What the clock says.
    pub now: EventTime,
    /// The watermark of each step.
    pub watermarks: Arc<[EventTime]>,
    /// For each step, how many sources and senders it does not wait for.
    pub missing: Vec<usize>,
    /// The streams of each source.
    pub streams: Vec<Streams>,
}

impl Feed {
    /// Makes the feed of a pipeline, and registers it as a reader of its sources.
    pub fn new(parts: FeedParts) -> Self {
        let FeedParts { sources, steps, bells, clock, credit_bytes, event_clock, journaling } =
            parts;
        let lanes = sources.into_iter().map(|source| Lane {
            reader: source.ring.add_reader(Arc::clone(&bells), source.from),
            ring: source.ring,
            deficit_bytes: 0,
            closed: false,
            id: source.id,
            key: source.key,
            position: source.from.unwrap_or_default(),
        });
        let first = journaling.as_ref().map_or(0, |journaling| journaling.first);
        let now = journaling.as_ref().map_or(EventTime::MIN, |journaling| journaling.now);
        let gate = Gate::new(if journaling.is_some() { first } else { Epoch::MAX });
        let keyed = event_clock.as_ref().map_or(0, |(_, keyed)| *keyed);
        let (journal, checkpoints) = journaling
            .map(|journaling| {
                let Journaling { log, pipeline, replay, interval, keep, spills, .. } = journaling;
                let checkpoints = Checkpoints {
                    interval,
                    keep,
                    spills,
                    parts: keyed * bells.len(),
                    made_at: clock.monotonic(),
                    draft: None,
                    made: None,
                    last: first.checked_sub(1),
                };
                (Journal::new(log, pipeline, replay), checkpoints)
            })
            .unzip();
        let timeline = event_clock.map(|(clock, _)| Timeline::new(clock, bells.len(), first));
        let state = State {
            lanes: lanes.collect(),
            next_lane: 0,
            inboxes: bells.iter().map(|_| VecDeque::new()).collect(),
            open: first,
            opened_at: None,
            fresh: false,
            open_bytes: 0,
            epochs: VecDeque::new(),
            in_flight_bytes: 0,
            now,
            closed_at: clock.monotonic(),
            starved: false,
            timeline,
            journal,
            checkpoints,
            listeners: Vec::new(),
        };
        let (state, complete_before) = (Mutex::new(state), AtomicU64::new(first));
        Feed { state, bells, clock, credit_bytes, gate, first, complete_before, steps }
    }

    /// Gives `worker` its next blocks, deciding over more if its inbox is short.
    pub fn pull(&self, worker: usize) -> Pulled {
        let mut state = self.lock();
        self.repeat(&mut state, worker);
        if !state.is_repeating() {
            self.close_if_due(&mut state);
            self.note_ends(&mut state);
            self.fill(&mut state, worker);
        }
        let count = state.inboxes[worker].len().min(BLOCKS_PER_ACTIVATION);
        let blocks: Vec<_> = state.inboxes[worker].drain(..count).collect();
        let idle = state.inboxes[worker].is_empty();
        let all_ended = state.lanes.iter().all(|lane| lane.ring.ended(lane.reader));
        let last = all_ended && !state.is_repeating() && self.close_last(&mut state);
        let ended = idle && last;
        let more = !idle || (!ended && !state.starved && self.available(&state));
        let again_in = if ended { None } else { self.again_in(&mut state) };
        let frontier = state.inboxes[worker].front().map_or(state.open, |next| next.epoch);
        Pulled { blocks, frontier, more, again_in, ended }
    }

    /// Tells in how long to look again, and makes an epoch without data if it is time for one.
    fn again_in(&self, state: &mut State) -> Option<Duration> {
        let monotonic = self.clock.monotonic();
        if state.is_repeating() {
            return None;
        }
        if let Some(opened) = state.opened_at {
            return Some((opened + self.epoch_age(state)).saturating_sub(monotonic));
        }
        let now = self.clock.now();
        let timeline = state.timeline.as_ref()?;
        let tick_in = timeline.tick_in(monotonic.saturating_sub(state.closed_at), now)?;
        if !tick_in.is_zero() || state.epochs.len() >= EPOCHS_IN_FLIGHT_MAX {
            return Some(tick_in.max(EPOCH_AGE));
        }
        self.open(state);
        state.now = state.now.max(now);
        if let Some(epoch) = state.epochs.back_mut() {
            epoch.now = state.now;
        }
        self.close(state);
        Some(timeline::TICK)
    }

    /// Puts into an epoch which sources have ended for good, once everything of them is taken.
    fn note_ends(&self, state: &mut State) {
        if state.timeline.is_none() {
            return;
        }
        for number in 0..state.lanes.len() {
            let lane = &mut state.lanes[number];
            if !lane.closed && lane.ring.finished(lane.reader) {
                lane.closed = true;
                if state.opened_at.is_none() {
                    self.open(state);
                }
                if let Some(epoch) = state.epochs.back_mut() {
                    epoch.closed.push(number);
                }
            }
        }
    }

    /// Takes in what a worker saw of streams in an epoch, before it passes it.
    pub fn observe(&self, epoch: Epoch, seen: Vec<Observation>) {
        if let Some(timeline) = &mut self.lock().timeline {
            timeline.observe(epoch, seen);
        }
    }

    /// Notes that a worker has shown everything of the epochs before `frontier`: clocks are made of
    /// those that all workers have passed.
    pub fn pass(&self, worker: usize, frontier: Epoch) {
        let mut state = self.lock();
        let State { timeline, epochs, open, checkpoints, .. } = &mut *state;
        let Some(timeline) = timeline else { return };
        timeline.pass(worker, frontier);
        while let Some(ready) = timeline.ready().filter(|ready| ready < open) {
            // An epoch stays until its keyed steps are done with it, and they wait for its clocks:
            // one that is not here was never opened, because its record was damaged in the log.
            let Some(known) = epochs.iter_mut().find(|known| known.epoch >= ready) else { break };
            if known.epoch > ready {
                timeline.skip_to(known.epoch);
                continue;
            }
            known.clocks = Some(timeline.resolve(known.now, &known.late_before, &known.closed));
            let checkpoints = checkpoints.as_mut();
            if let Some(draft) = checkpoints.and_then(|checkpoints| checkpoints.draft.as_mut())
                && draft.epoch == ready
            {
                draft.set_clock(timeline.state(&self.steps));
            }
        }
        if state.hand_on() {
            self.bells.iter().for_each(Doorbell::ring);
        }
    }

    /// Lists what a step must do in the epochs from `from` on that are before `before`, or in all
    /// of them.
    pub fn epochs(&self, step: usize, from: Epoch, before: Option<Epoch>) -> Vec<StepEpoch> {
        let state = self.lock();
        let wanted = |known: &&EpochState| {
            known.epoch >= from && before.is_none_or(|before| known.epoch < before)
        };
        let draft = state.checkpoints.as_ref().and_then(|it| it.draft.as_ref());
        let epochs = state.epochs.iter().filter(wanted).filter_map(|known| {
            let clock = known.clocks.as_ref()?.get(step)?.clone();
            let snapshot = draft.is_some_and(|draft| draft.epoch == known.epoch);
            Some(StepEpoch { epoch: known.epoch, clock, snapshot })
        });
        epochs.collect()
    }

    /// Notes what a keyed step on one worker waits for.
    pub fn wait(&self, step: usize, worker: usize, due: Due) {
        if let Some(timeline) = &mut self.lock().timeline {
            timeline.wait(step, worker, due);
        }
    }

    /// Charges bytes that were made of an epoch's blocks and wait for sinks.
    pub fn charge(&self, epoch: Epoch, bytes: usize) {
        let mut state = self.lock();
        if let Some(known) = state.epochs.iter_mut().find(|known| known.epoch == epoch) {
            known.bytes += bytes;
            state.in_flight_bytes += bytes;
        }
    }

    /// Notes that every worker and sink has finished every epoch before `before`: returns their
    /// credit and acknowledges their blocks.
    pub fn complete(&self, before: Epoch) {
        self.complete_before.fetch_max(before, Ordering::AcqRel);
        let mut state = self.lock();
        let mut completed = false;
        while let Some(done) = state.epochs.pop_front_if(|epoch| epoch.epoch < before) {
            completed = true;
            state.in_flight_bytes -= done.bytes;
            for (lane, taken) in state.lanes.iter().zip(&done.taken) {
                if let Some(before) = taken {
                    lane.ring.deliver(lane.reader, *before);
                }
            }
        }
        if let Some(Checkpoints { draft: Some(draft), .. }) = &mut state.checkpoints {
            draft.delivered(before);
        }
        let handed_on = state.hand_on();
        if handed_on || completed && std::mem::take(&mut state.starved) {
            self.bells.iter().for_each(Doorbell::ring);
        }
    }

    /// Notes that whoever keeps checkpoints is free for another.
    pub fn kept(&self) {
        if self.lock().hand_on() {
            self.bells.iter().for_each(Doorbell::ring);
        }
    }

    /// Notes that everything before a position of the log is on disk.
    pub fn durable(&self, up_to: LogPosition) {
        let mut state = self.lock();
        let moved = state.journal.as_mut().is_some_and(|journal| {
            journal.go_on();
            journal.durable(up_to, &self.gate)
        });
        if moved {
            self.bells.iter().for_each(Doorbell::ring);
            state.listeners.iter().for_each(Doorbell::ring);
        }
    }

    /// Tries again what the log could not take.
    pub fn nudge(&self) {
        if let Some(journal) = &mut self.lock().journal {
            journal.go_on();
        }
    }

    /// Whether results of an epoch may leave: what they were made of is on disk.
    pub fn may_leave(&self, epoch: Epoch) -> bool {
        self.gate.is_open(epoch)
    }

    /// Whether no checkpoint is in the making, and none waits to be written.
    pub fn is_kept(&self) -> bool {
        let state = self.lock();
        state.checkpoints.as_ref().is_none_or(|it| it.draft.is_none() && it.made.is_none())
    }

    /// Tells the time.
    pub fn now(&self) -> EventTime {
        self.clock.now()
    }

    /// Gives the epoch before which all are complete: every worker and sink has finished them.
    pub fn complete_before(&self) -> Epoch {
        self.complete_before.load(Ordering::Acquire)
    }

    /// Gives the first epoch of this run.
    pub fn first(&self) -> Epoch {
        self.first
    }

    /// Adds a bell that is rung when more results may leave.
    pub fn listen(&self, bell: Doorbell) {
        self.lock().listeners.push(bell);
    }

    /// Takes what a keyed step on one worker knows at the end of an epoch at which a checkpoint is
    /// made, and where it has put away the rest.
    pub fn snapshot(&self, epoch: Epoch, groups: Vec<GroupState>, segments: Vec<SegmentState>) {
        let mut state = self.lock();
        let checkpoints = state.checkpoints.as_mut();
        if let Some(draft) = checkpoints.and_then(|checkpoints| checkpoints.draft.as_mut())
            && draft.epoch == epoch
        {
            draft.add(groups, segments);
        }
        if state.hand_on() {
            self.bells.iter().for_each(Doorbell::ring);
        }
    }

    /// Tells how far event time has come. Nothing of a pipeline without keyed steps.
    pub fn event_time(&self) -> Option<EventTimes> {
        let state = self.lock();
        let timeline = state.timeline.as_ref()?;
        let streams = (0..state.lanes.len()).map(|lane| timeline.streams(lane));
        let (now, watermarks) = (self.clock.now(), timeline.watermarks());
        let missing = (0..watermarks.len()).map(|step| timeline.missing(step)).collect();
        Some(EventTimes { now, watermarks, missing, streams: streams.collect() })
    }

    /// Tells how much may still be taken, in bytes, and for how long the oldest epoch has been
    /// under way.
    pub fn gauge(&self) -> (usize, Duration) {
        let state = self.lock();
        let age = state
            .epochs
            .front()
            .map_or(Duration::ZERO, |epoch| self.clock.monotonic().saturating_sub(epoch.opened_at));
        (self.credit_bytes.saturating_sub(state.in_flight_bytes), age)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn available(&self, state: &State) -> bool {
        state.lanes.iter().any(|lane| lane.ring.has_more(lane.reader))
    }

    /// Takes blocks, a round over the sources at a time, until `worker` has enough for one
    /// activation.
    fn fill(&self, state: &mut State, worker: usize) {
        let mut barren = 0;
        while state.inboxes[worker].len() < BLOCKS_PER_ACTIVATION && barren < state.lanes.len() {
            let in_flight = state.epochs.len();
            let full = in_flight >= EPOCHS_IN_FLIGHT_MAX && state.opened_at.is_none();
            if full || state.in_flight_bytes >= self.credit_bytes {
                state.starved = true;
                return;
            }
            let lane = state.next_lane;
            barren = if self.visit(state, lane, worker) { 0 } else { barren + 1 };
            state.next_lane = (lane + 1) % state.lanes.len();
        }
    }

    /// Gives one lane its turn; says whether it had anything.
    fn visit(&self, state: &mut State, lane: usize, worker: usize) -> bool {
        state.lanes[lane].deficit_bytes += QUANTUM_BYTES;
        let mut any = false;
        while state.in_flight_bytes < self.credit_bytes {
            let account = &mut state.lanes[lane];
            if account.deficit_bytes == 0 {
                return any;
            }
            let Some(taken) = account.ring.take(account.reader) else {
                // An account is for those who wait: whoever has nothing to send saves nothing up.
                account.deficit_bytes = 0;
                return any;
            };
            account.deficit_bytes = account.deficit_bytes.saturating_sub(taken.block.weight());
            self.assign(state, lane, taken, worker);
            if state.open_bytes >= EPOCH_BYTES {
                self.close(state);
            }
            any = true;
        }
        any
    }

    /// Puts a block into the open epoch and its worker's inbox.
    fn assign(&self, state: &mut State, lane: usize, taken: Taken, worker: usize) {
        let Taken { index, end, behind, block } = taken;
        let bytes = block.weight();
        if state.opened_at.is_none() {
            self.open(state);
        }
        state.now = state.now.max(block.received_at);
        let now = state.now;
        let position = &mut state.lanes[lane].position;
        *position = end.map_or(*position, |end| end.max(*position));
        let Some(open) = state.epochs.back_mut() else { return };
        open.bytes += bytes;
        open.now = now;
        open.taken[lane] = Some(index + 1);
        let (epoch, late_before) = (open.epoch, Arc::clone(&open.late_before));
        state.in_flight_bytes += bytes;
        state.open_bytes += bytes;
        state.fresh |= !behind;
        let owner = owner(&block, state.inboxes.len());
        state.inboxes[owner].push_back(Assigned { epoch, late_before, block });
        if owner != worker {
            self.bells[owner].ring();
        }
    }

    fn close_if_due(&self, state: &mut State) {
        let age = state.opened_at.map(|opened| self.clock.monotonic().saturating_sub(opened));
        if age.is_some_and(|age| age >= self.epoch_age(state)) {
            self.close(state);
        }
    }

    /// Says how long after it opened the open epoch is to be closed. It may take its time while all
    /// that is in it waited in the log, more of that can be taken, and half of the credit is left:
    /// what is made of an epoch does not leave before it is closed.
    fn epoch_age(&self, state: &State) -> Duration {
        let has_credit = state.in_flight_bytes < self.credit_bytes / 2;
        let grows = !state.fresh && has_credit && self.available(state);
        if grows { EPOCH_AGE_BEHIND } else { EPOCH_AGE }
    }

    /// Begins the open epoch: something is in it.
    fn open(&self, state: &mut State) {
        let opened_at = self.clock.monotonic();
        state.opened_at = Some(opened_at);
        let late_before = state.timeline.as_ref().map(Timeline::watermarks);
        let epoch = EpochState {
            epoch: state.open,
            bytes: 0,
            now: state.now,
            taken: vec![None; state.lanes.len()],
            closed: Vec::new(),
            opened_at,
            late_before: late_before.unwrap_or_else(|| Arc::new([])),
            clocks: None,
        };
        state.epochs.push_back(epoch);
    }

    /// Closes the open epoch: it is recorded, and workers move on.
    fn close(&self, state: &mut State) {
        let epoch = state.open;
        state.move_on();
        // Before the record: what the marks of a checkpoint know must be before it in the log, and
        // so on disk when the checkpoint is.
        self.begin_checkpoint(state, epoch, false);
        self.record(state, epoch);
        state.open += 1;
        state.open_bytes = 0;
        state.opened_at = None;
        state.fresh = false;
        state.closed_at = self.clock.monotonic();
        // Every worker must move its frontier, or the epoch could not complete.
        self.bells.iter().for_each(Doorbell::ring);
    }

    /// Puts the decision over an epoch into the log, unless it is there already.
    fn record(&self, state: &mut State, epoch: Epoch) {
        let State { journal, epochs, lanes, .. } = state;
        let (Some(journal), Some(known)) = (journal, epochs.back()) else { return };
        if journal.replayed().is_some_and(|replayed| replayed.epoch == epoch) {
            return journal.was_replayed(&self.gate);
        }
        let sources = lanes.iter().enumerate().map(|(number, lane)| TakenTo {
            source: lane.key,
            position: lane.position,
            closed: known.closed.contains(&number),
        });
        let late_before = self.steps.iter().copied().zip(known.late_before.iter().copied());
        let decision = EpochDecision {
            now: known.now,
            sources: sources.collect(),
            late_before: late_before.collect(),
        };
        journal.record(epoch, &decision);
    }
}

impl State {
    /// Whether epochs of an earlier run are being repeated.
    fn is_repeating(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.replayed().is_some())
    }

    /// Moves the positions of sources that have nothing more: the log before its end has none of
    /// their blocks that were not taken, and need not be kept for them.
    fn move_on(&mut self) {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.is_repeating()) else { return };
        // Before the look at the rings: a block that comes in between stands behind it.
        let next = journal.next_position();
        for lane in &mut self.lanes {
            if lane.ring.peek(lane.reader).is_none() {
                lane.position = lane.position.max(next);
            }
        }
    }
}

/// Gives the worker that has a block's stream, as long as the program runs.
fn owner(block: &Block, workers: usize) -> usize {
    let mixed =
        (block.stream.0 ^ (u64::from(block.source.0) << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize % workers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{Acknowledge, logged};
    use azud_event::block::Layout;
    use azud_event::id::{SourceIndex, StreamId};
    use azud_plan::component::{Acknowledged, Intake};
    use bytes::Bytes;
    use metrics::Gauge;

    const BLOCK: usize = 1_000;

    fn block(source: u32, stream: u64, end: u64) -> Block {
        Block {
            source: SourceIndex(source),
            stream: StreamId(stream),
            position: end - 1,
            end,
            received_at: EventTime::from_nanoseconds(end as i64),
            bytes: Bytes::from(vec![b'x'; BLOCK]),
            layout: Layout::Lines,
            peers: Arc::new([]),
        }
    }

    struct Fixture {
        feed: Feed,
        rings: Vec<Arc<Ring>>,
        acknowledged: Vec<Arc<Acknowledged>>,
        clock: Clock,
    }

    fn fixture(sources: usize, workers: usize, credit_bytes: usize) -> Fixture {
        let acknowledged: Vec<_> =
            (0..sources).map(|_| Arc::new(Acknowledged::default())).collect();
        let ring = |acknowledged: &Arc<Acknowledged>| {
            Arc::new(Ring::new(usize::MAX, Arc::clone(acknowledged), Gauge::noop(), None))
        };
        let rings: Vec<_> = acknowledged.iter().map(ring).collect();
        fixture_of(rings, acknowledged, workers, credit_bytes)
    }

    fn fixture_of(
        rings: Vec<Arc<Ring>>,
        acknowledged: Vec<Arc<Acknowledged>>,
        workers: usize,
        credit_bytes: usize,
    ) -> Fixture {
        let clock = Clock::manual(EventTime::EPOCH);
        let bells = (0..workers).map(|_| Doorbell::default()).collect();
        let source = |(key, ring): (u64, &Arc<Ring>)| FeedSource {
            id: key.to_string(),
            key,
            ring: Arc::clone(ring),
            from: None,
        };
        let feed = Feed::new(FeedParts {
            sources: (0..).zip(&rings).map(source).collect(),
            steps: Vec::new(),
            bells,
            clock: clock.clone(),
            credit_bytes,
            event_clock: None,
            journaling: None,
        });
        Fixture { feed, rings, acknowledged, clock }
    }

    #[test]
    fn a_stream_stays_with_its_worker_and_in_order() {
        let fixture = fixture(1, 4, usize::MAX);
        for end in 1..=40 {
            fixture.rings[0].try_submit(block(0, end % 10, end)).unwrap();
        }
        let mut seen: Vec<Vec<(u64, u64)>> = Vec::new();
        for worker in 0..4 {
            let mut mine = Vec::new();
            loop {
                let Pulled { blocks, .. } = fixture.feed.pull(worker);
                if blocks.is_empty() {
                    break;
                }
                mine.extend(blocks.iter().map(|it| (it.block.stream.0, it.block.end)));
            }
            seen.push(mine);
        }
        assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), 40);
        for stream in 0..10 {
            let of_stream = |seen: &Vec<(u64, u64)>| {
                seen.iter().filter(|(found, _)| *found == stream).map(|(_, end)| *end).collect()
            };
            let owners: Vec<Vec<u64>> =
                seen.iter().map(of_stream).filter(|ends: &Vec<u64>| !ends.is_empty()).collect();
            assert_eq!(owners.len(), 1, "one worker has stream {stream}");
            assert!(owners[0].is_sorted());
        }
    }

    #[test]
    fn without_credit_nothing_is_taken_until_an_epoch_completes() {
        let fixture = fixture(1, 1, 3 * BLOCK);
        for end in 1..=10 {
            fixture.rings[0].try_submit(block(0, 0, end)).unwrap();
        }
        assert_eq!(fixture.feed.pull(0).blocks.len(), 3);
        let starved = fixture.feed.pull(0);
        assert!(starved.blocks.is_empty() && !starved.more);
        fixture.clock.advance(EPOCH_AGE);
        assert_eq!(fixture.feed.pull(0).frontier, 1, "closing an epoch needs no credit");
        fixture.feed.complete(1);
        assert_eq!(fixture.acknowledged[0].take(), [(StreamId(0), 3)]);
        assert_eq!(fixture.feed.pull(0).blocks.len(), 3);
    }

    #[test]
    fn an_epoch_of_what_waited_in_the_log_may_last() {
        let folder = tempfile::tempdir().unwrap();
        let (ring, _, log) = logged(folder.path(), Acknowledge::Logged);
        let ring = Arc::new(ring);
        let fixture = fixture_of(vec![Arc::clone(&ring)], Vec::new(), 1, usize::MAX);
        // One fills a turn, and four an activation.
        let bytes = Bytes::from(vec![b'x'; QUANTUM_BYTES]);
        for end in 1..=10 {
            ring.try_submit(Block { bytes: bytes.clone(), ..block(0, 0, end) }).unwrap();
            log.wait_durable(log.next()).unwrap();
            ring.durable(log.next());
        }
        let epochs = |pulled: Pulled| {
            let epochs = pulled.blocks.iter().map(|it| it.epoch);
            epochs.collect::<Vec<_>>()
        };
        assert_eq!(epochs(fixture.feed.pull(0)), [0; 4]);
        fixture.clock.advance(EPOCH_AGE);
        assert_eq!(epochs(fixture.feed.pull(0)), [0; 4]);
        fixture.clock.advance(EPOCH_AGE_BEHIND - EPOCH_AGE);
        // The last was in memory.
        let last = fixture.feed.pull(0);
        assert_eq!(last.again_in, Some(EPOCH_AGE));
        assert_eq!(epochs(last), [1; 2]);
        fixture.clock.advance(EPOCH_AGE);
        assert_eq!(fixture.feed.pull(0).frontier, 2);
    }

    #[test]
    fn what_is_made_is_charged_too() {
        let fixture = fixture(1, 1, 10 * BLOCK);
        fixture.rings[0].try_submit(block(0, 0, 1)).unwrap();
        let epoch = fixture.feed.pull(0).blocks[0].epoch;
        fixture.feed.charge(epoch, 9 * BLOCK);
        fixture.rings[0].try_submit(block(0, 0, 2)).unwrap();
        assert!(fixture.feed.pull(0).blocks.is_empty());
        assert_eq!(fixture.feed.gauge().0, 0);
    }

    #[test]
    fn a_flood_gets_no_more_than_its_share() {
        let fixture = fixture(2, 1, usize::MAX);
        for end in 1..=2_000 {
            fixture.rings[0].try_submit(block(0, 0, end)).unwrap();
        }
        fixture.rings[1].try_submit(block(1, 0, 1)).unwrap();
        let mut before = 0;
        loop {
            let pulled = fixture.feed.pull(0);
            before += pulled.blocks.len();
            if pulled.blocks.iter().any(|it| it.block.source.0 == 1) {
                break;
            }
        }
        assert!(before * BLOCK <= 2 * QUANTUM_BYTES, "{before} blocks came first");
    }

    #[test]
    fn an_idle_feed_has_no_timer() {
        let fixture = fixture(1, 1, usize::MAX);
        let idle = fixture.feed.pull(0);
        assert!(idle.again_in.is_none() && !idle.more && !idle.ended);
        fixture.rings[0].try_submit(block(0, 0, 1)).unwrap();
        assert!(fixture.feed.pull(0).again_in.is_some());
        fixture.rings[0].close(true);
        let last = fixture.feed.pull(0);
        assert!(last.ended && last.again_in.is_none());
    }
}
