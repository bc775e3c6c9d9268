//! The intake: where blocks of sources wait to be taken by pipelines. The bridge from the async
//! world.
//!
//! Each source has a [`Ring`]. A source hands its blocks over and waits while there is no room;
//! every pipeline that reads the source takes the blocks at its own pace; a block leaves the ring
//! when all have taken it.
//!
//! ```text
//!  submit ──▶ log ──▶ [ 7 | 8 | 9 | 10 | 11 ] ──▶ take(reader)
//!              │        ▲   ▲        ▲
//!              │        │   │        └ taken by the fastest reader
//!              │        │   └ from here on in memory; what is before is read from the log again
//!              │        └ taken by the slowest reader: forgotten behind it
//!              └ durable: the sender is answered, unless it wants to wait for the delivery
//! ```
//!
//! With a log, the ring is the cache of its tail: every block is appended to the log as it comes,
//! in the ring's order, and what a slow reader has not taken when memory is short is let go and
//! read from the log later. So a slow pipeline costs disk, up to the budget of the log. Without a
//! log the ring is all there is, and the source waits for the slowest reader.

mod lane_log;

pub use lane_log::{Acknowledge, LaneLog};

use crate::doorbell::Doorbell;
use crate::log::{LogPosition, Ticket};
use azud_event::block::Block;
use azud_event::id::StreamId;
use azud_plan::component::{Acknowledged, Intake};
use futures_util::future::BoxFuture;
use lane_log::LaneReader;
use metrics::Gauge;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The blocks of one source that are not yet taken by every reader.
pub struct Ring {
    state: Mutex<State>,
    budget_bytes: usize,
    acknowledged: Arc<Acknowledged>,
    bytes_gauge: Gauge,
    log: Option<LaneLog>,
}

#[derive(Default)]
struct State {
    /// Blocks not yet taken by all; the first has index `first`.
    slots: VecDeque<Slot>,
    first: u64,
    /// How many of the slots, from the first on, have let their block go.
    evicted: usize,
    /// What the blocks in memory take up.
    bytes: usize,
    /// Ends of blocks not yet delivered by all; the first has index `delivered`.
    undelivered: VecDeque<(StreamId, u64)>,
    delivered: u64,
    /// Blocks before this index came out of the log at the start.
    restored: u64,
    /// Ends of blocks that were sent again before all of those are delivered.
    repeats: BTreeMap<StreamId, u64>,
    readers: Vec<Reader>,
    waiting: Vec<Waker>,
    closed: bool,
    /// The source is at its end for good, and was not merely told to stop.
    finished: bool,
}

/// A block that is not yet taken by all.
struct Slot {
    /// `None` when it is only in the log.
    block: Option<Block>,
    /// Where it is in the log, if there is one.
    ticket: Option<Ticket>,
}

struct Reader {
    /// The index of the next block to take.
    next: u64,
    /// Every block before this index is delivered.
    delivered: u64,
    bells: Arc<[Doorbell]>,
    /// Reads from the log what is no longer in memory.
    log: Arc<Mutex<LaneReader>>,
    /// The log could not be read; it is tried again when the log has moved on.
    stuck: bool,
}

/// Names a reader of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderIndex(usize);

/// A block that a reader takes.
#[derive(Debug)]
pub struct Taken {
    /// Its index in the ring.
    pub index: u64,
    /// Where it ends in the log, if there is one.
    pub end: Option<LogPosition>,
    /// Whether it was in memory no more and came from the log: the reader is behind.
    pub behind: bool,
    /// The block.
    pub block: Block,
}

impl Ring {
    /// Makes an empty ring that keeps less than about `budget_bytes` in memory.
    pub fn new(
        budget_bytes: usize,
        acknowledged: Arc<Acknowledged>,
        bytes_gauge: Gauge,
        log: Option<LaneLog>,
    ) -> Self {
        Ring { state: Mutex::default(), budget_bytes, acknowledged, bytes_gauge, log }
    }

    /// Puts blocks that are in the log already before everything that will come. Before any reader
    /// is added.
    pub fn restore(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut state = self.lock();
        let slot = |ticket| Slot { block: None, ticket: Some(ticket) };
        state.slots.extend(tickets.into_iter().map(slot));
        state.evicted = state.slots.len();
        // They were answered when they came, or will be sent again.
        state.delivered = state.slots.len() as u64;
        state.restored = state.delivered;
    }

