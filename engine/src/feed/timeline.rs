//! The timeline of a pipeline: which clocks its epochs have, and who waits for them.
//!
//! An epoch's clocks are known once it is closed and every worker has shown what it saw in it. They
//! are made then, once, in the order of epochs; keyed steps of all workers read the same.

use super::Epoch;
use crate::event_clock::{ClockState, EventClock, Observation, Streams};
use azud_event::time::EventTime;
use azud_plan::component::{Due, EpochClock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often an epoch without data is made while a step waits for time to pass.
pub const TICK: Duration = Duration::from_secs(1);

/// The clocks of one epoch, step by step.
pub type Clocks = Arc<[EpochClock]>;

/// What is known of event time in a pipeline that has keyed steps.
pub struct Timeline {
    clock: EventClock,
    seen: BTreeMap<Epoch, Vec<Observation>>,
    /// For each worker: it has shown everything of the epochs before this.
    passed: Vec<Epoch>,
    /// The clocks of every epoch before this are known.
    resolved: Epoch,
    /// From this epoch on what comes is other input than that of an earlier run.
    reopen_at: Option<Epoch>,
    /// What the keyed steps wait for, by step and worker.
    waiting: BTreeMap<(usize, usize), Due>,
}

impl Timeline {
    /// Begins a timeline for so many workers, with this epoch.
    pub fn new(clock: EventClock, workers: usize, first: Epoch) -> Self {
        Timeline {
            clock,
            seen: BTreeMap::new(),
            passed: vec![first; workers],
            resolved: first,
            reopen_at: None,
            waiting: BTreeMap::new(),
        }
    }

    /// Gives what is over at the moment, by step: fixed for an epoch when it opens.
    pub fn watermarks(&self) -> Arc<[EventTime]> {
        let watermarks = self.clock.watermarks();
        if self.reopen_at.is_none() {
            return watermarks;
        }
        let reopened =
            |over: &EventTime| if *over == EventTime::MAX { EventTime::MIN } else { *over };
        watermarks.iter().map(reopened).collect()
    }

    /// Takes in what a worker saw in an epoch.
    pub fn observe(&mut self, epoch: Epoch, seen: Vec<Observation>) {
        if !seen.is_empty() {
            self.seen.entry(epoch).or_default().extend(seen);
        }
    }

    /// Notes that a worker has shown everything of the epochs before `frontier`.
    pub fn pass(&mut self, worker: usize, frontier: Epoch) {
        self.passed[worker] = self.passed[worker].max(frontier);
    }

    /// Gives the next epoch whose clocks can be made.
    pub fn ready(&self) -> Option<Epoch> {
        let all = self.passed.iter().min().copied().unwrap_or_default();
        (self.resolved < all).then_some(self.resolved)
    }

    /// Goes on with a later epoch: those between were lost, and nothing is in them.
    pub fn skip_to(&mut self, epoch: Epoch) {
        self.resolved = self.resolved.max(epoch);
    }

    /// Makes the clocks of the next epoch, [`Timeline::ready`]. `now` is its logged clock,
    /// `late_before` what was over when it opened, `closed` the sources that ended for good in it.
    pub fn resolve(
        &mut self,
        now: EventTime,
        late_before: &[EventTime],
        closed: &[usize],
    ) -> Clocks {
        if self.reopen_at.take_if(|epoch| *epoch == self.resolved).is_some() {
            self.clock.reopen();
        }
        for seen in self.seen.remove(&self.resolved).unwrap_or_default() {
            self.clock.observe(seen);
        }
        closed.iter().for_each(|lane| self.clock.close(*lane));
        self.clock.advance(now);
        self.resolved += 1;
        let clocks = late_before.iter().enumerate().map(|(step, late_before)| {
            let (watermark, missing) = self.clock.of(step);
            EpochClock { now, watermark, late_before: *late_before, missing }
        });
        clocks.collect()
    }

    /// Says that from an epoch on what comes is other input than that of an earlier run, which may
    /// have come to the end of all.
    pub fn reopen_at(&mut self, epoch: Epoch) {
        self.reopen_at = Some(epoch);
    }

    /// Gives what a later run must know.
    pub fn state(&self, steps: &[u64]) -> ClockState {
        self.clock.state(steps)
    }

    /// Notes what a keyed step on one worker waits for.
    pub fn wait(&mut self, step: usize, worker: usize, due: Due) {
        if due == Due::default() {
            self.waiting.remove(&(step, worker));
        } else {
            self.waiting.insert((step, worker), due);
        }
    }

    /// Tells in how long an epoch without data is wanted, if nobody sends any; `None` when nobody
    /// waits. `since` is how long ago the last epoch was closed.
    pub fn tick_in(&self, since: Duration, now: EventTime) -> Option<Duration> {
        let regular = TICK.saturating_sub(since);
        let due = self.waiting.values().filter_map(|due| due.now).min();
        let due = due.map_or(regular, |due| due.since(now));
        (!self.waiting.is_empty()).then(|| regular.min(due))
    }

    /// Counts the streams of a source.
    pub fn streams(&self, lane: usize) -> Streams {
        self.clock.streams(lane)
    }

    /// Tells how many sources a step does not wait for, and senders that are missing.
    pub fn missing(&self, step: usize) -> usize {
        self.clock.of(step).1.len()
    }
}
