//! What the log holds: [`Entry`], and how each kind is written as a payload.

use super::error::LogError;
use super::format::{EntryHeader, EntryKind};
use super::limits::ENTRY_BYTES_MAX;
use azud_event::block::{Block, Layout, Peer};
use azud_event::dead_letter::Reason;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::limits::BLOCK_RECORDS_MAX;
use azud_event::time::EventTime;
use bytes::{Buf, BufMut, Bytes};
use std::sync::Arc;
use std::time::Duration;

/// The version of the payloads that this program writes, and the highest that it reads.
pub const PAYLOAD_VERSION: u8 = 1;

/// One thing that the log keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Records of a source.
    Block(LoggedBlock),
    /// What a pipeline decided for one of its epochs.
    Epoch(EpochRecord),
    /// Something else that must be found again in its place among the blocks.
    Mark(Mark),
    /// What a sink could not take, in its spill.
    Batch(KeptBatch),
}

/// A block without the plan's index of its source: a plan changes, the log stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedBlock {
    /// The source's name for good, [`azud_event::id::source_key`] of its id.
    pub source: u64,
    /// As in the block, like all that follows.
    pub stream: StreamId,
    /// Where it starts in its stream.
    pub position: u64,
    /// Where the next block of the stream starts.
    pub end: u64,
    /// When it was received.
    pub received_at: EventTime,
    /// How records stand in `bytes`.
    pub layout: Layout,
    /// Who sent them.
    pub peers: Arc<[Peer]>,
    /// The records. Read from the log: a slice of the reader's buffer.
    pub bytes: Bytes,
}

impl LoggedBlock {
    /// Makes what the log keeps of a block, sharing its bytes.
    pub fn of(source: u64, block: &Block) -> Self {
        LoggedBlock {
            source,
            stream: block.stream,
            position: block.position,
            end: block.end,
            received_at: block.received_at,
            layout: block.layout.clone(),
            peers: Arc::clone(&block.peers),
            bytes: block.bytes.clone(),
        }
    }

    /// Makes the block again, of a source that now has this index.
    pub fn into_block(self, source: SourceIndex) -> Block {
        Block {
            source,
            stream: self.stream,
            position: self.position,
            end: self.end,
            received_at: self.received_at,
            bytes: self.bytes,
            layout: self.layout,
            peers: self.peers,
        }
    }
}

/// The record of an epoch; what is in it is the engine's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// The pipeline's name for good.
    pub pipeline: u64,
    /// The epoch.
    pub epoch: u64,
    /// The engine's own encoding.
    pub bytes: Bytes,
}

/// Named bytes: changes of plan, steps of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it is, at most 65,535 bytes.
    pub name: Bytes,
    /// What it says.
    pub bytes: Bytes,
}

/// Encoded records that wait for their sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBatch {
    /// The epoch of the pipeline that they are of.
    pub epoch: u64,
    /// When they were put there.
    pub kept_at: EventTime,
    /// How many they are.
    pub records: u32,
    /// Their partition, UTF-8.
    pub partition: Bytes,
    /// The records.
    pub bytes: Bytes,
}

/// An entry ready to be written: small parts copied together, the large one shared.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub kind: EntryKind,
    pub key: u64,
    pub number: u64,
    pub head: Vec<u8>,
    pub body: Bytes,
}