    /// Adds a reader, whose `bells` are rung when there is something to take, and which begins with
    /// the first block behind `from` in the log. All readers are added before the source runs, so
    /// that none misses a block.
    pub fn add_reader(&self, bells: Arc<[Doorbell]>, from: Option<LogPosition>) -> ReaderIndex {
        let mut state = self.lock();
        let before = |slot: &Slot| slot.ticket.is_some_and(|ticket| Some(ticket.position) < from);
        let next = state.first + state.slots.partition_point(before) as u64;
        let log = Arc::new(Mutex::new(LaneReader::default()));
        state.readers.push(Reader { next, delivered: next, bells, log, stuck: false });
        ReaderIndex(state.readers.len() - 1)
    }

    /// Takes the next block for a reader; `None` when there is none now.
    pub fn take(&self, reader: ReaderIndex) -> Option<Taken> {
        loop {
            let mut state = self.lock();
            let index = state.readers[reader.0].next;
            let slot = state.slots.get(usize::try_from(index - state.first).ok()?)?;
            let (mut block, ticket) = (slot.block.clone(), slot.ticket);
            let behind = block.is_none();
            if let (None, Some(ticket), Some(log)) = (&block, ticket, &self.log) {
                let from_log = Arc::clone(&state.readers[reader.0].log);
                // The disk is not waited for under the lock that the source needs.
                drop(state);
                let read =
                    from_log.lock().unwrap_or_else(PoisonError::into_inner).read(log, ticket);
                state = self.lock();
                match read {
                    Ok(read) => block = read,
                    Err(error) => {
                        tracing::error!("the log cannot be read, and is tried again: {error}");
                        state.readers[reader.0].stuck = true;
                        return None;
                    }
                }
            }
            state.readers[reader.0].next += 1;
            self.trim(&mut state);
            if let Some(block) = block {
                return Some(Taken { index, end: ticket.map(|ticket| ticket.end), behind, block });
            }
            // What is damaged is set aside by the log; the flow goes on behind it.
        }
    }

    /// Tells where the next block for a reader begins in the log.
    pub fn peek(&self, reader: ReaderIndex) -> Option<LogPosition> {
        let state = self.lock();
        let offset = usize::try_from(state.readers[reader.0].next - state.first).ok()?;
        state.slots.get(offset)?.ticket.map(|ticket| ticket.position)
    }

    /// Whether the source has ended and this reader has taken everything.
    pub fn ended(&self, reader: ReaderIndex) -> bool {
        let state = self.lock();
        state.closed && state.readers[reader.0].next == state.first + state.slots.len() as u64
    }

    /// Whether the source is at its end for good and this reader has taken everything.
    pub fn finished(&self, reader: ReaderIndex) -> bool {
        let finished = self.lock().finished;
        finished && self.ended(reader)
    }

    /// Whether there is a block for this reader to take now.
    pub fn has_more(&self, reader: ReaderIndex) -> bool {
        let state = self.lock();
        let reader = &state.readers[reader.0];
        !reader.stuck && reader.next < state.first + state.slots.len() as u64
    }

    /// Notes that a reader has delivered every block before index `before`, and acknowledges what
    /// all have.
    pub fn deliver(&self, reader: ReaderIndex, before: u64) {
        let mut state = self.lock();
        let known = &mut state.readers[reader.0].delivered;
        *known = (*known).max(before);
        let all = state.readers.iter().map(|reader| reader.delivered).min().unwrap_or(before);
        if all >= state.restored {
            let repeats = std::mem::take(&mut state.repeats);
            repeats.into_iter().for_each(|(stream, end)| self.acknowledged.note(stream, end));
        }
        let logged = self.log.as_ref().is_some_and(LaneLog::answers);
        while state.delivered < all {
            let Some((stream, end)) = state.undelivered.pop_front() else { break };
            state.delivered += 1;
            if !logged {
                self.acknowledged.note(stream, end);
            }
        }
    }

    /// Notes that everything before a position of the log is on disk: answers who waits for that.
    pub fn durable(&self, up_to: LogPosition) {
        if let Some(log) = &self.log {
            log.durable(up_to, &self.acknowledged);
        }
        self.nudge();
    }

    /// Has those who wait for room look again.
    pub fn nudge(&self) {
        let mut state = self.lock();
        state.waiting.drain(..).for_each(Waker::wake);
        if state.readers.iter().any(|reader| reader.stuck) {
            state.readers.iter_mut().for_each(|reader| reader.stuck = false);
            ring_all(&state);
        }
    }

    /// Notes that the source has ended: nothing more comes, and nothing ever will if it is
    /// `finished`.
    pub fn close(&self, finished: bool) {
        let mut state = self.lock();
        state.closed = true;
        state.finished = finished;
        ring_all(&state);
    }

    /// Gives the marks by which repeats are known, as of now.
    pub fn marks(&self) -> Vec<(StreamId, u64)> {
        self.log.as_ref().map(LaneLog::marks).unwrap_or_default()
    }

