//! Sum, mean and standard deviation in fixed point.
//!
//! Adding floats is not associative: partials of two workers would differ in the last bit, and a
//! threshold would flip. So each value is rounded once, alone, to a whole number of units of 10⁻⁹
//! ([`UNITS`]), and from there on everything is exact: sums and sums of squares are whole numbers
//! of 256 bits. Decimal, because people write and read decimals: `0.1 + 0.2` is `0.3`.
//!
//! ```text
//! |value|  ≤ 2⁶³          what is beyond counts as that, and marks the result  (|units| < 2⁹³)
//! squares  ≤ 2¹⁸⁶
//! values   ≤ 2⁶⁴          so that a sum of squares is < 2²⁵⁰: it cannot overflow
//! ```

use super::code::{self, Malformed};
use vrl::value::Value;

/// How many units make one.
const UNITS: i128 = 1_000_000_000;
/// The greatest magnitude of a value, in units: that of the smallest `i64`.
const VALUE_MAX: i128 = (1 << 63) * UNITS;
/// How many 64-bit digits the products have that the variance is made of.
const DIGITS: usize = 8;

/// A whole number of 256 bits in two's complement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wide {
    high: i128,
    low: u128,
}

impl Wide {
    fn of(number: i128) -> Wide {
        Wide { high: number >> 127, low: number as u128 }
    }

    /// Squares the units of a value, at most [`VALUE_MAX`].
    fn square(number: i128) -> Wide {
        let number = number.unsigned_abs();
        let (high, low) = (number >> 64, number & u128::from(u64::MAX));
        // The upper digit has 29 bits, so twice the middle product has at most 94.
        let middle = 2 * high * low;
        let (low, carry) = (low * low).overflowing_add(middle << 64);
        let high = high * high + (middle >> 64) + u128::from(carry);
        Wide { high: high.cast_signed(), low }
    }

    fn add(&mut self, other: Wide) {
        let (low, carry) = self.low.overflowing_add(other.low);
        self.low = low;
        // Wraps only for bytes that nobody wrote: see the bounds above.
        self.high = self.high.wrapping_add(other.high).wrapping_add(i128::from(carry));
    }

    /// Gives the digits of the magnitude, the least first.
    fn magnitude(self) -> [u64; DIGITS] {
        let (mut high, mut low) = (self.high.cast_unsigned(), self.low);
        if self.high < 0 {
            let carry;
            (low, carry) = (!low).overflowing_add(1);
            high = (!high).wrapping_add(u128::from(carry));
        }
        let mut digits = [0; DIGITS];
        for (pair, number) in digits.chunks_exact_mut(2).zip([low, high]) {
            pair[0] = number as u64;
            pair[1] = (number >> 64) as u64;
        }
        digits
    }

    fn to_float(self) -> f64 {
        let magnitude = float_of(&self.magnitude());
        if self.high < 0 { -magnitude } else { magnitude }
    }

