//! Repeating the epochs of an earlier run: the same blocks, under the same clocks.

use super::journal::Journal;
use super::{Feed, Lane, State};
use crate::epoch_record::EpochDecision;
use crate::limits::EPOCHS_IN_FLIGHT_MAX;
use azud_event::time::EventTime;

impl Feed {
    /// Repeats the epochs of an earlier run, as far as credit and this worker's inbox allow.
    pub(super) fn repeat(&self, state: &mut State, worker: usize) {
        while let Some(replayed) = state.journal.as_ref().and_then(Journal::replayed).cloned() {
            if state.opened_at.is_none() {
                if state.epochs.len() >= EPOCHS_IN_FLIGHT_MAX {
                    state.starved = true;
                    return;
                }
                state.open = replayed.epoch;
                self.open(state);
                self.decide_again(state, &replayed.decision);
            }
            if !self.take_again(state, &replayed.decision, worker) {
                return;
            }
            if let Some(open) = state.epochs.back_mut() {
                open.now = replayed.decision.now;
                state.now = open.now;
            }
            self.close(state);
            if state.is_repeating() {
                continue;
            }
            if let Some(timeline) = &mut state.timeline {
                timeline.reopen_at(replayed.epoch + 1);
            }
        }
    }

    /// Fills in what an earlier run decided when it opened an epoch.
    fn decide_again(&self, state: &mut State, decision: &EpochDecision) {
        let State { epochs, lanes, .. } = state;
        let Some(open) = epochs.back_mut() else { return };
        let over = |step: &u64| {
            let found = decision.late_before.iter().find(|(known, _)| known == step);
            found.map_or(EventTime::MIN, |(_, over)| *over)
        };
        if !open.late_before.is_empty() {
            open.late_before = self.steps.iter().map(over).collect();
        }
        let closed = |lane: &Lane| {
            decision.sources.iter().any(|taken| taken.source == lane.key && taken.closed)
        };
        open.closed = (0..lanes.len()).filter(|number| closed(&lanes[*number])).collect();
    }

    /// Takes what an earlier run took; says whether all of it is taken.
    fn take_again(&self, state: &mut State, decision: &EpochDecision, worker: usize) -> bool {
        for lane in 0..state.lanes.len() {
            let key = state.lanes[lane].key;
            let Some(to) = decision.sources.iter().find(|taken| taken.source == key) else {
                continue;
            };
            loop {
                let account = &state.lanes[lane];
                if account.ring.peek(account.reader).is_none_or(|next| next >= to.position) {
                    break;
                }
                // An epoch that is alone under way is never short of credit: what it makes could
                // use up what it still has to take, and it would wait for itself.
                if state.in_flight_bytes >= self.credit_bytes && state.epochs.len() > 1 {
                    state.starved = true;
                    return false;
                }
                let account = &state.lanes[lane];
                // What cannot be read now is tried again; what is damaged was passed over.
                let Some(taken) = account.ring.take(account.reader) else {
                    return account.ring.peek(account.reader).is_none_or(|at| at >= to.position);
                };
                self.assign(state, lane, taken, worker);
            }
            state.lanes[lane].position = state.lanes[lane].position.max(to.position);
        }
        true
    }
}
