//! The binary form of partials, canonical: equal partials have equal bytes, so that checkpoints of
//! two runs can be compared, and no number has two forms.

use azud_event::id::{Id, StreamId};
use azud_event::row::Place;
use azud_event::time::EventTime;
use azud_event::varint::{self, NoNumber};

pub(super) use azud_event::varint::push as push_number;

/// Bytes that are no partial of the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the state of this aggregate: {0}")]
pub struct Malformed(
    /// What is wrong with them.
    pub &'static str,
);

impl From<NoNumber> for Malformed {
    fn from(no_number: NoNumber) -> Self {
        Malformed(match no_number {
            NoNumber::Cut => "it ends early",
            NoNumber::Form => "a number is not in its shortest form",
        })
    }
}

/// Takes a number of bytes off the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(Malformed("it ends early"))?;
    *bytes = rest;
    Ok(taken)
}

/// Takes as many bytes off the front as the array has.
pub(super) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Malformed("it ends early"))?;
    *bytes = rest;
    Ok(*taken)
}

/// Reads a number, in its shortest form only.
pub(super) fn take_number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    varint::take(bytes).map_err(Malformed::from)
}

/// Reads how many things follow, at most `max`: a damaged count must not reserve memory.
pub(super) fn take_count(bytes: &mut &[u8], max: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(take_number(bytes)?).ok().filter(|count| *count <= max);
    count.ok_or(Malformed("it holds more than its bound"))
}

/// Appends a truth as one byte.
pub(super) fn push_truth(truth: bool, out: &mut Vec<u8>) {
    out.push(u8::from(truth));
}

/// Reads a truth.
pub(super) fn take_truth(bytes: &mut &[u8]) -> Result<bool, Malformed> {
    match take_array(bytes)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Malformed("neither true nor false")),
    }
}

/// Appends bytes with their length before them.
pub(super) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads bytes, at most `max` of them.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8], max: usize) -> Result<&'a [u8], Malformed> {
    let length = take_count(bytes, max)?;
    take(bytes, length)
}

/// Appends a place: what is a hash as it is, what is small in few bytes.
pub(super) fn push_place(place: &Place, out: &mut Vec<u8>) {
    out.extend(place.event_time.nanoseconds().to_le_bytes());
    out.extend(place.source.to_le_bytes());
    out.extend(place.stream.0.to_le_bytes());
    push_number(place.position, out);
    push_number(place.index, out);
}

/// Reads a place.
pub(super) fn take_place(bytes: &mut &[u8]) -> Result<Place, Malformed> {
    Ok(Place {
        event_time: EventTime::from_nanoseconds(i64::from_le_bytes(take_array(bytes)?)),
        source: u64::from_le_bytes(take_array(bytes)?),
        stream: StreamId(u64::from_le_bytes(take_array(bytes)?)),
        position: take_number(bytes)?,
        index: take_number(bytes)?,
    })
}

/// Hashes the parts to 16 bytes by BLAKE3.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 16] {
    *Id::of(parts).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_form() {
        assert!(take_number(&mut &[0x80, 0][..]).is_err());
        assert!(take_number(&mut &[0xff; 11][..]).is_err());
        assert!(take_number(&mut &[0x80][..]).is_err());
        let mut out = Vec::new();
        push_number(u64::MAX, &mut out);
        assert_eq!((out.len(), take_number(&mut &out[..])), (10, Ok(u64::MAX)));
        *out.last_mut().unwrap() = 2;
        assert!(take_number(&mut &out[..]).is_err());
    }

    proptest! {
        #[test]
        fn a_number_comes_back(number: u64, shift in 0..64) {
            let (number, mut out) = (number >> shift, Vec::new());
            push_number(number, &mut out);
            prop_assert_eq!(take_number(&mut &out[..]), Ok(number));
        }
    }
}
