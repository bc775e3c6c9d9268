//! Reads the log by position, while it is written.

use super::LogPosition;
use super::damage::Damaged;
use super::entry::Entry;
use super::error::LogError;
use super::error::Trying;
use super::format::{EntryHeader, EntryKind};
use super::scan::{Depth, Gap, Piece, SegmentReader};
use super::segment::{Located, Segment};
use super::state::Shared;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// Goes over the log from a position on, up to what is durable.
///
/// Holds one open file and one buffer, of [`super::limits::READ_BYTES`] or the largest entry met.
/// The bytes of blocks are slices of that buffer, which lives as long as they do. Any number of
/// readers may read, at any positions; they neither hold segments nor disturb the writer.
pub struct Reader {
    shared: Arc<Shared>,
    position: LogPosition,
    open: Option<(Segment, SegmentReader)>,
}

/// What a reader finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// An entry.
    Entry {
        /// Where it stands.
        position: LogPosition,
        /// Where the next one may stand.
        end: LogPosition,
        /// What it is.
        entry: Entry,
    },
    /// A stretch that cannot be read; the log goes on behind it.
    Damaged(Damaged),
}

/// How often a segment may be packed or let go between the look and the opening.
const OPEN_TRIES: usize = 3;

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, position: LogPosition) -> Self {
        Reader { shared, position, open: None }
    }

    /// Tells where the reader is: behind the last thing that it gave.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// Goes on at a later position, which is an entry's position or end.
    pub fn skip_to(&mut self, position: LogPosition) {
        self.position = position;
        self.open = None;
    }

    /// Gives what stands next; `None` when nothing durable does yet.
    ///
    /// # Errors
    /// [`LogError::Gone`] when the log begins behind the reader's position by now,
    /// [`LogError::Ahead`] when it is behind the end, [`LogError::NoEntry`] when it was begun where
    /// no entry does, [`LogError::TooNew`] at what a newer program wrote; and when a file cannot be
    /// read.
    pub fn read_next(&mut self) -> Result<Option<Read>, LogError> {
        loop {
            if self.open.is_none()
                && let Some(missing) = self.open_next()?
            {
                return Ok(Some(missing));
            }
            let Some((segment, reader)) = &mut self.open else { return Ok(None) };
            match reader.next().trying("read", &segment.name())? {
                Some(Piece::Entry(header, payload)) => {
                    if let Some(read) = self.take(&header, payload)? {
                        return Ok(Some(read));
                    }
                }
                Some(Piece::Gap(gap)) => {
                    let damaged = self.shared.damage.note(&gap, Some(reader.file()));
                    self.position = gap.to;
                    return Ok(Some(Read::Damaged(damaged)));
                }
                None if self.extended() => {}
                None => self.open = None,
            }
        }
    }

    /// Gives an entry, if it is one that a reader is to see.
    fn take(&mut self, header: &EntryHeader, payload: Bytes) -> Result<Option<Read>, LogError> {
        let position = header.position;
        let end = LogPosition(position.0 + header.total_bytes());
        if header.kind == EntryKind::Synced {
            self.position = end;
            return Ok(None);
        }
        let entry = Entry::decode(header, payload)?;
        self.position = end;
        Ok(Some(match entry {
            Some(entry) => Read::Entry { position, end, entry },
            None => {
                // Intact, and still nonsense: there are no damaged bytes to keep.
                let gap =
                    Gap { from: position, to: end, offset: 0, length: 0, synced: header.synced };
                Read::Damaged(self.shared.damage.note(&gap, None))
            }
        }))
    }

    /// Lets the reader go on in a segment that was written to meanwhile; `false` when it is done.
    fn extended(&mut self) -> bool {
        let Some((segment, reader)) = &mut self.open else { return false };
        match self.shared.lock().catalogue.locate(self.position) {
            Located::In(now) if now.header == segment.header => {
                reader.extend(&now);
                *segment = now;
                true
            }
            _ => false,
        }
    }

    /// Opens the segment that holds the position; gives what is missing before it.
    fn open_next(&mut self) -> Result<Option<Read>, LogError> {
        for _ in 0..OPEN_TRIES {
            let (located, next) = {
                let state = self.shared.lock();
                (state.catalogue.locate(self.position), state.next)
            };
            let segment = match located {
                Located::AtEnd if self.position > next => {
                    return Err(LogError::Ahead { position: self.position, end: next });
                }
                Located::AtEnd => return Ok(None),
                Located::Gone(first) => {
                    return Err(LogError::Gone { position: self.position, first });
                }
                Located::Before(segment, missing) => {
                    self.position = segment.header.start;
                    if let Some((from, to)) = missing {
                        let synced = LogPosition(0);
                        let gap = Gap { from, to, offset: 0, length: 0, synced };
                        return Ok(Some(Read::Damaged(self.shared.damage.note(&gap, None))));
                    }
                    segment
                }
                Located::In(segment) => segment,
            };
            let depth = Depth::Payloads;
            let mut reader = match SegmentReader::open(&*self.shared.disk, &segment, depth) {
                Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    continue;
                }
                other => other?,
            };
            if self.position > segment.header.start {
                reader.seek(self.position, &segment.name())?;
            }
            self.open = Some((segment, reader));
            return Ok(None);
        }
        let first = self.shared.lock().catalogue.first().unwrap_or(self.position);
        Err(LogError::Gone { position: self.position, first })
    }
}
