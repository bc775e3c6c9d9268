//! Maintenance: what is released is kept packed as long as it is to be retained, and then let go.
//!
//! A segment has two holds. The *recovery* holds it until [`super::Log::release`] says that
//! no restart needs it; *retention* holds it after that, by age and by size. Only segments without
//! either go, always the oldest first, so that the log has no holes. The last one stays in any
//! case: it is what remembers how far positions have come.

use super::LogPosition;
use super::disk::DiskFile;
use super::entry::PAYLOAD_VERSION;
use super::error::{LogError, Trying, no_room};
use super::format::{EntryHeader, EntryKind, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};
use super::limits::{PACK_LEVEL, READ_BYTES, SEGMENT_AGE, SEGMENTS_PACKED_PER_CALL};
use super::scan::{Depth, Piece, SegmentReader};
use super::segment::{Catalogue, Segment, name_unfinished};
use super::state::{Phase, Shared};
use azud_event::time::EventTime;
use std::io;
use std::sync::PoisonError;

/// What one call of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// How many segments were let go.
    pub removed: usize,
    /// How many were packed.
    pub packed: usize,
    /// Whether there is more to pack: it may be called again at once.
    pub more: bool,
}

/// The file that keeps room for a checkpoint.
const RESERVE: &str = "reserve";
const RESERVE_UNFINISHED: &str = "reserve.unfinished";

/// Does what is to be done at this time.
pub(super) fn maintain(shared: &Shared, now: EventTime) -> Result<Maintained, LogError> {
    let _one = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.lock().closing {
        return Ok(Maintained::default());
    }
    ask_for_roll(shared, now);
    let mut done = Maintained { removed: remove_old(shared, now)?, ..Maintained::default() };
    let candidates = packable(shared);
    done.more = candidates.len() > SEGMENTS_PACKED_PER_CALL;
    for segment in candidates.into_iter().take(SEGMENTS_PACKED_PER_CALL) {
        if !pack(shared, &segment)? {
            // Without room it stays as it is.
            done.more = false;
            break;
        }
        done.packed += 1;
    }
    make_reserve(shared)?;
    Ok(done)
}

/// Has the open segment closed when it is old.
fn ask_for_roll(shared: &Shared, now: EventTime) {
    let mut state = shared.lock();
    let old = state.catalogue.last().is_some_and(|last| {
        last.closed_at.is_none()
            && last.end > last.header.start
            && now.since(last.header.made_at) >= SEGMENT_AGE
    });
    if old && !state.roll {
        state.roll = true;
        shared.signal(&mut state);
    }
}

fn remove_old(shared: &Shared, now: EventTime) -> Result<usize, LogError> {
    let mut removed = 0;
    loop {
        let name = {
            let mut state = shared.lock();
            let Some(segment) = too_old(shared, &state.catalogue, state.released, now) else {
                return Ok(removed);
            };
            let (start, name) = (segment.header.start, segment.name());
            state.catalogue.remove(start);
            name
        };
        shared.disk.remove(&name).trying("remove", &name)?;
        // One after the other, so that a crash leaves no hole.
        shared.disk.sync_folder("").trying("sync", ".")?;
        removed += 1;
    }
}

/// Gives the first segment if nothing holds it.
fn too_old<'a>(
    shared: &Shared,
    catalogue: &'a Catalogue,
    released: LogPosition,
    now: EventTime,
) -> Option<&'a Segment> {
    let settings = &shared.settings;
    let last = catalogue.last()?.header.start;
    let free = |segment: &&Segment| is_free(segment, released) && segment.header.start != last;
    let first = catalogue.iter().next().filter(free)?;
    let closed_at = first.closed_at?;
    let kept: u64 = catalogue.iter().filter(free).map(|segment| segment.file_bytes).sum();
    let expired = now.since(closed_at) >= settings.retain;
    let over = kept > settings.retain_bytes || catalogue.file_bytes() > settings.max_bytes;
    (expired || over).then_some(first)
}

/// Whether no recovery needs a segment.
fn is_free(segment: &Segment, released: LogPosition) -> bool {
    segment.closed_at.is_some() && segment.end <= released
}

fn packable(shared: &Shared) -> Vec<Segment> {
    let state = shared.lock();
    let last = state.catalogue.last().map(|last| last.header.start);
    let wanted = |segment: &&Segment| {
        is_free(segment, state.released)
            && segment.header.kind == SegmentKind::Raw
            && segment.end > segment.header.start
            && Some(segment.header.start) != last
    };
    let wanted = state.catalogue.iter().filter(wanted).cloned();
    wanted.take(SEGMENTS_PACKED_PER_CALL + 1).collect()
}

