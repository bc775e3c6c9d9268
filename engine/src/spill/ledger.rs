//! What a spill owes: which of its batches a sink must still be given.
//!
//! A batch is in a spill for good only when a checkpoint says so. A checkpoint at an epoch E names,
//! for each run that left something in the spill, the stretch of positions that the run wrote, and
//! E. After a restart from it, the batches in these stretches that are of epochs up to E are owed;
//! all others are made again by repeating the epochs behind E, and are passed over.

use crate::feed::Epoch;
use crate::log::LogPosition;
use azud_plan::component::SinkProgress;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A stretch of a spill in which batches of epochs before `before` are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Where it begins.
    pub from: LogPosition,
    /// Where it ends.
    pub to: LogPosition,
    /// The first epoch whose batches in it are not owed.
    pub before: Epoch,
}

/// What a checkpoint says of the spill of one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpillState {
    /// The sink.
    pub sink: String,
    /// What is owed, in the order of positions.
    pub owed: Vec<Owed>,
    /// About how many records that are.
    pub records: u64,
    /// The receiver said that it has everything of the epochs before this; 0 when it said nothing.
    #[serde(default)]
    pub stored: Epoch,
}

/// The account of one spill, shared by those who write it, read it, and make checkpoints.
#[derive(Debug)]
pub struct Ledger {
    sink: String,
    /// Of a receiver that keeps its progress.
    progress: OnceLock<Arc<SinkProgress>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What earlier runs owe.
    earlier: Vec<Owed>,
    /// From here on everything is of this run; `None` while the spill is not open.
    begun: Option<LogPosition>,
    /// Everything before it is on disk.
    durable: LogPosition,
    /// Behind the last batch that this run has put there.
    end: LogPosition,
    /// Everything before it is delivered, or not owed.
    delivered: LogPosition,
    records: u64,
    /// What the receiver had by the word of earlier runs.
    stored: Epoch,
    /// What waits, with what no checkpoint of this run owes and was not yet passed over.
    bytes: u64,
}

impl Ledger {
    /// Makes the account of a sink's spill, with what the checkpoint says of it that this run goes
    /// on from.
    pub fn new(sink: &str, known: Option<SpillState>) -> Self {
        let nothing = SpillState { sink: String::new(), owed: Vec::new(), records: 0, stored: 0 };
        let SpillState { owed, records, stored, .. } = known.unwrap_or(nothing);
        let state = State { earlier: owed, records, stored, ..State::default() };
        let (sink, progress) = (sink.to_owned(), OnceLock::new());
        Ledger { sink, progress, state: Mutex::new(state) }
    }

    /// Notes that the receiver had everything of the epochs before this, by the word of an earlier
    /// run.
    pub fn had(&self, stored: Epoch) {
        let mut state = self.lock();
        state.stored = state.stored.max(stored);
    }

    /// Tells what the receiver has or had, by its own word.
    pub fn stored(&self) -> Epoch {
        let now = self.progress.get().map_or(0, |progress| progress.most());
        now.max(self.lock().stored)
    }

    /// Follows the progress of the sink's receiver, which must have what it had.
    pub fn follow(&self, progress: &Arc<SinkProgress>) {
        progress.expect(self.stored());
        // A second call could only come from running a sink twice, which nothing does.
        let _ = self.progress.set(Arc::clone(progress));
    }

    /// Gives the id of the sink.
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Notes that the spill is open, that this run writes it from `next` on, that everything before
    /// `delivered` need not be read, and that so many bytes are in it.
    pub fn begin(&self, next: LogPosition, delivered: LogPosition, bytes: u64) {
        let mut state = self.lock();
        state.begun = Some(next);
        state.bytes = bytes;
        state.durable = state.durable.max(next);
        state.settle(delivered);
    }

    /// Whether a batch is owed that stands at a position and is of an epoch.
    pub fn is_owed(&self, position: LogPosition, epoch: Epoch) -> bool {
        let state = self.lock();
        let within = |owed: &Owed| (owed.from..owed.to).contains(&position) && epoch < owed.before;
        state.begun.is_some_and(|begun| position >= begun) || state.earlier.iter().any(within)
    }

