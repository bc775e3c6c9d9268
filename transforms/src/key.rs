//! Keys: what a keyed transform gathers by, as canonical bytes.
//!
//! Grouping is strict: two keys are one only if every part has the same type and the same value.
//! `1`, `1.0` and `"1"` are three keys, and so are a field that is absent and one that is null. The
//! bytes outlive the process (they are hashed into ids and kept in snapshots), so their form never
//! changes:
//!
//! ```text
//! key   = part*                          in the order in which the author wrote the fields
//! part  = tag (1 byte) · length (u32, little endian) · bytes
//! ```

use azud_event::record::{Look, Record};
use chrono::DateTime;
use std::collections::BTreeMap;
use vrl::path::OwnedValuePath;
use vrl::value::{ObjectMap, Value};

/// A field of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyField {
    /// Its name in results: the path without its leading dot.
    pub name: String,
    /// Where it is.
    pub path: OwnedValuePath,
}

/// Gives the key of a record as canonical bytes.
pub fn encode(fields: &[KeyField], record: &Record, out: &mut Vec<u8>) {
    for field in fields {
        match record.look(&field.path) {
            Look::Nothing => push(None, out),
            Look::Text(text) => push_part(TEXT, record.text(text), out),
            Look::Scalar(value) => push(Some(&value), out),
            Look::Value(value) => push(Some(value), out),
        }
    }
}

/// Gives the key of a record for people: fields that are absent are left out.
pub fn describe(fields: &[KeyField], record: &Record) -> BTreeMap<String, serde_json::Value> {
    let present = fields.iter().filter_map(|field| {
        let value = record.get(&field.path)?;
        Some((field.name.clone(), serde_json::to_value(value).unwrap_or_default()))
    });
    present.collect()
}

/// Gives the values of a key in the order of its fields; `None` for a field that was absent.
///
/// Nothing if the bytes are no key. Both zeros come back as the positive one.
pub fn decode(mut key: &[u8]) -> Option<Vec<Option<Value>>> {
    let mut values = Vec::new();
    while !key.is_empty() {
        values.push(take(&mut key, NESTED_MAX)?);
    }
    Some(values)
}

/// One field of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// A text.
    Text(&'a [u8]),
    /// Anything else.
    Value(Value),
}

impl Part<'_> {
    /// Gives its value.
    pub fn into_value(self) -> Value {
        match self {
            Part::Text(text) => Value::Bytes(text.to_vec().into()),
            Part::Value(value) => value,
        }
    }
}

/// Gives the field with this number of a key; `None` if it was absent, or the bytes are no key.
pub fn part(mut key: &[u8], number: usize) -> Option<Part<'_>> {
    for _ in 0..number {
        take_part(&mut key)?;
    }
    match take_part(&mut &*key)? {
        (TEXT, text) => Some(Part::Text(text)),
        _ => take(&mut key, NESTED_MAX)?.map(Part::Value),
    }
}

/// The tag of a text.
const TEXT: u8 = 5;

/// How deep the values of a key may nest; no deeper than the records that they come from.
const NESTED_MAX: usize = azud_event::limits::JSON_DEPTH_MAX + 1;

fn take(bytes: &mut &[u8], depth: usize) -> Option<Option<Value>> {
    let (tag, part) = take_part(bytes)?;
    let depth = depth.checked_sub(1)?;
    Some(Some(match tag {
        0 if part.is_empty() => return Some(None),
        1 if part.is_empty() => Value::Null,
        2 => Value::Boolean(part == [1]),
        3 => Value::Integer(i64::from_le_bytes(part.try_into().ok()?)),
        4 => Value::from_f64_or_zero(f64::from_bits(u64::from_le_bytes(part.try_into().ok()?))),
        TEXT => Value::Bytes(part.to_vec().into()),
        6 => {
            let (seconds, nanoseconds) = part.split_first_chunk()?;
            let nanoseconds = u32::from_le_bytes(nanoseconds.try_into().ok()?);
            DateTime::from_timestamp(i64::from_le_bytes(*seconds), nanoseconds)?.into()
        }
        7 => {
            let pattern = std::str::from_utf8(part).ok()?;
            Value::Regex(regex::Regex::new(pattern).ok()?.into())
        }
        8 => {
            let (mut part, mut items) = (part, Vec::new());
            while !part.is_empty() {
                items.push(take(&mut part, depth)??);
            }
            Value::Array(items)
        }
        9 => {
            let (mut part, mut members) = (part, ObjectMap::new());
            while !part.is_empty() {
                let (TEXT, name) = take_part(&mut part)? else { return None };
                let name = std::str::from_utf8(name).ok()?.into();
                members.insert(name, take(&mut part, depth)??);
            }
            Value::Object(members)
        }
        _ => return None,
    }))
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some((*tag, part))
}

