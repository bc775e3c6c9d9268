//! Puts the batches of a sink in the order of their epochs, for a spill from which a receiver can
//! be given everything again that it lacks.
//!
//! What has come waits until its epoch is complete. So what stands in the spill behind word of an
//! epoch is of that epoch or a later one, and the receiver's progress names a place in the spill.

use super::Waiting;
use crate::feed::Epoch;
use crate::limits::{COMPLETE_TOLD_INTERVAL, SORTED_INTERVAL};
use azud_plan::component::{Batch, Confirmation};
use std::collections::BTreeMap;
use std::time::Duration;

/// What has come of epochs that are not complete.
pub struct Sorter {
    open: BTreeMap<Epoch, Vec<Waiting>>,
    /// Everything before this has come.
    complete: Epoch,
    /// Before which epoch everything was given on, and when, by the monotonic clock.
    told: Option<(Epoch, Duration)>,
    ended: bool,
}

impl Sorter {
    /// Begins with nothing complete but what is before `first`.
    pub fn new(first: Epoch) -> Self {
        Sorter { open: BTreeMap::new(), complete: first, told: None, ended: false }
    }

    /// Takes what comes.
    pub fn take(&mut self, waiting: Waiting) {
        if waiting.batch.records == 0 {
            self.complete = self.complete.max(waiting.batch.epoch);
            waiting.batch.confirmation.confirm();
            return;
        }
        self.open.entry(waiting.batch.epoch).or_default().push(waiting);
    }

    /// Notes that nothing more comes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether something has come that was not given on.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives what is of complete epochs, in their order, and behind it word of them. At once when
    /// little comes, else every [`SORTED_INTERVAL`], so that much shares a sync.
    pub fn give(&mut self, now: Duration) -> Vec<Waiting> {
        if self.due(now).is_none_or(|due| !due.is_zero()) {
            return Vec::new();
        }
        let later = self.open.split_off(&self.complete);
        let given = std::mem::replace(&mut self.open, later);
        let mut given: Vec<Waiting> = given.into_values().flatten().collect();
        given.push(Waiting { batch: word(self.complete), since: now, too_large: false });
        self.told = Some((self.complete, now));
        if self.ended {
            // Of epochs that were never told to be complete; the next run may have more of them.
            given.extend(std::mem::take(&mut self.open).into_values().flatten());
        }
        given
    }

    /// Tells in how long there is something to give on; `None` when there is nothing.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        let Some((told, at)) = self.told else { return Some(Duration::ZERO) };
        let any = self.open.first_key_value().is_some_and(|(first, _)| *first < self.complete);
        let due = match any {
            _ if self.ended && (!self.open.is_empty() || self.complete > told) => now,
            true => at + SORTED_INTERVAL,
            // Nobody waits for it.
            false if self.complete > told => at + COMPLETE_TOLD_INTERVAL,
            false => return None,
        };
        Some(due.saturating_sub(now))
    }
}

/// Makes word that everything before an epoch has come.
fn word(before: Epoch) -> Batch {
    let confirmation = Confirmation::new(|| {});
    let (bytes, partition) = (bytes::Bytes::new(), "".into());
    Batch { bytes, records: 0, partition, epoch: before, confirmation }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(sorter: &mut Sorter, epoch: Epoch, records: usize) {
        let batch = Batch { records, ..word(epoch) };
        sorter.take(Waiting { batch, since: Duration::ZERO, too_large: false });
    }

    fn given(sorter: &mut Sorter, now: Duration) -> Vec<(Epoch, usize)> {
        let given = sorter.give(now).into_iter();
        given.map(|it| (it.batch.epoch, it.batch.records)).collect()
    }

    #[test]
    fn epochs_come_in_order_and_word_of_them_behind() {
        let mut sorter = Sorter::new(4);
        let mut now = Duration::ZERO;
        assert_eq!(given(&mut sorter, now), [(4, 0)], "what is before this run has come");
        come(&mut sorter, 5, 1);
        come(&mut sorter, 4, 2);
        come(&mut sorter, 6, 3);
        assert_eq!(sorter.due(now), None);
        come(&mut sorter, 6, 0);
        assert_eq!(sorter.due(now), Some(SORTED_INTERVAL));
        assert_eq!(given(&mut sorter, now), []);
        now += SORTED_INTERVAL;
        assert_eq!(given(&mut sorter, now), [(4, 2), (5, 1), (6, 0)]);
        // Word alone takes its time.
        come(&mut sorter, 7, 0);
        now += SORTED_INTERVAL;
        assert_eq!(given(&mut sorter, now), [(6, 3), (7, 0)]);
        come(&mut sorter, 9, 0);
        assert_eq!(sorter.due(now), Some(COMPLETE_TOLD_INTERVAL));
        come(&mut sorter, 9, 8);
        sorter.end();
        assert_eq!(given(&mut sorter, now), [(9, 0), (9, 8)]);
        assert!(sorter.is_empty());
    }
}
