//! Quantiles with a bounded relative error: a DDSketch whose buckets are cut by bits.
//!
//! A bucket is what floats have in common in sign, exponent and the first [`FRACTION_BITS`] bits of
//! their fraction. No logarithm is taken, whose last bit would depend on the machine; counts are
//! whole numbers, and so merging is exact. What a bucket gives is its end toward zero: at most
//! 1/128 (0.8 %) below the value in magnitude, and exact for whole numbers up to 256. The least and
//! the greatest value are kept exactly.
//!
//! Beyond [`BUCKETS_MAX`] buckets the lowest are poured together, as the upper end is what people
//! ask for; of that the result is marked. It is a function of the values alone: what is above the
//! lowest bucket that is kept was there in every part.
//!
//! Source: Masson, Rim, Lee, *DDSketch*, VLDB 2019 (the mapping is its "linearly interpolated"
//! one).

use super::code::{self, Malformed};
use super::packed::one_zero;
use std::collections::BTreeMap;
use vrl::value::Value;

/// How many bits of the fraction tell buckets apart.
const FRACTION_BITS: u32 = 7;
/// The bits of a float that do not.
const REST_BITS: u32 = 52 - FRACTION_BITS;
/// The most buckets: those of 32 doublings, each full (from one byte to 4 GiB). They take some
/// 100 KiB.
const BUCKETS_MAX: usize = 4096;

/// The distribution of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    /// How many fell into each bucket.
    counts: BTreeMap<i32, u64>,
    /// The least and the greatest of all; the other way round while there is none.
    least: f64,
    greatest: f64,
    /// Whether buckets were poured together.
    collapsed: bool,
}

impl Sketch {
    /// Makes the one of no numbers.
    pub fn new() -> Sketch {
        Sketch {
            counts: BTreeMap::new(),
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            collapsed: false,
        }
    }

    /// Adds a number; whether it was one.
    pub fn add(&mut self, value: &Value) -> bool {
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => one_zero(**number),
            _ => return false,
        };
        self.count(bucket_of(number), 1);
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        self.bound();
        true
    }

    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Sketch) {
        other.counts.iter().for_each(|(bucket, count)| self.count(*bucket, *count));
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.collapsed |= other.collapsed;
        self.bound();
    }

    fn count(&mut self, bucket: i32, count: u64) {
        let counted = self.counts.entry(bucket).or_default();
        *counted = counted.saturating_add(count);
    }

    fn bound(&mut self) {
        while self.counts.len() > BUCKETS_MAX {
            let (_, count) = self.counts.pop_first().expect("there are more than the bound");
            let lowest = self.counts.keys().next();
            self.count(*lowest.expect("there are as many as the bound"), count);
            self.collapsed = true;
        }
    }

    /// Gives the quantile: of `n` numbers the one of rank ⌈share · n⌉ from below, null of none.
    pub fn quantile(&self, share: f64) -> Value {
        let total = self.counts.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        if total == 0 {
            return Value::Null;
        }
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total);
        if rank == total {
            return Value::from_f64_or_zero(self.greatest);
        }
        let mut below = 0_u64;
        let found = self.counts.iter().find(|(_, count)| {
            below = below.saturating_add(**count);
            below >= rank
        });
        let number = found.map_or(self.greatest, |(bucket, _)| number_of(*bucket));
        let number = if rank == 1 { self.least } else { number.max(self.least) };
        Value::from_f64_or_zero(number.min(self.greatest))
    }

    /// Whether there were more buckets than the bound.
    pub fn is_approximate(&self) -> bool {
        self.collapsed
    }

    /// Gives how much memory it holds beside itself, in bytes.
    pub fn bytes(&self) -> usize {
        // A node of a tree is two thirds full, and has some bytes of its own.
        self.counts.len() * (size_of::<i32>() + size_of::<u64>()) * 3 / 2 + 32
    }

    /// Appends its canonical form: each bucket as its distance from the one before, and its count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.counts.len() as u64, out);
        if self.counts.is_empty() {
            return;
        }
        out.extend(self.least.to_le_bytes());
        out.extend(self.greatest.to_le_bytes());
        code::push_truth(self.collapsed, out);
        let mut before = i32::MIN;
        for (bucket, count) in &self.counts {
            code::push_number(u64::from(bucket.abs_diff(before)), out);
            code::push_number(*count, out);
            before = *bucket;
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<Sketch, Malformed> {
        let buckets = code::take_count(bytes, BUCKETS_MAX)?;
        let mut sketch = Sketch::new();
        if buckets == 0 {
            return Ok(sketch);
        }
        sketch.least = f64::from_le_bytes(code::take_array(bytes)?);
        sketch.greatest = f64::from_le_bytes(code::take_array(bytes)?);
        if !matches!(sketch.least.partial_cmp(&sketch.greatest), Some(order) if order.is_le()) {
            return Err(Malformed("the least is greater than the greatest"));
        }
        sketch.collapsed = code::take_truth(bytes)?;
        let mut before = i64::from(i32::MIN);
        for _ in 0..buckets {
            let step = i64::try_from(code::take_number(bytes)?).unwrap_or(i64::MAX);
            let bucket = before.saturating_add(step);
            let known = -i64::from(BUCKET_LAST)..=i64::from(BUCKET_LAST);
            if step == 0 || !known.contains(&bucket) {
                return Err(Malformed("a bucket that no number falls into"));
            }
            let count = code::take_number(bytes)?;
            sketch.counts.insert(bucket as i32, count);
            before = bucket;
        }
        Ok(sketch)
    }
}

