//! Numbers of few bytes when they are small (LEB128): for rows, snapshots and segments. A number
//! has one form only, so equal states have equal bytes.

use crate::padded::append_first;

/// Why bytes are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    /// They end before it does.
    #[error("it ends early")]
    Cut,
    /// It could be written shorter, or is none of 64 bits.
    #[error("a number is not in its shortest form")]
    Form,
}

/// How many bytes the greatest number takes.
const BYTES_MAX: usize = 10;

/// Appends a number in groups of seven bits, the least first.
pub fn push(number: u64, out: &mut Vec<u8>) {
    if number < 0x80 {
        return out.push(number as u8);
    }
    let (mut bytes, mut rest, mut length) = ([0; BYTES_MAX], number, 0);
    for byte in &mut bytes {
        length += 1;
        *byte = rest as u8 | 0x80;
        rest >>= 7;
        if rest == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    append_first(&bytes, length, out);
}

/// Appends a number that may be negative; near zero is short.
pub fn push_signed(number: i64, out: &mut Vec<u8>) {
    push(((number << 1) ^ (number >> 63)) as u64, out);
}

/// Reads what [`push`] wrote, and moves `bytes` behind it.
///
/// # Errors
/// When it is no number.
pub fn take(bytes: &mut &[u8]) -> Result<u64, NoNumber> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(NoNumber::Cut)?;
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        if (group << shift) >> shift != group || (*byte == 0 && shift > 0) {
            return Err(NoNumber::Form);
        }
        number |= group << shift;
        if *byte < 0x80 {
            return Ok(number);
        }
    }
    Err(NoNumber::Form)
}

/// Reads what [`push_signed`] wrote, and moves `bytes` behind it.
///
/// # Errors
/// When it is no number.
pub fn take_signed(bytes: &mut &[u8]) -> Result<i64, NoNumber> {
    let number = take(bytes)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            push(number, &mut out);
            push_signed(signed, &mut out);
            let mut bytes = out.as_slice();
            prop_assert_eq!(take(&mut bytes), Ok(number));
            prop_assert_eq!(take_signed(&mut bytes), Ok(signed));
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(take(&mut bytes), Err(NoNumber::Cut));
        }

        #[test]
        fn a_number_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut left = bytes.as_slice();
            if let Ok(number) = take(&mut left) {
                let mut again = Vec::new();
                push(number, &mut again);
                prop_assert_eq!(&again, &bytes[..bytes.len() - left.len()]);
            }
        }
    }
}
