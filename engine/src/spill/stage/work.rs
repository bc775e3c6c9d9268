//! What a stage does when something has happened: plain steps that never wait.

use super::super::handed::{Handed, Stage as Step};
use super::super::judge::Sight;
use super::super::meter::SinkState;
use super::super::queue::{Found, NotKept, Spill, Unspilled};
use super::rewind::Rewinding;
use super::sorter::Sorter;
use super::{Done, Mode, Stage, Store, Waiting, lock};
use crate::dead_letter;
use crate::limits::{HANDED_MAX, SPILL_MARK_INTERVAL, SPILL_READ_BYTES, SPILL_RETRY, SPILL_STOP};
use crate::log::{KeptBatch, LogError};
use azud_plan::component::{Batch, Confirmation, Refused};
use azud_plan::plan::StallPolicy;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;

impl Stage {
    /// Takes a batch that came.
    pub(super) fn take(&mut self, batch: Batch) {
        self.held_bytes += batch.bytes.len();
        let waiting = Waiting { batch, since: self.clock.monotonic(), too_large: false };
        match &mut self.sorter {
            Some(sorter) => sorter.take(waiting),
            None => self.waiting.push_back(waiting),
        }
    }

    /// Notes that nothing more comes.
    pub(super) fn nothing_comes(&mut self) {
        self.taking = false;
        self.until = Some(self.clock.monotonic() + SPILL_STOP);
    }

    /// Puts behind what waits what the sorter has of complete epochs.
    fn sort(&mut self) {
        let now = self.clock.monotonic();
        if let Some(sorter) = &mut self.sorter {
            if !self.taking {
                sorter.end();
            }
            self.waiting.extend(sorter.give(now));
        }
    }

    /// Does everything that can be done now.
    pub(super) fn work(&mut self) {
        self.settle();
        self.keep();
        self.sort();
        self.set_aside();
        self.rewind();
        self.hand_on();
        self.decide();
        self.put_away();
        self.note_delivered();
        self.begin_job();
        self.close_queue();
        self.show();
    }

    /// Takes in what the sink has done.
    pub(super) fn settle(&mut self) {
        let outcomes = std::mem::take(&mut *lock(&self.outcomes));
        for outcome in outcomes {
            let Some(batch) = self.hands.find(outcome.number) else { continue };
            if batch.stage == Step::Refused {
                batch.stage = Step::Done;
                continue;
            }
            batch.content = None;
            if batch.records == 0 {
                batch.holds.take().into_iter().for_each(|holds| holds.confirm());
                batch.stage = Step::Done;
                continue;
            }
            let mut refused = outcome.refused;
            self.meter.delivered(batch.records.saturating_sub(refused.len()), batch.length);
            if let Some(mut holds) = batch.holds.take() {
                self.held_bytes -= batch.length;
                // Its epoch waits for the letters as it waits for the batch.
                refused = refused.into_iter().filter_map(|one| holds.refuse(one).err()).collect();
                holds.confirm();
            }
            batch.stage = if refused.is_empty() { Step::Done } else { Step::Refused };
            if !refused.is_empty() {
                let letters = self.letters(outcome.number, &refused);
                self.aside.push_back(letters);
            }
        }
        while let Some(done) = self.hands.pop_done() {
            let Some(place) = done.place.filter(|_| !done.again) else { continue };
            let (records, bytes) = &mut self.unworded;
            *records += done.records as u64;
            *bytes += done.length as u64;
            // A receiver that keeps its progress has for good only what that speaks of.
            if self.sorter.is_none() || done.records == 0 {
                self.ledger.delivered(place, *records, *bytes);
                self.unworded = (0, 0);
            }
        }
    }

    /// Makes the letters of what was refused of a batch that its epoch does not wait for any more.
    fn letters(&self, number: u64, refused: &[Refused]) -> Batch {
        let mut bytes = Vec::new();
        for record in refused {
            self.meter.refused(record.fault.reason);
            dead_letter::write_refused(&self.id, self.clock.now(), record, &mut bytes);
        }
        let (records, length) = (refused.len(), bytes.len());
        let meter = Arc::clone(&self.letters.meter);
        meter.queued(records);
        let settled = self.confirmation(number);
        let confirmation = Confirmation::new(move || {
            meter.delivered(records, length);
            settled.confirm();
        });
        let (bytes, epoch) = (bytes.into(), dead_letter::OF_NO_EPOCH);
        Batch { bytes, records, partition: "".into(), epoch, confirmation }
    }

