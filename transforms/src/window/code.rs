//! The binary form of rows and snapshots: canonical, so that equal states have equal bytes.

use crate::aggregate::Malformed;
use azud_event::varint;

pub use azud_event::varint::{push as push_number, push_signed};

/// Bytes that are no row, or no snapshot, of such windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub &'static str);

impl From<Malformed> for Damaged {
    fn from(malformed: Malformed) -> Self {
        Damaged(malformed.0)
    }
}

/// Appends bytes with their length before them.
pub fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads one byte.
pub fn take_byte(bytes: &mut &[u8]) -> Result<u8, Damaged> {
    let (&byte, rest) = bytes.split_first().ok_or(Damaged("it ends early"))?;
    *bytes = rest;
    Ok(byte)
}

/// Reads a truth.
pub fn take_truth(bytes: &mut &[u8]) -> Result<bool, Damaged> {
    match take_byte(bytes)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damaged("a truth is neither yes nor no")),
    }
}

/// Reads what [`push_number`] wrote, in its shortest form only.
pub fn take_number(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    Ok(varint::take(bytes).map_err(Malformed::from)?)
}

/// Reads what [`push_signed`] wrote.
pub fn take_signed(bytes: &mut &[u8]) -> Result<i64, Damaged> {
    Ok(varint::take_signed(bytes).map_err(Malformed::from)?)
}

/// Reads what [`push_bytes`] wrote.
pub fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Damaged> {
    let length = usize::try_from(take_number(bytes)?).unwrap_or(usize::MAX);
    let (found, rest) = bytes.split_at_checked(length).ok_or(Damaged("it ends early"))?;
    *bytes = rest;
    Ok(found)
}

/// Reads an array of fixed length.
pub fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Damaged> {
    let (found, rest) = bytes.split_first_chunk().ok_or(Damaged("it ends early"))?;
    *bytes = rest;
    Ok(*found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            number in any::<u64>(), signed in any::<i64>(), text in any::<Vec<u8>>(),
        ) {
            let mut out = Vec::new();
            push_number(number, &mut out);
            push_signed(signed, &mut out);
            push_bytes(&text, &mut out);
            let mut bytes = out.as_slice();
            prop_assert_eq!(take_number(&mut bytes), Ok(number));
            prop_assert_eq!(take_signed(&mut bytes), Ok(signed));
            prop_assert_eq!(take_bytes(&mut bytes), Ok(text.as_slice()));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let mut left = bytes.as_slice();
            if let Ok(number) = take_number(&mut left) {
                let mut again = Vec::new();
                push_number(number, &mut again);
                prop_assert_eq!(&again, &bytes[..bytes.len() - left.len()]);
            }
            _ = take_signed(&mut bytes.as_slice());
            _ = take_bytes(&mut bytes.as_slice());
            _ = take_array::<16>(&mut bytes.as_slice());
        }
    }
}
