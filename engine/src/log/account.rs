//! Who fills the log: bytes that are not yet released, by source.
//!
//! Kept for stretches of [`ACCOUNT_BYTES`], not for each entry, so that the memory it takes follows
//! from the size of the log and not of its entries.

use super::LogPosition;
use super::limits::ACCOUNT_BYTES;
use std::collections::{BTreeMap, VecDeque};

/// The bytes of the log that are not yet released.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    stretches: VecDeque<Stretch>,
    by_source: BTreeMap<u64, u64>,
    budgets: BTreeMap<u64, u64>,
    total: u64,
}

#[derive(Clone, Debug)]
struct Stretch {
    start: LogPosition,
    end: LogPosition,
    by_source: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Accounts {
    /// Sets how many bytes of a source may stand in the log.
    pub fn set_budget(&mut self, source: u64, bytes: u64) {
        self.budgets.insert(source, bytes);
    }

    /// Counts an entry; `source` is `None` for what is no block.
    pub fn add(&mut self, source: Option<u64>, position: LogPosition, end: LogPosition) {
        let bytes = end.0 - position.0;
        let open = self.stretches.back_mut();
        let open = open.filter(|stretch| end.0 - stretch.start.0 <= ACCOUNT_BYTES);
        let stretch = match open {
            Some(stretch) => stretch,
            None => {
                let by_source = BTreeMap::new();
                self.stretches.push_back(Stretch { start: position, end, by_source, bytes: 0 });
                self.stretches.back_mut().expect("one was pushed")
            }
        };
        stretch.end = end;
        stretch.bytes += bytes;
        self.total += bytes;
        if let Some(source) = source {
            *stretch.by_source.entry(source).or_default() += bytes;
            *self.by_source.entry(source).or_default() += bytes;
        }
    }

    /// Gives back every stretch that ends at `before` or earlier.
    pub fn release(&mut self, before: LogPosition) {
        while let Some(stretch) = self.stretches.front().filter(|first| first.end <= before) {
            self.total -= stretch.bytes;
            for (source, bytes) in &stretch.by_source {
                if let Some(held) = self.by_source.get_mut(source) {
                    *held -= bytes;
                    if *held == 0 {
                        self.by_source.remove(source);
                    }
                }
            }
            self.stretches.pop_front();
        }
    }

    /// Gives the bytes of all sources and records.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Gives the bytes of a source.
    pub fn of(&self, source: u64) -> u64 {
        self.by_source.get(&source).copied().unwrap_or(0)
    }

    /// Whether `bytes` more of a source stay within its budget, and within `max_bytes` of all. What
    /// is empty takes one block of any size: a budget below a block must not stop a source for
    /// good.
    pub fn fits(&self, source: u64, bytes: u64, max_bytes: u64) -> bool {
        let within = |held: u64, budget: u64| held == 0 || held.saturating_add(bytes) <= budget;
        let budget = self.budgets.get(&source).copied().unwrap_or(u64::MAX);
        within(self.of(source), budget) && within(self.total, max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Against the list of all entries: never less than what is unreleased, and never more than
        /// a stretch too much.
        #[test]
        fn accounts_follow_the_entries(
            steps in vec((0u64..4, 1u64..400_000, 0u64..3_000_000), 1..60),
        ) {
            let mut accounts = Accounts::default();
            let mut entries: Vec<(u64, u64, u64)> = Vec::new();
            let mut end = 0;
            let mut released = 0;
            for (source, bytes, back) in steps {
                accounts.add(Some(source), LogPosition(end), LogPosition(end + bytes));
                entries.push((source, end, end + bytes));
                end += bytes;
                released = released.max(end.saturating_sub(back));
                accounts.release(LogPosition(released));
                for source in 0..4 {
                    let sum = |least: u64| -> u64 {
                        let held = |(of, _, end): &&(u64, u64, u64)| *of == source && *end > least;
                        let kept = entries.iter().filter(held);
                        kept.map(|(_, start, end)| end - start).sum()
                    };
                    let slack = ACCOUNT_BYTES.max(400_000);
                    prop_assert!(accounts.of(source) >= sum(released));
                    prop_assert!(accounts.of(source) <= sum(released.saturating_sub(slack)));
                }
            }
            accounts.release(LogPosition(end));
            prop_assert_eq!(accounts.total(), 0);
            prop_assert!(accounts.fits(1, u64::MAX, 1));
        }
    }

    #[test]
    fn a_budget_holds_its_source_only() {
        let mut accounts = Accounts::default();
        accounts.set_budget(1, 100);
        accounts.add(Some(1), LogPosition(0), LogPosition(90));
        assert!(accounts.fits(1, 10, 1_000));
        assert!(!accounts.fits(1, 11, 1_000));
        assert!(accounts.fits(2, 11, 1_000));
        assert!(!accounts.fits(2, 911, 1_000));
    }
}
