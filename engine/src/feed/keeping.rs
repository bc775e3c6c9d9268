//! Making checkpoints: when one begins, and handing it on when it is whole.

use super::draft::Draft;
use super::{Epoch, Feed, State};
use crate::checkpoint::{Checkpoint, SourcePosition};
use crate::durable::Door;
use crate::spill::Ledger;
use std::sync::Arc;
use std::time::Duration;

/// When checkpoints are made, and the one in the making.
pub struct Checkpoints {
    pub interval: Duration,
    pub keep: Door,
    /// The accounts of the sinks' spills.
    pub spills: Vec<Arc<Ledger>>,
    /// How many keyed steps there are, counted on each worker.
    pub parts: usize,
    pub made_at: Duration,
    pub draft: Option<Draft>,
    /// One that nobody has taken yet.
    pub made: Option<Box<Checkpoint>>,
    /// The last epoch that was in one.
    pub last: Option<Epoch>,
}

impl Feed {
    /// Closes the last epoch, once every source has ended, and begins a checkpoint of it: the next
    /// run begins where this one ends. Says whether that is done; one that is in the making is
    /// waited for.
    pub(super) fn close_last(&self, state: &mut State) -> bool {
        if state.checkpoints.as_ref().is_some_and(|it| it.draft.is_some() || it.made.is_some()) {
            let last = state.checkpoints.as_ref().and_then(|it| it.draft.as_ref());
            return state.opened_at.is_none() && last.is_some_and(|it| it.epoch + 1 == state.open);
        }
        let last = state.open.checked_sub(1);
        if state.opened_at.is_none() && state.checkpoints.as_ref().is_none_or(|it| it.last >= last)
        {
            return true;
        }
        if state.opened_at.is_none() {
            self.open(state);
        }
        let epoch = state.open;
        self.close(state);
        self.begin_checkpoint(state, epoch, true);
        true
    }

    /// Begins a checkpoint at an epoch that is being closed, if it is time for one.
    pub(super) fn begin_checkpoint(&self, state: &mut State, epoch: Epoch, at_once: bool) {
        let State { checkpoints, lanes, epochs, timeline, .. } = state;
        let Some(checkpoints) = checkpoints else { return };
        let monotonic = self.clock.monotonic();
        let due = monotonic.saturating_sub(checkpoints.made_at) >= checkpoints.interval;
        let busy = checkpoints.draft.is_some() || checkpoints.made.is_some();
        let Some(known) = epochs.back().filter(|_| (due || at_once) && !busy) else { return };
        let sources = lanes.iter().map(|lane| SourcePosition {
            id: lane.id.clone(),
            position: lane.position,
            marks: lane.ring.marks(),
        });
        let parts = checkpoints.parts;
        let draft = Draft::new(epoch, known.now, sources.collect(), parts);
        debug_assert!(parts == 0 || timeline.is_some(), "keyed steps have a timeline");
        checkpoints.draft = Some(draft);
        checkpoints.made_at = monotonic;
    }
}

impl State {
    /// Hands a checkpoint that is whole to whoever keeps it; says whether it did.
    pub(super) fn hand_on(&mut self) -> bool {
        let Some(checkpoints) = &mut self.checkpoints else { return false };
        if let Some(draft) = checkpoints.draft.take_if(|draft| draft.is_whole()) {
            checkpoints.last = Some(draft.epoch);
            checkpoints.made = Some(Box::new(draft.finish(&checkpoints.spills)));
        }
        let Some(made) = checkpoints.made.take() else { return false };
        checkpoints.made = (checkpoints.keep)(made).err();
        checkpoints.made.is_none()
    }
}