    /// Appends as many bytes of two's complement as are needed, with their number before them.
    fn encode(self, out: &mut Vec<u8>) {
        let bytes = [self.low.to_le_bytes(), self.high.to_le_bytes()].concat();
        code::push_bytes(&bytes[..shortest(&bytes)], out);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Wide, Malformed> {
        let taken = code::take_bytes(bytes, 32)?;
        if shortest(taken) != taken.len() {
            return Err(Malformed("a sum is not in its shortest form"));
        }
        let negative = taken.last().is_some_and(|byte| byte >> 7 == 1);
        let mut full = [if negative { 0xff } else { 0 }; 32];
        full[..taken.len()].copy_from_slice(taken);
        let low = u128::from_le_bytes(code::take_array(&mut &full[..16])?);
        let high = i128::from_le_bytes(code::take_array(&mut &full[16..])?);
        Ok(Wide { high, low })
    }
}

/// Gives how many bytes of two's complement, the least first, say all: those behind only repeat the
/// sign.
fn shortest(bytes: &[u8]) -> usize {
    let mut length = bytes.len();
    while length > 0 {
        let sign = if length > 1 { bytes[length - 2] >> 7 } else { 0 };
        if bytes[length - 1] != if sign == 1 { 0xff } else { 0 } {
            break;
        }
        length -= 1;
    }
    length
}

fn multiply(one: &[u64; DIGITS], other: &[u64; DIGITS]) -> [u64; DIGITS] {
    let mut product = [0; DIGITS];
    for (place, digit) in one.iter().enumerate() {
        let mut carry = 0;
        for (digit_out, factor) in product[place..].iter_mut().zip(other) {
            let sum = u128::from(*digit) * u128::from(*factor) + u128::from(*digit_out) + carry;
            *digit_out = sum as u64;
            carry = sum >> 64;
        }
    }
    product
}

fn subtract(one: &[u64; DIGITS], other: &[u64; DIGITS]) -> [u64; DIGITS] {
    let (mut difference, mut borrow) = ([0; DIGITS], false);
    for ((out, digit), less) in difference.iter_mut().zip(one).zip(other) {
        let (partly, first) = digit.overflowing_sub(*less);
        let (whole, second) = partly.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (whole, first || second);
    }
    difference
}

/// Gives the nearest float.
fn float_of(digits: &[u64; DIGITS]) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    if top < 2 {
        return (u128::from(digits[1]) << 64 | u128::from(digits[0])) as f64;
    }
    let head = u128::from(digits[top]) << 64 | u128::from(digits[top - 1]);
    // Brought to the left, so that its 128 bits hold the 53 of a float whatever the upper digit,
    // and what is behind them only says whether it is more than half.
    let shift = digits[top].leading_zeros();
    let next = u128::from(digits[top - 2]);
    let head = head << shift | (next << shift) >> 64;
    let lost = (next << shift) as u64 != 0 || digits[..top - 2].iter().any(|digit| *digit != 0);
    let exponent = i32::try_from(64 * (top - 1)).expect("there are eight digits");
    (head | u128::from(lost)) as f64 * 2_f64.powi(exponent - shift.cast_signed())
}

/// What was made of a value.
struct Units {
    units: i128,
    clamped: bool,
}

/// Rounds a float to the nearest unit, of two the even one.
fn units_of(number: f64) -> Units {
    let bits = number.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).expect("it has eleven bits");
    let fraction = i128::from(bits & ((1 << 52) - 1));
    // A number is ± mantissa · 2^shift, and those below 2⁻¹⁰²² have no hidden bit.
    let (mantissa, shift) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, exponent - 1075),
    };
    let product = mantissa * UNITS;
    let magnitude = if number.abs() > 2_f64.powi(63) {
        VALUE_MAX
    } else if shift >= 0 {
        product << shift
    } else if shift < -100 {
        // The product has at most 83 bits.
        0
    } else {
        let whole = product >> -shift;
        let (rest, half) = (product - (whole << -shift), 1_i128 << (-shift - 1));
        whole + i128::from(rest > half || (rest == half && whole & 1 == 1))
    };
    let units = if number < 0.0 { -magnitude } else { magnitude };
    Units { units, clamped: number.abs() > 2_f64.powi(63) }
}

/// The sum of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    values: u64,
    sum: Wide,
    /// Whether one of them was no whole number by type.
    floats: bool,
    /// Whether one of them was out of range.
    clamped: bool,
}

impl Sum {
    /// Adds a number; whether it was one.
    pub fn add(&mut self, value: &Value) -> bool {
        self.add_units(value).is_some()
    }

    fn add_units(&mut self, value: &Value) -> Option<i128> {
        let Units { units, clamped } = match value {
            Value::Integer(number) => Units { units: i128::from(*number) * UNITS, clamped: false },
            Value::Float(number) => {
                self.floats = true;
                units_of(**number)
            }
            _ => return None,
        };
        self.clamped |= clamped;
        self.values = self.values.saturating_add(1);
        self.sum.add(Wide::of(units));
        Some(units)
    }

    /// Adds what another has gathered.
    pub fn merge(&mut self, other: &Sum) {
        self.values = self.values.saturating_add(other.values);
        self.sum.add(other.sum);
        self.floats |= other.floats;
        self.clamped |= other.clamped;
    }

