//! Reading one segment from front to back, over whatever is damaged in it.
//!
//! [`Scan`] goes over the entries of a file, [`SegmentReader`] over the raw entries that it holds,
//! unpacking frames on the way. Both give [`Piece`]s without a hole: what is no entry is a gap. A
//! header that does not fit its checksum tells nothing, not even its length; then the next marker
//! is looked for whose header fits both its checksum and its place.

use super::LogPosition;
use super::disk::{Access, Disk, DiskFile};
use super::error::{LogError, Trying};
use super::format::{ENTRY_HEADER_BYTES, MARKER_BYTES, SEGMENT_HEADER_BYTES};
use super::format::{EntryHeader, EntryKind, SegmentHeader, SegmentKind};
use super::limits::{EARLIER_CHUNKS_MAX, ENTRY_BYTES_MAX, FRAME_BYTES, READ_BYTES, WALK_BYTES};
use super::segment::Segment;
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use std::collections::VecDeque;
use std::io;

/// How closely entries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Headers only; payloads are passed over, and given as empty.
    Headers,
    /// Payloads too, against their checksums.
    Payloads,
}

/// What stands next in a segment.
#[derive(Clone, Debug)]
pub enum Piece {
    /// An intact entry.
    Entry(EntryHeader, Bytes),
    /// Bytes that are none.
    Gap(Gap),
}

/// A stretch of a segment that holds no intact entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub from: LogPosition,
    /// Where the next entry begins, or the segment ends.
    pub to: LogPosition,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// How many there are. None when they were left out as a segment was packed, or when a frame
    /// is well and holds nonsense.
    pub length: u64,
    /// What its header says was durable, if that is intact; else zero.
    pub synced: LogPosition,
}

/// Goes over the entries of a segment's file.
pub struct Scan {
    file: Box<dyn DiskFile>,
    header: SegmentHeader,
    marker: [u8; MARKER_BYTES],
    depth: Depth,
    offset: u64,
    /// The position of what stands at `offset`.
    expected: LogPosition,
    /// Where to stop, in bytes of the file.
    limit: u64,
    chunk: Bytes,
    chunk_offset: u64,
    /// Earlier chunks, to be read into again once nobody holds anything of them.
    earlier: VecDeque<Bytes>,
}

impl Scan {
    /// Begins at the first entry, and ends before byte `limit` of the file.
    pub fn new(file: Box<dyn DiskFile>, header: SegmentHeader, limit: u64, depth: Depth) -> Self {
        Scan {
            file,
            marker: header.marker(),
            depth,
            offset: SEGMENT_HEADER_BYTES as u64,
            expected: header.start,
            header,
            limit,
            chunk: Bytes::new(),
            chunk_offset: 0,
            earlier: VecDeque::new(),
        }
    }

