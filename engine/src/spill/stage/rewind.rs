//! Giving a sink again what its receiver lacks: a database that was restored from an older copy.

use super::super::meter::SinkState;
use super::super::queue::{Again, Sought};
use super::{Done, Stage, Store};
use crate::log::{LogError, LogPosition};
use azud_event::time::EventTime;
use azud_plan::component::Rewind;
use std::sync::Arc;

/// How far a rewind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewinding {
    /// The receiver has what it had.
    No,
    /// The sink is given nothing until it has confirmed what it has in its hands.
    Emptying,
    /// It is looked for what the receiver lacks.
    Seeking(Rewind),
    /// What it lacks is not there any more, and nobody has accepted that: it is given nothing.
    Held,
}

impl Stage {
    /// Begins to rewind when the receiver went back.
    pub(super) fn rewind(&mut self) {
        let Some(asked) = self.progress.as_ref().and_then(|progress| progress.asked()) else {
            return;
        };
        if self.rewinding == Rewinding::No {
            self.rewinding = Rewinding::Emptying;
        }
        if self.rewinding != Rewinding::Emptying || !self.hands.is_empty() || self.job.is_some() {
            return;
        }
        match &self.store {
            Store::Open { spill, .. } if self.sorter.is_some() => {
                self.rewinding = Rewinding::Seeking(asked);
                let spill = Arc::clone(spill);
                let next = asked.from.next;
                let seek = move || Done::Sought(spill.seek(next));
                self.job = Some(tokio::task::spawn_blocking(seek));
            }
            // It is opened first.
            Store::Closed(_) | Store::Opening(_) if self.sorter.is_some() => {}
            _ => self.go_back(asked, Sought { from: LogPosition(0), covered: None, oldest: None }),
        }
    }

    /// Takes in where the receiver can be given everything again.
    pub(super) fn sought(&mut self, sought: Result<Sought, LogError>) {
        let Rewinding::Seeking(asked) = self.rewinding else { return };
        match sought {
            Ok(sought) => self.go_back(asked, sought),
            Err(error) => {
                self.rewinding = Rewinding::Emptying;
                self.failed("read", &error);
            }
        }
    }

    /// Goes on where the receiver is, or as near to it as can be, if that is accepted.
    fn go_back(&mut self, asked: Rewind, sought: Sought) {
        let Rewind { from, to } = asked;
        let covered = sought.covered.unwrap_or(to).min(to);
        let lost = covered.saturating_sub(from.next);
        let id = self.id.as_str();
        if lost > 0 {
            let (since, until) = (told(from.at), told(sought.oldest));
            let gap = format!("{lost} epochs of `{id}`, from {since} to {until}");
            if !self.accept_gap {
                self.rewinding = Rewinding::Held;
                self.stall_meter.hold(format!(
                    "the database of `{id}` went back, and {gap}, are kept nowhere any more: \
                     restore a newer copy, or accept the loss with `--accept-gap {id}`"
                ));
                self.stall_meter.enter(SinkState::Held);
                return;
            }
            tracing::warn!(component_id = id, "{gap}, are lost, as accepted");
        }
        let again = to - from.next - lost;
        tracing::warn!(
            component_id = id,
            "the database of `{id}` went back; what it lacks is delivered again: {again} epochs"
        );
        if let (Store::Open { spill, reader }, true) = (&mut self.store, self.sorter.is_some()) {
            let to = self.given_to.max(self.ledger.delivered_to());
            *reader = Some(spill.reader_again(sought.from, Again { to, before: self.first }));
            self.ready.clear();
            (self.ready_bytes, self.handed_to, self.dry_at) = (0, LogPosition(0), None);
        }
        self.rewinding = Rewinding::No;
        if let Some(progress) = &self.progress {
            progress.rewound();
        }
    }
}

fn told(at: Option<EventTime>) -> String {
    at.map_or_else(|| "the beginning".to_owned(), |at| at.to_rfc3339())
}
