//! Appending few bytes whose number is not known before: a copy of fixed length costs no call and
//! no loop.

/// Appends the first `length` of some bytes: all at once, of which as many stay as are meant.
#[inline]
pub(crate) fn append_first<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    debug_assert!(length <= N, "there are only {N} of them");
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}
