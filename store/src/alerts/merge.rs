//! How a delivered revision meets the row that is already there.
//!
//! # The idea
//!
//! A rule counts the revisions of its alerts itself, in a *ledger*. Within one incarnation the
//! ledger is right and the row follows it: a greater revision replaces, anything else is a repeat.
//! Across a restart the ledger begins anew while the row stays, so the same alert comes again as
//! revision 1, with only the events since the start. Then the row keeps what the earlier
//! incarnations had counted as *carried*, and shows the two together:
//!
//! ```text
//!   ledger of A   1 ─ 2 ─ 3   (9 events)
//!   ledger of B                1 ─ 2        (4 events)
//!   the row       1 ─ 2 ─ 3 ─ 4 ─ 5         (13 events; carried: 3 revisions, 9 events)
//! ```
//!
//! With a log there is one ledger: it goes on from a checkpoint, keeps its incarnation, and nothing
//! is carried. Without one (`intake.durability = "memory"`) each start begins a new one.
//!
//! # Invariants
//!
//! - The revision of a row only grows, so delivering anything again, in any order, changes nothing.
//! - What is carried is fixed by the first revision of an incarnation, and does not depend on those
//!   that follow.

use azud_event::alert::Severity;
use azud_event::time::EventTime;
use serde::{Deserialize, Serialize};

/// What of an alert is counted: the part of it that two ledgers must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub revision: u64,
    pub event_count: u64,
    pub severity: Severity,
    pub first_event_at: EventTime,
    pub last_event_at: EventTime,
    pub raised_at: EventTime,
}

impl Tally {
    /// Writes it for the column `carried`.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("numbers have a form in JSON")
    }

    /// Gives what both counted together.
    fn plus(&self, other: &Tally) -> Tally {
        Tally {
            revision: self.revision.saturating_add(other.revision),
            event_count: self.event_count.saturating_add(other.event_count),
            severity: self.severity.max(other.severity),
            first_event_at: self.first_event_at.min(other.first_event_at),
            last_event_at: self.last_event_at.max(other.last_event_at),
            raised_at: self.raised_at.min(other.raised_at),
        }
    }

    /// Whether both counted the same events, as far as can be told. A source that reads its last
    /// records once more after a restart makes the same alert of them, and that is no news.
    fn same_events(&self, other: &Tally) -> bool {
        self.event_count == other.event_count
            && self.first_event_at == other.first_event_at
            && self.last_event_at == other.last_event_at
            && self.severity == other.severity
    }
}

/// The row as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub incarnation: String,
    pub tally: Tally,
    pub carried: Option<Tally>,
    pub firing: bool,
}

/// What is to be done with the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Nothing: it was there before.
    Repeat,
    /// Only the incarnation and what is carried change; the row shows what it showed.
    Adopt {
        /// What is carried from now on.
        carried: Tally,
    },
    /// The row becomes this revision.
    Write {
        /// What it shows.
        tally: Tally,
        /// What is carried from now on.
        carried: Option<Tally>,
        /// Whether the ledger's word for the change must be put into that of the row: a row that
        /// was firing is not raised again, but amended, or escalated when it became more severe.
        escalated: Option<bool>,
    },
}

