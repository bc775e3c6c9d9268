//! A source's side of the log: what it appends, what it has heard to be durable, and by which marks
//! repeats are known at the door.

use crate::log::{Entry, Log, LogError, LogPosition, LoggedBlock, Read, Reader, Refused, Ticket};
use azud_event::block::{Block, Layout};
use azud_event::id::{SourceIndex, StreamId};
use azud_plan::component::Acknowledged;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When a sender is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// When its records are on disk.
    Logged,
    /// When every sink has them.
    Delivered,
}

/// A reader that is no farther behind than this reads on instead of seeking, in bytes.
const READ_ON_BYTES: u64 = 4 * 1024 * 1024;

/// How many streams of a source that resumes have a mark; those that were not heard for longest are
/// forgotten.
const MARKS_MAX: usize = 20_000;

/// The log, as one source sees it.
pub struct LaneLog {
    log: Arc<Log>,
    /// The source's key.
    source: u64,
    index: SourceIndex,
    acknowledge: Acknowledge,
    /// Whether a stream may be sent again from an earlier position.
    resumes: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was appended and is not known to be durable.
    undurable: VecDeque<(LogPosition, StreamId, u64)>,
    durable: LogPosition,
    /// Of each stream, where the next block begins, and when its last one came.
    marks: BTreeMap<StreamId, (u64, u64)>,
    /// How many blocks have come.
    blocks: u64,
}

impl LaneLog {
    /// Makes the side of a source, of which these marks are known.
    pub fn new(
        log: Arc<Log>,
        source: u64,
        index: SourceIndex,
        acknowledge: Acknowledge,
        resumes: bool,
        marks: BTreeMap<StreamId, u64>,
    ) -> Self {
        let marks = marks.into_iter().map(|(stream, end)| (stream, (end, 0))).collect();
        let state = State { durable: log.durable(), marks, ..State::default() };
        LaneLog { log, source, index, acknowledge, resumes, state: Mutex::new(state) }
    }

    /// Whether senders are answered by the log.
    pub fn answers(&self) -> bool {
        self.acknowledge == Acknowledge::Logged
    }

    /// Tells up to where the log is known to be durable.
    pub fn durable_to(&self) -> LogPosition {
        self.lock().durable
    }

    /// Appends a block; `None` when there is no room now.
    pub fn append(&self, block: &Block) -> Option<Ticket> {
        if !self.log.would_fit(self.source, block.weight() as u64) {
            return None;
        }
        let entry = Entry::Block(LoggedBlock::of(self.source, block));
        let ticket = match self.log.append(&entry) {
            Ok(ticket) => ticket,
            Err(Refused::Busy { .. }) => return None,
            Err(Refused::Never(error)) => {
                // The log has told why, and the process is about to end.
                tracing::error!("a block is not taken: {error}");
                return None;
            }
        };
        let mut state = self.lock();
        if self.answers() {
            state.undurable.push_back((ticket.end, block.stream, block.end));
        }
        if self.resumes && !block.layout.is_word() {
            state.blocks += 1;
            let now = state.blocks;
            state.marks.insert(block.stream, (block.end, now));
            if state.marks.len() > MARKS_MAX {
                let oldest = state.marks.iter().min_by_key(|(_, (_, heard))| *heard);
                if let Some(oldest) = oldest.map(|(stream, _)| *stream) {
                    state.marks.remove(&oldest);
                }
            }
        }
        Some(ticket)
    }

    /// Takes from a block what came before: a source that resumes may send from where it was last
    /// answered, which may be behind what it has sent.
    ///
    /// # Errors
    /// Gives the block back when there is nothing new in it.
    pub fn without_repeats(&self, mut block: Block) -> Result<Block, Block> {
        if !self.resumes {
            return Ok(block);
        }
        let mark = self.lock().marks.get(&block.stream).map_or(0, |(end, _)| *end);
        if block.end <= mark && !block.layout.is_word() {
            return Err(block);
        }
        let known = mark.saturating_sub(block.position);
        if let Ok(known) = usize::try_from(known)
            && block.layout == Layout::Lines
            && known > 0
            && known < block.bytes.len()
        {
            block.bytes = block.bytes.slice(known..);
            block.position = mark;
        }
        Ok(block)
    }

    /// Whether a block up to this position was appended and is not known to be durable: who sent it
    /// is answered when it is.
    pub fn owes(&self, stream: StreamId, end: u64) -> bool {
        let state = self.lock();
        state.undurable.iter().any(|(_, owed, position)| *owed == stream && *position >= end)
    }

    /// Gives the marks.
    pub fn marks(&self) -> Vec<(StreamId, u64)> {
        self.lock().marks.iter().map(|(stream, (end, _))| (*stream, *end)).collect()
    }

    /// Notes that everything before a position is on disk, and answers who waits for that.
    pub fn durable(&self, up_to: LogPosition, acknowledged: &Acknowledged) {
        let mut state = self.lock();
        state.durable = state.durable.max(up_to);
        while let Some((end, stream, position)) = state.undurable.front().copied() {
            if end > up_to {
                break;
            }
            state.undurable.pop_front();
            acknowledged.note(stream, position);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads blocks of one source from the log, one after the other.
#[derive(Default)]
pub struct LaneReader(Option<Reader>);

impl LaneReader {
    /// Reads the block at a ticket. `None` when it is damaged, and set aside by the log.
    ///
    /// # Errors
    /// When the file cannot be read; it may be tried again.
    pub fn read(&mut self, lane: &LaneLog, ticket: Ticket) -> Result<Option<Block>, LogError> {
        let near = |reader: &Reader| {
            let behind = ticket.position.0.checked_sub(reader.position().0);
            behind.is_some_and(|behind| behind <= READ_ON_BYTES)
        };
        if !self.0.as_ref().is_some_and(near) {
            self.0 = Some(lane.log.reader(ticket.position));
        }
        let Some(reader) = self.0.as_mut() else { return Ok(None) };
        loop {
            match reader.read_next() {
                Ok(Some(Read::Entry { position, entry: Entry::Block(block), .. }))
                    if position == ticket.position =>
                {
                    return Ok(Some(block.into_block(lane.index)));
                }
                Ok(Some(_)) if reader.position() <= ticket.position => {}
                Ok(_) => {
                    let position = ticket.position.0;
                    tracing::error!(
                        position,
                        "a block of the log cannot be read, and is passed over"
                    );
                    self.0 = None;
                    return Ok(None);
                }
                Err(error) => {
                    self.0 = None;
                    return Err(error);
                }
            }
        }
    }
}
