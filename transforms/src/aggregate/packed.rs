//! A [`Packed`] value: what a partial keeps of a record, in one small allocation.

use super::code::{self, Malformed};
use chrono::DateTime;
use vrl::value::{ObjectMap, Value};

/// The most bytes that a kept value may have. A user name, an address, a path or a short message
/// fits; a list of twenty then takes at most some 20 KiB.
pub const VALUE_BYTES_MAX: usize = 1024;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const TIME: u8 = 6;
const ARRAY: u8 = 7;
const OBJECT: u8 = 8;
/// A text of which the end is missing.
const CUT: u8 = 9;

/// A value of a record as canonical bytes: its type, then its content so that comparing bytes
/// compares values of one type.
///
/// Types are told apart strictly, as in keys: `1`, `1.0` and `"1"` are three values. Both zeros are
/// one. A pattern is kept as its text. What is longer than [`VALUE_BYTES_MAX`] is kept as a text
/// that was cut: a text as its beginning, a list or table as that of its JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Packs a value.
    pub fn of(value: &Value) -> Packed {
        let mut out = Vec::new();
        match text_of(value) {
            Some(text) if text.len() < VALUE_BYTES_MAX => {
                out.push(TEXT);
                out.extend_from_slice(text);
            }
            Some(text) => out = cut(text),
            None => push(value, VALUE_BYTES_MAX, &mut out),
        }
        if out.len() > VALUE_BYTES_MAX {
            let mut buffer = [0; VALUE_BYTES_MAX];
            let mut room = &mut buffer[..];
            // That it ends for want of room is what is wanted.
            drop(serde_json::to_writer(&mut room, value));
            let written = VALUE_BYTES_MAX - room.len();
            out = cut(&buffer[..written]);
        }
        Packed(out.into())
    }

    /// Gives the value again.
    pub fn value(&self) -> Value {
        match &self.0[..] {
            [TEXT | CUT, text @ ..] => Value::from(text),
            bytes => take(&mut &*bytes).unwrap_or(Value::Null),
        }
    }

    /// Whether the end is missing.
    pub fn is_cut(&self) -> bool {
        self.0[0] == CUT
    }

    /// Whether it is a text, cut or not.
    pub fn is_text(&self) -> bool {
        matches!(self.0[0], TEXT | CUT)
    }

    /// Gives the content: of a text its bytes.
    pub fn text(&self) -> &[u8] {
        &self.0[1..]
    }

    /// Gives how many bytes it takes beside itself.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Appends its bytes with their length.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        code::push_bytes(&self.0, out);
    }

    /// Reads what `encode` wrote.
    pub(super) fn decode(bytes: &mut &[u8]) -> Result<Packed, Malformed> {
        let packed = code::take_bytes(bytes, VALUE_BYTES_MAX)?;
        let mut rest = packed;
        match packed.first() {
            Some(&(TEXT | CUT)) => rest = &[],
            _ => drop(take(&mut rest)?),
        }
        if !rest.is_empty() {
            return Err(Malformed("something follows a value"));
        }
        Ok(Packed(packed.into()))
    }
}

/// Hashes a value to 16 bytes: types are told apart as [`Packed`] does, and nothing is cut.
pub fn hash(value: &Value) -> [u8; 16] {
    if let Some(text) = text_of(value) {
        return code::hash(&[&[TEXT], text]);
    }
    let mut out = Vec::new();
    push(value, usize::MAX, &mut out);
    code::hash(&[&out[..1], &out[1..]])
}

/// Gives the bytes of a text or pattern.
pub fn text_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(text) => Some(text),
        Value::String(text) => Some(text.as_bytes()),
        Value::Regex(pattern) => Some(pattern.as_str().as_bytes()),
        _ => None,
    }
}

/// Gives both zeros one form.
pub fn one_zero(number: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number }
}

/// Makes the packed form of the beginning of a text, which ends between two characters.
fn cut(text: &[u8]) -> Vec<u8> {
    let mut end = text.len().min(VALUE_BYTES_MAX - 1);
    // A character of UTF-8 has at most three bytes behind its first.
    for _ in 0..3 {
        if text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
    }
    [&[CUT], &text[..end]].concat()
}

/// Appends a value; may stop when there are more than `enough` bytes.
fn push(value: &Value, enough: usize, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Boolean(truth) => out.push(if *truth { TRUE } else { FALSE }),
        Value::Integer(number) => {
            out.push(INTEGER);
            out.extend(sortable(*number).to_be_bytes());
        }
        Value::Float(number) => {
            out.push(FLOAT);
            let bits = one_zero(**number).to_bits();
            // Of negative numbers the greater has the smaller bits.
            let bits = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.extend(bits.to_be_bytes());
        }
        Value::Timestamp(time) => {
            out.push(TIME);
            out.extend(sortable(time.timestamp()).to_be_bytes());
            out.extend(time.timestamp_subsec_nanos().to_be_bytes());
        }
        Value::Array(items) => {
            out.push(ARRAY);
            code::push_number(items.len() as u64, out);
            for item in items {
                push(item, enough, out);
                if out.len() > enough {
                    return;
                }
            }
        }
        Value::Object(members) => {
            out.push(OBJECT);
            code::push_number(members.len() as u64, out);
            for (name, item) in members {
                code::push_bytes(name.as_bytes(), out);
                push(item, enough, out);
                if out.len() > enough {
                    return;
                }
            }
        }
        text => {
            out.push(TEXT);
            code::push_bytes(text_of(text).unwrap_or_default(), out);
        }
    }
}

