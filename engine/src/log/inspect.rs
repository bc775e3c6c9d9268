//! Looks at a log without opening it: for the commands that a person runs.

use super::LogPosition;
use super::disk::{Access, Disk, DiskFile};
use super::entry::{RECEIVED_AT_END, received_at};
use super::error::{LogError, Trying};
use super::format::{ENTRY_HEADER_BYTES, EntryHeader, EntryKind, VERSION};
use super::format::{HeaderRead, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};
use super::limits::DAMAGED_LISTED_MAX;
use super::scan::{Depth, Piece, SegmentReader};
use super::segment::{Segment, name_of, parse_name};
use azud_event::time::EventTime;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;

/// What a log on disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Each segment, by position.
    pub segments: Vec<SegmentReport>,
    /// Each source that has blocks, by its key.
    pub sources: BTreeMap<u64, Blocks>,
    /// Each pipeline that has records of epochs, by its key.
    pub pipelines: BTreeMap<u64, Epochs>,
    /// What is damaged between intact entries, at most [`DAMAGED_LISTED_MAX`].
    pub damaged: Vec<(LogPosition, LogPosition)>,
    /// How many damaged stretches there are.
    pub damaged_count: u64,
    /// What segments say came before them, and no segment holds: files that were taken away.
    pub missing: Vec<(LogPosition, LogPosition)>,
    /// How many bytes at the very end are no entry: what the next start cuts, or what a running
    /// process is about to write.
    pub torn_bytes: u64,
}

/// What one segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The name of its file.
    pub name: String,
    /// What its header says; `None` when it cannot be read.
    pub header: Option<SegmentHeader>,
    /// Behind its last entry.
    pub end: LogPosition,
    /// How long its file is.
    pub file_bytes: u64,
    /// How many entries of each kind it holds.
    pub entries: BTreeMap<EntryKind, u64>,
}

/// The blocks of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// How many.
    pub entries: u64,
    /// How many bytes they have, before compression.
    pub bytes: u64,
    /// Where the first stands.
    pub first: LogPosition,
    /// Where the last stands.
    pub last: LogPosition,
    /// When the first was received, and the last; `None` when that cannot be read.
    pub received: Option<(EventTime, EventTime)>,
}

/// The epochs of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// The least.
    pub first: u64,
    /// The greatest.
    pub last: u64,
    /// How many records there are.
    pub count: u64,
}

/// Tells what a log holds, by the headers of its entries. Packed segments are read whole.
///
/// Changes nothing, and may look at a log that is open: then the end that it sees is a moment's.
///
/// # Errors
/// [`LogError::TooNew`] for a newer format; when a file cannot be read.
pub fn inspect(disk: &dyn Disk) -> Result<Inspection, LogError> {
    look(disk, Depth::Headers)
}

/// Tells what a log holds, and whether every entry is as it was written.
///
/// # Errors
/// As for [`inspect`].
pub fn verify(disk: &dyn Disk) -> Result<Inspection, LogError> {
    look(disk, Depth::Payloads)
}

/// How often segments may be packed or let go under our eyes before we give up.
const TRIES: usize = 3;

