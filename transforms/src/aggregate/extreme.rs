//! The least and the greatest value.

use super::code::{self, Malformed};
use super::packed::{Packed, one_zero, text_of};
use chrono::{DateTime, Utc};
use std::cmp::Ordering;
use vrl::value::Value;

/// Which end of the order is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The least.
    Least,
    /// The greatest.
    Greatest,
}

/// A value that has an order.
///
/// Whole numbers and floats have one order, that of the numbers; where `1` and `1.0` meet, the
/// whole number is the lesser. Texts are ordered by their bytes.
#[derive(Clone, Debug, PartialEq)]
enum Ordered {
    Integer(i64),
    Float(f64),
    Time(DateTime<Utc>),
    Text(Packed),
}

impl Ordered {
    fn of(value: &Value) -> Option<Ordered> {
        match value {
            Value::Integer(number) => Some(Ordered::Integer(*number)),
            Value::Float(number) => Some(Ordered::Float(one_zero(**number))),
            Value::Timestamp(time) => Some(Ordered::Time(*time)),
            text => text_of(text).map(|_| Ordered::Text(Packed::of(text))),
        }
    }

    fn value(&self) -> Value {
        match self {
            Ordered::Integer(number) => Value::Integer(*number),
            Ordered::Float(number) => Value::from_f64_or_zero(*number),
            Ordered::Time(time) => Value::Timestamp(*time),
            Ordered::Text(text) => text.value(),
        }
    }

    /// Numbers come before times, and times before texts, at both ends.
    fn rank(&self) -> u8 {
        match self {
            Ordered::Integer(_) | Ordered::Float(_) => 0,
            Ordered::Time(_) => 1,
            Ordered::Text(_) => 2,
        }
    }

