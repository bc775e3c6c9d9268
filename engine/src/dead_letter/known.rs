//! Which letters of repeated epochs are on disk already.
//!
//! A restart repeats the epochs behind the last checkpoint, and their letters come again. Of an
//! epoch that was complete before the crash all are on disk. Of those that were under way some are;
//! these are known by what they say, each as often as it is there, and their number is bounded by
//! the credit of the pipeline.
//!
//! What a receiver refuses is another matter: an epoch may be complete because its batch lies in
//! a spill, whose records are neither delivered nor set aside yet. So these are known by what they
//! say in all epochs that are repeated, as far as there is memory for it. Beyond that one is
//! rather there twice than not at all.

use super::folder::Folder;
use super::index::{Index, each_line};
use super::line::{Line, identity};
use crate::feed::Epoch;
use azud_event::id::Id;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;

/// How many letters of refused records are known at the most; each takes about 50 bytes.
const REFUSED_KNOWN_MAX: usize = 1_000_000;

/// The epochs of a run.
pub struct Epochs {
    /// Those that an earlier run has recorded and this one repeats; `None` when there are none.
    pub repeated: Option<RangeInclusive<Epoch>>,
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
    /// Reads what is on disk of the epochs that are repeated.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn below(folder: &Folder, repeated: RangeInclusive<Epoch>) -> io::Result<Known> {
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
            if index.epoch_max.is_none_or(|epoch| epoch < *repeated.start()) {
                continue;
            }
            let file = File::open(folder.segment(segment.number))?;
            each_line(&file, 0, |_, line| {
                let Some(read) = Line::read(line) else { return };
                let Some(epoch) = read.epoch().filter(|epoch| repeated.contains(epoch)) else {
                    return;
                };
                let is_wanted = epoch >= complete_before
                    || read.is_refused() && letters.len() < REFUSED_KNOWN_MAX;
                if !is_wanted {
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
        Ok(Known { last: *repeated.end(), complete_before, letters })
    }

    /// Whether a letter of `epoch` is on disk already. One that is there once is known once.
    pub fn has(&mut self, epoch: Epoch, line: &[u8]) -> bool {
        if epoch > self.last {
            return false;
        }
        let is_refused = || Line::read(line).is_some_and(|read| read.is_refused());
        if epoch < self.complete_before && !is_refused() {
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