    /// Whether anything may be owed.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.earlier.is_empty() && state.written(state.end).is_none()
    }

    /// Whether what ends at a position was put there by this run.
    pub fn is_of_this_run(&self, end: LogPosition) -> bool {
        self.lock().begun.is_some_and(|begun| end > begun)
    }

    /// Lists what earlier runs owe.
    pub fn earlier(&self) -> Vec<Owed> {
        self.lock().earlier.clone()
    }

    /// Notes that everything before a position is on disk.
    pub fn durable(&self, up_to: LogPosition) {
        let mut state = self.lock();
        state.durable = state.durable.max(up_to);
    }

    /// Tells up to where everything is on disk.
    pub fn durable_to(&self) -> LogPosition {
        self.lock().durable
    }

    /// Notes that a batch was put into the spill, up to a position.
    pub fn kept(&self, end: LogPosition, records: u64, bytes: u64) {
        let mut state = self.lock();
        state.end = end;
        state.records += records;
        state.bytes += bytes;
    }

    /// Notes that so many bytes were read that are not owed.
    pub fn passed_over(&self, bytes: u64) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Whether so many bytes more stay within a budget. An empty spill takes one batch of any size.
    pub fn fits(&self, bytes: u64, max_bytes: u64) -> bool {
        let held = self.lock().bytes;
        held == 0 || held.saturating_add(bytes) <= max_bytes
    }

    /// Tells how many bytes wait.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Notes that everything before a position is delivered, so many records and bytes more.
    pub fn delivered(&self, up_to: LogPosition, records: u64, bytes: u64) {
        let mut state = self.lock();
        state.records = state.records.saturating_sub(records);
        state.bytes = state.bytes.saturating_sub(bytes);
        state.settle(up_to);
    }

    /// Tells up to where everything is delivered.
    pub fn delivered_to(&self) -> LogPosition {
        self.lock().delivered
    }

    /// Tells about how many records are owed.
    pub fn records(&self) -> u64 {
        self.lock().records
    }

    /// Says what a checkpoint must that is made before epoch `next`, when everything before it is
    /// delivered or on disk here; `None` when nothing is owed.
    pub fn state(&self, next: Epoch) -> Option<SpillState> {
        let state = self.lock();
        let mut owed = state.earlier.clone();
        if let Some((from, to)) = state.written(state.durable) {
            owed.push(Owed { from, to, before: next });
        }
        // Of a receiver that keeps no progress any more nothing is expected.
        let stored = self.progress.get().map_or(0, |progress| progress.most());
        let (sink, records) = (self.sink.clone(), state.records);
        let told = !owed.is_empty() || stored > 0;
        told.then_some(SpillState { sink, owed, records, stored })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives where what this run put there and is not delivered begins, and where it ends before
    /// `limit`; `None` when there is none.
    fn written(&self, limit: LogPosition) -> Option<(LogPosition, LogPosition)> {
        let (from, to) = (self.begun?.max(self.delivered), self.end.min(limit));
        (from < to).then_some((from, to))
    }

    fn settle(&mut self, before: LogPosition) {
        self.delivered = self.delivered.max(before);
        let delivered = self.delivered;
        self.earlier.retain(|owed| owed.to > delivered);
        for owed in &mut self.earlier {
            owed.from = owed.from.max(delivered);
        }
        if self.earlier.is_empty() && self.written(self.end).is_none() {
            (self.records, self.bytes) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(position: u64) -> LogPosition {
        LogPosition(position)
    }

    fn owed(from: u64, to: u64, before: Epoch) -> Owed {
        Owed { from: at(from), to: at(to), before }
    }

    #[test]
    fn what_no_checkpoint_names_is_not_owed_by_a_later_run() {
        let first = Ledger::new("out", None);
        assert_eq!(first.state(3), None);
        first.begin(at(100), at(0), 0);
        assert_eq!(first.state(3), None);
        first.kept(at(300), 9, 200);
        first.durable(at(200));
        assert!(first.is_owed(at(150), 9), "its own run reads all of it");
        let told = first.state(3).unwrap();
        assert_eq!(told.owed, [owed(100, 200, 3)]);
        first.durable(at(300));

        let second = Ledger::new("out", Some(told));
        second.begin(at(1000), at(120), 180);
        assert!(second.is_owed(at(150), 2));
        assert!(!second.is_owed(at(150), 3), "it is made again");
        assert!(!second.is_owed(at(250), 2), "it was put there behind the checkpoint");
        assert!(!second.is_owed(at(110), 2), "it is delivered");
        second.kept(at(1100), 2, 100);
        assert!(second.fits(20, 300) && !second.fits(21, 300));
        second.durable(at(1156));
        assert_eq!(second.state(7).unwrap().owed, [owed(120, 200, 3), owed(1000, 1100, 7)]);
        second.passed_over(100);
        second.delivered(at(1050), 1, 80);
        assert_eq!((second.bytes(), second.records()), (100, 10));
        assert_eq!(second.state(8).unwrap().owed, [owed(1050, 1100, 8)]);
        second.delivered(at(1100), 1, 50);
        assert_eq!(second.state(9), None);
        assert!(second.is_empty() && second.bytes() == 0 && second.fits(u64::MAX, 1));
    }
}
