//! How a delivered revision meets the row that is already there.
//!
//! # The idea
//!
//! A rule counts the revisions of its alerts itself, in a *ledger*. Within one incarnation the
//! ledger is right and the row follows it: a greater revision replaces, anything else is a repeat.
//! Another incarnation has a ledger of its own: that of an instance that took over the database,
//! or, without a log, that of each start. It begins anew while the row stays, so the same alert
//! comes again as revision 1, with only the events that this ledger saw. Then the row keeps the
//! last word of the other ledgers as *carried*, and shows all together:
//!
//! ```text
//!   ledger of A   1 ─ 2 ─ 3   (9 events)         4   (11 events)
//!   ledger of B                1 ─ 2   (4 events)
//!   the row       1 ─ 2 ─ 3 ─  4 ─ 5             6   (15 events)
//! ```
//!
//! With a log a ledger goes on from a checkpoint and keeps its incarnation. So when A's turn comes
//! again its word replaces what is carried of it, and nothing is counted twice.
//!
//! # Invariants
//!
//! - The revision of a row only grows, so delivering anything again, in any order, changes nothing.
//! - The row shows the last word of each ledger, in whatever order those came.

use azud_event::alert::Severity;
use azud_event::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// The ledgers that are told apart, beside the one that wrote last: more instances than share a
/// database, and more starts without a log than an alert sees. Of those that wrote before, only the
/// sum is known.
const LEDGERS_MAX: usize = 16;

/// What was counted by other ledgers than the one that wrote last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Carried {
    /// The last word of each, by its incarnation.
    others: BTreeMap<String, Tally>,
    /// The sum of those that are not told apart any more.
    earlier: Option<Tally>,
    /// Counted by two of them.
    shared: Shared,
}

/// What two ledgers counted, and the row shows once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shared {
    revisions: u64,
    events: u64,
}

impl Carried {
    /// Writes it for the column `carried`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers have a form in JSON")
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.others.values().chain(&self.earlier)
    }

    /// Gives what a row shows whose ledger says `own`.
    fn with(&self, own: &Tally) -> Tally {
        let mut sum = self.tallies().fold(*own, |sum, tally| sum.plus(tally));
        sum.revision = sum.revision.saturating_sub(self.shared.revisions);
        sum.event_count = sum.event_count.saturating_sub(self.shared.events);
        sum
    }

    /// Gives what its own ledger says of a row that shows `sum`. Spans and severities of the others
    /// stay in it: they only grow.
    fn without(&self, sum: &Tally) -> Tally {
        let (mut own, shared) = (*sum, self.shared);
        own.revision = own.revision.saturating_add(shared.revisions);
        own.event_count = own.event_count.saturating_add(shared.events);
        for tally in self.tallies() {
            own.revision = own.revision.saturating_sub(tally.revision);
            own.event_count = own.event_count.saturating_sub(tally.event_count);
        }
        own
    }

    /// Puts the last word of a ledger aside.
    fn put(&mut self, incarnation: &str, tally: Tally) {
        if self.others.len() >= LEDGERS_MAX {
            let oldest = self.others.iter().min_by_key(|(_, tally)| tally.last_event_at);
            let oldest = oldest.map(|(incarnation, _)| incarnation.clone());
            if let Some(gone) = oldest.and_then(|oldest| self.others.remove(&oldest)) {
                self.earlier = Some(self.earlier.map_or(gone, |earlier| earlier.plus(&gone)));
            }
        }
        self.others.insert(incarnation.to_owned(), tally);
    }
}

