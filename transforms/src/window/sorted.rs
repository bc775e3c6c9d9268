//! A map for few entries that come nearly in order: panes, images, sessions of one key.
//!
//! Most keys have one pane. A tree would take a node for eleven of them; here one entry takes the
//! room of one. New entries mostly go to the end and old ones leave at the front, both without
//! moving the others; one that comes late moves what is behind it.

use std::collections::VecDeque;
use std::ops::{Bound, Range, RangeBounds};

/// Entries in the order of their keys, each key once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<K, V> {
    entries: VecDeque<(K, V)>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Sorted { entries: VecDeque::new() }
    }
}

impl<K: Ord + Copy, V> Sorted<K, V> {
    /// Gives how many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives where a key stands, or where it belongs.
    fn find(&self, key: &K) -> Result<usize, usize> {
        // Most of what comes belongs to the last entry, or behind it.
        match self.entries.back() {
            None => Err(0),
            Some((last, _)) if last < key => Err(self.entries.len()),
            Some((last, _)) if last == key => Ok(self.entries.len() - 1),
            Some(_) => self.entries.binary_search_by(|(other, _)| other.cmp(key)),
        }
    }

    /// Gives what stands under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        Some(&self.entries[self.find(key).ok()?].1)
    }

    /// Gives what stands under a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        Some(&mut self.entries[at].1)
    }

    /// Puts an entry in its place; gives what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].1, value)),
            Err(at) => {
                if self.entries.capacity() == 0 {
                    self.entries.reserve_exact(1);
                }
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
        self.entries.pop_front()
    }

    /// Takes out what stands at the end.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.pop_back()
    }

    /// Gives the least key.
    pub fn first(&self) -> Option<K> {
        self.entries.front().map(|(key, _)| *key)
    }

    /// Gives the greatest key.
    pub fn last(&self) -> Option<K> {
        self.entries.back().map(|(key, _)| *key)
    }

    fn places(&self, keys: &impl RangeBounds<K>) -> Range<usize> {
        let before = |key: &K| self.entries.partition_point(|(other, _)| other < key);
        let behind = |key: &K| self.entries.partition_point(|(other, _)| other <= key);
        let start = match keys.start_bound() {
            Bound::Included(key) => before(key),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => 0,
        };
        let end = match keys.end_bound() {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => before(key),
            Bound::Unbounded => self.entries.len(),
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
        let entries = self.entries.range(self.places(&keys));
        entries.map(|(key, value)| (*key, value))
    }

    /// Lists what stands under some keys, in their order, to be changed.
    pub fn range_mut(&mut self, keys: impl RangeBounds<K>) -> impl Iterator<Item = (K, &mut V)> {
        let places = self.places(&keys);
        self.entries.range_mut(places).map(|(key, value)| (*key, value))
    }

    /// Drops the entries within some keys, and the room that they took when none is left.
    pub fn drop_range(&mut self, keys: impl RangeBounds<K>) {
        self.entries.drain(self.places(&keys));
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Lists all entries in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }
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