    /// Gives the sum: a whole number when all were and it fits 64 bits, zero of none.
    pub fn sum(&self) -> Value {
        let whole = i128::try_from(self.sum).ok().map(|units| units / UNITS);
        match whole.and_then(|whole| i64::try_from(whole).ok()) {
            Some(whole) if !self.floats => Value::Integer(whole),
            _ => Value::from_f64_or_zero(self.sum.to_float() / UNITS as f64),
        }
    }

    /// Gives the mean, null of none.
    pub fn mean(&self) -> Value {
        match self.values {
            0 => Value::Null,
            // Divided once, it is rounded once, as long as the product is exact.
            values => Value::from_f64_or_zero(self.sum.to_float() / (values as f64 * UNITS as f64)),
        }
    }

    /// Whether a value was out of range.
    pub fn is_approximate(&self) -> bool {
        self.clamped
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        code::push_number(self.values, out);
        self.sum.encode(out);
        code::push_truth(self.floats, out);
        code::push_truth(self.clamped, out);
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<Sum, Malformed> {
        Ok(Sum {
            values: code::take_number(bytes)?,
            sum: Wide::decode(bytes)?,
            floats: code::take_truth(bytes)?,
            clamped: code::take_truth(bytes)?,
        })
    }
}

impl TryFrom<Wide> for i128 {
    type Error = Malformed;

    fn try_from(wide: Wide) -> Result<i128, Malformed> {
        let number = wide.low.cast_signed();
        let fits = Wide::of(number) == wide;
        if fits { Ok(number) } else { Err(Malformed("it has more than 128 bits")) }
    }
}

/// The sums of numbers and of their squares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    sum: Sum,
    squares: Wide,
}

impl Spread {
    /// Adds a number; whether it was one.
    pub fn add(&mut self, value: &Value) -> bool {
        let units = self.sum.add_units(value);
        if let Some(units) = units {
            self.squares.add(Wide::square(units));
        }
        units.is_some()
    }

    /// Adds what another has gathered.
    pub fn merge(&mut self, other: &Spread) {
        self.sum.merge(&other.sum);
        self.squares.add(other.squares);
    }

    /// Gives the standard deviation of the sample (divided by one less than the number of values,
    /// as SQL's `stddev` does), null of fewer than two.
    ///
    /// `n·Σx² − (Σx)²` is made exactly, and only then rounded: nothing cancels.
    pub fn stddev(&self) -> Value {
        let values = self.sum.values;
        if values < 2 {
            return Value::Null;
        }
        let sum = self.sum.sum.magnitude();
        let mut count = [0; DIGITS];
        count[0] = values;
        let products = multiply(&self.squares.magnitude(), &count);
        let numerator = float_of(&subtract(&products, &multiply(&sum, &sum)));
        let variance = numerator / (values as f64 * (values - 1) as f64);
        Value::from_f64_or_zero(variance.sqrt() / UNITS as f64)
    }

    /// Whether a value was out of range.
    pub fn is_approximate(&self) -> bool {
        self.sum.clamped
    }

