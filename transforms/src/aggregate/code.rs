//! The binary form of partials: canonical, so that equal partials have equal bytes.

/// Bytes that are no partial of the aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the bytes of such an aggregate: {0}")]
pub struct Malformed(pub &'static str);

/// Appends a number in groups of seven bits, the least first.
pub(super) fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a number, in its shortest form only.
pub(super) fn take_number(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else {
            return Err(Malformed("a number ends early"));
        };
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        if (group << shift) >> shift != group || (byte == 0 && shift > 0) {
            return Err(Malformed("a number is not in its shortest form"));
        }
        number |= group << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed("a number is too long"))
}
