//! The intake: where blocks of sources wait to be taken by pipelines. The bridge from the async
//! world.
//!
//! Each source has a [`Ring`] with a budget of bytes. A source hands its blocks over and waits
//! while the budget is used up; every pipeline that reads the source takes the blocks at its own
//! pace; a block leaves the ring when all have taken it, and is acknowledged to the source when all
//! have delivered it.
//!
//! ```text
//!            submit ──▶ [ 7 | 8 | 9 | 10 | 11 ] ──▶ take(reader)
//!                         ▲            ▲
//!        delivered by all ┘            └ taken by the slowest reader: trimmed behind it
//! ```
//!
//! The interface is the log's: blocks by position, readers that only say how far they are. The log
//! on disk will stand between `submit` and the ring, and the ring will be the cache of its tail.

use crate::doorbell::Doorbell;
use azud_event::block::Block;
use azud_event::id::StreamId;
use azud_plan::component::{Acknowledged, Intake};
use futures_util::future::BoxFuture;
use metrics::Gauge;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The blocks of one source that are not yet taken by every reader.
pub struct Ring {
    state: Mutex<State>,
    budget_bytes: usize,
    acknowledged: Arc<Acknowledged>,
    bytes_gauge: Gauge,
}

#[derive(Default)]
struct State {
    /// Blocks not yet taken by all; the first has index `first`.
    blocks: VecDeque<Block>,
    first: u64,
    bytes: usize,
    /// Ends of blocks not yet delivered by all; the first has index `delivered`.
    undelivered: VecDeque<(StreamId, u64)>,
    delivered: u64,
    readers: Vec<Reader>,
    waiting: Vec<Waker>,
    closed: bool,
    /// The source is at its end for good, and was not merely told to stop.
    finished: bool,
}

struct Reader {
    /// The index of the next block to take.
    next: u64,
    /// Every block before this index is delivered.
    delivered: u64,
    bells: Arc<[Doorbell]>,
}

/// Names a reader of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderIndex(usize);

impl Ring {
    /// Makes an empty ring that lets in blocks while it holds less than `budget_bytes`.
    pub fn new(budget_bytes: usize, acknowledged: Arc<Acknowledged>, bytes_gauge: Gauge) -> Self {
        Ring { state: Mutex::default(), budget_bytes, acknowledged, bytes_gauge }
    }

    /// Adds a reader, whose `bells` are rung when there is something to take. All readers are added
    /// before the source runs, so that none misses a block.
    pub fn add_reader(&self, bells: Arc<[Doorbell]>) -> ReaderIndex {
        let mut state = self.lock();
        let next = state.first;
        state.readers.push(Reader { next, delivered: next, bells });
        ReaderIndex(state.readers.len() - 1)
    }

    /// Takes the next block for a reader, with its index; `None` when there is none now.
    pub fn take(&self, reader: ReaderIndex) -> Option<(u64, Block)> {
        let mut state = self.lock();
        let index = state.readers[reader.0].next;
        let offset = usize::try_from(index - state.first).ok()?;
        let block = state.blocks.get(offset)?.clone();
        state.readers[reader.0].next += 1;
        self.trim(&mut state);
        Some((index, block))
    }

    /// Whether the source has ended and this reader has taken everything.
    pub fn ended(&self, reader: ReaderIndex) -> bool {
        let state = self.lock();
        state.closed && state.readers[reader.0].next == state.first + state.blocks.len() as u64
    }

    /// Whether there is a block for this reader to take now.
    pub fn has_more(&self, reader: ReaderIndex) -> bool {
        let state = self.lock();
        state.readers[reader.0].next < state.first + state.blocks.len() as u64
    }

    /// Notes that a reader has delivered every block before index `before`, and acknowledges what
    /// all have.
    pub fn deliver(&self, reader: ReaderIndex, before: u64) {
        let mut state = self.lock();
        let known = &mut state.readers[reader.0].delivered;
        *known = (*known).max(before);
        let all = state.readers.iter().map(|reader| reader.delivered).min().unwrap_or(before);
        while state.delivered < all {
            let Some((stream, end)) = state.undelivered.pop_front() else { break };
            state.delivered += 1;
            self.acknowledged.note(stream, end);
        }
    }

    /// Whether the source is at its end for good and this reader has taken everything.
    pub fn finished(&self, reader: ReaderIndex) -> bool {
        let finished = self.lock().finished;
        finished && self.ended(reader)
    }

    /// Notes that the source has ended: nothing more comes, and nothing ever will if it is
    /// `finished`.
    pub fn close(&self, finished: bool) {
        let mut state = self.lock();
        state.closed = true;
        state.finished = finished;
        ring_all(&state);
    }

    fn push(&self, state: &mut State, block: Block) {
        state.bytes += block.weight();
        state.undelivered.push_back((block.stream, block.end));
        state.blocks.push_back(block);
        self.bytes_gauge.set(state.bytes as f64);
        // Without a reader (every pipeline refused it) a block is of no use to anybody.
        self.trim(state);
        ring_all(state);
    }

    fn trim(&self, state: &mut State) {
        let end = state.first + state.blocks.len() as u64;
        let least = state.readers.iter().map(|reader| reader.next).min().unwrap_or(end);
        while state.first < least {
            let Some(block) = state.blocks.pop_front() else { break };
            state.first += 1;
            state.bytes -= block.weight();
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
            let mut state = self.lock();
            if state.bytes >= self.budget_bytes {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(block) = block.take() {
                self.push(&mut state, block);
            }
            Poll::Ready(())
        }))
    }

    fn try_submit(&self, block: Block) -> Result<(), Block> {
        let mut state = self.lock();
        if state.bytes >= self.budget_bytes {
            return Err(block);
        }
        self.push(&mut state, block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_event::block::Layout;
    use azud_event::id::SourceIndex;
    use azud_event::time::EventTime;
    use bytes::Bytes;
    use futures_util::FutureExt;

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
        (Ring::new(budget, Arc::clone(&acknowledged), Gauge::noop()), acknowledged)
    }

    #[test]
    fn the_slowest_reader_holds_the_budget() {
        let (ring, _) = ring(100);
        let one = ring.add_reader(Arc::new([]));
        let two = ring.add_reader(Arc::new([]));
        assert!(ring.try_submit(block(1, 100)).is_ok());
        assert!(ring.try_submit(block(2, 1)).is_err());
        let mut waiting = ring.submit(block(2, 1));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(ring.take(one).unwrap().0, 0);
        assert!((&mut waiting).now_or_never().is_none(), "the other reader still needs it");
        assert_eq!(ring.take(two).unwrap().0, 0);
        assert!((&mut waiting).now_or_never().is_some());
        drop(waiting);
        assert_eq!(ring.take(one).unwrap().1.end, 2);
        assert!(ring.take(one).is_none());
    }

    #[test]
    fn a_block_is_acknowledged_when_every_reader_has_delivered_it() {
        let (ring, acknowledged) = ring(1_000);
        let one = ring.add_reader(Arc::new([]));
        let two = ring.add_reader(Arc::new([]));
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

    #[test]
    fn a_closed_ring_ends_when_it_is_empty() {
        let (ring, _) = ring(10);
        let reader = ring.add_reader(Arc::new([]));
        ring.try_submit(block(1, 1)).unwrap();
        ring.close(false);
        assert!(!ring.ended(reader));
        ring.take(reader).unwrap();
        assert!(ring.ended(reader));
    }
}