/// Says what a revision does to the row of its alert.
pub(crate) fn merge(stored: Option<&Stored>, incarnation: &str, incoming: &Tally) -> Merge {
    let Some(stored) = stored else {
        return Merge::Write { tally: *incoming, carried: None, escalated: None };
    };
    let same_ledger = stored.incarnation == incarnation;
    let carried = match same_ledger {
        true => stored.carried,
        false if incoming.same_events(&stored.tally) => Some(Tally {
            revision: stored.tally.revision.saturating_sub(incoming.revision),
            event_count: 0,
            ..stored.tally
        }),
        false => Some(stored.tally),
    };
    let tally = carried.map_or(*incoming, |carried| carried.plus(incoming));
    if tally.revision > stored.tally.revision {
        let reworded = carried.is_some() && stored.firing;
        let escalated = reworded.then_some(tally.severity > stored.tally.severity);
        return Merge::Write { tally, carried, escalated };
    }
    match carried {
        Some(carried) if !same_ledger => Merge::Adopt { carried },
        _ => Merge::Repeat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn tally(revision: u64, event_count: u64, from: i64, to: i64) -> Tally {
        let at = |seconds: i64| EventTime::from_nanoseconds(seconds * 1_000_000_000);
        Tally {
            revision,
            event_count,
            severity: Severity::Medium,
            first_event_at: at(from),
            last_event_at: at(to),
            raised_at: at(from),
        }
    }

    fn apply(stored: &mut Option<Stored>, incarnation: &str, incoming: &Tally) -> Merge {
        let merged = merge(stored.as_ref(), incarnation, incoming);
        let incarnation = incarnation.to_owned();
        match (&merged, stored) {
            (Merge::Repeat, _) => {}
            (Merge::Adopt { carried }, Some(stored)) => {
                stored.incarnation = incarnation;
                stored.carried = Some(*carried);
            }
            (Merge::Adopt { .. }, None) => panic!("there is nothing to adopt"),
            (Merge::Write { tally, carried, .. }, stored) => {
                let (tally, carried) = (*tally, *carried);
                *stored = Some(Stored { incarnation, tally, carried, firing: true });
            }
        }
        merged
    }

    #[test]
    fn a_new_incarnation_continues_the_row() {
        let mut stored = None;
        apply(&mut stored, "a", &tally(1, 5, 0, 9));
        apply(&mut stored, "a", &tally(3, 9, 0, 20));
        apply(&mut stored, "b", &tally(1, 2, 30, 31));
        apply(&mut stored, "b", &tally(2, 4, 30, 40));
        assert_eq!(stored.unwrap().tally, tally(5, 13, 0, 40));
    }

    #[test]
    fn a_record_that_is_read_again_after_a_restart_is_not_counted_twice() {
        let mut stored = None;
        apply(&mut stored, "a", &tally(2, 5, 0, 9));
        let again = apply(&mut stored, "b", &tally(1, 5, 0, 9));
        assert!(matches!(again, Merge::Adopt { .. }), "{again:?}");
        apply(&mut stored, "b", &tally(2, 6, 0, 10));
        assert_eq!(stored.unwrap().tally, tally(3, 6, 0, 10));
    }

    #[test]
    fn the_first_revision_after_a_restart_is_not_raised_again() {
        let mut stored = None;
        apply(&mut stored, "a", &tally(1, 5, 0, 9));
        let Merge::Write { escalated, .. } = apply(&mut stored, "b", &tally(1, 1, 30, 30)) else {
            panic!("it is news");
        };
        assert_eq!(escalated, Some(false));
    }

    /// Revisions of one alert under several incarnations, each as its ledger counts: the events of
    /// a step are new.
    fn ledgers() -> impl Strategy<Value = Vec<Vec<u64>>> {
        prop::collection::vec(prop::collection::vec(1u64..5, 1..6), 1..4)
    }

    proptest! {
        // Whatever is repeated or comes out of order within an incarnation, the row ends with every
        // event of every ledger, because the last revision of each ledger says them all.
        #[test]
        fn no_event_is_lost_or_doubled(steps in ledgers(), order in any::<u64>()) {
            let mut stored = None;
            let mut expected = HashMap::new();
            let mut random = order | 1;
            let mut clock = 0;
            for (incarnation, counts) in steps.iter().enumerate() {
                let from = clock;
                let mut revisions = Vec::new();
                let mut events = 0;
                for (step, count) in counts.iter().enumerate() {
                    events += count;
                    clock += 1;
                    revisions.push(tally(step as u64 + 1, events, from, clock));
                }
                let name = incarnation.to_string();
                expected.insert(name.clone(), events);
                let before: Option<Stored> = stored.clone();
                for _ in 0..revisions.len() * 3 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let pick = (random % revisions.len() as u64) as usize;
                    apply(&mut stored, &name, &revisions[pick]);
                }
                let last = revisions.last().unwrap();
                apply(&mut stored, &name, last);
                prop_assert_eq!(apply(&mut stored, &name, last), Merge::Repeat);
                let row = stored.as_ref().unwrap();
                let earlier = before.map_or(0, |row| row.tally.revision);
                prop_assert_eq!(row.tally.revision, earlier + last.revision);
                prop_assert_eq!(row.tally.event_count, expected.values().sum::<u64>());
            }
        }
    }
}