    /// Appends its canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.sum.encode(out);
        self.squares.encode(out);
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<Spread, Malformed> {
        Ok(Spread { sum: Sum::decode(bytes)?, squares: Wide::decode(bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn float(number: f64) -> Value {
        Value::from_f64_or_zero(number)
    }

    fn sum_of(values: &[Value]) -> Sum {
        let mut sum = Sum::default();
        values.iter().for_each(|value| assert!(sum.add(value)));
        sum
    }

    #[test]
    fn decimals_add_up_as_people_expect() {
        assert_eq!(sum_of(&[float(0.1), float(0.2)]).sum(), float(0.3));
        assert_eq!(sum_of(&[float(0.1), float(0.2)]).mean(), float(0.15));
        assert_eq!(sum_of(&[]).sum(), Value::Integer(0));
        assert_eq!(sum_of(&[]).mean(), Value::Null);
        assert_eq!(sum_of(&[Value::Integer(2), float(1.0)]).sum(), float(3.0));
        assert!(!Sum::default().add(&Value::from("3")));
    }

    #[test]
    fn whole_numbers_stay_whole_while_they_fit() {
        let (least, most) = (Value::Integer(i64::MIN), Value::Integer(i64::MAX));
        let sum = sum_of(&[most.clone(), most.clone(), least]);
        assert_eq!(sum.sum(), Value::Integer(i64::MAX - 1));
        let sum = sum_of(&[most, Value::Integer(1)]);
        assert_eq!((sum.sum(), sum.is_approximate()), (float(2_f64.powi(63)), false));
    }

    #[test]
    fn what_is_out_of_range_is_marked() {
        for number in [1e19, f64::INFINITY, f64::MAX] {
            let sum = sum_of(&[float(number)]);
            assert_eq!((sum.sum(), sum.is_approximate()), (float(2_f64.powi(63)), true));
            let sum = sum_of(&[float(-number), float(number)]);
            assert_eq!((sum.sum(), sum.is_approximate()), (float(0.0), true));
        }
        assert!(!sum_of(&[float(2_f64.powi(63))]).is_approximate());
    }

    #[test]
    fn the_spread_of_great_numbers_does_not_cancel() {
        let mut spread = Spread::default();
        for number in [1_000_000_000_000_000_i64, 1_000_000_000_000_001, 1_000_000_000_000_002] {
            spread.add(&Value::Integer(number));
        }
        assert_eq!(spread.stddev(), float(1.0));
        let mut spread = Spread::default();
        assert_eq!(spread.stddev(), Value::Null);
        spread.add(&Value::Integer(i64::MIN));
        assert_eq!(spread.stddev(), Value::Null);
        spread.add(&Value::Integer(i64::MAX));
        let Value::Float(most) = spread.stddev() else { panic!("it is a number") };
        let expected = 2_f64.powi(64) / 2_f64.sqrt();
        assert!((*most / expected - 1.0).abs() < 1e-15, "{most}");
    }

    proptest! {
        #[test]
        fn a_float_is_rounded_once(
            number in prop_oneof![any::<f64>(), -1e6..1e6_f64, -1e-8..1e-8],
        ) {
            prop_assume!(number.abs() <= 2_f64.powi(63));
            // The standard library writes the nearest decimal, of two the even one.
            let digits = format!("{number:.9}").replace('.', "");
            prop_assert_eq!(units_of(number).units, digits.parse::<i128>().unwrap());
        }

        #[test]
        fn wide_numbers_count_as_narrow_ones(
            a: i64, b: i32, c: i64, small in 0..63, shift in 0..29,
        ) {
            let (a, b) = (i128::from(a >> small) << shift, i128::from(b));
            let mut sum = Wide::of(a * b);
            sum.add(Wide::of(i128::from(c)));
            let expected = a * b + i128::from(c);
            prop_assert_eq!(i128::try_from(sum), Ok(expected));
            prop_assert_eq!(sum.to_float(), expected as f64);
            let square = multiply(&Wide::of(a).magnitude(), &Wide::of(a).magnitude());
            prop_assert_eq!(Wide::square(a).magnitude(), square);
            prop_assert_eq!(i128::try_from(Wide::square(b)), Ok(b * b));
            let mut out = Vec::new();
            sum.encode(&mut out);
            prop_assert_eq!(Wide::decode(&mut &out[..]), Ok(sum));
            prop_assert_eq!(subtract(&square, &square), [0; DIGITS]);
        }

        #[test]
        fn the_nearest_float_is_found(number: u128, shift in 0..5_usize, rest: u64) {
            // Moved up by whole digits the float only grows by a power of two; a rest below it tips
            // what was in the middle.
            let mut digits = [0; DIGITS];
            (digits[shift], digits[shift + 1]) = (number as u64, (number >> 64) as u64);
            let power = 2_f64.powi(64 * i32::try_from(shift).unwrap());
            prop_assert_eq!(float_of(&digits), number as f64 * power);
            if shift > 0 && number >> 127 == 1 {
                digits[0] |= rest | 1;
                prop_assert_eq!(float_of(&digits), (number | 1) as f64 * power);
            }
        }
    }
}
