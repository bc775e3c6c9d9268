//! The log on disk: everything that was taken in, and every decision about it, in one order.
//!
//! There is one log for a process, for all sources. It is a sequence of [`Entry`]s in files of
//! about 64 MiB, the *segments*. An entry is a block of a source, the record of a pipeline's epoch,
//! or a mark. What was told durable is there after a crash, in order, bit for bit. What a sink
//! cannot take is kept in a log of its own, whose entries are batches (`crate::spill`).
//!
//! ```text
//!  append ──▶ [ queue, bounded ] ──▶ write ──▶ sync ──▶ durable(up to) ──▶ senders answered,
//!             position is known      │         │                            results may leave
//!                                    ▼         ▼
//!  …0000.packed   …4000.log   …8000.log ▏open segment      ◀── Reader, up to what is durable
//!  └─ retained ─┘ └────── held for recovery ─────────┘
//!  gone when old  ▲
//!                 └ release(position): the checkpoints of all pipelines are behind it
//! ```
//!
//! # Positions
//!
//! A [`LogPosition`] counts the bytes of all entries since the log began, headers of segments left
//! out. So where a segment ends does not show in it, and it can be told when an entry is appended,
//! before it is written. It never goes back, and none is given twice, not even of what was lost:
//! each start goes on [`limits::POSITION_GAP`] behind the place at which the one before began or
//! the log ends, and makes its first segment's name durable before it gives a position. A segment's
//! header says where the one before it ended, so that such a gap and a file that is missing are two
//! things.
//!
//! # What a crash leaves
//!
//! A segment is synced before the next is made. So only the last can be torn, and the question is
//! where. Each entry says how far the log was durable when it was written; when nothing waits, a
//! small entry says so of the last commit too. The greatest such word divides the last segment.
//! Before it, damage is damage: told, set aside, passed over. Behind it, the first damage is the
//! end: of a commit that was never answered a late write may be there and an early one not, and a
//! log that kept the late one would have a hole in a stream. See `recover.rs`.
//!
//! A failed sync ends the process. It is not tried again, because the second would succeed without
//! what the first has lost; and the next start writes once more what nobody attests, as it may have
//! read it from memory.
//!
//! # What a damaged byte loses
//!
//! One entry; in a packed segment one frame of a MiB. Every entry begins with a marker that is the
//! segment's own, and its header has a checksum apart from its payload's. A damaged payload is
//! passed over by its length. Behind a damaged header the next marker is looked for whose header
//! fits its checksum and its place. The marker is hashed from the incarnation, which is random, so
//! that no record can contain a forged entry. The header of a segment stands twice.
//!
//! # A full disk
//!
//! is back pressure. What did not fit is taken back, so that nothing half-written is visible, kept,
//! and tried again; the queue fills, and appends are refused. A reserve file can be given up
//! ([`Log::open_reserve`]), so that the checkpoint which lets segments go can be written.
//!
//! # Rejected
//!
//! A log for each source, and so a sync for each. Preallocated segments, which measured no faster.
//! A database for a log: `docs/decisions/0008-the-log.md`.

mod account;
mod commit;
mod damage;
mod disk;
mod entry;
mod error;
mod format;
mod inspect;
pub mod limits;
mod reader;
mod recover;
mod retain;
mod scan;
mod segment;
mod state;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub(crate) mod forgetful;
#[cfg(test)]
mod model;
#[cfg(test)]
mod thread_tests;

#[cfg(test)]
pub(crate) use model::{Told, small_settings};

pub use damage::Damaged;
pub use disk::{Access, Disk, DiskFile, Folder};
pub use entry::{Entry, EpochRecord, KeptBatch, LoggedBlock, Mark};
pub use error::{LogError, Origin};
pub use format::{EntryKind, SegmentHeader, SegmentKind};
pub use inspect::{Blocks, Epochs, Inspection, SegmentReport, inspect, verify};
pub use reader::{Read, Reader};
pub use recover::{Recovered, Torn};
pub use retain::Maintained;
pub use state::{Observer, Phase, Refused, Settings};

use azud_event::clock::Clock;
use azud_event::time::EventTime;
use commit::Committer;
use damage::DamageList;
use error::Trying;
use serde::{Deserialize, Serialize};
use state::{Counts, Shared, SharedParts, State};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use writer::Writer;

/// A place in the log: how many bytes of entries, and of gaps between runs, come before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogPosition(pub u64);

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an appended entry stands, or will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its position: from here it is read.
    pub position: LogPosition,
    /// Where it ends: it is durable when everything before this is.
    pub end: LogPosition,
}

/// What a log is opened with.
pub struct Options {
    /// Where it is.
    pub disk: Arc<dyn Disk>,
    /// How large it may be, and how long it is kept.
    pub settings: Settings,
    /// The life of the data folder, 16 random bytes.
    pub incarnation: [u8; 16],
    /// Tells the time.
    pub clock: Clock,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
}