    /// Answers a block that came before, but not earlier than the first of its kind.
    fn answer_repeat(&self, state: &mut State, log: &LaneLog, repeat: &Block) {
        let (stream, end) = (repeat.stream, repeat.end);
        let comes = |(owed, position): &(StreamId, u64)| *owed == stream && *position >= end;
        let restored = state.readers.iter().any(|reader| reader.delivered < state.restored);
        match log.answers() {
            true if log.owes(stream, end) => {}
            false if state.undelivered.iter().any(comes) => {}
            // It may be one of those that the log gave back at the start.
            false if restored => {
                let owed = state.repeats.entry(stream).or_default();
                *owed = (*owed).max(end);
            }
            _ => self.acknowledged.note(stream, end),
        }
    }

    /// Takes a block in, if there is room for it.
    fn push(&self, state: &mut State, block: Block) -> Result<(), Block> {
        let block = match &self.log {
            Some(log) => match log.without_repeats(block) {
                Ok(block) => block,
                Err(repeat) => {
                    self.answer_repeat(state, log, &repeat);
                    return Ok(());
                }
            },
            None => block,
        };
        self.evict(state);
        if state.bytes >= self.budget_bytes {
            return Err(block);
        }
        let ticket = match &self.log {
            Some(log) => match log.append(&block) {
                Some(ticket) => Some(ticket),
                None => return Err(block),
            },
            None => None,
        };
        state.bytes += block.weight();
        state.undelivered.push_back((block.stream, block.end));
        state.slots.push_back(Slot { block: Some(block), ticket });
        self.bytes_gauge.set(state.bytes as f64);
        // Without a reader (every pipeline refused it) a block is of no use to anybody.
        self.trim(state);
        ring_all(state);
        Ok(())
    }

    /// Lets go of blocks that can be read from the log, the oldest first, until there is room.
    fn evict(&self, state: &mut State) {
        let Some(log) = &self.log else { return };
        let durable = log.durable_to();
        while state.bytes >= self.budget_bytes {
            let Some(slot) = state.slots.get_mut(state.evicted) else { return };
            if slot.ticket.is_none_or(|ticket| ticket.end > durable) {
                return;
            }
            if let Some(block) = slot.block.take() {
                state.bytes -= block.weight();
            }
            state.evicted += 1;
        }
    }

