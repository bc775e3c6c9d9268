//! The sink that every pipeline has for its dead letters.

use super::OF_NO_EPOCH;
use super::folder::{Files, Folder, Segment, State, give_to_owner_of};
use super::index::Index;
use super::known::{Epochs, Known};
use super::line::{lines, write_stamped};
use crate::limits::{DEAD_LETTER_INDEX_BYTES, DEAD_LETTER_SEGMENT_BYTES};
use azud_plan::component::{Batch, Batches, RunError};
use futures_util::StreamExt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// How long a writer without room waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Writes the dead letters of one pipeline into segment files.
pub struct Writer {
    folder: Folder,
    budget_bytes: u64,
    /// Where there is a log, so that epochs are repeated.
    epochs: Option<Epochs>,
    /// What need not be written again; `None` until it was looked for.
    known: Option<Known>,
    open: Option<OpenSegment>,
}

/// The segment that is written.
struct OpenSegment {
    number: u64,
    file: File,
    /// What it holds; its end is where the next line goes.
    index: Index,
    /// Up to where its index is on disk.
    indexed: u64,
}

impl Writer {
    /// Makes a writer into `path`, which is made with the first letter, of at most `budget_bytes`
    /// in all.
    pub fn new(path: PathBuf, budget_bytes: u64, epochs: Option<Epochs>) -> Self {
        Writer { folder: Folder::new(path), budget_bytes, epochs, known: None, open: None }
    }

    /// Says that the pipeline begins with epoch 0, so that no letter on disk is of an epoch that it
    /// will ever repeat. To be called before anything is recorded of it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn begin_anew(&self) -> io::Result<()> {
        let files = self.folder.files()?;
        if files.segments.is_empty() {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        self.folder.set_state(State { from: files.greatest + 1, ..State::default() })
    }

    /// Writes and confirms batches until their queue ends.
    ///
    /// # Errors
    /// When the thread that writes died.
    pub async fn run(mut self, mut batches: Batches) -> Result<(), RunError> {
        while let Some(batch) = batches.next().await {
            self = self.keep(batch).await?;
        }
        // Only a cache: who finds none reads the segment.
        self.write_index();
        Ok(())
    }