/// The log, open. Shared by all who append to it and read it.
///
/// Dropping it closes it: what was taken is written, if there is room.
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Given back when the thread has ended; readers may live on.
    /// What keeps other processes out, until the log is closed.
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

/// The folder of the log within the data folder.
pub const FOLDER: &str = "log";

/// The name of the lock's file.
const LOCK: &str = "lock";

impl Log {
    /// Opens the log of a folder, or begins one, and starts the thread that writes.
    ///
    /// Looks at all headers and at the whole last segment; cuts its torn tail, and sets aside what
    /// is damaged.
    ///
    /// # Errors
    /// [`LogError::Locked`] when another process has it open, [`LogError::TooNew`] when a newer
    /// program wrote it, and when a file cannot be read or mended.
    pub fn open(options: Options) -> Result<(Log, Recovered), LogError> {
        let (log, committer, recovered) = Self::prepare(options)?;
        let builder = std::thread::Builder::new().name("log".to_owned());
        let thread = builder.spawn(move || committer.run()).map_err(LogError::Thread)?;
        *log.lock_thread() = Some(thread);
        Ok((log, recovered))
    }

    /// Opens the log, with what its thread would run.
    fn prepare(options: Options) -> Result<(Log, Committer, Recovered), LogError> {
        let Options { disk, settings, incarnation, clock, observer } = options;
        disk.make_folder("").trying("make", ".")?;
        let lock = match disk.lock(LOCK) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(LogError::Locked);
            }
            other => other.trying("lock", LOCK)?,
        };
        let damage = DamageList::open(Arc::clone(&disk)).trying("list", damage::FOLDER)?;
        let found = recover::recover(&disk, &damage, incarnation, clock.now())?;
        let previous_end = found.report.end;
        let state = State {
            queue: VecDeque::new(),
            next: found.next,
            appended: found.next,
            durable: found.next,
            released: found.released,
            catalogue: found.catalogue,
            accounts: found.accounts,
            phase: Phase::Running,
            closing: false,
            refused: false,
            roll: false,
            reserves: 0,
            signals: 0,
            counts: Counts::default(),
        };
        let parts = SharedParts { disk, settings, incarnation, clock, observer, damage };
        let shared = Arc::new(Shared::new(parts, state));
        let writer = Writer::new(Arc::clone(&shared), previous_end);
        let committer = Committer::new(Arc::clone(&shared), writer);
        let lock = Mutex::new(Some(lock));
        Ok((Log { shared, thread: Mutex::new(None), lock }, committer, found.report))
    }

    /// Appends an entry behind all others, without waiting for the disk.
    ///
    /// Blocks and records share their bytes with the entry; they are let go when it is written. Ask
    /// [`Log::would_fit`] first: an append is never refused for a budget.
    ///
    /// # Errors
    /// [`Refused::Busy`] while [`limits::WAITING_BYTES_MAX`] wait; [`Refused::Never`] for an entry
    /// that is too large, and when the log has stopped.
    pub fn append(&self, entry: &Entry) -> Result<Ticket, Refused> {
        self.shared.append(entry.encode()?)
    }

    /// Sets how many unreleased bytes a source may have; without a budget only the whole is bound.
    pub fn set_budget(&self, source: u64, bytes: u64) {
        self.shared.lock().accounts.set_budget(source, bytes);
    }

    /// Whether a block of `bytes` stays within the budget of its source and of the log.
    pub fn would_fit(&self, source: u64, bytes: u64) -> bool {
        self.shared.lock().accounts.fits(source, bytes, self.shared.settings.max_bytes)
    }

    /// Tells up to where everything is durable.
    pub fn durable(&self) -> LogPosition {
        self.shared.lock().durable
    }

    /// Waits until everything before `end` is durable. Blocks; async code listens to
    /// [`Observer::durable`].
    ///
    /// # Errors
    /// [`LogError::Stopped`] when the log stopped before.
    pub fn wait_durable(&self, end: LogPosition) -> Result<(), LogError> {
        self.shared.wait_durable(end)
    }

    /// Tells where the first entry that is kept stands, or the next if there is none.
    pub fn first(&self) -> LogPosition {
        let state = self.shared.lock();
        state.catalogue.first().unwrap_or(state.next)
    }

    /// Tells where the next entry will stand at the earliest.
    pub fn next(&self) -> LogPosition {
        self.shared.lock().next
    }

    /// Gives a reader that begins at `position`, which is an entry's position or end.
    pub fn reader(&self, position: LogPosition) -> Reader {
        Reader::new(Arc::clone(&self.shared), position)
    }

    /// Says that no recovery will ever need what is before this position. Never goes back.
    pub fn release(&self, before: LogPosition) {
        let mut state = self.shared.lock();
        state.released = state.released.max(before);
        let released = state.released;
        state.accounts.release(released);
    }

    /// Lets go and packs what may be. Called about once a second, by a thread that may block.
    ///
    /// # Errors
    /// When a file cannot be read, written or removed; it may be called again. No room is no error.
    pub fn maintain(&self, now: EventTime) -> Result<Maintained, LogError> {
        retain::maintain(&self.shared, now)
    }

    /// Gives up the reserve file, for a checkpoint that finds no room.
    ///
    /// Until what it gives is dropped, the log that waits for room does not take it either. After
    /// that [`Log::maintain`] makes the file again when there is room.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn open_reserve(&self) -> Result<Reserve, LogError> {
        self.shared.lock().reserves += 1;
        let reserve = Reserve { shared: Arc::clone(&self.shared) };
        retain::drop_reserve(&self.shared)?;
        Ok(reserve)
    }

    /// Tells how the log is.
    pub fn stats(&self) -> Stats {
        let (damaged, damaged_bytes) = self.shared.damage.count();
        let max_bytes = self.shared.settings.max_bytes;
        let state = self.shared.lock();
        let packed = |kind| state.catalogue.iter().filter(move |one| one.header.kind == kind);
        let held = state.accounts.total();
        Stats {
            phase: state.phase,
            file_bytes: state.catalogue.file_bytes(),
            held_bytes: held,
            max_bytes,
            waiting_bytes: state.next.0 - state.durable.0,
            segments: packed(SegmentKind::Raw).count(),
            packed_segments: packed(SegmentKind::Packed).count(),
            first: state.catalogue.first().unwrap_or(state.next),
            released: state.released,
            durable: state.durable,
            entries: state.counts.entries,
            entry_bytes: state.counts.entry_bytes,
            syncs: state.counts.syncs,
            last_sync: state.counts.last_sync,
            full: state.counts.full,
            damaged,
            damaged_bytes,
        }
    }

    /// Tells how many unreleased bytes a source has.
    pub fn held_bytes(&self, source: u64) -> u64 {
        self.shared.lock().accounts.of(source)
    }

    /// Lists what is known to be damaged, at most [`limits::DAMAGED_LISTED_MAX`].
    pub fn damaged(&self) -> Vec<Damaged> {
        self.shared.damage.listed()
    }

    /// Takes no more entries, makes durable what was taken, ends the thread, and lets another
    /// process have the folder. Reading goes on.
    ///
    /// # Errors
    /// [`LogError::Unwritten`] when there was no room for all of it, or the log had failed.
    pub fn close(&self) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.signal(&mut state);
        drop(state);
        if let Some(thread) = self.lock_thread().take() {
            // A panic there has told itself; what it did not make durable is told below.
            let _ = thread.join();
        }
        // A maintenance that runs ends first; none begins after this.
        let quiet = self.shared.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(quiet);
        let state = self.shared.lock();
        match state.appended.0.saturating_sub(state.durable.0) {
            0 => Ok(()),
            bytes => Err(LogError::Unwritten { bytes }),
        }
    }

    fn lock_thread(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Whoever wants to know closes it first.
        let _ = self.close();
    }
}

