//! A map for few entries that come nearly in order: panes, images, sessions of one key.
//!
//! Most keys have one pane. A tree would take a node for eleven of them; here one entry stands in
//! place, without anything from the heap. More of them stand in a ring: new entries mostly go to
//! the end and old ones leave at the front, both without moving the others; one that comes late
//! moves what is behind it.
//!
//! Who asks for a place mostly asks for one near it next: windows are told one after the other. So
//! the last place is remembered, and looked at before others; each is memory of its own.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{Bound, Range, RangeBounds};

/// Entries in the order of their keys, each key once.
#[derive(Clone, Debug)]
pub struct Sorted<K, V> {
    entries: Entries<(K, V)>,
    /// Where something was looked for last: no more than a guess.
    guess: Cell<u32>,
}

#[derive(Clone, Debug)]
enum Entries<E> {
    One(Option<E>),
    Many(VecDeque<E>),
}

impl<E> Entries<E> {
    /// Gives them as two runs, one behind the other.
    #[inline]
    fn runs(&self) -> (&[E], &[E]) {
        match self {
            Entries::One(entry) => (entry.as_slice(), &[]),
            Entries::Many(ring) => ring.as_slices(),
        }
    }

    fn runs_mut(&mut self) -> (&mut [E], &mut [E]) {
        match self {
            Entries::One(entry) => (entry.as_mut_slice(), &mut []),
            Entries::Many(ring) => ring.as_mut_slices(),
        }
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut E> {
        let (one, other) = self.runs_mut();
        match at.checked_sub(one.len()) {
            Some(behind) => other.get_mut(behind),
            None => one.get_mut(at),
        }
    }

    fn insert(&mut self, at: usize, entry: E) {
        match self {
            Entries::One(empty @ None) => *empty = Some(entry),
            Entries::One(Some(_)) => {
                let Entries::One(first) = std::mem::replace(self, Entries::One(None)) else {
                    return;
                };
                let mut ring: VecDeque<E> = first.into_iter().collect();
                ring.insert(at, entry);
                *self = Entries::Many(ring);
            }
            Entries::Many(ring) => ring.insert(at, entry),
        }
    }

    fn remove(&mut self, at: usize) -> Option<E> {
        match self {
            Entries::One(entry) => entry.take_if(|_| at == 0),
            Entries::Many(ring) => ring.remove(at),
        }
    }

    fn drain(&mut self, places: Range<usize>) {
        match self {
            Entries::One(entry) if !places.is_empty() => *entry = None,
            Entries::One(_) => {}
            Entries::Many(ring) => {
                ring.drain(places);
                if ring.is_empty() {
                    *self = Entries::One(None);
                }
            }
        }
    }
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { entries: Entries::One(None), guess: Cell::new(0) }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let all = |sorted: &'_ Self| sorted.entries.runs().0.len() + sorted.entries.runs().1.len();
        let (one, two) = (self.entries.runs(), other.entries.runs());
        all(self) == all(other) && one.0.iter().chain(one.1).eq(two.0.iter().chain(two.1))
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    /// Gives how many there are.
    pub fn len(&self) -> usize {
        let (one, other) = self.entries.runs();
        one.len() + other.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives how many entries stand before a place at which `before` does not hold any more.
    fn count_before(&self, before: impl Fn(&K) -> bool) -> usize {
        let (one, other) = self.entries.runs();
        let entry = |(key, _): &(K, V)| before(key);
        let count = one.len() + other.len();
        if count <= 1 {
            return one.iter().chain(other).filter(|it| entry(it)).count();
        }
        let at = |at: usize| at.checked_sub(one.len()).map_or_else(|| &one[at], |at| &other[at]);
        let guess = (self.guess.get() as usize).min(count);
        if guess == 0 || entry(at(guess - 1)) {
            for place in guess..=(guess + 1).min(count) {
                if place == count || !entry(at(place)) {
                    self.guess.set(place as u32);
                    return place;
                }
            }
        }
        let found = match other.first() {
            Some(first) if entry(first) => one.len() + other.partition_point(entry),
            _ => one.partition_point(entry),
        };
        self.guess.set(found as u32);
        found
    }

    /// Gives where a key stands, or where it belongs.
    fn find(&self, key: &K) -> Result<usize, usize> {
        let (one, other) = self.entries.runs();
        let count = one.len() + other.len();
        // Most of what comes belongs to the last entry, or behind it.
        match other.last().or(one.last()) {
            None => Err(0),
            Some((last, _)) if last < key => Err(count),
            Some((last, _)) if last == key => Ok(count - 1),
            Some(_) => {
                let at = self.count_before(|other| other < key);
                let there = at.checked_sub(one.len()).map_or_else(|| &one[at], |at| &other[at]);
                if there.0 == *key { Ok(at) } else { Err(at) }
            }
        }
    }

    /// Gives what stands under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let (at, (one, other)) = (self.find(key).ok()?, self.entries.runs());
        Some(&at.checked_sub(one.len()).map_or_else(|| &one[at], |at| &other[at]).1)
    }

    /// Gives what stands under a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Puts an entry in its place; gives what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => {
                let there = self.entries.get_mut(at).map(|(_, there)| there);
                there.map(|there| std::mem::replace(there, value))
            }
            Err(at) => {
                self.entries.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.entries.remove(at)?.1)
    }

    /// Takes out what stands at the front.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.entries.remove(0)
    }

    /// Takes out what stands at the end.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.remove(self.len().checked_sub(1)?)
    }

    /// Gives the least key.
    pub fn first(&self) -> Option<K> {
        self.entries.runs().0.first().map(|(key, _)| *key)
    }

    /// Gives the greatest key.
    pub fn last(&self) -> Option<K> {
        let (one, other) = self.entries.runs();
        other.last().or(one.last()).map(|(key, _)| *key)
    }

    fn places(&self, keys: &impl RangeBounds<K>) -> Range<usize> {
        let before = |key: &K| self.count_before(|other| other < key);
        let behind = |key: &K| self.count_before(|other| other <= key);
        let start = match keys.start_bound() {
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => 0,
        };
        let end = match keys.end_bound() {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => before(key),
            Bound::Unbounded => self.len(),
        };
        start..end.max(start)
    }

    /// Gives how many there are within some keys.
    pub fn count(&self, keys: impl RangeBounds<K>) -> usize {
        self.places(&keys).len()
    }

    /// Lists the entries within some keys, in their order.
    pub fn range<R: RangeBounds<K>>(
        &self,
        keys: R,
    ) -> impl DoubleEndedIterator<Item = (K, &V)> + use<'_, K, V, R> {
        let (one, other) = self.entries.runs();
        let (first, second) = split(self.places(&keys), one.len());
        one[first].iter().chain(&other[second]).map(|(key, value)| (*key, value))
    }

    /// Lists what stands under some keys, in their order, to be changed.
    pub fn range_mut(&mut self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (K, &mut V)> {
        let places = self.places(&keys);
        let (one, other) = self.entries.runs_mut();
        let (first, second) = split(places, one.len());
        one[first].iter_mut().chain(&mut other[second]).map(|(key, value)| (*key, value))
    }

    /// Drops the entries within some keys, and the room that they took when none is left.
    pub fn drop_range(&mut self, keys: impl RangeBounds<K>) {
        self.entries.drain(self.places(&keys));
    }

    /// Lists all entries in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let (one, other) = self.entries.runs();
        one.iter().chain(other).map(|(key, value)| (*key, value))
    }
}

