//! The format on disk: the headers of segments and entries. Little endian throughout.
//!
//! ```text
//! segment:  header (80 bytes)   the same header again   entry   entry   entry …
//!
//! header    0 magic 8   8 version 2   10 kind 1   11 zero 5   16 incarnation 16
//!           32 start 8   40 previous end 8   48 made at 8   56 end 8   64 closed at 8
//!           72 zero 4   76 CRC32C of the above 4
//!
//! entry     0 marker 8   8 position 8   16 synced 8   24 key 8   32 number 8
//!           40 payload length 4   44 kind 1   45 version 1   46 zero 2
//!           48 CRC32C of the payload 4   52 CRC32C of the above 4   56 payload …
//! ```
//!
//! The header stands twice, so that no single damaged byte loses a segment. In a raw segment the
//! place of an entry is its position, `file offset = position − start + 160`; in a packed one the
//! entries are frames, each of which holds a stretch of raw entries under zstd. `end` and
//! `closed at` are known only when a packed segment is made, and zero in a raw one.

use super::LogPosition;
use azud_event::id::Id;
use azud_event::time::EventTime;

/// The version of the format that this program writes, and the highest that it reads.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"AZUDLOG\0";
const COPY_BYTES: usize = 80;

/// How many bytes of a segment's file stand before its first entry: both copies of the header.
pub const SEGMENT_HEADER_BYTES: usize = 2 * COPY_BYTES;

/// How many bytes an entry has before its payload.
pub const ENTRY_HEADER_BYTES: usize = 56;

/// The length of a marker in bytes.
pub const MARKER_BYTES: usize = 8;

/// How a segment holds its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// As they were written.
    Raw,
    /// Compressed, in frames.
    Packed,
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// How it holds its entries.
    pub kind: SegmentKind,
    /// The life of the data folder in which it was written.
    pub incarnation: [u8; 16],
    /// The position of its first entry.
    pub start: LogPosition,
    /// Where the segment before it ended: between it and `start` nothing was ever written.
    pub previous_end: LogPosition,
    /// When it was made.
    pub made_at: EventTime,
    /// The position behind its last entry; of a raw segment zero.
    pub end: LogPosition,
    /// When it was closed; of a raw segment zero.
    pub closed_at: EventTime,
}

/// What the first bytes of a segment's file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRead {
    /// A header, and whether one of its copies is damaged.
    Known(SegmentHeader, bool),
    /// The header of a newer format.
    TooNew(u16),
    /// No header.
    Unreadable,
}

impl SegmentHeader {
    /// Gives the bytes with which every entry of this segment begins.
    ///
    /// They let a reader find the next entry behind a damaged one. Hashed from the incarnation,
    /// which is random, so that no sender can put an entry of its own making into a record.
    pub fn marker(&self) -> [u8; MARKER_BYTES] {
        let parts = [b"azud log", self.incarnation.as_slice(), &self.start.0.to_le_bytes()];
        let mut marker = [0; MARKER_BYTES];
        marker.copy_from_slice(&Id::of(&parts).as_bytes()[..MARKER_BYTES]);
        marker
    }

    /// Writes the header, both copies.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..10].copy_from_slice(&VERSION.to_le_bytes());
        copy[10] = match self.kind {
            SegmentKind::Raw => 0,
            SegmentKind::Packed => 1,
        };
        copy[16..32].copy_from_slice(&self.incarnation);
        put(&mut copy, 32, self.start.0);
        put(&mut copy, 40, self.previous_end.0);
        put(&mut copy, 48, self.made_at.nanoseconds() as u64);
        put(&mut copy, 56, self.end.0);
        put(&mut copy, 64, self.closed_at.nanoseconds() as u64);
        seal(&mut copy);
        let mut both = [0; SEGMENT_HEADER_BYTES];
        both[..COPY_BYTES].copy_from_slice(&copy);
        both[COPY_BYTES..].copy_from_slice(&copy);
        both
    }

    /// Reads the header from the first bytes of a file.
    pub fn decode(bytes: &[u8]) -> HeaderRead {
        let copies = || bytes.chunks_exact(COPY_BYTES).take(2);
        let known: Vec<_> = copies().filter_map(Self::decode_copy).collect();
        if let Some(header) = known.first() {
            return HeaderRead::Known(header.clone(), known.len() < 2);
        }
        // A newer header may be of another length; its magic and version are where ours are.
        let newer = |copy: &[u8]| {
            let version = u16::from_le_bytes([copy[8], copy[9]]);
            (copy[..8] == MAGIC && version > VERSION).then_some(version)
        };
        copies().find_map(newer).map_or(HeaderRead::Unreadable, HeaderRead::TooNew)
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        if copy[..8] != MAGIC || copy[8..10] != VERSION.to_le_bytes() || !sealed(copy) {
            return None;
        }
        let kind = match copy[10] {
            0 => SegmentKind::Raw,
            1 => SegmentKind::Packed,
            _ => return None,
        };
        let mut incarnation = [0; 16];
        incarnation.copy_from_slice(&copy[16..32]);
        Some(SegmentHeader {
            kind,
            incarnation,
            start: LogPosition(number(copy, 32)),
            previous_end: LogPosition(number(copy, 40)),
            made_at: EventTime::from_nanoseconds(number(copy, 48) as i64),
            end: LogPosition(number(copy, 56)),
            closed_at: EventTime::from_nanoseconds(number(copy, 64) as i64),
        })
    }
}

