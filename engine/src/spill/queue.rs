//! The spill of one sink on disk: a log of batches, and a mark of what is delivered.

use super::ledger::Ledger;
use super::mark::Mark;
use crate::feed::Epoch;
use crate::limits::{SPILL_READ_BYTES, SPILL_SEGMENT_BYTES, SPILL_SEGMENT_BYTES_MIN};
use crate::log::{
    Disk, Entry, KeptBatch, Log, LogError, LogPosition, Observer, Options, Read, Reader, Refused,
    Settings,
};
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// What a spill is opened with.
#[derive(Clone)]
pub struct SpillParts {
    /// Where it is.
    pub disk: Arc<dyn Disk>,
    /// How many bytes may wait in it.
    pub max_bytes: u64,
    /// For how long what is delivered is kept, to be delivered again; zero keeps nothing.
    pub retain: Duration,
    /// The life of the data folder.
    pub incarnation: [u8; 16],
    /// Tells the time.
    pub clock: Clock,
    /// Its account.
    pub ledger: Arc<Ledger>,
}

/// An open spill.
pub struct Spill {
    log: Log,
    parts: SpillParts,
    /// Behind the last batch that was put into it, by this run or earlier ones.
    end: AtomicU64,
    /// Up to where the mark says that everything is delivered.
    marked: AtomicU64,
}

/// Why a batch was not put into a spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// The budget is used up.
    Full,
    /// Too much waits for the disk.
    Busy,
    /// It is larger than any entry may be.
    TooLarge,
}

/// What is missing in a spill that a checkpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Everything owed that is before this is gone, if anything is.
    pub before: LogPosition,
    /// Everything owed from here on is gone, if anything is.
    pub from: LogPosition,
}

/// Where a receiver that went back is given everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// From here on.
    pub from: LogPosition,
    /// Everything of this epoch and those behind it is there; `None` when nothing is.
    pub covered: Option<Epoch>,
    /// When the first of it was put there.
    pub oldest: Option<EventTime>,
}

/// What is given to a sink whether or not it is owed, because its receiver went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Everything before this: this run gave it to the sink, or the mark says that it is delivered.
    pub to: LogPosition,
    /// What earlier runs put there of the epochs before this. They delivered it, even where the
    /// mark is older than the checkpoint that says so; later epochs are made again.
    pub before: Epoch,
}

/// Something that was read from a spill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A batch that is owed.
    Batch(Unspilled),
    /// So many bytes that cannot be read, and are set aside.
    Damaged(u64),
}

/// A batch that was in a spill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspilled {
    /// Where it ends.
    pub end: LogPosition,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it was put there.
    pub kept_at: EventTime,
    /// Whether it was given to the sink before.
    pub again: bool,
    /// How many records it has; none in word of complete epochs.
    pub records: usize,
    /// Their partition.
    pub partition: Arc<str>,
    /// The records.
    pub bytes: Bytes,
}

impl Spill {
    /// Opens a spill, or begins one. Blocks. What is missing of what it owes is told with it; it
    /// can be used all the same.
    ///
    /// # Errors
    /// As of [`Log::open`], and when the mark cannot be read.
    pub fn open(
        parts: SpillParts,
        observer: Arc<dyn Observer>,
    ) -> Result<(Spill, Option<Missing>), LogError> {
        let segment_bytes =
            (parts.max_bytes / 4).clamp(SPILL_SEGMENT_BYTES_MIN, SPILL_SEGMENT_BYTES);
        let settings = Settings {
            retain: parts.retain,
            retain_bytes: parts.max_bytes,
            reserve_bytes: 0,
            segment_bytes,
            ..Settings::new(parts.max_bytes)
        };
        let (log, recovered) = Log::open(Options {
            disk: Arc::clone(&parts.disk),
            settings,
            incarnation: parts.incarnation,
            clock: parts.clock.clone(),
            observer,
        })?;
        let mark = Mark::read(&*parts.disk).map_err(|source| failed("read", source))?;
        let mut mark = mark.unwrap_or_default();
        let (first, end) = (recovered.first, recovered.end);
        if mark.delivered > log.next() {
            // It is of files that are gone: what comes now would count as delivered.
            mark.delivered = first;
            mark.write(&*parts.disk).map_err(|source| failed("write", source))?;
        }
        parts.ledger.had(mark.stored);
        let marked = mark.delivered;
        let missing = Missing { before: first, from: end };
        let lost = missing.of(&parts.ledger, marked);
        log.release(marked);
        parts.ledger.begin(log.next(), marked.max(first), log.stats().held_bytes);
        let (end, marked) = (AtomicU64::new(end.0), AtomicU64::new(marked.0));
        Ok((Spill { log, parts, end, marked }, lost.then_some(missing)))
    }

    /// Puts a batch behind all others. It is kept once [`Ledger::durable_to`] has reached the
    /// position that is given.
    ///
    /// # Errors
    /// When it was not taken, and why.
    pub fn append(&self, batch: &KeptBatch) -> Result<LogPosition, NotKept> {
        let bytes = batch.bytes.len() as u64;
        if !self.parts.ledger.fits(bytes, self.parts.max_bytes) {
            return Err(NotKept::Full);
        }
        match self.log.append(&Entry::Batch(batch.clone())) {
            Ok(ticket) => {
                self.end.store(ticket.end.0, SeqCst);
                self.parts.ledger.kept(ticket.end, u64::from(batch.records), bytes);
                Ok(ticket.end)
            }
            Err(Refused::Never(LogError::TooLarge { .. })) => Err(NotKept::TooLarge),
            Err(Refused::Busy { .. } | Refused::Never(_)) => Err(NotKept::Busy),
        }
    }