    /// Gives letters to those who keep them.
    fn set_aside(&mut self) {
        while let Some(letters) = self.aside.pop_front() {
            if let Err(refused) = self.letters.sender.try_send(letters) {
                self.aside.push_front(refused.into_inner());
                return;
            }
        }
    }

    /// Lets epochs go on whose batches are on disk.
    fn keep(&mut self) {
        let durable = self.ledger.durable_to();
        while let Some((_, holds)) = self.keeping.pop_front_if(|(end, _)| *end <= durable) {
            holds.confirm();
        }
    }

    /// Gives the sink what it has room for, in order: what is on disk before what waits.
    fn hand_on(&mut self) {
        let leaving = self.is_leaving();
        // Refused records are held in memory until they are set aside: no more of them meanwhile.
        if self.rewinding != Rewinding::No {
            return;
        }
        while !self.crowded && self.aside.is_empty() && self.hands.len() < HANDED_MAX {
            // What is left to the next run stays here, as what was read and not delivered.
            let kept = self.ready.pop_front_if(|_| !leaving);
            let given = match kept {
                Some(found) => self.hand_kept(found),
                None if self.may_pass() => match self.waiting.pop_front() {
                    Some(waiting) => self.hand_waiting(waiting),
                    None => return,
                },
                None => return,
            };
            self.crowded = !given;
        }
    }

    /// Whether what waits may be given to the sink past the spill.
    fn may_pass(&self) -> bool {
        let through = self.mode != Mode::Spilling;
        let too_large = self.waiting.front().is_some_and(|front| front.too_large);
        self.is_read() && (through || too_large)
    }

    fn hand_kept(&mut self, found: Unspilled) -> bool {
        let Unspilled { end, epoch, kept_at, again, records, partition, bytes } = found.clone();
        if !self.give(epoch, records, partition, bytes) {
            self.ready.push_front(found);
            return false;
        }
        self.ready_bytes -= found.bytes.len();
        self.given_to = self.given_to.max(end);
        if records > 0 && (again || !self.ledger.is_of_this_run(end)) {
            self.meter.resumed();
        }
        self.hands.push(Handed {
            since: self.clock.monotonic(),
            epoch,
            again,
            records,
            length: found.bytes.len(),
            kept_at: Some(kept_at),
            place: Some(end),
            holds: None,
            content: None,
            stage: Step::Given,
        });
        true
    }

    fn hand_waiting(&mut self, waiting: Waiting) -> bool {
        let Batch { epoch, records, partition, bytes, .. } = &waiting.batch;
        let (epoch, records) = (*epoch, *records);
        let content = (Arc::clone(partition), bytes.clone());
        if !self.give(epoch, records, Arc::clone(&content.0), content.1.clone()) {
            self.waiting.push_front(waiting);
            return false;
        }
        let length = content.1.len();
        let spills = matches!(self.policy, StallPolicy::Spill { .. }) && !waiting.too_large;
        let mut holds = Some(waiting.batch.confirmation);
        if self.mode == Mode::Dropping {
            self.held_bytes -= length;
            holds.take().into_iter().for_each(|holds| holds.confirm());
        }
        self.hands.push(Handed {
            since: waiting.since,
            epoch,
            again: false,
            records,
            length,
            kept_at: None,
            place: None,
            holds,
            content: spills.then_some(content),
            stage: Step::Given,
        });
        true
    }

    /// Puts a batch into the sink's queue, under the next number; tells whether there was room.
    fn give(
        &mut self,
        epoch: u64,
        records: usize,
        partition: Arc<str>,
        bytes: bytes::Bytes,
    ) -> bool {
        let confirmation = self.confirmation(self.hands.next());
        let batch = Batch { bytes, records, partition, epoch, confirmation };
        self.queue.as_mut().is_some_and(|queue| queue.try_send(batch).is_ok())
    }

    fn sight(&self) -> Sight {
        let oldest = [self.hands.oldest(), self.waiting.front().map(|front| front.since)];
        let oldest = oldest.into_iter().flatten().min();
        Sight { now: self.clock.monotonic(), oldest, waiting_bytes: self.held_bytes }
    }

