//! The journal of a feed: its decisions on their way into the log, the gate that they open, and the
//! decisions of an earlier run that are to be repeated.
//!
//! Nothing of an epoch may leave before the epoch can be repeated: its blocks and its record must
//! be on disk. Blocks come before the record in the log, so the record's end says it for both.
//! Until then results wait in the egress, which asks [`Gate`].

use super::Epoch;
use crate::epoch_record::EpochDecision;
use crate::log::{Entry, EpochRecord, Log, LogPosition, Refused};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Says which results may leave.
#[derive(Debug)]
pub struct Gate(AtomicU64);

impl Gate {
    /// Makes a gate that is closed before `epoch`; [`Epoch::MAX`] for one that is always open.
    pub fn new(epoch: Epoch) -> Self {
        Gate(AtomicU64::new(epoch))
    }

    /// Whether results of an epoch may leave.
    pub fn is_open(&self, epoch: Epoch) -> bool {
        epoch < self.0.load(Ordering::Acquire)
    }

    fn open_before(&self, epoch: Epoch) {
        self.0.fetch_max(epoch, Ordering::AcqRel);
    }
}

/// An epoch of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The epoch.
    pub epoch: Epoch,
    /// What was decided.
    pub decision: EpochDecision,
}

/// Where a pipeline's decisions go, and where those of an earlier run come from.
pub struct Journal {
    log: Arc<Log>,
    /// The pipeline's key.
    pipeline: u64,
    /// Records that the log has not taken yet.
    unrecorded: VecDeque<EpochRecord>,
    /// Where the records end that are not known to be durable.
    undurable: VecDeque<(Epoch, LogPosition)>,
    replay: VecDeque<Replayed>,
}

impl Journal {
    /// Makes the journal of a pipeline, with the epochs that are to be repeated first, in order.
    pub fn new(log: Arc<Log>, pipeline: u64, replay: VecDeque<Replayed>) -> Self {
        let (unrecorded, undurable) = (VecDeque::new(), VecDeque::new());
        Journal { log, pipeline, unrecorded, undurable, replay }
    }

    /// Gives the next epoch that is to be repeated.
    pub fn replayed(&self) -> Option<&Replayed> {
        self.replay.front()
    }

    /// Notes that the next epoch was repeated. Its record is in the log, so the gate opens.
    pub fn was_replayed(&mut self, gate: &Gate) {
        if let Some(done) = self.replay.pop_front() {
            gate.open_before(done.epoch + 1);
        }
    }

    /// Puts the record of a closed epoch into the log.
    pub fn record(&mut self, epoch: Epoch, decision: &EpochDecision) {
        let bytes = Bytes::from(decision.encode());
        self.unrecorded.push_back(EpochRecord { pipeline: self.pipeline, epoch, bytes });
        self.go_on();
    }

    /// Tries again what the log could not take.
    pub fn go_on(&mut self) {
        while let Some(record) = self.unrecorded.front() {
            let epoch = record.epoch;
            match self.log.append(&Entry::Epoch(record.clone())) {
                Ok(ticket) => self.undurable.push_back((epoch, ticket.end)),
                Err(Refused::Busy { .. }) => return,
                Err(Refused::Never(error)) => {
                    // The log has told why, and the process is about to end.
                    tracing::error!("an epoch is not recorded: {error}");
                    return;
                }
            }
            self.unrecorded.pop_front();
        }
    }

    /// Opens the gate for what is durable; says whether it moved.
    pub fn durable(&mut self, up_to: LogPosition, gate: &Gate) -> bool {
        let mut moved = false;
        while let Some((epoch, end)) = self.undurable.front().copied() {
            if end > up_to {
                break;
            }
            self.undurable.pop_front();
            gate.open_before(epoch + 1);
            moved = true;
        }
        moved
    }

    /// Tells where the next entry of the log will stand.
    pub fn next_position(&self) -> LogPosition {
        self.log.next()
    }
}
