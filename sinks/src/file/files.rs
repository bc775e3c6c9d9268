//! The open files of one `file` sink: whole batches in, nothing torn, nothing twice.
//!
//! A batch is appended as a whole or not at all. When a write fails half way, what it left is cut
//! off again before anything else is written to that file; the batch stays with the caller, who
//! tries again. The length is asked for before each batch and not remembered, because others may
//! cut the file (`copytruncate` of logrotate).
//!
//! A file that was moved away or removed is seen at the next batch: the name then leads to another
//! file, or to none, and is opened anew. So no signal is needed for rotation, and what is moved
//! away ends with a whole record.

use super::disk::{Appending, Disk, Identity};
use crate::limits::OPEN_FILES_MAX;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written", .path.display())]
pub(crate) struct WriteError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// With a whole record, or it is empty.
    Whole,
    /// With a part of a batch that must go: from `start` on, if it still ends at `end`.
    Torn { start: u64, end: u64 },
    /// With a part of a record that must stay, because it is not known to be ours.
    Foreign,
}

struct OpenFile {
    file: Box<dyn Appending>,
    identity: Identity,
    written_at: Duration,
    tail: Tail,
}

/// The open files, at most [`OPEN_FILES_MAX`].
pub(crate) struct Files {
    disk: Box<dyn Disk>,
    open: HashMap<Arc<str>, OpenFile>,
    sync: bool,
}

impl Files {
    /// Makes an empty set. With `sync`, a batch is on the disk when [`Files::write`] returns.
    pub fn new(disk: Box<dyn Disk>, sync: bool) -> Self {
        Files { disk, open: HashMap::new(), sync }
    }

    /// Appends a batch of whole records to the file of this name; `now` is its age's beginning.
    ///
    /// # Errors
    /// When the disk refuses; the file then ends where it ended before, or will before the next
    /// write to it.
    pub fn write(
        &mut self,
        name: &Arc<str>,
        bytes: &[u8],
        now: Duration,
    ) -> Result<(), WriteError> {
        let path = Path::new(&**name);
        let sync = self.sync;
        let written = self.ready(name).and_then(|open| {
            open.written_at = now;
            open.append(bytes, sync)
        });
        written.map_err(|source| WriteError { path: path.to_owned(), source })
    }

    /// Closes what was not written to since `deadline`, save for files that still have to be
    /// mended.
    pub fn close_idle(&mut self, deadline: Duration) {
        self.open.retain(|_, open| open.written_at >= deadline || open.tail != Tail::Whole);
    }

    /// Gives the file of this name, mended, opening it when it is not open or no longer has the
    /// name.
    fn ready(&mut self, name: &Arc<str>) -> io::Result<&mut OpenFile> {
        let path = Path::new(&**name);
        if let Some(open) = self.open.get_mut(name) {
            open.mend()?;
            if self.disk.identity(path)? != Some(open.identity) {
                self.open.remove(name);
            }
        }
        if !self.open.contains_key(name) {
            self.make_room();
            let file = self.disk.open(path)?;
            let identity = file.identity()?;
            // A process that was killed in the middle of a write leaves a part of a record. It
            // cannot be told from what a person wrote, so it stays, on a line of its own.
            let whole = file.last_byte()?.is_none_or(|byte| byte == b'\n');
            let tail = if whole { Tail::Whole } else { Tail::Foreign };
            let open = OpenFile { file, identity, written_at: Duration::ZERO, tail };
            self.open.insert(Arc::clone(name), open);
        }
        Ok(self.open.get_mut(name).expect("it was found or inserted above"))
    }

    fn make_room(&mut self) {
        while self.open.len() >= OPEN_FILES_MAX {
            let oldest = self.open.iter();
            let oldest = oldest.min_by_key(|(_, open)| (open.tail != Tail::Whole, open.written_at));
            let Some(oldest) = oldest.map(|(name, _)| Arc::clone(name)) else { return };
            self.open.remove(&oldest);
        }
    }
}

impl OpenFile {
    fn append(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        let start = self.file.length()?;
        let mut written = 0;
        if self.tail == Tail::Foreign {
            self.append_all(b"\n", &mut written)?;
        }
        let appended = self.append_all(bytes, &mut written);
        let done = appended.and_then(|()| if sync { self.file.sync() } else { Ok(()) });
        let Err(error) = done else {
            self.tail = Tail::Whole;
            return Ok(());
        };
        if written > 0 {
            self.tail = Tail::Torn { start, end: start + written };
            // When this fails too, it is tried again before the next write; the first error is the
            // one to tell.
            let _ = self.mend();
        }
        Err(error)
    }

    fn append_all(&mut self, mut bytes: &[u8], written: &mut u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.append(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Cuts off what a failed write left, unless somebody wrote or cut behind it.
    fn mend(&mut self) -> io::Result<()> {
        let Tail::Torn { start, end } = self.tail else { return Ok(()) };
        if self.file.length()? == end {
            self.file.cut(start)?;
        }
        let whole = self.file.last_byte()?.is_none_or(|byte| byte == b'\n');
        self.tail = if whole { Tail::Whole } else { Tail::Foreign };
        Ok(())
    }
}