    /// Decides how what comes is treated from now on.
    fn decide(&mut self) {
        let sight = self.sight();
        if self.sorter.is_some() {
            // Everything goes through its spill, which keeps it for a receiver that goes back.
            return;
        }
        let stalled = self.judge.is_stalled(sight);
        let drops_no_more =
            !self.judge.is_late(sight) && self.dropped_at + self.judge.after() <= sight.now;
        self.mode = match (self.mode, self.policy) {
            (Mode::Flowing, StallPolicy::Spill { .. }) if stalled => {
                self.stall_meter.enter(SinkState::Spilling);
                Mode::Spilling
            }
            (Mode::Flowing, StallPolicy::Drop) if stalled => {
                self.dropped_at = sight.now;
                Mode::Dropping
            }
            (Mode::Spilling, _) if !stalled && self.is_drained() => Mode::Flowing,
            (Mode::Dropping, _) if drops_no_more => Mode::Flowing,
            (mode, _) => mode,
        };
    }

    /// Whether everything in the spill was read, and given to the sink.
    fn is_read(&self) -> bool {
        self.ready.is_empty()
            && match &self.store {
                Store::None | Store::Closed(_) | Store::Opening(_) => true,
                Store::Open { spill, reader } => {
                    reader.as_ref().is_some_and(|reader| spill.is_read(reader.position()))
                }
            }
    }

    /// Whether nothing waits, in memory or on disk.
    fn is_drained(&self) -> bool {
        let opening = matches!(self.store, Store::Opening(_));
        let sorted = self.sorter.as_ref().is_none_or(Sorter::is_empty);
        let kept = self.waiting.is_empty() && self.keeping.is_empty() && sorted;
        kept && self.is_read() && !opening
    }

    /// Brings what waits to where it is safe, or lets it go.
    fn put_away(&mut self) {
        match self.mode {
            Mode::Flowing => {}
            Mode::Spilling => self.spill(),
            Mode::Dropping => self.let_drop(),
        }
    }

    fn spill(&mut self) {
        let Store::Open { spill, .. } = &self.store else { return };
        let spill = Arc::clone(spill);
        self.full = false;
        if let Err(NotKept::Full) =
            self.spill_hands(&spill).and_then(|()| self.spill_waiting(&spill))
        {
            self.full = true;
        }
    }

    /// Puts into the spill what the sink has in its hands: it may keep it for ever.
    fn spill_hands(&mut self, spill: &Spill) -> Result<(), NotKept> {
        let kept_at = self.clock.now();
        for batch in self.hands.iter_mut() {
            let Some((partition, bytes)) = &batch.content else { continue };
            let kept = kept(batch.epoch, kept_at, batch.records, partition, bytes);
            match spill.append(&kept) {
                Ok(end) => {
                    batch.place = Some(end);
                    self.handed_to = end;
                    batch.kept_at = Some(kept_at);
                    self.stall_meter.spilled(batch.records, batch.length);
                    if let Some(holds) = batch.holds.take() {
                        self.held_bytes -= batch.length;
                        self.keeping.push_back((end, holds));
                    }
                }
                // It waits for the sink.
                Err(NotKept::TooLarge) => {}
                Err(other) => return Err(other),
            }
            batch.content = None;
        }
        Ok(())
    }