    /// Gives a reader of what is owed.
    pub fn reader(&self) -> SpillReader {
        let reader = self.log.reader(self.parts.ledger.delivered_to());
        let again = Again { to: LogPosition(0), before: 0 };
        SpillReader { reader, ledger: Arc::clone(&self.parts.ledger), again }
    }

    /// Looks for where a sink must be given everything again whose receiver has what is before
    /// epoch `next`. Blocks: everything that is kept is read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn seek(&self, next: Epoch) -> Result<Sought, LogError> {
        let first = self.log.first();
        let mut sought = Sought { from: first, covered: None, oldest: None };
        let mut reader = self.log.reader(first);
        while let Some(read) = reader.read_next()? {
            let Read::Entry { position, end, entry: Entry::Batch(batch) } = read else { continue };
            // Behind word that everything before an epoch has come, everything else comes.
            let covers = if batch.records == 0 { batch.epoch } else { batch.epoch + 1 };
            if sought.oldest.is_none() {
                (sought.from, sought.oldest) = (position, Some(batch.kept_at));
            }
            if sought.covered.is_none() || batch.records == 0 {
                let known = sought.covered.unwrap_or(covers);
                sought.covered = Some(known.min(covers));
            }
            if batch.records == 0 && batch.epoch <= next {
                sought.from = end;
            }
        }
        Ok(sought)
    }

    /// Gives a reader of everything from a position on, some of it again.
    pub fn reader_again(&self, from: LogPosition, again: Again) -> SpillReader {
        SpillReader { reader: self.log.reader(from), ledger: Arc::clone(&self.parts.ledger), again }
    }

    /// Whether a reader that is at `position` has read everything that was put here.
    pub fn is_read(&self, position: LogPosition) -> bool {
        position.0 >= self.end.load(SeqCst)
    }

    /// Lets go of what is delivered, and remembers how far that is. Blocks.
    ///
    /// # Errors
    /// When a file cannot be written or removed; it may be called again.
    pub fn let_go(&self) -> Result<(), LogError> {
        let delivered = self.parts.ledger.delivered_to();
        if !self.is_marked() {
            // Before anything is removed: what the mark does not know is looked for at a start.
            let mark = Mark { delivered, stored: self.parts.ledger.stored() };
            mark.write(&*self.parts.disk).map_err(|source| failed("write", source))?;
            self.marked.store(delivered.0, SeqCst);
            self.log.release(delivered);
        }
        self.log.maintain(self.parts.clock.now()).map(drop)
    }

    /// Whether it is written down how far it is delivered.
    pub fn is_marked(&self) -> bool {
        self.parts.ledger.delivered_to().0 <= self.marked.load(SeqCst)
    }

    /// Lets go of what is delivered, makes durable what was put here, and lets the folder go.
    /// Blocks.
    ///
    /// # Errors
    /// As of [`Spill::let_go`] and [`Log::close`].
    pub fn close(&self) -> Result<(), LogError> {
        let let_go = self.let_go();
        self.log.close().and(let_go)
    }
}

fn failed(action: &'static str, source: io::Error) -> LogError {
    LogError::Io { action, name: "delivered".to_owned(), source }
}

impl Missing {
    /// Whether anything is owed in what is missing, behind what is delivered.
    fn of(&self, ledger: &Ledger, delivered: LogPosition) -> bool {
        ledger.earlier().iter().any(|owed| {
            let from = owed.from.max(delivered);
            from < owed.to && (from < self.before || owed.to > self.from)
        })
    }
}

/// Reads what is owed, in order.
pub struct SpillReader {
    reader: Reader,
    ledger: Arc<Ledger>,
    again: Again,
}

impl SpillReader {
    /// Reads on until about [`SPILL_READ_BYTES`] are found, or nothing more is durable. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read; what was found before is given, and the next call tries again.
    pub fn read(&mut self) -> (Vec<Found>, Result<(), LogError>) {
        // What the sink had in its hands when it was put here is delivered without being read, and
        // may be gone.
        let (position, delivered) = (self.reader.position(), self.ledger.delivered_to());
        if position >= self.again.to && position < delivered {
            self.reader.skip_to(delivered);
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        while bytes < SPILL_READ_BYTES {
            let read = match self.reader.read_next() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            };
            match read {
                Read::Entry { position, end, entry: Entry::Batch(batch) } => {
                    // Word that the epochs before one are complete is of the last of them.
                    let epoch = batch.epoch.saturating_sub(u64::from(batch.records == 0));
                    let given = position < self.again.to;
                    let owed = given || self.ledger.is_owed(position, epoch);
                    if !owed {
                        self.ledger.passed_over(batch.bytes.len() as u64);
                    }
                    let lacked = epoch < self.again.before && !self.ledger.is_of_this_run(end);
                    if owed || lacked {
                        bytes += batch.bytes.len().max(1);
                        let again = given || !owed;
                        found.extend(Unspilled::of(batch, end, again).map(Found::Batch));
                    }
                }
                Read::Entry { .. } => {}
                Read::Damaged(damaged) => {
                    let lost = damaged.to.0 - damaged.from.0;
                    self.ledger.passed_over(lost);
                    found.push(Found::Damaged(lost));
                }
            }
        }
        (found, Ok(()))
    }

    /// Tells where the reader is.
    pub fn position(&self) -> LogPosition {
        self.reader.position()
    }
}

impl Unspilled {
    fn of(batch: KeptBatch, end: LogPosition, again: bool) -> Option<Self> {
        let KeptBatch { epoch, kept_at, records, partition, bytes } = batch;
        // It was text when it was put there, and its checksum was looked at.
        let partition = std::str::from_utf8(&partition).ok()?.into();
        let records = records as usize;
        Some(Unspilled { end, epoch, kept_at, again, records, partition, bytes })
    }
}