    /// Writes one batch, however long that takes, and confirms it.
    async fn keep(mut self, batch: Batch) -> Result<Self, RunError> {
        let (mut pending, mut warned) = (Pending { batch, text: None }, false);
        loop {
            let writing = tokio::task::spawn_blocking(move || {
                let written = self.append(&mut pending);
                (self, pending, written)
            });
            let (writer, same, written) = writing.await.map_err(|died| RunError {
                message: format!("the writer of dead letters died: {died}"),
            })?;
            (self, pending) = (writer, same);
            match written {
                Ok(()) => {
                    pending.batch.confirmation.confirm();
                    return Ok(self);
                }
                Err(error) if !warned => {
                    warned = true;
                    tracing::error!(
                        folder = %self.folder.path().display(),
                        "dead letters cannot be written, their pipeline waits: {error}"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Appends some letters of an epoch.
    #[cfg(test)]
    pub(super) fn write(&mut self, epoch: crate::feed::Epoch, bytes: Vec<u8>) -> io::Result<()> {
        let confirmation = azud_plan::component::Confirmation::new(|| {});
        let bytes = bytes.into();
        let batch = Batch { bytes, records: 1, partition: "".into(), epoch, confirmation };
        self.append(&mut Pending { batch, text: None })
    }

    /// Appends what is new in a batch and syncs it; on an error the segment is as it was.
    fn append(&mut self, pending: &mut Pending) -> io::Result<()> {
        let _lock = self.folder.lock()?;
        if pending.text.is_none() {
            pending.text = Some(self.text_of(&pending.batch)?);
        }
        let text = pending.text.as_deref().unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        let files = self.folder.files()?;
        let (used, budget) = (files.bytes, self.budget_bytes);
        if used + text.len() as u64 > budget {
            return Err(io::Error::other(format!(
                "they take {used} bytes of their budget of {budget} (`dead_letters.max_bytes`); \
                 discard some with `azud dead-letters discard`, or move old segments away",
            )));
        }
        let open = self.segment(&files, text.len() as u64)?;
        let written = open.file.write_all(text).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // A torn line would make the file unreadable behind it.
            open.file.set_len(open.index.covers)?;
            return Err(error);
        }
        lines(text).for_each(|(_, line)| open.index.add(line));
        if open.index.covers - open.indexed >= DEAD_LETTER_INDEX_BYTES {
            self.write_index();
        }
        Ok(())
    }

    /// Gives the lines of a batch that are not on disk yet, each with the epoch that it is of.
    fn text_of(&mut self, batch: &Batch) -> io::Result<Vec<u8>> {
        let Some(epochs) = &self.epochs else { return Ok(batch.bytes.to_vec()) };
        let complete_before = (epochs.complete_before)();
        let known = match &mut self.known {
            Some(known) => known,
            unknown => {
                let repeated = epochs.repeated.clone();
                let known =
                    repeated.map_or(Ok(Known::default()), |it| Known::below(&self.folder, it));
                unknown.insert(known?)
            }
        };
        let stamp = (batch.epoch != OF_NO_EPOCH).then_some((batch.epoch, complete_before));
        let mut text = Vec::with_capacity(batch.bytes.len() + 32 * batch.records);
        for (_, line) in lines(&batch.bytes) {
            if !known.has(batch.epoch, line) {
                write_stamped(line, stamp, &mut text);
            }
        }
        known.forget(complete_before);
        Ok(text)
    }

    /// Gives the segment for `more` bytes: the one that is open, a later one that somebody has
    /// begun, or a new one if it would grow too large or was removed.
    fn segment(&mut self, files: &Files, more: u64) -> io::Result<&mut OpenSegment> {
        let state = self.folder.state()?;
        let last = files.segments.last().filter(|last| last.number >= state.from).copied();
        let is_last = |open: &OpenSegment| last.is_some_and(|last| last.number == open.number);
        let held = self.open.take_if(|open| !is_last(open));
        // What was removed was perhaps the greatest: its number is not given twice.
        let least = held.map_or(0, |held| held.number + 1).max(state.from).max(1);
        if self.open.is_none()
            && let Some(last) = last
        {
            self.open = Some(OpenSegment::at(&self.folder, last)?);
        }
        let room = |open: &OpenSegment| open.index.covers + more <= DEAD_LETTER_SEGMENT_BYTES;
        if self.open.as_ref().is_none_or(|open| !room(open)) {
            self.write_index();
            self.open = None;
            let number = least.max(files.greatest + 1);
            self.open = Some(OpenSegment::new(&self.folder, number)?);
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("no segment is open"))
    }

    /// Writes the index of the open segment, if it has lines that are not in it.
    pub(super) fn write_index(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| open.index.covers > open.indexed) else {
            return;
        };
        match open.index.write(&self.folder, open.number) {
            Ok(()) => open.indexed = open.index.covers,
            // Nothing depends on it; a list takes longer.
            Err(error) => tracing::debug!("an index of dead letters cannot be written: {error}"),
        }
    }
}

/// A batch, and what of it is to be written once that is known.
struct Pending {
    batch: Batch,
    text: Option<Vec<u8>>,
}

impl OpenSegment {
    /// Goes on with a segment; what a crash left of a line at its end is cut off.
    fn at(folder: &Folder, segment: Segment) -> io::Result<Self> {
        let index = Index::of(folder, segment)?;
        let file = OpenOptions::new().append(true).open(folder.segment(segment.number))?;
        if index.covers < segment.bytes {
            file.set_len(index.covers)?;
        }
        Ok(OpenSegment { number: segment.number, file, indexed: index.covers, index })
    }

    /// Begins a segment.
    fn new(folder: &Folder, number: u64) -> io::Result<Self> {
        let path = folder.segment(number);
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        give_to_owner_of(folder.path(), &path)?;
        folder.sync()?;
        Ok(OpenSegment { number, file, index: Index::default(), indexed: 0 })
    }
}