    fn spill_waiting(&mut self, spill: &Spill) -> Result<(), NotKept> {
        let kept_at = self.clock.now();
        while let Some(Waiting { batch, .. }) = self.waiting.front() {
            let kept = kept(batch.epoch, kept_at, batch.records, &batch.partition, &batch.bytes);
            match spill.append(&kept) {
                Ok(end) => {
                    let Some(Waiting { batch, .. }) = self.waiting.pop_front() else { break };
                    if self.sorter.is_none() {
                        self.stall_meter.spilled(batch.records, batch.bytes.len());
                    }
                    self.held_bytes -= batch.bytes.len();
                    self.keeping.push_back((end, batch.confirmation));
                }
                Err(NotKept::TooLarge) => {
                    if let Some(front) = self.waiting.front_mut() {
                        front.too_large = true;
                    }
                    break;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Lets go of what the sink has no room for, and stops holding up the epochs of what it has.
    fn let_drop(&mut self) {
        for batch in self.hands.iter_mut() {
            if let Some(holds) = batch.holds.take() {
                self.held_bytes -= batch.length;
                holds.confirm();
            }
        }
        // What an earlier run has left on disk goes first, and is not dropped.
        while let Some(Waiting { batch, .. }) = self.waiting.pop_front() {
            self.dropped_at = self.clock.monotonic();
            self.held_bytes -= batch.bytes.len();
            if batch.records > 0 {
                self.meter.dropped(batch.records);
            }
            batch.confirmation.confirm();
        }
    }

    /// Counts as dropped what the sink has in its hands and will not deliver in this run, nor in
    /// any other.
    pub(super) fn drop_given(&mut self) {
        for batch in self.hands.iter_mut() {
            if batch.stage == Step::Given && batch.place.is_none() && batch.records > 0 {
                self.meter.dropped(batch.records);
                batch.stage = Step::Done;
            }
        }
    }

    /// Notes that the spill is delivered up to where it was read, when the sink has nothing of it
    /// in its hands.
    fn note_delivered(&mut self) {
        let Store::Open { reader: Some(reader), .. } = &self.store else { return };
        if self.sorter.is_some() {
            return;
        }
        let position = reader.position();
        if self.ready.is_empty()
            && position > self.ledger.delivered_to()
            && self.hands.iter_mut().all(|batch| batch.place.is_none())
        {
            self.ledger.delivered(position, 0, 0);
        }
    }

    /// Begins what a thread that may block must do: one thing at a time.
    fn begin_job(&mut self) {
        let now = self.clock.monotonic();
        if self.job.is_some() || now < self.not_before {
            return;
        }
        if self.mode == Mode::Spilling
            && let Store::Closed(parts) = &self.store
        {
            let (parts, bell) = (parts.clone(), Arc::clone(&self.bell));
            self.store = Store::Opening(parts.clone());
            let open = move || Done::Opened(Spill::open(parts, bell));
            self.job = Some(tokio::task::spawn_blocking(open));
            return;
        }
        let (durable, leaving) = (self.ledger.durable_to(), self.is_leaving());
        let wanted = self.ready_bytes < SPILL_READ_BYTES && !leaving;
        let Store::Open { spill, reader } = &mut self.store else { return };
        let news = self.dry_at != Some(durable);
        if let Some(mut reader) =
            reader.take_if(|reader| wanted && news && !spill.is_read(reader.position()))
        {
            self.job = Some(tokio::task::spawn_blocking(move || {
                let (found, read) = reader.read();
                Done::Read { reader, found, read, durable }
            }));
        } else if !spill.is_marked() && now >= self.marked_at + SPILL_MARK_INTERVAL {
            self.marked_at = now;
            let spill = Arc::clone(spill);
            self.job = Some(tokio::task::spawn_blocking(move || Done::LetGo(spill.let_go())));
        }
    }

    /// Takes in what a thread has done.
    pub(super) fn after(&mut self, done: Result<Done, JoinError>) {
        self.job = None;
        match done {
            Ok(Done::Opened(Ok((spill, _)))) => {
                let reader = Some(spill.reader());
                self.store = Store::Open { spill: Arc::new(spill), reader };
            }
            Ok(Done::Opened(Err(error))) => {
                if let Store::Opening(parts) = &self.store {
                    self.store = Store::Closed(parts.clone());
                }
                self.failed("opened", &error);
            }
            Ok(Done::Read { reader, found, read, durable }) => {
                self.dry_at = found.is_empty().then_some(durable);
                if let Store::Open { reader: home, .. } = &mut self.store {
                    *home = Some(reader);
                }
                for found in found {
                    match found {
                        Found::Batch(batch) if batch.end <= self.handed_to => {}
                        Found::Batch(batch) => {
                            self.ready_bytes += batch.bytes.len();
                            self.ready.push_back(batch);
                        }
                        Found::Damaged(bytes) => self.stall_meter.damaged(bytes),
                    }
                }
                if let Err(error) = read {
                    self.dry_at = None;
                    self.failed("read", &error);
                }
            }
            Ok(Done::LetGo(Ok(()))) => {}
            Ok(Done::Sought(sought)) => self.sought(sought),
            Ok(Done::LetGo(Err(error))) => self.failed("tidied up", &error),
            Err(died) => tracing::error!("the spill of `{}`: {died}", self.id),
        }
    }

    pub(super) fn failed(&mut self, what: &str, error: &LogError) {
        self.not_before = self.clock.monotonic() + SPILL_RETRY;
        let id = self.id.as_str();
        tracing::error!(
            component_id = id,
            "the spill of `{id}` cannot be {what}, and is tried again: {error}"
        );
    }

    /// Whether what is on disk is left to the next run.
    fn is_leaving(&self) -> bool {
        let held = self.rewinding == Rewinding::Held;
        let sight = self.sight();
        let over = self.until.is_some_and(|until| until <= sight.now);
        !self.taking && (self.stopping && over || held || self.judge.is_late(sight))
    }

    /// Lets the sink end when it was given everything that it is to be given.
    fn close_queue(&mut self) {
        let given = self.is_leaving() || self.is_drained();
        if !self.taking && self.waiting.is_empty() && self.aside.is_empty() && given {
            self.queue = None;
        }
    }

    /// Whether the sink has stalled, and nothing is left that waits for it.
    pub(super) fn is_given_up(&self) -> bool {
        self.queue.is_none() && self.judge.is_late(self.sight())
    }

    /// Whether what the sink has in its hands was put into the spill long ago.
    fn is_behind(&self) -> bool {
        let kept_at = self.hands.oldest_kept_at();
        kept_at.is_some_and(|kept_at| self.clock.now().since(kept_at) >= self.judge.after())
    }

    /// Says how the sink is.
    fn show(&mut self) {
        let sight = self.sight();
        let late = self.judge.is_late(sight);
        let state = match self.mode {
            _ if self.rewinding == Rewinding::Held => SinkState::Held,
            Mode::Dropping => SinkState::Dropping,
            Mode::Spilling if self.bell.no_room() => SinkState::NoRoom,
            Mode::Spilling if self.full => SinkState::Full,
            Mode::Spilling if late => SinkState::Spilling,
            Mode::Spilling if self.sorter.is_some() && !self.is_behind() => SinkState::Flowing,
            Mode::Flowing if self.is_read() => SinkState::Flowing,
            Mode::Spilling | Mode::Flowing => SinkState::Draining,
        };
        let (before, _) = self.stall_meter.state();
        self.stall_meter.enter(state);
        let due = self.shown.is_none_or(|(shown, _)| shown + SPILL_MARK_INTERVAL <= sight.now);
        if matches!(self.store, Store::Open { .. }) && (due || before != state) {
            let bytes = self.ledger.bytes();
            self.shown = Some((sight.now, bytes));
            let oldest = self.hands.oldest_kept_at();
            let oldest = oldest.or_else(|| self.ready.front().map(|ready| ready.kept_at));
            self.stall_meter.holds(bytes, self.ledger.records(), oldest);
        }
    }

    /// Tells in how long to look again though nothing happens.
    pub(super) fn look_in(&self) -> Option<Duration> {
        let sight = self.sight();
        let mut spans = vec![self.judge.look_in(sight)];
        let until = |at: Duration| Some(at.saturating_sub(sight.now));
        if sight.now < self.not_before {
            spans.push(until(self.not_before));
        }
        if let Store::Open { spill, .. } = &self.store {
            let (shown, bytes) = self.shown.unwrap_or((sight.now, 0));
            let busy = !spill.is_marked() || !self.ledger.is_empty();
            let due = shown.max(self.marked_at) + SPILL_MARK_INTERVAL;
            spans.push((busy || bytes != self.ledger.bytes()).then_some(due).and_then(until));
        }
        spans.push(self.until.and_then(until));
        spans.push(self.sorter.as_ref().and_then(|sorter| sorter.due(sight.now)));
        if self.mode == Mode::Dropping {
            spans.push(until(self.dropped_at + self.judge.after()));
        }
        spans.into_iter().flatten().filter(|span| !span.is_zero()).min()
    }
}

fn kept(
    epoch: u64,
    kept_at: azud_event::time::EventTime,
    records: usize,
    partition: &Arc<str>,
    bytes: &bytes::Bytes,
) -> KeptBatch {
    let partition = bytes::Bytes::copy_from_slice(partition.as_bytes());
    // No buffer holds 2³² records.
    let records = u32::try_from(records).unwrap_or(u32::MAX);
    KeptBatch { epoch, kept_at, records, partition, bytes: bytes.clone() }
}