/// Reads what `push` wrote. It calls itself at most once for every two of [`VALUE_BYTES_MAX`]
/// bytes.
fn take(bytes: &mut &[u8]) -> Result<Value, Malformed> {
    let [tag] = code::take_array(bytes)?;
    Ok(match tag {
        NULL => Value::Null,
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        INTEGER => Value::Integer(unsorted(code::take_array(bytes)?)),
        FLOAT => {
            let bits = u64::from_be_bytes(code::take_array(bytes)?);
            let bits = if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits };
            let number = f64::from_bits(bits);
            if number.is_nan() {
                return Err(Malformed("a number is none"));
            }
            Value::from_f64_or_zero(number)
        }
        TEXT => Value::from(code::take_bytes(bytes, VALUE_BYTES_MAX)?),
        TIME => {
            let seconds = unsorted(code::take_array(bytes)?);
            let nanoseconds = u32::from_be_bytes(code::take_array(bytes)?);
            let time = DateTime::from_timestamp(seconds, nanoseconds);
            Value::Timestamp(time.ok_or(Malformed("a time is none"))?)
        }
        ARRAY => {
            let count = code::take_count(bytes, VALUE_BYTES_MAX)?;
            Value::Array((0..count).map(|_| take(bytes)).collect::<Result<_, _>>()?)
        }
        OBJECT => {
            let count = code::take_count(bytes, VALUE_BYTES_MAX)?;
            let mut members = ObjectMap::new();
            for _ in 0..count {
                let name = code::take_bytes(bytes, VALUE_BYTES_MAX)?;
                let name = std::str::from_utf8(name).map_err(|_| Malformed("a name is no text"))?;
                members.insert(name.into(), take(bytes)?);
            }
            Value::Object(members)
        }
        _ => return Err(Malformed("a value of no known type")),
    })
}

/// Gives a number whose bytes, the greatest first, sort as the number does.
fn sortable(number: i64) -> u64 {
    (number as u64) ^ (1 << 63)
}

fn unsorted(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

#[cfg(test)]
mod tests {
    use super::super::model::any_value;
    use super::*;
    use proptest::prelude::*;
    use vrl::value;

    fn decoded(packed: &Packed) -> Packed {
        let mut out = Vec::new();
        packed.encode(&mut out);
        Packed::decode(&mut &out[..]).unwrap()
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let text = "\u{1f980}".repeat(300);
        let packed = Packed::of(&Value::from(text.as_str()));
        let kept = packed.value();
        assert!(packed.is_cut() && packed.bytes() <= VALUE_BYTES_MAX);
        assert_eq!(kept, Value::from("\u{1f980}".repeat(255).as_str()));
        assert_eq!(decoded(&packed), packed);
        let list = Value::Array(vec![value!("abcdefg"); 1000]);
        let packed = Packed::of(&list);
        assert!(packed.is_cut() && packed.bytes() <= VALUE_BYTES_MAX);
        assert!(packed.value().to_string_lossy().starts_with("[\"abcdefg\",\"abc"));
        assert_ne!(hash(&list), hash(&Value::Array(vec![value!("abcdefg"); 1001])));
        let fits = Value::from("x".repeat(VALUE_BYTES_MAX - 1));
        assert!(!Packed::of(&fits).is_cut());
        assert_eq!(Packed::of(&fits).value(), fits);
    }

    #[test]
    fn types_are_told_apart() {
        let values =
            [value!(1), Value::from_f64_or_zero(1.0), value!("1"), value!([1]), value!({})];
        let hashes: std::collections::BTreeSet<_> = values.iter().map(hash).collect();
        assert_eq!(hashes.len(), values.len());
        assert_eq!(hash(&Value::from_f64_or_zero(-0.0)), hash(&Value::from_f64_or_zero(0.0)));
    }

    proptest! {
        #[test]
        fn a_value_comes_back(value in any_value()) {
            let packed = Packed::of(&value);
            prop_assert!(packed.bytes() <= VALUE_BYTES_MAX);
            prop_assert!(packed.is_cut() || packed.value() == value, "{:?}", packed.value());
            prop_assert_eq!(decoded(&packed), packed);
        }

        #[test]
        fn numbers_sort_by_their_bytes(a: i64, b: i64, c: f64, d: f64) {
            let packed = |value| Packed::of(&value);
            prop_assert_eq!(packed(Value::Integer(a)) < packed(Value::Integer(b)), a < b);
            let float = |number| Packed::of(&Value::from_f64_or_zero(number));
            prop_assert_eq!(float(c) < float(d), one_zero(c) < one_zero(d));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Ok(packed) = Packed::decode(&mut &bytes[..]) {
                packed.value();
            }
        }
    }
}