/// What kind of thing an entry is; the number is what stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A block of a source; the key is the source's.
    Block = 1,
    /// A record of an epoch; the key is the pipeline's, the number the epoch's.
    Epoch = 2,
    /// Named bytes; the key is the hash of the name.
    Mark = 3,
    /// Nothing but word that everything before `synced` is durable, written when the log is idle.
    Synced = 4,
    /// A stretch of raw entries under zstd, in a packed segment; the number is its raw length.
    Packed = 5,
    /// What a sink could not take, in its spill; the number is its epoch.
    Batch = 6,
}

impl EntryKind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(EntryKind::Block),
            2 => Some(EntryKind::Epoch),
            3 => Some(EntryKind::Mark),
            4 => Some(EntryKind::Synced),
            5 => Some(EntryKind::Packed),
            6 => Some(EntryKind::Batch),
            _ => None,
        }
    }
}

/// What an entry says of itself before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Where it stands; of a frame, where its first entry does.
    pub position: LogPosition,
    /// Everything before this was durable when the entry was written.
    pub synced: LogPosition,
    /// Whom it concerns, see [`EntryKind`].
    pub key: u64,
    /// A number that goes with the kind.
    pub number: u64,
    /// How many bytes its payload has.
    pub length: u32,
    /// What it is.
    pub kind: EntryKind,
    /// The version of its payload's encoding.
    pub version: u8,
    /// The CRC32C of its payload.
    pub checksum: u32,
}

impl EntryHeader {
    /// Writes the header.
    pub fn encode(&self, marker: &[u8; MARKER_BYTES]) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0; ENTRY_HEADER_BYTES];
        bytes[..MARKER_BYTES].copy_from_slice(marker);
        put(&mut bytes, 8, self.position.0);
        put(&mut bytes, 16, self.synced.0);
        put(&mut bytes, 24, self.key);
        put(&mut bytes, 32, self.number);
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[44] = self.kind as u8;
        bytes[45] = self.version;
        bytes[48..52].copy_from_slice(&self.checksum.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// Reads a header; `None` when these bytes are none of the segment with this marker.
    pub fn decode(bytes: &[u8], marker: &[u8; MARKER_BYTES]) -> Option<Self> {
        let bytes = bytes.get(..ENTRY_HEADER_BYTES)?;
        if bytes[..MARKER_BYTES] != *marker || !sealed(bytes) {
            return None;
        }
        Some(EntryHeader {
            position: LogPosition(number(bytes, 8)),
            synced: LogPosition(number(bytes, 16)),
            key: number(bytes, 24),
            number: number(bytes, 32),
            length: small(bytes, 40),
            kind: EntryKind::from_number(bytes[44])?,
            version: bytes[45],
            checksum: small(bytes, 48),
        })
    }

    /// Gives how many bytes header and payload have together.
    pub fn total_bytes(&self) -> u64 {
        ENTRY_HEADER_BYTES as u64 + u64::from(self.length)
    }
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Reads eight bytes within a header, whose length the caller has checked.
fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from(small(bytes, at)) | u64::from(small(bytes, at + 4)) << 32
}

fn small(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes the checksum of a header into its last four bytes.
fn seal(bytes: &mut [u8]) {
    let (body, seal) = bytes.split_at_mut(bytes.len() - 4);
    seal.copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

fn sealed(bytes: &[u8]) -> bool {
    let (body, seal) = bytes.split_at(bytes.len() - 4);
    seal == crc32c::crc32c(body).to_le_bytes()
}
