//! The archive of a pipeline: what keyed state will hardly need again, on disk.
//!
//! ```text
//! archive/<pipeline>/00000000000000000042.segment
//!
//!  state in memory          ──put away──▶  segment 42, sorted: (group, key, number) → value
//!   windows that are open                  segment 41
//!   windows just closed     ◀─bring back─  segment 40   newer ones stand before older ones
//! ```
//!
//! A window that has closed is only needed if a late record comes. So before a checkpoint, and when
//! there is much of it, a step writes what is closed into a segment, syncs it, and lets go of it in
//! memory. A checkpoint names the segments there are and has the rest: what lies in a segment is
//! written once, however many checkpoints follow. Lateness costs disk, not memory.
//!
//! # Invariants
//!
//! - A segment is never changed. What came back and was put away again lies in a newer one.
//! - A step lets go of nothing that is not synced; when the disk is full, it stays in memory.
//! - A segment that a checkpoint names is there as long as that checkpoint is kept; one that none
//!   names is removed at the next start: it was written behind the last checkpoint, from which
//!   everything is done again.
//! - One whose entries are all over is removed with the last checkpoint that names it.

mod segment;

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;

pub use segment::{Segment, SegmentState};

use crate::log::{Access, Disk};
use azud_event::time::EventTime;
use azud_plan::component::{Archive, ArchiveError, EachEntry, Entry, KeyedState};
use segment::Writer;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The folder of archives within the data folder; below it each pipeline has one of its name.
pub const FOLDER: &str = "archive";

const EXTENSION: &str = "segment";

/// Gives the name of a segment's file.
fn name_of(number: u64) -> String {
    format!("{number:020}.{EXTENSION}")
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok()
}

/// The archive of one pipeline.
pub struct Cabinet {
    disk: Arc<dyn Disk>,
    /// The number of the next segment.
    next: AtomicU64,
    /// Those that checkpoints name, by number.
    named: HashMap<u64, Arc<Segment>>,
}

impl Cabinet {
    /// Opens an archive in which the segments that checkpoints name must be there, and removes the
    /// others.
    ///
    /// One that cannot be read is kept by its name: what it has cannot be brought back, and whoever
    /// tries is told.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(
        disk: Arc<dyn Disk>,
        named: impl Iterator<Item = SegmentState>,
    ) -> io::Result<Cabinet> {
        let named: BTreeMap<u64, SegmentState> = named.map(|it| (it.number, it)).collect();
        let mut next = named.keys().next_back().map_or(0, |last| last + 1);
        for (name, _) in disk.list("")? {
            let Some(number) = number_of(&name) else { continue };
            next = next.max(number + 1);
            if !named.contains_key(&number) {
                disk.remove(&name)?;
            }
        }
        let named = named.into_iter().map(|(number, state)| {
            let segment = Segment::open(&disk, state);
            if let Some(damage) = segment.damage() {
                tracing::error!(
                    "{}: windows in it cannot be amended any more: {damage}",
                    name_of(number)
                );
            }
            (number, Arc::new(segment))
        });
        let named = named.collect();
        Ok(Cabinet { disk, next: AtomicU64::new(next), named })
    }

    /// Gives the archive of one step on one worker, with what the checkpoint that is gone on from
    /// says was put away before, by any worker: each reads the groups in it that it owns now.
    pub fn step(self: &Arc<Self>, step: u64, worker: usize, known: &[SegmentState]) -> StepArchive {
        let mine = known.iter().filter(|state| state.step == step);
        let mut segments: Vec<_> =
            mine.filter_map(|state| self.named.get(&state.number)).cloned().collect();
        segments.sort_unstable_by_key(|segment| segment.state().number);
        // All workers have these; one counts them.
        let uncounted = if worker == 0 { None } else { segments.last() };
        let counted_from = uncounted.map_or(0, |segment| segment.state().number + 1);
        let (cabinet, segments) = (Arc::clone(self), Arc::new(RwLock::new(segments)));
        StepArchive { cabinet, step, segments, counted_from }
    }

    /// Removes segments that no checkpoint names any more.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, numbers: impl Iterator<Item = u64>) -> io::Result<()> {
        let mut numbers = numbers;
        numbers.try_for_each(|number| self.disk.remove(&name_of(number)))
    }
}

