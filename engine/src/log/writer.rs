//! Writes entries into segments and makes them durable. Plain calls, without a thread: a test can
//! stop it between any two.

use super::LogPosition;
use super::disk::DiskFile;
use super::entry::{Encoded, PAYLOAD_VERSION};
use super::error::{LogError, no_room};
use super::format::{ENTRY_HEADER_BYTES, MARKER_BYTES, SEGMENT_HEADER_BYTES};
use super::format::{EntryHeader, EntryKind, SegmentHeader, SegmentKind};
use super::segment::Segment;
use super::state::{Shared, Waiting};
use azud_event::time::EventTime;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no room on the disk. The file is as it was, and the same may be tried again.
    NoRoom,
    /// Nobody can tell what is on the disk.
    Fatal(LogError),
}

/// The end of the log that is written.
pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// Where the segment before the next one ends.
    previous_end: LogPosition,
}

/// The segment that is written.
struct Active {
    file: Box<dyn DiskFile>,
    name: String,
    start: LogPosition,
    marker: [u8; MARKER_BYTES],
    made_at: EventTime,
    /// Behind the last entry that was written whole.
    end: LogPosition,
    /// Everything before it is durable.
    synced: LogPosition,
}

impl Active {
    fn offset(&self, position: LogPosition) -> u64 {
        SEGMENT_HEADER_BYTES as u64 + position.0 - self.start.0
    }
}

impl Writer {
    /// Makes a writer that begins a new segment with its first entry.
    pub fn new(shared: Arc<Shared>, previous_end: LogPosition) -> Self {
        Writer { shared, active: None, previous_end }
    }

    /// Writes the entries at the front of `batch`, and takes them out as they are written. They are
    /// durable after [`Writer::sync`].
    pub fn write(&mut self, batch: &mut VecDeque<Waiting>) -> Result<(), Failure> {
        while let Some(first) = batch.front() {
            let (position, total) = (first.position, first.total_bytes());
            let note = first.entry.kind == EntryKind::Synced;
            let segment_bytes = self.shared.settings.segment_bytes;
            let full = self.active.as_ref().is_some_and(|active| {
                // A note of what is durable belongs to the entries that it speaks of.
                active.end > active.start
                    && !note
                    && active.end.0 - active.start.0 + total > segment_bytes
            });
            if full {
                self.close_segment()?;
            }
            let active = match &mut self.active {
                Some(active) => active,
                None => self.active.insert(create(&self.shared, position, self.previous_end)?),
            };
            let room = segment_bytes.saturating_sub(active.end.0 - active.start.0);
            let mut bytes = 0;
            let fits = |waiting: &&Waiting| {
                bytes += waiting.total_bytes();
                bytes <= room.max(total)
            };
            let run = batch.iter().take_while(fits).count();
            let end = write_run(active, batch.iter().take(run))?;
            active.end = end;
            batch.drain(..run);
            let mut state = self.shared.lock();
            let length = active.offset(end);
            if let Some(segment) = state.catalogue.at_mut(active.start) {
                segment.file_bytes = length;
            }
        }
        Ok(())
    }

    /// How many bytes are written and not durable.
    pub fn unsynced_bytes(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.end.0 - active.synced.0)
    }

    /// Makes durable what was written, and tells how far.
    pub fn sync(&mut self) -> Result<LogPosition, Failure> {
        let Some(active) = &mut self.active else { return Ok(self.shared.lock().durable) };
        let began = self.shared.clock.monotonic();
        // Never tried again: the pages of a failed sync count as clean, and a second one would
        // succeed without them. (Rebello et al., "Can Applications Recover from fsync Failures?",
        // USENIX ATC 2020.)
        active.file.sync().map_err(|error| fatal("sync", &active.name, error))?;
        active.synced = active.end;
        let mut state = self.shared.lock();
        state.durable = active.end;
        state.counts.syncs += 1;
        state.counts.last_sync = self.shared.clock.monotonic().saturating_sub(began);
        if let Some(segment) = state.catalogue.at_mut(active.start) {
            segment.end = active.end;
        }
        Ok(active.end)
    }

    /// When the open segment was made, if it holds anything.
    pub fn made_at(&self) -> Option<EventTime> {
        self.active.as_ref().filter(|active| active.end > active.start).map(|active| active.made_at)
    }

    /// Syncs and closes the open segment. The next entry begins a new one.
    ///
    /// So every segment but the last is durable, which the recovery relies on.
    pub fn close_segment(&mut self) -> Result<(), Failure> {
        if self.unsynced_bytes() > 0 {
            let up_to = self.sync()?;
            self.shared.tell();
            self.shared.observer.durable(up_to);
        }
        if let Some(active) = self.active.take() {
            self.previous_end = active.end;
            let now = self.shared.clock.now();
            if let Some(segment) = self.shared.lock().catalogue.at_mut(active.start) {
                segment.closed_at = Some(now);
            }
        }
        Ok(())
    }

    /// Makes the note that everything is durable, if nothing waits to be written and a segment is
    /// open: see the module's essay for what it is good for.
    pub fn note(&self) -> Option<Waiting> {
        self.active.as_ref()?;
        let mut state = self.shared.lock();
        if !state.queue.is_empty() {
            return None;
        }
        let position = state.next;
        state.next = LogPosition(position.0 + ENTRY_HEADER_BYTES as u64);
        let next = state.next;
        state.accounts.add(None, position, next);
        Some(Waiting { position, entry: note() })
    }
}