/// Divides places between two runs of which the first is so long.
fn split(places: Range<usize>, length: usize) -> (Range<usize>, Range<usize>) {
    let Range { start, end } = places;
    let behind = |at: usize| at.saturating_sub(length);
    (start.min(length)..end.min(length), behind(start)..behind(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(
            steps in proptest::collection::vec((0..6_u8, 0..20_i64, 0..20_i64), 0..60),
        ) {
            let mut sorted = Sorted::default();
            let mut tree = BTreeMap::new();
            for (step, key, other) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(sorted.insert(key, other), tree.insert(key, other)),
                    2 => prop_assert_eq!(sorted.remove(&key), tree.remove(&key)),
                    3 => prop_assert_eq!(sorted.pop_first(), tree.pop_first()),
                    4 => prop_assert_eq!(sorted.pop_last(), tree.pop_last()),
                    _ => {
                        let (from, to) = (key.min(other), key.max(other));
                        sorted.drop_range(from..to);
                        tree.retain(|key, _| !(from..to).contains(key));
                    }
                }
                prop_assert_eq!(sorted.get(&key), tree.get(&key));
                prop_assert_eq!(sorted.first(), tree.keys().next().copied());
                prop_assert_eq!(sorted.last(), tree.keys().next_back().copied());
                let (from, to) = (key.min(other), key.max(other));
                let within: Vec<_> = sorted.range(from..=to).collect();
                let model: Vec<_> = tree.range(from..=to).map(|(key, it)| (*key, it)).collect();
                prop_assert_eq!(sorted.count(from..=to), model.len());
                prop_assert_eq!(within, model);
                let behind: Vec<_> = sorted.range_mut(key..).map(|(key, it)| (key, *it)).collect();
                let model: Vec<_> = tree.range(key..).map(|(key, it)| (*key, *it)).collect();
                prop_assert_eq!(behind, model);
                prop_assert_eq!(sorted.len(), tree.len());
                prop_assert_eq!(sorted.is_empty(), tree.is_empty());
            }
            let all: Vec<_> = sorted.iter().map(|(key, it)| (key, *it)).collect();
            prop_assert_eq!(all, tree.into_iter().collect::<Vec<_>>());
        }
    }
}