impl Encoded {
    pub fn length(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl Entry {
    pub(super) fn encode(&self) -> Result<Encoded, LogError> {
        let mut head = Vec::new();
        let (kind, key, number, body) = match self {
            Entry::Block(block) => {
                encode_block(block, &mut head);
                (EntryKind::Block, block.source, 0, &block.bytes)
            }
            Entry::Epoch(record) => {
                (EntryKind::Epoch, record.pipeline, record.epoch, &record.bytes)
            }
            Entry::Mark(mark) => {
                let length = u16::try_from(mark.name.len());
                let too_large = LogError::TooLarge { bytes: mark.name.len(), max: 0xFFFF };
                head.put_u16_le(length.map_err(|_| too_large)?);
                head.put_slice(&mark.name);
                (EntryKind::Mark, StreamId::named(&mark.name).0, 0, &mark.bytes)
            }
            Entry::Batch(batch) => {
                head.put_i64_le(batch.kept_at.nanoseconds());
                head.put_u32_le(batch.records);
                let length = u32::try_from(batch.partition.len());
                let max = ENTRY_BYTES_MAX;
                let too_large = LogError::TooLarge { bytes: batch.partition.len(), max };
                head.put_u32_le(length.map_err(|_| too_large)?);
                head.put_slice(&batch.partition);
                (EntryKind::Batch, 0, batch.epoch, &batch.bytes)
            }
        };
        let encoded = Encoded { kind, key, number, head, body: body.clone() };
        match encoded.length() {
            bytes if bytes > ENTRY_BYTES_MAX => {
                Err(LogError::TooLarge { bytes, max: ENTRY_BYTES_MAX })
            }
            _ => Ok(encoded),
        }
    }

    /// Reads an entry from its payload, sharing its bytes; `None` when it is not what its header
    /// says.
    ///
    /// # Errors
    /// [`LogError::TooNew`] when a newer program wrote it.
    pub(super) fn decode(header: &EntryHeader, payload: Bytes) -> Result<Option<Self>, LogError> {
        if header.version > PAYLOAD_VERSION {
            return Err(LogError::TooNew {
                name: format!("entry at {}", header.position),
                version: header.version.into(),
                known: PAYLOAD_VERSION.into(),
            });
        }
        Ok(match header.kind {
            EntryKind::Block => decode_block(header.key, payload).map(Entry::Block),
            EntryKind::Epoch => Some(Entry::Epoch(EpochRecord {
                pipeline: header.key,
                epoch: header.number,
                bytes: payload,
            })),
            EntryKind::Mark => decode_mark(payload).map(Entry::Mark),
            EntryKind::Batch => decode_batch(header.number, payload).map(Entry::Batch),
            EntryKind::Synced | EntryKind::Packed => None,
        })
    }
}

/// How many bytes of a block's head have always the same place.
const BLOCK_HEAD_BYTES: usize = 46;

/// Where in the payload of a block the time of its receipt ends.
pub(super) const RECEIVED_AT_END: usize = 32;

/// Reads from the beginning of a block's payload when it was received.
pub(super) fn received_at(head: &[u8]) -> Option<EventTime> {
    let mut time = head.get(RECEIVED_AT_END - 8..RECEIVED_AT_END)?;
    Some(EventTime::from_nanoseconds(time.try_get_i64_le().ok()?))
}

fn encode_block(block: &LoggedBlock, head: &mut Vec<u8>) {
    let (layout, reason, length) = match &block.layout {
        Layout::Lines => (0, 0, 0),
        Layout::Syslog => (1, 0, 0),
        Layout::Heads => (2, 0, 0),
        Layout::Refused { reason, length } => (3, reason_number(*reason), *length),
        Layout::End => (4, 0, 0),
        Layout::Complete { to, .. } => (5, 0, to.nanoseconds().cast_unsigned()),
    };
    let peers_bytes: usize = block.peers.iter().map(|peer| 7 + peer.host.len()).sum();
    head.reserve_exact(BLOCK_HEAD_BYTES + peers_bytes + 8);
    head.put_u64_le(block.stream.0);
    head.put_u64_le(block.position);
    head.put_u64_le(block.end);
    head.put_i64_le(block.received_at.nanoseconds());
    head.put_u8(layout);
    head.put_u8(reason);
    head.put_u64_le(length);
    head.put_u32_le(block.peers.len() as u32);
    for peer in block.peers.iter() {
        head.put_u8(u8::from(peer.port.is_some()));
        head.put_u16_le(peer.port.unwrap_or(0));
        head.put_u32_le(peer.host.len() as u32);
        head.put_slice(&peer.host);
    }
    if let Layout::Complete { again, .. } = &block.layout {
        head.put_u64_le(u64::try_from(again.as_nanos()).unwrap_or(u64::MAX));
    }
}

fn decode_block(source: u64, mut payload: Bytes) -> Option<LoggedBlock> {
    let stream = StreamId(payload.try_get_u64_le().ok()?);
    let position = payload.try_get_u64_le().ok()?;
    let end = payload.try_get_u64_le().ok()?;
    let received_at = EventTime::from_nanoseconds(payload.try_get_i64_le().ok()?);
    let layout = payload.try_get_u8().ok()?;
    let reason = payload.try_get_u8().ok()?;
    let length = payload.try_get_u64_le().ok()?;
    let mut layout = match layout {
        0 => Layout::Lines,
        1 => Layout::Syslog,
        2 => Layout::Heads,
        3 => Layout::Refused { reason: reason_of(reason)?, length },
        4 => Layout::End,
        5 => Layout::Complete {
            to: EventTime::from_nanoseconds(length.cast_signed()),
            again: Duration::ZERO,
        },
        _ => return None,
    };
    let count = usize::try_from(payload.try_get_u32_le().ok()?).ok()?;
    if count > BLOCK_RECORDS_MAX {
        return None;
    }
    // Not with the capacity that the bytes claim: they are read before they are believed.
    let mut peers = Vec::new();
    for _ in 0..count {
        let has_port = payload.try_get_u8().ok()? != 0;
        let port = payload.try_get_u16_le().ok()?;
        let length = usize::try_from(payload.try_get_u32_le().ok()?).ok()?;
        if length > payload.len() {
            return None;
        }
        peers.push(Peer { host: payload.split_to(length), port: has_port.then_some(port) });
    }
    if let Layout::Complete { again, .. } = &mut layout {
        *again = Duration::from_nanos(payload.try_get_u64_le().ok()?);
    }
    let peers = peers.into();
    Some(LoggedBlock { source, stream, position, end, received_at, layout, peers, bytes: payload })
}

fn decode_mark(mut payload: Bytes) -> Option<Mark> {
    let length = usize::from(payload.try_get_u16_le().ok()?);
    if length > payload.len() {
        return None;
    }
    Some(Mark { name: payload.split_to(length), bytes: payload })
}

fn decode_batch(epoch: u64, mut payload: Bytes) -> Option<KeptBatch> {
    let kept_at = EventTime::from_nanoseconds(payload.try_get_i64_le().ok()?);
    let records = payload.try_get_u32_le().ok()?;
    let length = usize::try_from(payload.try_get_u32_le().ok()?).ok()?;
    if length > payload.len() {
        return None;
    }
    let partition = payload.split_to(length);
    Some(KeptBatch { epoch, kept_at, records, partition, bytes: payload })
}

/// Every reason with its number on disk, which never changes. A new one goes to the end.
const REASONS: [Reason; 13] = [
    Reason::TooLong,
    Reason::IncompleteFrame,
    Reason::BadFrame,
    Reason::Malformed,
    Reason::TooDeep,
    Reason::ProgramFailed,
    Reason::ProgramTimeout,
    Reason::ProgramAborted,
    Reason::Panic,
    Reason::Late,
    Reason::Future,
    Reason::EncodeFailed,
    Reason::Refused,
];

fn reason_number(reason: Reason) -> u8 {
    match reason {
        Reason::TooLong => 0,
        Reason::IncompleteFrame => 1,
        Reason::BadFrame => 2,
        Reason::Malformed => 3,
        Reason::TooDeep => 4,
        Reason::ProgramFailed => 5,
        Reason::ProgramTimeout => 6,
        Reason::ProgramAborted => 7,
        Reason::Panic => 8,
        Reason::Late => 9,
        Reason::Future => 10,
        Reason::EncodeFailed => 11,
        Reason::Refused => 12,
    }
}

fn reason_of(number: u8) -> Option<Reason> {
    REASONS.get(usize::from(number)).copied()
}