    fn trim(&self, state: &mut State) {
        let end = state.first + state.slots.len() as u64;
        let least = state.readers.iter().map(|reader| reader.next).min().unwrap_or(end);
        while state.first < least {
            let Some(slot) = state.slots.pop_front() else { break };
            state.first += 1;
            state.evicted = state.evicted.saturating_sub(1);
            if let Some(block) = slot.block {
                state.bytes -= block.weight();
            }
        }
        self.bytes_gauge.set(state.bytes as f64);
        if state.bytes < self.budget_bytes {
            state.waiting.drain(..).for_each(Waker::wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ring_all(state: &State) {
    state.readers.iter().flat_map(|reader| reader.bells.iter()).for_each(Doorbell::ring);
}

impl Intake for Ring {
    fn submit(&self, block: Block) -> BoxFuture<'_, ()> {
        let mut block = Some(block);
        Box::pin(std::future::poll_fn(move |context| {
            let Some(waiting) = block.take() else { return Poll::Ready(()) };
            let mut state = self.lock();
            match self.push(&mut state, waiting) {
                Ok(()) => Poll::Ready(()),
                Err(refused) => {
                    block = Some(refused);
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn try_submit(&self, block: Block) -> Result<(), Block> {
        self.push(&mut self.lock(), block)
    }
}

#[cfg(test)]
pub(crate) use tests::logged;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Folder, Log, Options, Told, small_settings};
    use azud_event::block::Layout;
    use azud_event::clock::Clock;
    use azud_event::id::SourceIndex;
    use azud_event::time::EventTime;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use std::path::Path;

    fn block(end: u64, bytes: usize) -> Block {
        Block {
            source: SourceIndex(0),
            stream: StreamId(7),
            position: end - 1,
            end,
            received_at: EventTime::EPOCH,
            bytes: Bytes::from(vec![b'x'; bytes]),
            layout: Layout::Lines,
            peers: Arc::new([]),
        }
    }

    fn ring(budget: usize) -> (Ring, Arc<Acknowledged>) {
        let acknowledged = Arc::new(Acknowledged::default());
        (Ring::new(budget, Arc::clone(&acknowledged), Gauge::noop(), None), acknowledged)
    }

    #[test]
    fn the_slowest_reader_holds_the_budget() {
        let (ring, _) = ring(100);
        let one = ring.add_reader(Arc::new([]), None);
        let two = ring.add_reader(Arc::new([]), None);
        assert!(ring.try_submit(block(1, 100)).is_ok());
        assert!(ring.try_submit(block(2, 1)).is_err());
        let mut waiting = ring.submit(block(2, 1));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(ring.take(one).unwrap().index, 0);
        assert!((&mut waiting).now_or_never().is_none(), "the other reader still needs it");
        assert_eq!(ring.take(two).unwrap().index, 0);
        assert!((&mut waiting).now_or_never().is_some());
        drop(waiting);
        assert_eq!(ring.take(one).unwrap().block.end, 2);
        assert!(ring.take(one).is_none());
    }

    #[test]
    fn a_block_is_acknowledged_when_every_reader_has_delivered_it() {
        let (ring, acknowledged) = ring(1_000);
        let one = ring.add_reader(Arc::new([]), None);
        let two = ring.add_reader(Arc::new([]), None);
        for end in 1..=3 {
            ring.try_submit(block(end, 1)).unwrap();
        }
        ring.deliver(one, 3);
        assert_eq!(acknowledged.take(), []);
        ring.deliver(two, 2);
        assert_eq!(acknowledged.take(), [(StreamId(7), 2)]);
        ring.deliver(two, 3);
        assert_eq!(acknowledged.take(), [(StreamId(7), 3)]);
    }

    /// A ring whose log keeps what it is given, and says that it does when the test says so.
    pub(crate) fn logged(
        folder: &Path,
        acknowledge: Acknowledge,
    ) -> (Ring, Arc<Acknowledged>, Arc<Log>) {
        let (log, _) = Log::open(Options {
            disk: Arc::new(Folder::new(folder)),
            settings: small_settings(),
            incarnation: [5; 16],
            clock: Clock::system(),
            observer: Arc::new(Told::default()),
        })
        .unwrap();
        let log = Arc::new(log);
        let side = Arc::clone(&log);
        let lane = LaneLog::new(side, 1, SourceIndex(0), acknowledge, true, BTreeMap::new());
        let acknowledged = Arc::new(Acknowledged::default());
        let ring = Ring::new(1_000, Arc::clone(&acknowledged), Gauge::noop(), Some(lane));
        (ring, acknowledged, log)
    }

    #[test]
    fn a_repeat_is_not_answered_before_the_first_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (ring, acknowledged, log) = logged(folder.path(), Acknowledge::Logged);
        let reader = ring.add_reader(Arc::new([]), None);
        ring.try_submit(block(1, 1)).unwrap();
        ring.try_submit(block(1, 1)).unwrap();
        assert_eq!(acknowledged.take(), []);
        ring.durable(log.next());
        assert_eq!(acknowledged.take(), [(StreamId(7), 1)]);
        ring.try_submit(block(1, 1)).unwrap();
        assert_eq!(acknowledged.take(), [(StreamId(7), 1)]);
        assert_eq!(ring.take(reader).unwrap().index, 0);
        assert!(ring.take(reader).is_none(), "a repeat is taken in");
    }

    #[test]
    fn a_repeat_is_not_answered_before_the_first_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let (ring, acknowledged, log) = logged(folder.path(), Acknowledge::Delivered);
        let reader = ring.add_reader(Arc::new([]), None);
        for _ in 0..2 {
            ring.try_submit(block(1, 1)).unwrap();
        }
        ring.durable(log.next());
        assert_eq!(acknowledged.take(), []);
        ring.deliver(reader, 1);
        assert_eq!(acknowledged.take(), [(StreamId(7), 1)]);
    }

    #[test]
    fn a_repeat_of_what_the_log_gave_back_is_answered_when_that_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let (ring, acknowledged, log) = logged(folder.path(), Acknowledge::Delivered);
        // The start finds a block in the log, and its mark.
        let lane = ring.log.as_ref().unwrap();
        let ticket = lane.append(&block(1, 1)).unwrap();
        log.wait_durable(ticket.end).unwrap();
        ring.restore([ticket]);
        let reader = ring.add_reader(Arc::new([]), None);
        ring.try_submit(block(1, 1)).unwrap();
        assert_eq!(acknowledged.take(), []);
        ring.deliver(reader, 1);
        assert_eq!(acknowledged.take(), [(StreamId(7), 1)]);
        ring.try_submit(block(1, 1)).unwrap();
        assert_eq!(acknowledged.take(), [(StreamId(7), 1)]);
    }

    #[test]
    fn a_closed_ring_ends_when_it_is_empty() {
        let (ring, _) = ring(10);
        let reader = ring.add_reader(Arc::new([]), None);
        ring.try_submit(block(1, 1)).unwrap();
        ring.close(false);
        assert!(!ring.ended(reader));
        ring.take(reader).unwrap();
        assert!(ring.ended(reader));
    }
}
