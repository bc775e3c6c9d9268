//! Which keys have something to do when: lists that are cheap to add to and to take from.
//!
//! Entries are not taken out when a key's time moves; who reads a list says which entries still
//! hold. So a key that is given another time costs one entry, and nothing is searched.

use azud_event::short_bytes::ShortBytes;
use azud_event::time::EventTime;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A key, by its place in a table.
pub type Slot = u32;

/// Keys by the time at which they have something to do. Of the windows of a grid many keys have the
/// same.
#[derive(Debug, Default)]
pub struct Agenda(BTreeMap<EventTime, Vec<Slot>>);

impl Agenda {
    /// Adds a key.
    pub fn add(&mut self, at: EventTime, slot: Slot) {
        self.0.entry(at).or_default().push(slot);
    }

    /// Takes the keys of the earliest time that is not behind `up_to`, if there is one.
    pub fn take(&mut self, up_to: EventTime) -> Option<(EventTime, Vec<Slot>)> {
        let first = self.0.first_entry()?;
        (*first.key() <= up_to).then(|| first.remove_entry())
    }

    /// Drops entries that do not hold any more, until the earliest time has one that does.
    pub fn tidy(&mut self, holds: impl Fn(EventTime, Slot) -> bool) {
        while let Some(mut first) = self.0.first_entry() {
            let at = *first.key();
            let slots = first.get_mut();
            while slots.last().is_some_and(|slot| !holds(at, *slot)) {
                slots.pop();
            }
            if !slots.is_empty() {
                return;
            }
            first.remove();
        }
    }

    /// Gives the earliest time, as of the last [`Agenda::tidy`].
    pub fn earliest(&self) -> Option<EventTime> {
        self.0.keys().next().copied()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Keys by their age, the oldest first; of the same age in the order of the keys, so that who
/// leaves does not depend on when they came.
#[derive(Debug, Default)]
pub struct Ages(BinaryHeap<Reverse<Age>>);

/// When a key had its last event, the key, where it stands, and which of those it is that stood
/// there.
type Age = (EventTime, ShortBytes, Slot, u32);

impl Ages {
    /// Adds a key that had its last event then; `born` tells it from others in its slot.
    pub fn add(&mut self, last: EventTime, key: ShortBytes, slot: Slot, born: u32) {
        self.0.push(Reverse((last, key, slot, born)));
    }

    /// Takes the oldest key out. `last_of` gives when a key had its last event, if the entry is of
    /// this key still.
    pub fn take_oldest(
        &mut self,
        last_of: impl Fn(Slot, u32) -> Option<EventTime>,
    ) -> Option<Slot> {
        while let Some(Reverse((at, key, slot, born))) = self.0.pop() {
            match last_of(slot, born) {
                Some(last) if last == at => return Some(slot),
                Some(last) => self.0.push(Reverse((last, key, slot, born))),
                None => {}
            }
        }
        None
    }

    /// Drops the entries of keys that are gone, once they are more than those of `keys` keys.
    pub fn tidy(&mut self, keys: usize, is_there: impl Fn(Slot, u32) -> bool) {
        const FEW: usize = 64;
        if self.0.len() > 2 * keys + FEW {
            self.0.retain(|Reverse((_, _, slot, born))| is_there(*slot, *born));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn time(at: i64) -> EventTime {
        EventTime::from_nanoseconds(at)
    }

    #[test]
    fn entries_that_do_not_hold_any_more_are_passed_over() {
        let mut agenda = Agenda::default();
        let due = HashMap::from([(1, time(30)), (2, time(20))]);
        for (at, slot) in [(10, 1), (30, 1), (10, 3), (20, 2)] {
            agenda.add(time(at), slot);
        }
        let holds = |at, slot: Slot| due.get(&slot) == Some(&at);
        agenda.tidy(holds);
        assert_eq!(agenda.earliest(), Some(time(20)));
        assert_eq!(agenda.take(time(19)), None);
        assert_eq!(agenda.take(time(20)), Some((time(20), vec![2])));
        agenda.tidy(holds);
        assert_eq!(agenda.earliest(), Some(time(30)));
        agenda.tidy(|_, _| false);
        assert_eq!(agenda.earliest(), None);
    }

    #[test]
    fn the_oldest_leaves_first_and_of_the_same_age_the_least() {
        let mut ages = Ages::default();
        for (slot, key) in ["c", "a", "b", "d"].into_iter().enumerate() {
            ages.add(time(10), ShortBytes::from(key.as_bytes()), slot as Slot, 7);
        }
        // One was seen again, and one is gone.
        let last_of = |slot, _| match slot {
            1 => Some(time(40)),
            3 => None,
            _ => Some(time(10)),
        };
        ages.tidy(4, |_, _| false);
        let left = std::iter::from_fn(|| ages.take_oldest(last_of));
        assert_eq!(left.collect::<Vec<_>>(), [2, 0, 1]);
    }
}