type Segments = Arc<RwLock<Vec<Arc<Segment>>>>;

/// The archive of one step on one worker.
pub struct StepArchive {
    cabinet: Arc<Cabinet>,
    step: u64,
    /// The newest last.
    segments: Segments,
    /// Segments before this number are counted by another worker.
    counted_from: u64,
}

impl StepArchive {
    /// Gives what one key group brings things back by.
    pub fn group(&self, group: u8) -> Box<dyn Archive> {
        Box::new(GroupArchive { group, segments: Arc::clone(&self.segments) })
    }

    /// Lists the segments there are, for a checkpoint.
    pub fn name_all(&self) -> Vec<SegmentState> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|segment| segment.name()).collect()
    }

    /// Gives how many bytes the files have; those of all workers together are the step's.
    pub fn bytes(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let states = segments.iter().map(|segment| segment.state());
        states.filter(|it| it.number >= self.counted_from).map(|it| it.bytes).sum()
    }

    /// Puts away what all states could, and lets them go of it; gives how many bytes it took.
    ///
    /// # Errors
    /// When it cannot be written; then everything is as it was.
    pub fn put_away<'a>(
        &self,
        states: impl Iterator<Item = (u8, &'a mut Box<dyn KeyedState>)>,
    ) -> io::Result<u64> {
        let number = self.cabinet.next.fetch_add(1, Ordering::Relaxed);
        let name = name_of(number);
        let written = self.write(number, &name, states);
        if written.is_err() {
            // What cannot be removed now is at the next start.
            let _ = self.cabinet.disk.remove(&name);
        }
        written
    }

    fn write<'a>(
        &self,
        number: u64,
        name: &str,
        states: impl Iterator<Item = (u8, &'a mut Box<dyn KeyedState>)>,
    ) -> io::Result<u64> {
        let disk = &self.cabinet.disk;
        let mut writer = Writer::new(disk.create(name)?);
        let mut written = Vec::new();
        for (group, state) in states {
            state.put_away(&mut |entry: Entry<'_>| writer.add(group, entry));
            written.push(state);
        }
        let Some(segment) = writer.finish(disk, self.step, number)? else {
            disk.remove(name)?;
            return Ok(0);
        };
        disk.sync_folder("")?;
        let bytes = segment.state().bytes;
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.push(Arc::new(segment));
        drop(segments);
        written.into_iter().for_each(|state| state.let_go());
        Ok(bytes)
    }

    /// Forgets the segments of which everything is over.
    pub fn forget(&self, late_before: EventTime) {
        let over = |segment: &Arc<Segment>| segment.state().over_at <= late_before;
        if !self.segments.read().unwrap_or_else(PoisonError::into_inner).iter().any(over) {
            return;
        }
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.iter().filter(|segment| over(segment)).for_each(|segment| segment.end());
        segments.retain(|segment| !over(segment));
    }
}

/// What a key group brings things back by.
struct GroupArchive {
    group: u8,
    segments: Segments,
}

impl Archive for GroupArchive {
    fn read(
        &mut self,
        key: &[u8],
        numbers: RangeInclusive<i64>,
        each: EachEntry<'_>,
    ) -> Result<(), ArchiveError> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        for segment in segments.iter().rev() {
            segment.read(self.group, key, &numbers, &mut |number, value| {
                found.entry(number).or_insert_with(|| value.to_vec());
            })?;
        }
        found.iter().try_for_each(|(number, value)| each(*number, value))
    }
}

/// Opens a file of the archive to be read.
fn open(disk: &Arc<dyn Disk>, number: u64) -> io::Result<Box<dyn crate::log::DiskFile>> {
    disk.open(&name_of(number), Access::Read)
}

/// Makes an error of what a damaged file holds.
fn damaged(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