    /// Gives the file, for the bytes of a gap.
    pub fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Gives what stands next; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.offset >= self.limit {
            return Ok(None);
        }
        let (offset, from) = (self.offset, self.expected);
        let Some(header) = self.header_at(offset)? else {
            return self.find_again().map(|gap| Some(Piece::Gap(gap)));
        };
        if header.position > from {
            // Left out when the segment was packed.
            self.expected = header.position;
            let (to, synced) = (header.position, LogPosition(0));
            return Ok(Some(Piece::Gap(Gap { from, to, offset, length: 0, synced })));
        }
        let end = offset + header.total_bytes();
        if end > self.limit {
            let length = self.limit - offset;
            self.offset = self.limit;
            self.expected = self.end_position();
            let (to, synced) = (self.expected, header.synced);
            return Ok(Some(Piece::Gap(Gap { from, to, offset, length, synced })));
        }
        let payload = match self.depth {
            Depth::Headers => Bytes::new(),
            Depth::Payloads => self.payload_of(&header)?,
        };
        self.offset = end;
        self.expected = LogPosition(from.0 + self.span_of(&header));
        let whole = self.depth == Depth::Headers
            || (payload.len() == header.length as usize
                && crc32c::crc32c(&payload) == header.checksum);
        Ok(Some(match whole {
            true => Piece::Entry(header, payload),
            false => {
                let (to, length) = (self.expected, end - offset);
                Piece::Gap(Gap { from, to, offset, length, synced: header.synced })
            }
        }))
    }

    /// Goes on with the piece in which `position` lies, and tells where that piece begins.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_to(&mut self, position: LogPosition) -> io::Result<LogPosition> {
        let depth = std::mem::replace(&mut self.depth, Depth::Headers);
        let found = loop {
            let (offset, expected) = (self.offset, self.expected);
            if self.next()?.is_none() || self.expected > position {
                self.offset = offset;
                self.expected = expected;
                break expected;
            }
        };
        self.depth = depth;
        Ok(found)
    }

    /// Goes on at `position` if an entry of a raw segment begins there, and tells whether one does.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn jump_to(&mut self, position: LogPosition) -> io::Result<bool> {
        let offset = SEGMENT_HEADER_BYTES as u64 + position.0.saturating_sub(self.header.start.0);
        let raw = self.header.kind == SegmentKind::Raw && offset < self.limit;
        if !raw || self.header_at(offset)?.is_none() {
            return Ok(false);
        }
        self.offset = offset;
        self.expected = position;
        Ok(true)
    }

    /// Reads the header at `offset`, if there is one that fits its place.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<EntryHeader>> {
        let bytes = self.bytes(offset, ENTRY_HEADER_BYTES)?;
        let Some(header) = EntryHeader::decode(&bytes, &self.marker) else { return Ok(None) };
        let fits = match self.header.kind {
            SegmentKind::Raw => {
                let position = self.header.start.0 + offset - SEGMENT_HEADER_BYTES as u64;
                header.kind != EntryKind::Packed
                    && header.position.0 == position
                    && header.length as usize <= ENTRY_BYTES_MAX
            }
            SegmentKind::Packed => {
                header.kind == EntryKind::Packed
                    && header.position >= self.expected
                    && (header.length as usize) <= FRAME_PACKED_BYTES_MAX
                    && header.number <= FRAME_RAW_BYTES_MAX as u64
                    && header.position.0 + header.number <= self.header.end.0
            }
        };
        Ok(fits.then_some(header))
    }

    /// Finds the next header behind bytes that are none.
    fn find_again(&mut self) -> io::Result<Gap> {
        let (offset, from) = (self.offset, self.expected);
        let finder = memmem::Finder::new(&self.marker).into_owned();
        let mut at = offset + 1;
        let found = 'search: loop {
            if at >= self.limit {
                break None;
            }
            let bytes = self.bytes(at, READ_BYTES)?;
            for place in finder.find_iter(&bytes) {
                let place = at + place as u64;
                if let Some(header) = self.header_at(place)? {
                    break 'search Some((place, header.position));
                }
            }
            if bytes.len() < MARKER_BYTES {
                break None;
            }
            // A marker may lie across the end of what was read.
            at += (bytes.len() - (MARKER_BYTES - 1)) as u64;
        };
        let (end, to) = found.unwrap_or_else(|| (self.limit, self.end_position()));
        self.offset = end;
        self.expected = to;
        let (length, synced) = (end - offset, LogPosition(0));
        Ok(Gap { from, to, offset, length, synced })
    }

    /// Gives the position at which the scan ends.
    fn end_position(&self) -> LogPosition {
        match self.header.kind {
            SegmentKind::Packed => self.header.end,
            SegmentKind::Raw => {
                let entries = self.limit.saturating_sub(SEGMENT_HEADER_BYTES as u64);
                LogPosition(self.header.start.0 + entries)
            }
        }
    }

    /// Gives how many positions an entry stands for.
    fn span_of(&self, header: &EntryHeader) -> u64 {
        match self.header.kind {
            SegmentKind::Raw => header.total_bytes(),
            SegmentKind::Packed => header.number,
        }
    }

    fn payload_of(&mut self, header: &EntryHeader) -> io::Result<Bytes> {
        let total = ENTRY_HEADER_BYTES + header.length as usize;
        let bytes = self.bytes(self.offset, total)?;
        Ok(bytes.slice(ENTRY_HEADER_BYTES.min(bytes.len())..))
    }

    /// Gives a buffer of so many bytes: one that was read into before, where one is free, for a new
    /// one is filled with zeros first.
    fn buffer(&mut self, length: usize) -> BytesMut {
        let free = self.earlier.iter().position(Bytes::is_unique);
        let free = free.and_then(|at| self.earlier.remove(at)?.try_into_mut().ok());
        self.earlier.truncate(EARLIER_CHUNKS_MAX);
        let mut buffer = free.unwrap_or_default();
        buffer.resize(length, 0);
        buffer
    }

    /// Gives `wanted` bytes at `offset`, fewer before the limit.
    fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let held = offset.checked_sub(self.chunk_offset).and_then(|at| usize::try_from(at).ok());
        if let Some(at) = held.filter(|at| at.saturating_add(wanted) <= self.chunk.len()) {
            return Ok(self.chunk.slice(at..at + wanted));
        }
        let least = match self.depth {
            Depth::Headers => WALK_BYTES,
            Depth::Payloads => READ_BYTES,
        };
        let mut buffer = self.buffer(wanted.max(least).min(left));
        let read = self.file.read_at(offset, &mut buffer)?;
        if read < buffer.len() {
            // The file is shorter than was thought.
            self.limit = offset + read as u64;
            buffer.truncate(read);
        }
        let before = std::mem::replace(&mut self.chunk, buffer.freeze());
        if before.len() <= READ_BYTES {
            self.earlier.push_back(before);
        }
        self.chunk_offset = offset;
        Ok(self.chunk.slice(..wanted.min(read)))
    }
}

/// The most that a frame may hold: it is closed by the entry that makes it full.
pub const FRAME_RAW_BYTES_MAX: usize = FRAME_BYTES + ENTRY_HEADER_BYTES + ENTRY_BYTES_MAX;

/// The most bytes that a packed frame may have: what cannot be compressed grows by less than this.
const FRAME_PACKED_BYTES_MAX: usize = FRAME_RAW_BYTES_MAX + FRAME_RAW_BYTES_MAX / 128 + 1024;