/// The bucket of the infinite.
const BUCKET_LAST: i32 = 0x7ff << FRACTION_BITS;

/// Gives the bucket of a number; buckets are ordered as numbers are.
fn bucket_of(number: f64) -> i32 {
    let magnitude = (number.abs().to_bits() >> REST_BITS) as i32;
    if number < 0.0 { -magnitude } else { magnitude }
}

/// Gives the end of a bucket toward zero.
fn number_of(bucket: i32) -> f64 {
    let magnitude = f64::from_bits(u64::from(bucket.unsigned_abs()) << REST_BITS);
    if bucket < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch_of(numbers: impl Iterator<Item = f64>) -> Sketch {
        let mut sketch = Sketch::new();
        numbers.for_each(|number| assert!(sketch.add(&Value::from_f64_or_zero(number))));
        sketch
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        let sketch = sketch_of((1..=256).map(f64::from));
        for rank in 1..=256 {
            let share = f64::from(rank) / 256.0;
            assert_eq!(sketch.quantile(share), Value::from_f64_or_zero(f64::from(rank)));
        }
        assert_eq!(Sketch::new().quantile(0.5), Value::Null);
        assert_eq!(sketch_of([300.7].into_iter()).quantile(0.5), Value::from_f64_or_zero(300.7));
        assert!(!Sketch::new().add(&Value::from("1")));
    }

    #[test]
    fn the_lowest_buckets_are_poured_together_in_any_order() {
        // Each in a bucket of its own.
        let below = (0..1000).rev().map(|step| -(1.01_f64.powi(step)));
        let numbers: Vec<f64> = below.chain((0..6000).map(|step| 1.01_f64.powi(step))).collect();
        let forward = sketch_of(numbers.iter().copied());
        let mut merged = sketch_of(numbers.iter().rev().step_by(2).copied());
        merged.merge(&sketch_of(numbers.iter().rev().skip(1).step_by(2).copied()));
        assert!(forward.is_approximate() && forward.counts.len() == BUCKETS_MAX);
        assert_eq!(forward, merged);
        let Value::Float(found) = forward.quantile(0.99) else { panic!("it is a number") };
        let expected = numbers[numbers.len() * 99 / 100 - 1];
        assert!((*found / expected - 1.0).abs() <= 1.0 / 128.0, "{found} for {expected}");
        let mut out = Vec::new();
        forward.encode(&mut out);
        assert_eq!(Sketch::decode(&mut &out[..]), Ok(forward));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_near(number: f64, other: f64) {
            let found = number_of(bucket_of(number));
            // Below 2⁻¹⁰²² there is no relative error to speak of.
            let near = number.abs() - found.abs() <= number.abs() / 128.0;
            prop_assert!(found.abs() <= number.abs() && (near || number.abs() < 1e-300));
            prop_assert!(bucket_of(number) <= bucket_of(other) || number > other);
            prop_assert!(bucket_of(number).abs() < BUCKET_LAST);
        }
    }
}
