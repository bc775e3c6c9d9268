//! The most frequent values.
//!
//! Up to `keys_max` different values are counted exactly. Beyond it the counts become a
//! *Misra–Gries* summary: when there are too many, all counts are lowered until there are not, and
//! what they were lowered by is kept as [`Top::error`]. A count is then at most that much too
//! small, never too great, and a value with more than one in `keys_max + 1` of all records is there
//! whatever the order. *Which* rarer values are left then depends on how partials were merged, and
//! the result is marked; no bounded state could tell. (Keeping the greatest counts instead would
//! promise nothing: a frequent value that comes bit by bit would be let go each time.)
//!
//! Source: Misra, Gries, *Finding repeated elements*, 1982; Agarwal et al., *Mergeable summaries*,
//! PODS 2012.

use super::code::{self, Malformed};
use super::packed::Packed;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use vrl::value::Value;

/// How often each value was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    keys_max: usize,
    counts: BTreeMap<Packed, u64>,
    /// By how much a count may be too small.
    error: u64,
    /// The bytes of the values, added up.
    key_bytes: usize,
}

impl Top {
    /// Makes the one of no values, exact up to `keys_max` different ones.
    pub fn new(keys_max: usize) -> Top {
        Top { keys_max, counts: BTreeMap::new(), error: 0, key_bytes: 0 }
    }

    /// Adds a value.
    pub fn add(&mut self, value: &Value) {
        self.count(Packed::of(value), 1);
        if self.counts.len() > self.keys_max {
            // The new one has one, so this lets at least it go. It costs a pass over all, but each
            // pass takes one from each of them that a record had to give: on average a step a
            // record.
            self.lower(1);
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Top) {
        for (value, count) in &other.counts {
            match self.counts.get_mut(value) {
                Some(counted) => *counted = counted.saturating_add(*count),
                None => self.count(value.clone(), *count),
            }
        }
        self.error = self.error.saturating_add(other.error);
        if self.counts.len() > self.keys_max {
            let mut counts: Vec<u64> = self.counts.values().copied().collect();
            // The greatest count that must go, so that at most `keys_max` are left.
            let (_, first_out, _) =
                counts.select_nth_unstable_by_key(self.keys_max, |c| Reverse(*c));
            let first_out = *first_out;
            self.lower(first_out);
        }
    }

    fn count(&mut self, value: Packed, count: u64) {
        let bytes = value.bytes();
        let counted = self.counts.entry(value).or_default();
        if *counted == 0 {
            self.key_bytes += bytes;
        }
        *counted = counted.saturating_add(count);
    }

    fn lower(&mut self, by: u64) {
        self.error = self.error.saturating_add(by);
        self.counts.retain(|value, count| {
            *count = count.saturating_sub(by);
            if *count == 0 {
                self.key_bytes -= value.bytes();
            }
            *count > 0
        });
    }

    /// Gives the `k` most frequent values, each `{ value, count }`, the most frequent first, of
    /// equal counts the least value.
    pub fn value(&self, k: usize) -> Value {
        let mut all: Vec<_> =
            self.counts.iter().map(|(value, count)| (Reverse(*count), value)).collect();
        if all.len() > k {
            all.select_nth_unstable(k);
            all.truncate(k);
        }
        all.sort_unstable();
        let item = |(Reverse(count), value): &(Reverse<u64>, &Packed)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let members = [("count", Value::Integer(count)), ("value", value.value())];
            Value::Object(members.map(|(name, value)| (name.into(), value)).into_iter().collect())
        };
        Value::Array(all.iter().map(item).collect())
    }

    /// Whether counts may be too small, or a value lacks its end.
    pub fn is_approximate(&self) -> bool {
        // What was cut sorts behind all else.
        self.error > 0 || self.counts.last_key_value().is_some_and(|(value, _)| value.is_cut())
    }

    /// Gives how much memory it holds beside itself, in bytes.
    pub fn bytes(&self) -> usize {
        // A node of a tree is two thirds full.
        self.counts.len() * size_of::<(Packed, u64)>() * 3 / 2 + self.key_bytes
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.error, out);
        code::push_number(self.counts.len() as u64, out);
        for (value, count) in &self.counts {
            value.encode(out);
            code::push_number(*count, out);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(keys_max: usize, bytes: &mut &[u8]) -> Result<Top, Malformed> {
        let mut top = Top { error: code::take_number(bytes)?, ..Top::new(keys_max) };
        for _ in 0..code::take_count(bytes, keys_max)? {
            let value = Packed::decode(bytes)?;
            let after = top.counts.last_key_value().is_none_or(|(last, _)| *last < value);
            let count = code::take_number(bytes)?;
            if !after || count == 0 {
                return Err(Malformed("counts are out of order"));
            }
            top.count(value, count);
        }
        Ok(top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vrl::value;

    fn top_of(keys_max: usize, values: &[u8]) -> Top {
        let mut top = Top::new(keys_max);
        values.iter().for_each(|value| top.add(&Value::Integer(i64::from(*value))));
        top
    }

    #[test]
    fn the_most_frequent_come_first_and_the_least_of_equals() {
        let top = top_of(100, &[7, 1, 3, 3, 1, 9]);
        let one = value!({ "count": 2, "value": 1 });
        let three = value!({ "count": 2, "value": 3 });
        let seven = value!({ "count": 1, "value": 7 });
        assert_eq!(top.value(3), Value::Array(vec![one, three, seven]));
        assert_eq!(top.value(0), value!([]));
        assert!(!top.is_approximate());
    }

    #[test]
    fn a_frequent_value_outlives_a_flood_of_rare_ones() {
        let mut top = Top::new(9);
        for number in 0..10_000 {
            let mut part = Top::new(9);
            part.add(&Value::Integer(number));
            top.merge(&part);
            if number % 8 == 0 {
                top.add(&value!("often"));
            }
        }
        assert!(top.counts.contains_key(&Packed::of(&value!("often"))), "{top:?}");
    }

    proptest! {
        /// Beyond the bound a count is too small by at most the error, and the error is bounded,
        /// whatever the parts and their order.
        #[test]
        fn beyond_the_bound_the_error_is_bounded(
            parts in prop::collection::vec(prop::collection::vec(0..24_u8, 0..40), 1..6),
            keys_max in 1..8_usize,
        ) {
            let mut top = Top::new(keys_max);
            parts.iter().for_each(|part| top.merge(&top_of(keys_max, part)));
            let values = parts.concat();
            prop_assert!(top.counts.len() <= keys_max);
            let kept = top.counts.values().sum::<u64>();
            prop_assert!(top.error * (keys_max as u64 + 1) <= values.len() as u64 - kept);
            for value in 0..24 {
                let count = values.iter().filter(|other| **other == value).count() as u64;
                let packed = Packed::of(&Value::Integer(i64::from(value)));
                let counted = top.counts.get(&packed).copied().unwrap_or(0);
                prop_assert!(counted <= count && count <= counted + top.error);
            }
            prop_assert_eq!(top.key_bytes, top.counts.keys().map(Packed::bytes).sum::<usize>());
            let mut out = Vec::new();
            top.encode(&mut out);
            prop_assert_eq!(Top::decode(keys_max, &mut &out[..]), Ok(top));
        }
    }
}
