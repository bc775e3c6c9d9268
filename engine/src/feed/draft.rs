//! The draft of a checkpoint: what is gathered for it while its epoch passes through the pipeline.
//!
//! A checkpoint at an epoch holds everything up to and with it: where each source stands, the event
//! clock, and what every keyed step on every worker knows. It is whole when all of them have given
//! their part and every sink has confirmed the epoch, or has what is missing in its spill; so
//! nothing before it is ever asked for again.

use super::Epoch;
use crate::archive::SegmentState;
use crate::checkpoint::{Checkpoint, GroupState, SourcePosition};
use crate::event_clock::ClockState;
use crate::spill::Ledger;
use azud_event::time::EventTime;
use std::sync::Arc;

/// A checkpoint in the making.
#[derive(Debug)]
pub struct Draft {
    /// The last epoch that is in it.
    pub epoch: Epoch,
    now: EventTime,
    sources: Vec<SourcePosition>,
    /// `None` as long as the epoch's clocks are not known.
    clock: Option<ClockState>,
    groups: Vec<GroupState>,
    segments: Vec<SegmentState>,
    /// How many steps on workers have not given their part.
    missing: usize,
    delivered: bool,
}

impl Draft {
    /// Begins a checkpoint at an epoch, for so many keyed steps, counted on each worker. Without
    /// any there is no event clock either.
    pub fn new(epoch: Epoch, now: EventTime, sources: Vec<SourcePosition>, missing: usize) -> Self {
        let clock = (missing == 0).then(ClockState::default);
        let (groups, segments) = (Vec::new(), Vec::new());
        Draft { epoch, now, sources, clock, groups, segments, missing, delivered: false }
    }

    /// Takes the event clock as it is at the end of the epoch.
    pub fn set_clock(&mut self, clock: ClockState) {
        self.clock = Some(clock);
    }

    /// Takes what one step on one worker knows, and where it has put away the rest.
    pub fn add(&mut self, groups: Vec<GroupState>, segments: Vec<SegmentState>) {
        self.groups.extend(groups);
        self.segments.extend(segments);
        self.missing = self.missing.saturating_sub(1);
    }

    /// Notes that every epoch before this is confirmed by all sinks.
    pub fn delivered(&mut self, before: Epoch) {
        self.delivered |= before > self.epoch;
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.delivered && self.missing == 0 && self.clock.is_some()
    }

    /// Gives the checkpoint, with what the sinks' spills owe.
    pub fn finish(self, spills: &[Arc<Ledger>]) -> Checkpoint {
        let (mut groups, mut segments) = (self.groups, self.segments);
        let next = self.epoch + 1;
        groups.sort_unstable_by_key(|group| (group.step, group.group));
        // After a start several workers have the same.
        segments.sort_unstable_by_key(|segment| segment.number);
        segments.dedup();
        Checkpoint {
            next,
            now: self.now,
            sources: self.sources,
            clock: self.clock.unwrap_or_default(),
            groups,
            segments,
            spills: spills.iter().filter_map(|ledger| ledger.state(next)).collect(),
            // Whoever keeps it knows.
            plan: [].into(),
        }
    }
}