    /// Compares two values of one rank.
    fn compare(&self, other: &Ordered) -> Ordering {
        match (self, other) {
            (Ordered::Integer(one), Ordered::Integer(other)) => one.cmp(other),
            (Ordered::Float(one), Ordered::Float(other)) => one.total_cmp(other),
            (Ordered::Integer(one), Ordered::Float(other)) => compare(*one, *other),
            (Ordered::Float(one), Ordered::Integer(other)) => compare(*other, *one).reverse(),
            (Ordered::Time(one), Ordered::Time(other)) => one.cmp(other),
            (Ordered::Text(one), Ordered::Text(other)) => compare_texts(one, other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Compares exactly: a conversion of either would round. Of equal ones the whole number is the
/// lesser.
fn compare(integer: i64, float: f64) -> Ordering {
    let bound = 2_f64.powi(63);
    if float >= bound {
        return Ordering::Less;
    }
    if float < -bound {
        return Ordering::Greater;
    }
    // Within the bounds the conversion is exact, and a fraction makes the float the greater.
    integer.cmp(&(float.floor() as i64)).then(Ordering::Less)
}

/// Compares by content; a text that was cut is the greater of two that begin alike.
fn compare_texts(one: &Packed, other: &Packed) -> Ordering {
    let by_content = one.text().cmp(other.text());
    by_content.then(one.is_cut().cmp(&other.is_cut()))
}

/// The least or greatest of values.
///
/// Numbers count before times, and times before texts: texts are compared only where there is
/// neither number nor time. So what one stray text does is nothing, and a greatest number only
/// grows.
#[derive(Clone, Debug, PartialEq)]
pub struct Extreme {
    end: End,
    kept: Option<Ordered>,
}

impl Extreme {
    /// Makes the one of no values.
    pub fn new(end: End) -> Extreme {
        Extreme { end, kept: None }
    }

    /// Adds a value; whether it is of a type that has an order.
    pub fn add(&mut self, value: &Value) -> bool {
        let value = Ordered::of(value);
        let ordered = value.is_some();
        self.offer(value);
        ordered
    }

    /// Adds what another has kept.
    pub fn merge(&mut self, other: &Extreme) {
        if other.kept.as_ref().is_some_and(|kept| self.prefers(kept)) {
            self.kept.clone_from(&other.kept);
        }
    }

    fn offer(&mut self, value: Option<Ordered>) {
        if value.as_ref().is_some_and(|value| self.prefers(value)) {
            self.kept = value;
        }
    }

    fn prefers(&self, value: &Ordered) -> bool {
        let Some(kept) = &self.kept else { return true };
        let by_value = match self.end {
            End::Least => value.compare(kept),
            End::Greatest => kept.compare(value),
        };
        value.rank().cmp(&kept.rank()).then(by_value).is_lt()
    }

    /// Gives the value, null of none.
    pub fn value(&self) -> Value {
        self.kept.as_ref().map_or(Value::Null, Ordered::value)
    }

    /// Whether the text lacks its end.
    pub fn is_approximate(&self) -> bool {
        matches!(&self.kept, Some(Ordered::Text(text)) if text.is_cut())
    }

    /// Gives how much memory it holds beside itself, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.kept {
            Some(Ordered::Text(text)) => text.bytes(),
            _ => 0,
        }
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_truth(self.kept.is_some(), out);
        match &self.kept {
            Some(Ordered::Text(text)) => text.encode(out),
            Some(kept) => Packed::of(&kept.value()).encode(out),
            None => {}
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(end: End, bytes: &mut &[u8]) -> Result<Extreme, Malformed> {
        if !code::take_truth(bytes)? {
            return Ok(Extreme::new(end));
        }
        let packed = Packed::decode(bytes)?;
        let kept = if packed.is_text() {
            Ordered::Text(packed)
        } else {
            Ordered::of(&packed.value()).ok_or(Malformed("a value without an order"))?
        };
        Ok(Extreme { end, kept: Some(kept) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vrl::value;

    fn ends(values: &[Value]) -> (Value, Value) {
        let [mut least, mut greatest] = [End::Least, End::Greatest].map(Extreme::new);
        for value in values {
            least.add(value);
            greatest.add(value);
        }
        (least.value(), greatest.value())
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let near = Value::from_f64_or_zero(9_007_199_254_740_992.0);
        let integer = Value::Integer(9_007_199_254_740_993);
        assert_eq!(ends(&[near.clone(), integer.clone()]), (near, integer));
        let (one, float) = (Value::Integer(1), Value::from_f64_or_zero(1.0));
        assert_eq!(ends(&[float.clone(), one.clone()]), (one, float));
        let infinite = Value::from_f64_or_zero(f64::INFINITY);
        let most = Value::Integer(i64::MAX);
        assert_eq!(ends(&[infinite.clone(), most.clone()]), (most, infinite));
    }

    #[test]
    fn a_stray_text_does_nothing() {
        let time = Value::Timestamp(DateTime::UNIX_EPOCH);
        let (three, five) = (Value::Integer(3), Value::Integer(5));
        let values = [value!("9"), three.clone(), time.clone(), value!(""), five.clone()];
        assert_eq!(ends(&values), (three, five));
        assert_eq!(ends(&[value!("b"), value!("a")]), (value!("a"), value!("b")));
        assert_eq!(ends(&[value!("b"), time.clone()]), (time.clone(), time));
        assert_eq!(ends(&[]), (Value::Null, Value::Null));
        assert!(!Extreme::new(End::Least).add(&value!(true)));
    }

    proptest! {
        #[test]
        fn integers_and_floats_have_one_order(integer: i64, float: f64, near in -2.0..2.0_f64) {
            for float in [float, integer as f64, integer as f64 + near] {
                let narrow = if float >= 2_f64.powi(63) {
                    i128::MAX
                } else {
                    float.floor() as i128
                };
                let expected = i128::from(integer).cmp(&narrow).then(Ordering::Less);
                prop_assert_eq!(compare(integer, float), expected, "{} {}", integer, float);
            }
        }
    }
}
