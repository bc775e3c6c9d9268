//! What the threads of the log share: the queue, the catalogue, the accounts, and the bells.

use super::account::Accounts;
use super::damage::DamageList;
use super::disk::Disk;
use super::entry::Encoded;
use super::error::LogError;
use super::format::{ENTRY_HEADER_BYTES, EntryKind};
use super::limits::{self, WAITING_BYTES_MAX};
use super::segment::Catalogue;
use super::{LogPosition, Ticket};
use azud_event::clock::Clock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How large the log may be, and how long it is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many bytes of entries may wait to be released, of all sources together; and, with what
    /// is retained, how many bytes the files may have.
    pub max_bytes: u64,
    /// How long segments are kept once they are released; zero keeps none.
    pub retain: Duration,
    /// How many bytes of released segments are kept at most.
    pub retain_bytes: u64,
    /// The size of the reserve file, [`limits::RESERVE_BYTES`]; zero makes none.
    pub reserve_bytes: u64,
    /// The size at which a segment is closed, [`limits::SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// The size at which a packed frame is closed, at most [`limits::FRAME_BYTES`].
    pub frame_bytes: usize,
}

impl Settings {
    /// Gives the settings for a log of `max_bytes` that keeps nothing that is released.
    pub fn new(max_bytes: u64) -> Self {
        Settings {
            max_bytes,
            retain: Duration::ZERO,
            retain_bytes: max_bytes,
            reserve_bytes: limits::RESERVE_BYTES,
            segment_bytes: limits::SEGMENT_BYTES,
            frame_bytes: limits::FRAME_BYTES,
        }
    }
}

/// Is told what the log does.
///
/// - Called by the thread that writes, without a lock: an implementation that blocks stops the log.
/// - `durable` never goes back, and is called once for each commit.
/// - `fatal` is called at most once, and nothing after it.
pub trait Observer: Send + Sync + 'static {
    /// Everything before this position is on disk.
    fn durable(&self, up_to: LogPosition);

    /// There is room again for an append that was refused with [`Refused::Busy`].
    fn room(&self);

    /// Whether there is room on the disk has changed.
    fn phase(&self, phase: Phase);

    /// The log has stopped, and the process must end: what was not yet durable is in doubt. After
    /// the next start everything that was told durable is there.
    fn fatal(&self, error: LogError);
}

/// What the writer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It writes what comes.
    Running,
    /// There is no room on the disk: it keeps what it has and tries again.
    Full,
    /// It has ended.
    Stopped,
}

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too much waits for the disk; [`Observer::room`] says when to try again.
    #[error("{waiting} bytes wait for the disk, the limit is {max}")]
    Busy {
        /// How many bytes wait.
        waiting: u64,
        /// How many may.
        max: u64,
    },
    /// It will never be taken.
    #[error(transparent)]
    Never(#[from] LogError),
}

/// An entry on its way to the disk.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub position: LogPosition,
    pub entry: Encoded,
}

impl Waiting {
    pub fn total_bytes(&self) -> u64 {
        (ENTRY_HEADER_BYTES + self.entry.length()) as u64
    }
}

/// What the threads share.
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub settings: Settings,
    pub incarnation: [u8; 16],
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub damage: DamageList,
    /// Held by the one maintenance that runs.
    pub maintenance: Mutex<()>,
    state: Mutex<State>,
    /// Rung when there is something for the writer.
    work: Condvar,
    /// Rung when more is durable, or the log has stopped.
    told: Condvar,
}

/// What changes.
pub(super) struct State {
    pub queue: VecDeque<Waiting>,
    /// Where the next entry will stand.
    pub next: LogPosition,
    /// Behind the last entry that was appended: notes of the log's own are not waited for.
    pub appended: LogPosition,
    /// Everything before it is on disk.
    pub durable: LogPosition,
    /// Everything before it is no longer needed for a recovery.
    pub released: LogPosition,
    pub catalogue: Catalogue,
    pub accounts: Accounts,
    pub phase: Phase,
    pub closing: bool,
    /// An append was refused since the last word that there is room.
    pub refused: bool,
    /// The open segment is to be closed.
    pub roll: bool,
    /// How many hold the reserve open.
    pub reserves: usize,
    /// Counts what the writer may have to do something about.
    pub signals: u64,
    pub counts: Counts,
}

/// What was done since the log was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub entries: u64,
    pub entry_bytes: u64,
    pub syncs: u64,
    pub last_sync: Duration,
    pub full: u64,
}

impl Shared {
    pub fn new(parts: SharedParts, state: State) -> Self {
        let SharedParts { disk, settings, incarnation, clock, observer, damage } = parts;
        Shared {
            disk,
            settings,
            incarnation,
            clock,
            observer,
            damage,
            maintenance: Mutex::new(()),
            state: Mutex::new(state),
            work: Condvar::new(),
            told: Condvar::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry into the queue.
    pub fn append(&self, entry: Encoded) -> Result<Ticket, Refused> {
        let mut state = self.lock();
        if state.closing || state.phase == Phase::Stopped {
            return Err(Refused::Never(LogError::Stopped));
        }
        let waiting = state.next.0 - state.durable.0;
        if waiting >= WAITING_BYTES_MAX {
            state.refused = true;
            return Err(Refused::Busy { waiting, max: WAITING_BYTES_MAX });
        }
        let source = (entry.kind == EntryKind::Block).then_some(entry.key);
        let waiting = Waiting { position: state.next, entry };
        let ticket = Ticket {
            position: waiting.position,
            end: LogPosition(waiting.position.0 + waiting.total_bytes()),
        };
        state.next = ticket.end;
        state.appended = ticket.end;
        state.counts.entries += 1;
        state.counts.entry_bytes += waiting.total_bytes();
        state.accounts.add(source, ticket.position, ticket.end);
        state.queue.push_back(waiting);
        self.signal(&mut state);
        Ok(ticket)
    }

    /// Wakes the writer.
    pub fn signal(&self, state: &mut State) {
        state.signals += 1;
        self.work.notify_one();
    }

    /// Waits until there was a signal after `seen`, at most `longest`.
    pub fn wait_for_work(&self, seen: u64, longest: Option<Duration>) {
        let state = self.lock();
        let idle = |state: &mut State| state.signals == seen;
        match longest {
            Some(longest) => drop(self.work.wait_timeout_while(state, longest, idle)),
            None => drop(self.work.wait_while(state, idle)),
        }
    }

    /// Tells those who wait that more is durable, or that nothing will be any more.
    pub fn tell(&self) {
        self.told.notify_all();
    }

    /// Waits until everything before `end` is durable.
    pub fn wait_durable(&self, end: LogPosition) -> Result<(), LogError> {
        let waits = |state: &mut State| state.durable < end && state.phase != Phase::Stopped;
        let state = self.told.wait_while(self.lock(), waits);
        match state.unwrap_or_else(PoisonError::into_inner).durable >= end {
            true => Ok(()),
            false => Err(LogError::Stopped),
        }
    }
}

/// What a [`Shared`] is made of.
pub(super) struct SharedParts {
    pub disk: Arc<dyn Disk>,
    pub settings: Settings,
    pub incarnation: [u8; 16],
    pub clock: Clock,
    pub observer: Arc<dyn Observer>,
    pub damage: DamageList,
}
