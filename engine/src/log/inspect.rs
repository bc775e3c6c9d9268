//! Looks at a log without opening it: for the commands that a person runs.

use super::LogPosition;
use super::disk::{Access, Disk};
use super::error::{LogError, Trying};
use super::format::VERSION;
use super::format::{EntryKind, HeaderRead, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};
use super::limits::DAMAGED_LISTED_MAX;
use super::scan::{Depth, Piece, SegmentReader};
use super::segment::{Segment, name_of, parse_name};
use std::collections::BTreeMap;
use std::io;

/// What a log on disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Each segment, by position.
    pub segments: Vec<SegmentReport>,
    /// Each source that has blocks, by its key.
    pub sources: BTreeMap<u64, Volume>,
    /// Each pipeline that has records of epochs, by its key.
    pub pipelines: BTreeMap<u64, Epochs>,
    /// What is damaged between intact entries, at most [`DAMAGED_LISTED_MAX`].
    pub damaged: Vec<(LogPosition, LogPosition)>,
    /// How many damaged stretches there are.
    pub damaged_count: u64,
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

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many entries.
    pub entries: u64,
    /// How many bytes they have, before compression.
    pub bytes: u64,
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
    Ok(inspection)
}

impl Inspection {
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
        while let Some(piece) = reader.next().trying("read", &report.name)? {
            match piece {
                Piece::Entry(header, _) => {
                    report.end = LogPosition(header.position.0 + header.total_bytes());
                    *report.entries.entry(header.kind).or_default() += 1;
                    self.count(header.kind, header.key, header.number, header.total_bytes());
                }
                Piece::Gap(gap) if last && gap.to == end => {
                    self.torn_bytes = gap.to.0 - gap.from.0;
                }
                Piece::Gap(gap) => self.damaged(gap.from, gap.to),
            }
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

    fn count(&mut self, kind: EntryKind, key: u64, number: u64, bytes: u64) {
        match kind {
            EntryKind::Block => {
                let volume = self.sources.entry(key).or_default();
                volume.entries += 1;
                volume.bytes += bytes;
            }
            EntryKind::Epoch => {
                let known = Epochs { first: number, last: number, count: 0 };
                let epochs = self.pipelines.entry(key).or_insert(known);
                epochs.first = epochs.first.min(number);
                epochs.last = epochs.last.max(number);
                epochs.count += 1;
            }
            EntryKind::Mark | EntryKind::Synced | EntryKind::Packed => {}
        }
    }
}
