//! What a sink has been given and has not confirmed, in the order in which it was given.

use crate::feed::Epoch;
use crate::log::LogPosition;
use azud_event::time::EventTime;
use azud_plan::component::Confirmation;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A batch in a sink's hands.
#[derive(Debug)]
pub struct Handed {
    /// Since when, by the monotonic clock.
    pub since: Duration,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether it was given to the sink before.
    pub again: bool,
    /// How many records it has; none in word of complete epochs.
    pub records: usize,
    /// How many bytes.
    pub length: usize,
    /// When it was put into the spill, if it came from there.
    pub kept_at: Option<EventTime>,
    /// Where it ends in the spill, once it is there.
    pub place: Option<LogPosition>,
    /// What holds up its epoch; `None` once something else answers for it.
    pub holds: Option<Confirmation>,
    /// What would be put into the spill: partition and records. `None` when it is there, or cannot
    /// be.
    pub content: Option<(Arc<str>, Bytes)>,
    /// How far it is.
    pub stage: Stage,
}

/// How far a batch in a sink's hands is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The sink has it.
    Given,
    /// The sink is done with it; what it refused is not yet set aside durably.
    Refused,
    /// Nothing is left to be done.
    Done,
}

/// Batches in a sink's hands. Each has a number, by which it is found again.
#[derive(Debug, Default)]
pub struct Hands {
    batches: VecDeque<Handed>,
    /// The number of the first.
    first: u64,
}

impl Hands {
    /// Tells which number the next batch will have.
    pub fn next(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// Adds a batch.
    pub fn push(&mut self, batch: Handed) {
        self.batches.push_back(batch);
    }

    /// Finds a batch that is not yet forgotten.
    pub fn find(&mut self, number: u64) -> Option<&mut Handed> {
        let index = number.checked_sub(self.first)?;
        self.batches.get_mut(usize::try_from(index).ok()?)
    }

    /// Forgets the first batch, if it is done.
    pub fn pop_done(&mut self) -> Option<Handed> {
        let done = self.batches.pop_front_if(|first| first.stage == Stage::Done)?;
        self.first += 1;
        Some(done)
    }

    /// Since when the sink has had the oldest batch that it is not done with.
    pub fn oldest(&self) -> Option<Duration> {
        let given = self.batches.iter().find(|batch| batch.stage == Stage::Given);
        given.map(|batch| batch.since)
    }

    /// When the oldest batch was put into the spill, if it came from there.
    pub fn oldest_kept_at(&self) -> Option<EventTime> {
        self.batches.front().and_then(|batch| batch.kept_at)
    }

    /// Goes over all batches.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Handed> {
        self.batches.iter_mut()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.batches.len()
    }
}