/// Goes over the raw entries of a segment, packed or not.
pub struct SegmentReader {
    scan: Scan,
    packed: bool,
    /// What is left of the frame that was unpacked last.
    frame: Bytes,
    /// The position of what stands at the front of `frame`.
    frame_position: LogPosition,
    /// Where the frame's bytes are, for a gap in it.
    frame_offset: u64,
    /// A gap that was met on the way to a position in it.
    kept_back: Option<Gap>,
}

impl SegmentReader {
    /// Opens a segment at its first entry, to be read up to its present end.
    ///
    /// # Errors
    /// When the file cannot be opened; [`io::ErrorKind::NotFound`] says that it was packed or let
    /// go.
    pub fn open(disk: &dyn Disk, segment: &Segment, depth: Depth) -> Result<Self, LogError> {
        let name = segment.name();
        let file = disk.open(&name, Access::Read).trying("open", &name)?;
        let scan = Scan::new(file, segment.header.clone(), segment.limit(), depth);
        Ok(SegmentReader {
            scan,
            packed: segment.header.kind == SegmentKind::Packed,
            frame: Bytes::new(),
            frame_position: segment.header.start,
            frame_offset: 0,
            kept_back: None,
        })
    }

    /// Lets the reader go on to where the segment reaches now.
    pub fn extend(&mut self, segment: &Segment) {
        self.scan.limit = segment.limit();
    }

    /// Gives the file, for the bytes of a gap.
    pub fn file(&self) -> &dyn DiskFile {
        self.scan.file()
    }

    /// Goes on at `position`. A gap around it is read from its begin.
    ///
    /// # Errors
    /// [`LogError::NoEntry`] when no entry begins there; when the file cannot be read.
    pub fn seek(&mut self, position: LogPosition, name: &str) -> Result<(), LogError> {
        if self.scan.jump_to(position).trying("read", name)? {
            return Ok(());
        }
        let start = self.scan.skip_to(position).trying("read", name)?;
        if start == position {
            return Ok(());
        }
        if !self.packed {
            let around = self.scan.header_at(self.scan.offset).trying("read", name)?;
            return around.map_or(Ok(()), |_| Err(LogError::NoEntry { position }));
        }
        while self.position() < position {
            match self.next().trying("read", name)? {
                Some(Piece::Gap(gap)) if gap.to > position => {
                    self.kept_back = Some(gap);
                    return Ok(());
                }
                Some(_) => {}
                None => break,
            }
        }
        match self.position() == position {
            true => Ok(()),
            false => Err(LogError::NoEntry { position }),
        }
    }

    /// Gives the position of what stands next.
    fn position(&self) -> LogPosition {
        match self.frame.is_empty() {
            true => self.scan.expected,
            false => self.frame_position,
        }
    }

    /// Gives what stands next; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if !self.packed {
            return self.scan.next();
        }
        if let Some(gap) = self.kept_back.take() {
            return Ok(Some(Piece::Gap(gap)));
        }
        if self.frame.is_empty() {
            let offset = self.scan.offset;
            // Frames are read whole: an entry's header is inside.
            self.scan.depth = Depth::Payloads;
            let (header, payload) = match self.scan.next()? {
                Some(Piece::Entry(header, payload)) => (header, payload),
                Some(gap) => return Ok(Some(gap)),
                None => return Ok(None),
            };
            self.frame_position = header.position;
            self.frame_offset = offset;
            let length = usize::try_from(header.number).unwrap_or(0).min(FRAME_RAW_BYTES_MAX);
            match zstd::bulk::decompress(&payload, length) {
                Ok(raw) if raw.len() == length => self.frame = Bytes::from(raw),
                _ => return Ok(Some(Piece::Gap(self.gap_in_frame(length)))),
            }
        }
        Ok(Some(self.entry_in_frame()))
    }

    fn entry_in_frame(&mut self) -> Piece {
        let header = EntryHeader::decode(&self.frame, &self.scan.marker)
            .filter(|header| header.position == self.frame_position)
            .filter(|header| header.total_bytes() <= self.frame.len() as u64);
        let Some(header) = header else {
            return Piece::Gap(self.gap_in_frame(self.frame.len()));
        };
        let total = ENTRY_HEADER_BYTES + header.length as usize;
        let payload = self.frame.slice(ENTRY_HEADER_BYTES..total);
        if crc32c::crc32c(&payload) != header.checksum {
            return Piece::Gap(self.gap_in_frame(total));
        }
        self.frame = self.frame.slice(total..);
        self.frame_position = LogPosition(self.frame_position.0 + total as u64);
        Piece::Entry(header, payload)
    }

    /// Passes over `length` bytes at the front of the frame, which are no entry though the frame is
    /// as it was written.
    fn gap_in_frame(&mut self, length: usize) -> Gap {
        let from = self.frame_position;
        self.frame = self.frame.slice(length.min(self.frame.len())..);
        self.frame_position = LogPosition(from.0 + length as u64);
        Gap {
            from,
            to: self.frame_position,
            offset: self.frame_offset,
            length: 0,
            synced: LogPosition(0),
        }
    }
}