/// Packs a segment, and tells whether there was room for it.
fn pack(shared: &Shared, segment: &Segment) -> Result<bool, LogError> {
    let unfinished = name_unfinished(segment.header.start);
    let header = SegmentHeader {
        kind: SegmentKind::Packed,
        end: segment.end,
        closed_at: segment.closed_at.unwrap_or(segment.header.made_at),
        ..segment.header.clone()
    };
    let file_bytes = match write_packed(shared, segment, &header, &unfinished) {
        Ok(bytes) => bytes,
        Err(LogError::Io { source, .. }) if no_room(&source) => {
            shared.disk.remove(&unfinished).trying("remove", &unfinished)?;
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let packed = Segment { header, end: segment.end, closed_at: segment.closed_at, file_bytes };
    let name = packed.name();
    shared.disk.rename(&unfinished, &name).trying("rename", &name)?;
    shared.disk.sync_folder("").trying("sync", ".")?;
    shared.lock().catalogue.insert(packed);
    let raw = segment.name();
    shared.disk.remove(&raw).trying("remove", &raw)?;
    shared.disk.sync_folder("").trying("sync", ".")?;
    Ok(true)
}

fn write_packed(
    shared: &Shared,
    segment: &Segment,
    header: &SegmentHeader,
    name: &str,
) -> Result<u64, LogError> {
    let raw_name = segment.name();
    let mut reader = SegmentReader::open(&*shared.disk, segment, Depth::Payloads)?;
    let file = shared.disk.create(name).trying("create", name)?;
    file.write_at(0, &[&header.encode()]).trying("write", name)?;
    let offset = SEGMENT_HEADER_BYTES as u64;
    let mut frames = Frames { header, file: &*file, offset, raw: Vec::new(), start: header.start };
    let marker = segment.header.marker();
    while let Some(piece) = reader.next().trying("read", &raw_name)? {
        match piece {
            Piece::Entry(entry, payload) => {
                frames.raw.extend_from_slice(&entry.encode(&marker));
                frames.raw.extend_from_slice(&payload);
                if frames.raw.len() >= shared.settings.frame_bytes {
                    frames.close().trying("write", name)?;
                }
            }
            Piece::Gap(gap) => {
                shared.damage.note(&gap, Some(reader.file()));
                frames.close().trying("write", name)?;
                frames.start = gap.to;
            }
        }
    }
    frames.close().trying("write", name)?;
    file.sync().trying("sync", name)?;
    Ok(frames.offset)
}

/// Writes the frames of a packed segment.
struct Frames<'a> {
    header: &'a SegmentHeader,
    file: &'a dyn DiskFile,
    offset: u64,
    raw: Vec<u8>,
    /// The position of the first entry in `raw`.
    start: LogPosition,
}

impl Frames<'_> {
    fn close(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.raw, PACK_LEVEL)?;
        let header = EntryHeader {
            position: self.start,
            synced: self.start,
            key: 0,
            number: self.raw.len() as u64,
            length: u32::try_from(packed.len()).map_err(io::Error::other)?,
            kind: EntryKind::Packed,
            version: PAYLOAD_VERSION,
            checksum: crc32c::crc32c(&packed),
        };
        self.file.write_at(self.offset, &[&header.encode(&self.header.marker()), &packed])?;
        self.offset += header.total_bytes();
        self.start = LogPosition(self.start.0 + self.raw.len() as u64);
        self.raw.clear();
        Ok(())
    }
}

/// Makes the reserve file if there is none, room for it, and nobody who uses its room.
fn make_reserve(shared: &Shared) -> Result<(), LogError> {
    let bytes = shared.settings.reserve_bytes;
    let wanted = {
        let state = shared.lock();
        state.phase == Phase::Running && state.reserves == 0 && bytes > 0
    };
    let made = |(name, length): (String, u64)| name == RESERVE && length == bytes;
    if !wanted || shared.disk.list("").trying("list", ".")?.into_iter().any(made) {
        return Ok(());
    }
    let make = || -> io::Result<()> {
        let file = shared.disk.create(RESERVE_UNFINISHED)?;
        // Written, not only extended: a hole keeps no room.
        let zeros = vec![0; READ_BYTES];
        let mut at = 0;
        while at < bytes {
            let more = (bytes - at).min(zeros.len() as u64);
            file.write_at(at, &[&zeros[..more as usize]])?;
            at += more;
        }
        file.sync()?;
        shared.disk.rename(RESERVE_UNFINISHED, RESERVE)?;
        shared.disk.sync_folder("")
    };
    match make() {
        Err(error) if no_room(&error) => {
            shared.disk.remove(RESERVE_UNFINISHED).trying("remove", RESERVE_UNFINISHED)
        }
        other => other.trying("write", RESERVE),
    }
}

/// Gives the room of the reserve file away.
pub(super) fn drop_reserve(shared: &Shared) -> Result<(), LogError> {
    let _one = shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
    shared.disk.remove(RESERVE).trying("remove", RESERVE)?;
    shared.disk.sync_folder("").trying("sync", ".")
}