/// Appends the canonical bytes of a value, as one part of a key.
pub fn push(value: Option<&Value>, out: &mut Vec<u8>) {
    let Some(value) = value else { return push_part(0, &[], out) };
    match value {
        Value::Null => push_part(1, &[], out),
        Value::Boolean(truth) => push_part(2, &[u8::from(*truth)], out),
        Value::Integer(number) => push_part(3, &number.to_le_bytes(), out),
        Value::Float(number) => {
            // Both zeros are equal; a float of VRL is never NaN.
            let number = if **number == 0.0 { 0.0 } else { **number };
            push_part(4, &number.to_bits().to_le_bytes(), out);
        }
        Value::Timestamp(time) => {
            let mut bytes = time.timestamp().to_le_bytes().to_vec();
            bytes.extend(time.timestamp_subsec_nanos().to_le_bytes());
            push_part(6, &bytes, out);
        }
        Value::Regex(pattern) => push_part(7, pattern.as_str().as_bytes(), out),
        Value::Array(items) => {
            let mut bytes = Vec::new();
            items.iter().for_each(|item| push(Some(item), &mut bytes));
            push_part(8, &bytes, out);
        }
        Value::Object(members) => {
            let mut bytes = Vec::new();
            for (name, item) in members {
                push_part(TEXT, name.as_bytes(), &mut bytes);
                push(Some(item), &mut bytes);
            }
            push_part(9, &bytes, out);
        }
        text => push_part(TEXT, &text.as_bytes().cloned().unwrap_or_default(), out),
    }
}

fn push_part(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    // A record is at most 16 MiB, so no part is longer than a `u32` says.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vrl::value;

    fn key_of(value: Option<&Value>) -> Vec<u8> {
        let mut out = Vec::new();
        push(value, &mut out);
        out
    }

    #[test]
    fn types_are_told_apart() {
        let values = [
            value!(null),
            value!(1),
            Value::from_f64_or_zero(1.0),
            value!("1"),
            value!(true),
            value!([1]),
            value!([[1]]),
            value!({ "a": 1 }),
            value!(["a", 1]),
        ];
        let mut keys: Vec<_> = values.iter().map(|value| key_of(Some(value))).collect();
        keys.push(key_of(None));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        let zeros = [0.0, -0.0].map(Value::from_f64_or_zero);
        assert_eq!(key_of(Some(&zeros[0])), key_of(Some(&zeros[1])));
    }

    /// Values of every type that a record may have.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from_f64_or_zero),
            "[a-c]{0,3}".prop_map(Value::from),
            any::<i32>()
                .prop_map(|time| DateTime::from_timestamp(i64::from(time), 7).unwrap().into()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]{0,3}", inner, 0..3).prop_map(|members| {
                    let members = members.into_iter().map(|(name, item)| (name.into(), item));
                    Value::Object(members.collect())
                }),
            ]
        })
    }

    #[test]
    fn what_is_no_key_is_none() {
        assert_eq!(decode(&[]), Some(Vec::new()));
        for bytes in [&[5][..], &[5, 1, 0, 0, 0], &[3, 0, 0, 0, 0], &[77, 0, 0, 0, 0]] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_read_back(
            values in prop::collection::vec(prop::option::of(values()), 0..4),
            noise in any::<Vec<u8>>(),
        ) {
            let mut key = Vec::new();
            values.iter().for_each(|value| push(value.as_ref(), &mut key));
            for (number, value) in values.iter().enumerate() {
                prop_assert_eq!(part(&key, number).map(Part::into_value), value.clone());
            }
            prop_assert_eq!(part(&key, values.len()), None);
            prop_assert_eq!(decode(&key), Some(values));
            _ = decode(&noise);
        }

        #[test]
        fn two_parts_never_run_together(
            a in "[ab\0]{0,4}", b in "[ab\0]{0,4}", c in "[ab\0]{0,4}", d in "[ab\0]{0,4}",
        ) {
            let pair = |one: &str, two: &str| {
                let mut key = key_of(Some(&Value::from(one)));
                key.extend(key_of(Some(&Value::from(two))));
                key
            };
            prop_assert_eq!(pair(&a, &b) == pair(&c, &d), (&a, &b) == (&c, &d));
        }
    }
}