/// Gives the entry that says what is durable.
pub(super) fn note() -> Encoded {
    Encoded { kind: EntryKind::Synced, key: 0, number: 0, head: Vec::new(), body: Bytes::new() }
}

/// Gives the header of an entry, at a time at which everything before `synced` is durable.
pub(super) fn header_of(waiting: &Waiting, synced: LogPosition) -> EntryHeader {
    let entry = &waiting.entry;
    EntryHeader {
        position: waiting.position,
        synced,
        key: entry.key,
        number: entry.number,
        // Encoding refuses a payload above `ENTRY_BYTES_MAX`.
        length: entry.length() as u32,
        kind: entry.kind,
        version: PAYLOAD_VERSION,
        checksum: crc32c::crc32c_append(crc32c::crc32c(&entry.head), &entry.body),
    }
}

/// Makes the segment that begins with `position`.
fn create(
    shared: &Shared,
    position: LogPosition,
    previous_end: LogPosition,
) -> Result<Active, Failure> {
    let made_at = shared.clock.now();
    let header = SegmentHeader {
        kind: SegmentKind::Raw,
        incarnation: shared.incarnation,
        start: position,
        previous_end,
        made_at,
        end: LogPosition(0),
        closed_at: EventTime::EPOCH,
    };
    let segment =
        Segment { end: position, closed_at: None, file_bytes: SEGMENT_HEADER_BYTES as u64, header };
    let name = segment.name();
    let make = || -> io::Result<Box<dyn DiskFile>> {
        let file = shared.disk.create(&name)?;
        file.write_at(0, &[&segment.header.encode()])?;
        shared.disk.sync_folder("")?;
        Ok(file)
    };
    let file = match make() {
        Ok(file) => file,
        // The name stays, and is taken again.
        Err(error) if no_room(&error) => return Err(Failure::NoRoom),
        Err(error) => return Err(fatal("create", &name, error)),
    };
    let marker = segment.header.marker();
    shared.lock().catalogue.insert(segment);
    let (start, end, synced) = (position, position, position);
    Ok(Active { file, name, start, marker, made_at, end, synced })
}

/// Writes entries that follow one another behind the last, and gives their end. After a failure the
/// file ends where it did.
fn write_run<'a>(
    active: &Active,
    run: impl Iterator<Item = &'a Waiting> + Clone,
) -> Result<LogPosition, Failure> {
    let mut end = active.end;
    let mut headers = Vec::new();
    for waiting in run.clone() {
        debug_assert_eq!(waiting.position, end, "entries are placed one behind the other");
        headers.push(header_of(waiting, active.synced).encode(&active.marker));
        end = LogPosition(waiting.position.0 + waiting.total_bytes());
    }
    let mut parts: Vec<&[u8]> = Vec::with_capacity(3 * headers.len());
    for (header, waiting) in headers.iter().zip(run) {
        parts.extend([header.as_slice(), &waiting.entry.head, &waiting.entry.body]);
    }
    let offset = active.offset(active.end);
    match active.file.write_at(offset, &parts) {
        Ok(()) => Ok(end),
        Err(error) if no_room(&error) => {
            // Not synced: should a crash bring back what is cut off here, the recovery cuts it
            // again; and the same entries are written over it before another segment begins.
            let cut = active.file.truncate(offset);
            cut.map_err(|error| fatal("truncate", &active.name, error))?;
            Err(Failure::NoRoom)
        }
        Err(error) => Err(fatal("write", &active.name, error)),
    }
}

fn fatal(action: &'static str, name: &str, source: io::Error) -> Failure {
    Failure::Fatal(LogError::Io { action, name: name.to_owned(), source })
}
