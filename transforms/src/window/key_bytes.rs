//! The bytes of a key as state holds them: a short one stands in place, so that a key is compared
//! without going elsewhere, and nothing is asked of the heap for it.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// How many bytes stand in place: the key of an IPv4 address, a number or a short name.
const SHORT_MAX: usize = 22;

/// The bytes of a key, in the order of bytes.
#[derive(Clone)]
pub struct KeyBytes(Form);

#[derive(Clone)]
enum Form {
    Short(u8, [u8; SHORT_MAX]),
    Long(Arc<[u8]>),
}

impl From<&[u8]> for KeyBytes {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT_MAX {
            return KeyBytes(Form::Long(bytes.into()));
        }
        let mut short = [0; SHORT_MAX];
        short[..bytes.len()].copy_from_slice(bytes);
        KeyBytes(Form::Short(bytes.len() as u8, short))
    }
}

impl Deref for KeyBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short(length, bytes) => &bytes[..usize::from(*length)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for KeyBytes {}

impl PartialOrd for KeyBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_its_bytes(
            one in proptest::collection::vec(0..3_u8, 0..30),
            other in proptest::collection::vec(0..3_u8, 0..30),
        ) {
            let (a, b) = (KeyBytes::from(&one[..]), KeyBytes::from(&other[..]));
            prop_assert_eq!(&*a, &one[..]);
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