/// The reserve file, given up.
pub struct Reserve {
    shared: Arc<Shared>,
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reserves -= 1;
        self.shared.signal(&mut state);
    }
}

/// How the log is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// What the writer is about.
    pub phase: Phase,
    /// How many bytes the files of all segments have.
    pub file_bytes: u64,
    /// How many bytes of entries are not released.
    pub held_bytes: u64,
    /// How many there may be.
    pub max_bytes: u64,
    /// How many bytes are appended and not durable.
    pub waiting_bytes: u64,
    /// How many segments are not packed.
    pub segments: usize,
    /// How many are.
    pub packed_segments: usize,
    /// Where the log begins.
    pub first: LogPosition,
    /// No recovery needs what is before this.
    pub released: LogPosition,
    /// Everything before this is on disk.
    pub durable: LogPosition,
    /// How many entries were appended since the log was opened.
    pub entries: u64,
    /// How many bytes they have.
    pub entry_bytes: u64,
    /// How many syncs there were.
    pub syncs: u64,
    /// How long the last sync took.
    pub last_sync: Duration,
    /// How often the disk was found full.
    pub full: u64,
    /// How many damaged stretches are known.
    pub damaged: u64,
    /// How many bytes of the log they are.
    pub damaged_bytes: u64,
}

impl Stats {
    /// Gives how much of the log's budget is used, from 0 to about 1.
    pub fn fill(&self) -> f64 {
        self.held_bytes as f64 / self.max_bytes.max(1) as f64
    }

    /// Whether the log is nearly full: a source will soon have to wait.
    pub fn nearly_full(&self) -> bool {
        self.phase == Phase::Full || self.fill() >= limits::FILL_ALARM
    }
}
