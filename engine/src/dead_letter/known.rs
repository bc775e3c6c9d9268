//! Which letters of repeated epochs are on disk already.
//!
//! A restart repeats the epochs behind the last checkpoint, and their letters come again. Of an
//! epoch that was complete before the crash all are on disk. Of those that were under way some are;
//! these are known by what they say, each as often as it is there, and their number is bounded by
//! the credit of the pipeline.

use super::folder::Folder;
use super::index::{Index, each_line};
use super::line::{Line, identity};
use crate::feed::Epoch;
use azud_event::id::Id;
use std::collections::HashMap;
use std::fs::File;
use std::io;

/// The epochs of a run.
pub struct Epochs {
    /// The last that was under way in an earlier run and is repeated in this one; `None` when none
    /// is.
    pub repeated: Option<Epoch>,
    /// Tells before which epoch all are complete.
    pub complete_before: Box<dyn Fn() -> Epoch + Send>,
}

/// What an earlier run has written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last epoch that is repeated.
    last: Epoch,
    /// Every epoch before this was complete.
    complete_before: Epoch,
    /// The letters of others, each with how often it is there.
    letters: HashMap<Id, u64>,
}

impl Known {
    /// Reads what is on disk of the epochs that are repeated up to `last`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn below(folder: &Folder, last: Epoch) -> io::Result<Known> {
        let state = folder.state()?;
        let mut indices = Vec::new();
        for segment in folder.files()?.segments {
            if segment.number >= state.from {
                indices.push((segment, Index::of(folder, segment)?));
            }
        }
        let complete = indices.iter().map(|(_, index)| index.complete_before);
        let complete_before = complete.max().unwrap_or_default().max(state.complete_before);
        let mut letters = HashMap::new();
        for (segment, index) in indices {
            if index.epoch_max.is_none_or(|epoch| epoch < complete_before) {
                continue;
            }
            let file = File::open(folder.segment(segment.number))?;
            each_line(&file, 0, |_, line| {
                let Some(read) = Line::read(line) else { return };
                if read.epoch().is_none_or(|epoch| epoch < complete_before || epoch > last) {
                    return;
                }
                let known = match read {
                    Line::Letter(_) => identity(line),
                    Line::Trace(trace) => Some(trace.identity),
                };
                if let Some(known) = known {
                    *letters.entry(known).or_default() += 1;
                }
            })?;
        }
        Ok(Known { last, complete_before, letters })
    }

    /// Whether a letter of `epoch` is on disk already. One that is there once is known once.
    pub fn has(&mut self, epoch: Epoch, line: &[u8]) -> bool {
        if epoch > self.last {
            return false;
        }
        if epoch < self.complete_before {
            return true;
        }
        let Some(left) = identity(line).and_then(|known| self.letters.get_mut(&known)) else {
            return false;
        };
        let is_there = *left > 0;
        *left = left.saturating_sub(1);
        is_there
    }

    /// Forgets everything once all that is repeated is complete.
    pub fn forget(&mut self, complete_before: Epoch) {
        if complete_before > self.last {
            *self = Known::default();
        }
    }
}
