//! When to write and when to sync: the group commit, and the thread that carries it out.
//!
//! What waits is written at once. A sync follows at once too when the log was idle; else it begins
//! [`COMMIT_PACE`] after the one before began, so that a busy log makes a hundred a second with all
//! that came in between, and an idle one answers in the time of one sync. The steps are taken by
//! plain calls, so that tests need no thread.

use super::LogPosition;
use super::error::LogError;
use super::format::EntryKind;
use super::limits::{COMMIT_BYTES, COMMIT_PACE, FULL_RETRY};
use super::state::{Phase, Shared, Waiting};
use super::writer::{Failure, Writer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something; there may be more.
    Did,
    /// Nothing: wait for a signal after this one, at most that long.
    Wait(u64, Option<Duration>),
    /// Nothing will ever have to be done again.
    End,
}

/// Carries out the group commit, step by step.
pub(super) struct Committer {
    shared: Arc<Shared>,
    writer: Writer,
    batch: VecDeque<Waiting>,
    /// When what was written is to be synced, on the monotonic clock.
    due: Option<Duration>,
    /// When the last sync began.
    last_sync: Option<Duration>,
    /// When to try again, and how long the wait was, while there is no room.
    full: Option<(Duration, Duration)>,
}

impl Committer {
    pub fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        let batch = VecDeque::new();
        Committer { shared, writer, batch, due: None, last_sync: None, full: None }
    }

    /// Runs until the log is closed or fails.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Step::Did => {}
                Step::Wait(seen, longest) => self.shared.wait_for_work(seen, longest),
                Step::End => return,
            }
        }
    }

    /// Does what is to be done next.
    pub fn step(&mut self) -> Step {
        match self.try_step() {
            Ok(step) => step,
            Err(error) => {
                self.stop();
                self.shared.observer.fatal(error);
                Step::End
            }
        }
    }

    fn try_step(&mut self) -> Result<Step, LogError> {
        let now = self.shared.clock.monotonic();
        let (seen, closing, reserved) = {
            let state = self.shared.lock();
            if state.phase == Phase::Stopped {
                return Ok(Step::End);
            }
            (state.signals, state.closing, state.reserves > 0)
        };
        let much = self.writer.unsynced_bytes() >= COMMIT_BYTES;
        if self.due.is_some_and(|due| now >= due || much || closing) {
            return self.sync(now);
        }
        if self.batch.is_empty() {
            self.batch.append(&mut self.shared.lock().queue);
        }
        if !self.batch.is_empty() {
            if let Some((again, _)) = self.full.filter(|(again, _)| *again > now || reserved) {
                // What is freed for a checkpoint is not ours.
                let longest = (!reserved).then(|| again.saturating_sub(now));
                return Ok(if closing { self.end() } else { Step::Wait(seen, longest) });
            }
            return self.write(now, closing);
        }
        if std::mem::take(&mut self.shared.lock().roll) && self.writer.made_at().is_some() {
            self.due = None;
            self.writer.close_segment().map_err(told)?;
            return Ok(Step::Did);
        }
        match self.due {
            Some(due) => Ok(Step::Wait(seen, Some(due.saturating_sub(now)))),
            None if closing => Ok(self.end()),
            None => Ok(Step::Wait(seen, None)),
        }
    }

    fn write(&mut self, now: Duration, closing: bool) -> Result<Step, LogError> {
        let only_note = self.batch.iter().all(|waiting| waiting.entry.kind == EntryKind::Synced);
        let written = self.writer.write(&mut self.batch);
        if self.writer.unsynced_bytes() > 0 && !only_note && self.due.is_none() {
            let paced = self.last_sync.map_or(now, |began| began + COMMIT_PACE);
            self.due = Some(paced.max(now));
        }
        match written {
            Ok(()) => {
                if self.full.take().is_some() {
                    self.enter(Phase::Running);
                }
                Ok(Step::Did)
            }
            Err(Failure::NoRoom) => {
                // What is written becomes durable meanwhile: it may be what lets others make room.
                if self.writer.unsynced_bytes() > 0 {
                    self.due = Some(now);
                }
                let (least, most) = FULL_RETRY;
                let wait = self.full.map_or(least, |(_, wait)| (2 * wait).min(most));
                if self.full.replace((now + wait, wait)).is_none() {
                    self.enter(Phase::Full);
                }
                Ok(if closing && self.due.is_none() { self.end() } else { Step::Did })
            }
            Err(Failure::Fatal(error)) => Err(error),
        }
    }

    fn sync(&mut self, now: Duration) -> Result<Step, LogError> {
        self.due = None;
        self.last_sync = Some(now);
        let up_to = self.writer.sync().map_err(told)?;
        self.tell(up_to);
        if self.batch.is_empty() {
            self.batch.extend(self.writer.note());
        }
        Ok(Step::Did)
    }

    fn tell(&self, up_to: LogPosition) {
        self.shared.tell();
        self.shared.observer.durable(up_to);
        if std::mem::take(&mut self.shared.lock().refused) {
            self.shared.observer.room();
        }
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.shared.lock();
        state.phase = phase;
        state.counts.full += u64::from(phase == Phase::Full);
        drop(state);
        self.shared.observer.phase(phase);
    }

    fn end(&mut self) -> Step {
        self.stop();
        Step::End
    }

    fn stop(&self) {
        self.shared.lock().phase = Phase::Stopped;
        self.shared.tell();
    }
}

fn told(failure: Failure) -> LogError {
    match failure {
        Failure::Fatal(error) => error,
        Failure::NoRoom => LogError::Stopped,
    }
}
