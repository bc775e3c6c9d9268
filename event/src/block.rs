//! A [`Block`]: whole records of one source as they came over the wire, the unit of everything
//! before the decoder.

use crate::dead_letter::Reason;
use crate::id::{SourceIndex, StreamId};
use crate::time::EventTime;
use bytes::{BufMut, Bytes, BytesMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// About 256 KiB of whole records from one stream, or from many peers of one datagram socket.
///
/// Only these large blocks cross threads. Nothing in a block has been parsed beyond what finding
/// the ends of records needs.
#[derive(Clone, Debug)]
pub struct Block {
    /// The source that made it.
    pub source: SourceIndex,
    /// The connection, file or socket that the records came from; order within it is data.
    pub stream: StreamId,
    /// Where the block starts in its stream: bytes for files and connections, records for
    /// datagrams. Never goes back within a stream.
    pub position: u64,
    /// Where the next block of the stream starts; acknowledged once everything before it is
    /// delivered.
    pub end: u64,
    /// When the block was received. `now()` in programs, and the default event time.
    pub received_at: EventTime,
    /// The records.
    pub bytes: Bytes,
    /// How records stand in `bytes`.
    pub layout: Layout,
    /// Who sent them: one for a stream, many for datagrams (see [`Frame::peer`]); empty for files
    /// and the like.
    pub peers: Arc<[Peer]>,
}

/// What a block takes up beside its bytes, about: itself, and a share of its table of peers.
const BLOCK_OVERHEAD_BYTES: usize = 256;

impl Block {
    /// Tells about how much memory the block takes up, in bytes. Never nothing: marks without bytes
    /// must not be free, or nothing would bound them.
    pub fn weight(&self) -> usize {
        self.bytes.len() + BLOCK_OVERHEAD_BYTES
    }

    /// Gives the position and index of a frame's record.
    ///
    /// In a stream of bytes the position is the record's own, so that it does not hang on where the
    /// stream was cut into blocks. Datagrams have no such place: theirs is the block's, and the
    /// index tells them apart.
    pub fn place(&self, frame: &Frame) -> (u64, u64) {
        let start = frame.range.start as u64;
        match self.layout {
            Layout::Lines | Layout::Syslog => (self.position + start, 0),
            Layout::Heads | Layout::Refused { .. } | Layout::Complete { .. } | Layout::End => {
                (self.position, start << 32)
            }
        }
    }
}

/// Who sent a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address as text, without the port: `203.0.113.9`; of a file its path. Shared, so that a
    /// record may refer to it without a copy.
    pub host: Bytes,
    /// The sender's port, where there is one.
    pub port: Option<u16>,
}

impl Peer {
    /// Makes a peer of a socket's address.
    pub fn from_address(address: SocketAddr) -> Self {
        let host = Bytes::from(address.ip().to_canonical().to_string());
        Peer { host, port: Some(address.port()) }
    }

    /// Makes a peer of a file's path or another name.
    pub fn named(name: &str) -> Self {
        Peer { host: Bytes::copy_from_slice(name.as_bytes()), port: None }
    }
}

/// How records stand in a block's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One a line, ended by LF or CR LF; the last may lack its end. Empty lines are no records.
    Lines,
    /// Syslog over a stream: each frame by octet counting or by line, told apart frame by frame
    /// (RFC 6587).
    Syslog,
    /// A head of [`HEAD_BYTES`] bytes before each record, as [`HeadWriter`] writes it.
    Heads,
    /// Not records: bytes that the source could not take in, to be set aside for this reason.
    Refused {
        /// Why.
        reason: Reason,
        /// How many bytes the record had, of which the block may hold only the first.
        length: u64,
    },
    /// No records: a word of who speaks although there may be nothing to tell, and is named by the
    /// block's peer. As far as it knows, what happened before `to` has been given.
    Complete {
        /// Up to where. [`EventTime::MIN`] says that it has begun, and nothing more.
        to: EventTime,
        /// It speaks again within this time; when it does not, something is wrong with it.
        again: Duration,
    },
    /// No records: the stream has ended, and nobody need wait for it.
    End,
}

impl Layout {
    /// Whether blocks like this say something of their stream, and hold nothing of it.
    pub fn is_word(&self) -> bool {
        matches!(self, Layout::Complete { .. } | Layout::End)
    }
}

/// The length of a record's head under [`Layout::Heads`]: length (u32), peer (u32), receive-time
/// delta (u32, µs), all little endian.
pub const HEAD_BYTES: usize = 12;

/// One record within a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where its bytes are, without delimiter, count or head.
    pub range: Range<usize>,
    /// Which of the block's peers sent it; 0 for a stream.
    pub peer: usize,
    /// How much later than [`Block::received_at`] it came, in microseconds.
    pub received_delta_us: u32,
}

/// Builds the bytes of a block under [`Layout::Heads`].
#[derive(Debug, Default)]
pub struct HeadWriter {
    bytes: BytesMut,
    records: usize,
}

impl HeadWriter {
    /// Makes an empty writer with room for one block.
    pub fn new() -> Self {
        HeadWriter { bytes: BytesMut::with_capacity(crate::limits::BLOCK_BYTES), records: 0 }
    }

    /// Appends one record.
    ///
    /// # Panics
    /// When `record` is longer than a `u32` says; sources bound records far below.
    pub fn push(&mut self, record: &[u8], peer: u32, received_delta_us: u32) {
        let length = u32::try_from(record.len()).expect("a record is at most RECORD_BYTES_MAX");
        self.bytes.reserve(HEAD_BYTES + record.len());
        self.bytes.put_u32_le(length);
        self.bytes.put_u32_le(peer);
        self.bytes.put_u32_le(received_delta_us);
        self.bytes.put_slice(record);
        self.records += 1;
    }

    /// How many bytes were written, heads included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many records were written.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Takes what was written, leaving the writer empty.
    pub fn take(&mut self) -> Bytes {
        self.records = 0;
        self.bytes.split().freeze()
    }
}