/// The row as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub incarnation: String,
    pub tally: Tally,
    pub carried: Option<Carried>,
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
        carried: Carried,
    },
    /// The row becomes this revision.
    Write {
        /// What it shows.
        tally: Tally,
        /// What is carried from now on.
        carried: Option<Carried>,
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
    let mut carried = stored.carried.clone();
    if !same_ledger {
        let carried = carried.get_or_insert_default();
        let own = carried.without(&stored.tally);
        match carried.others.remove(incarnation) {
            Some(known) if incoming.revision <= known.revision => return Merge::Repeat,
            None if incoming.same_events(&stored.tally) => {
                carried.shared.revisions += incoming.revision;
                carried.shared.events += incoming.event_count;
            }
            _ => {}
        }
        carried.put(&stored.incarnation, own);
    }
    let tally = carried.as_ref().map_or(*incoming, |carried| carried.with(incoming));
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
    use proptest::sample::Index;

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
                stored.carried = Some(carried.clone());
            }
            (Merge::Adopt { .. }, None) => panic!("there is nothing to adopt"),
            (Merge::Write { tally, carried, .. }, stored) => {
                let (tally, carried) = (*tally, carried.clone());
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

    #[test]
    fn a_ledger_whose_turn_comes_again_is_counted_once() {
        let mut stored = None;
        apply(&mut stored, "a", &tally(3, 9, 0, 20));
        apply(&mut stored, "b", &tally(1, 2, 30, 31));
        apply(&mut stored, "b", &tally(2, 4, 30, 40));
        // What it had not confirmed comes again, then what is new.
        assert_eq!(apply(&mut stored, "a", &tally(3, 9, 0, 20)), Merge::Repeat);
        apply(&mut stored, "a", &tally(4, 11, 0, 50));
        assert_eq!(stored.as_ref().unwrap().tally, tally(6, 15, 0, 50));
        assert_eq!(apply(&mut stored, "b", &tally(2, 4, 30, 40)), Merge::Repeat);
        apply(&mut stored, "b", &tally(3, 5, 30, 60));
        assert_eq!(stored.unwrap().tally, tally(7, 16, 0, 60));
    }

    #[test]
    fn what_two_ledgers_counted_stays_counted_once() {
        let mut stored = None;
        apply(&mut stored, "a", &tally(2, 5, 0, 9));
        apply(&mut stored, "b", &tally(1, 5, 0, 9));
        apply(&mut stored, "a", &tally(3, 7, 0, 10));
        apply(&mut stored, "b", &tally(2, 6, 0, 11));
        assert_eq!(stored.unwrap().tally, tally(4, 8, 0, 11));
    }

    #[test]
    fn of_more_ledgers_than_are_told_apart_none_is_lost() {
        let mut stored = None;
        let ledgers = LEDGERS_MAX as i64 + 9;
        for ledger in 0..ledgers {
            apply(&mut stored, &ledger.to_string(), &tally(1, 2, 9 * ledger, 9 * ledger + 1));
        }
        let stored = stored.unwrap();
        assert_eq!(stored.tally, tally(ledgers as u64, 2 * ledgers as u64, 0, 9 * ledgers - 8));
        let carried = stored.carried.unwrap();
        assert_eq!(carried.others.len(), LEDGERS_MAX);
        let json = carried.to_json();
        assert_eq!(serde_json::from_str::<Carried>(&json).unwrap(), carried);
    }

    /// Revisions of one alert by several ledgers, each as it counts: the events of a step are new.
    fn ledgers() -> impl Strategy<Value = Vec<Vec<Tally>>> {
        let steps = prop::collection::vec(prop::collection::vec(1u64..5, 1..6), 1..4);
        steps.prop_map(|ledgers| {
            let mut clock = 0;
            let ledger = |counts: Vec<u64>| {
                let (from, mut events) = (clock, 0);
                let revisions = counts.into_iter().zip(1..).map(|(count, revision)| {
                    events += count;
                    clock += 1;
                    tally(revision, events, from, clock)
                });
                revisions.collect()
            };
            ledgers.into_iter().map(ledger).collect()
        })
    }

    proptest! {
        // In whatever order the revisions of all ledgers come, and come again, the row ends with
        // every event of every ledger once, because the last revision of each says them all.
        #[test]
        fn no_event_is_lost_or_doubled(
            ledgers in ledgers(),
            order in prop::collection::vec(any::<(Index, Index)>(), 0..60),
        ) {
            let mut stored: Option<Stored> = None;
            for (ledger, revision) in order {
                let ledger = ledger.index(ledgers.len());
                let incoming = revision.get(&ledgers[ledger]);
                let before = stored.as_ref().map_or(0, |row| row.tally.revision);
                let merged = apply(&mut stored, &ledger.to_string(), incoming);
                let after = stored.as_ref().unwrap().tally.revision;
                prop_assert_eq!(matches!(merged, Merge::Write { .. }), after > before);
                prop_assert!(after >= before);
                let again = apply(&mut stored, &ledger.to_string(), incoming);
                prop_assert_eq!(again, Merge::Repeat);
            }
            for (ledger, revisions) in ledgers.iter().enumerate() {
                apply(&mut stored, &ledger.to_string(), revisions.last().unwrap());
            }
            let last = ledgers.iter().filter_map(|revisions| revisions.last());
            let (revisions, events): (Vec<u64>, Vec<u64>) =
                last.map(|tally| (tally.revision, tally.event_count)).unzip();
            let row = stored.unwrap().tally;
            prop_assert_eq!(row.revision, revisions.iter().sum::<u64>());
            prop_assert_eq!(row.event_count, events.iter().sum::<u64>());
        }
    }
}