fn look(disk: &dyn Disk, depth: Depth) -> Result<Inspection, LogError> {
    let mut tries = 1;
    loop {
        match look_once(disk, depth) {
            Err(LogError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
            {
                tries += 1;
            }
            other => return other,
        }
    }
}

fn look_once(disk: &dyn Disk, depth: Depth) -> Result<Inspection, LogError> {
    let files = disk.list("").trying("list", ".")?;
    let mut found: BTreeMap<LogPosition, (SegmentKind, u64)> = BTreeMap::new();
    for (name, length) in files {
        let Some((start, kind)) = parse_name(&name) else { continue };
        // Of two the packed one counts, as for a start.
        if kind == SegmentKind::Packed || !found.contains_key(&start) {
            found.insert(start, (kind, length));
        }
    }
    let mut inspection = Inspection::default();
    let last = found.last_key_value().map(|(start, _)| *start);
    for (start, (kind, length)) in found {
        inspection.look_at(disk, depth, start, kind, length, Some(start) == last)?;
    }
    inspection.look_for_holes();
    Ok(inspection)
}

impl Inspection {
    /// Gives where the log begins.
    pub fn first(&self) -> LogPosition {
        self.segments
            .first()
            .and_then(|first| Some(first.header.as_ref()?.start))
            .unwrap_or_default()
    }

    fn look_at(
        &mut self,
        disk: &dyn Disk,
        depth: Depth,
        start: LogPosition,
        kind: SegmentKind,
        file_bytes: u64,
        last: bool,
    ) -> Result<(), LogError> {
        let name = name_of(start, kind);
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let file = disk.open(&name, Access::Read).trying("open", &name)?;
        let read = file.read_at(0, &mut bytes).trying("read", &name)?;
        let body = file_bytes.saturating_sub(SEGMENT_HEADER_BYTES as u64);
        let mut report =
            SegmentReport { name, header: None, end: start, file_bytes, entries: BTreeMap::new() };
        let header = match SegmentHeader::decode(&bytes[..read]) {
            HeaderRead::TooNew(version) => {
                return Err(LogError::TooNew { name: report.name, version, known: VERSION });
            }
            HeaderRead::Known(header, _) if header.start == start && header.kind == kind => header,
            _ => {
                report.end = LogPosition(start.0 + body);
                // Without a body it is one that was just made when the power went.
                if body > 0 {
                    self.damaged(start, report.end);
                }
                self.segments.push(report);
                return Ok(());
            }
        };
        let end = match kind {
            SegmentKind::Raw => LogPosition(start.0 + body),
            SegmentKind::Packed => header.end,
        };
        report.header = Some(header.clone());
        let segment = Segment { header, end, closed_at: None, file_bytes };
        let mut reader = SegmentReader::open(disk, &segment, depth)?;
        let mut ends = Ends { start, file: &*file, by_source: BTreeMap::new() };
        while let Some(piece) = reader.next().trying("read", &report.name)? {
            match piece {
                Piece::Entry(header, payload) => {
                    report.end = LogPosition(header.position.0 + header.total_bytes());
                    *report.entries.entry(header.kind).or_default() += 1;
                    self.count(&header);
                    ends.note(&header, payload);
                }
                Piece::Gap(gap) if last && gap.to == end => {
                    self.torn_bytes = gap.to.0 - gap.from.0;
                }
                Piece::Gap(gap) => self.damaged(gap.from, gap.to),
            }
        }
        for (source, first, last) in ends.read().trying("read", &report.name)? {
            let Some(blocks) = self.sources.get_mut(&source) else { continue };
            let first = blocks.received.map_or(first, |(earlier, _)| earlier);
            blocks.received = Some((first, last));
        }
        self.segments.push(report);
        Ok(())
    }

    fn damaged(&mut self, from: LogPosition, to: LogPosition) {
        self.damaged_count += 1;
        if self.damaged.len() < DAMAGED_LISTED_MAX {
            self.damaged.push((from, to));
        }
    }

    /// Holds what each segment says of the one before it against what there is.
    fn look_for_holes(&mut self) {
        let holes = self.segments.windows(2).filter_map(|pair| {
            let before = pair[1].header.as_ref()?.previous_end;
            (pair[0].end < before).then_some((pair[0].end, before))
        });
        // What a segment has damaged at its end is told already.
        let damaged = |from: LogPosition| self.damaged.iter().any(|(at, _)| *at == from);
        self.missing = holes.filter(|(from, _)| !damaged(*from)).collect();
    }

    fn count(&mut self, header: &EntryHeader) {
        let EntryHeader { position, key, number, .. } = *header;
        match header.kind {
            EntryKind::Block => {
                let new = Blocks {
                    entries: 0,
                    bytes: 0,
                    first: position,
                    last: position,
                    received: None,
                };
                let blocks = self.sources.entry(key).or_insert(new);
                blocks.entries += 1;
                blocks.bytes += header.total_bytes();
                blocks.last = position;
            }
            EntryKind::Epoch => {
                let known = Epochs { first: number, last: number, count: 0 };
                let epochs = self.pipelines.entry(key).or_insert(known);
                epochs.first = epochs.first.min(number);
                epochs.last = epochs.last.max(number);
                epochs.count += 1;
            }
            EntryKind::Batch | EntryKind::Mark | EntryKind::Synced | EntryKind::Packed => {}
        }
    }
}

/// The first and the last block of each source in one segment, for when they were received.
struct Ends<'a> {
    start: LogPosition,
    file: &'a dyn DiskFile,
    by_source: BTreeMap<u64, [(LogPosition, Bytes); 2]>,
}

impl Ends<'_> {
    fn note(&mut self, header: &EntryHeader, payload: Bytes) {
        if header.kind == EntryKind::Block {
            let block = (header.position, payload.slice(..payload.len().min(RECEIVED_AT_END)));
            let ends = self.by_source.entry(header.key).or_insert([block.clone(), block.clone()]);
            ends[1] = block;
        }
    }

    /// Lists the sources with the two times. Where payloads were passed over, their heads are read.
    fn read(self) -> io::Result<Vec<(u64, EventTime, EventTime)>> {
        let mut times = Vec::new();
        for (source, [first, last]) in &self.by_source {
            if let (Some(first), Some(last)) = (self.time(first)?, self.time(last)?) {
                times.push((*source, first, last));
            }
        }
        Ok(times)
    }

    fn time(&self, (position, head): &(LogPosition, Bytes)) -> io::Result<Option<EventTime>> {
        if !head.is_empty() {
            return Ok(received_at(head));
        }
        // Payloads of packed segments are never passed over, so the segment is a raw one.
        let before = SEGMENT_HEADER_BYTES + ENTRY_HEADER_BYTES;
        let mut head = [0; RECEIVED_AT_END];
        let read = self.file.read_at(position.0 - self.start.0 + before as u64, &mut head)?;
        Ok(received_at(&head[..read]))
    }
}
