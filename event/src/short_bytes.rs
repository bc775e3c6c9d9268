//! Bytes of which most are few: keys, and what rows carry. A few stand in place, so that they are
//! compared without going elsewhere, and nothing is asked of the heap for them.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// How many bytes stand in place: the key of an IPv4 address, a number or a short name; a count of
/// one record.
const SHORT_MAX: usize = 22;

/// Bytes that do not change, in the order of bytes. A clone copies no more than 24 of them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct ShortBytes(Form);

#[derive(Clone)]
enum Form {
    Short(u8, [u8; SHORT_MAX]),
    Long(Arc<[u8]>),
}

impl From<&[u8]> for ShortBytes {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT_MAX {
            return ShortBytes(Form::Long(bytes.into()));
        }
        let mut short = [0; SHORT_MAX];
        short[..bytes.len()].copy_from_slice(bytes);
        ShortBytes(Form::Short(bytes.len() as u8, short))
    }
}

impl From<Vec<u8>> for ShortBytes {
    fn from(bytes: Vec<u8>) -> Self {
        ShortBytes::from(bytes.as_slice())
    }
}

impl From<ShortBytes> for Vec<u8> {
    fn from(bytes: ShortBytes) -> Self {
        bytes.to_vec()
    }
}

impl Hash for ShortBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short(length, bytes) => &bytes[..usize::from(*length)],
            Form::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for ShortBytes {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // Behind short ones stand zeros, so that all of the room can be compared at once.
            (Form::Short(one, bytes), Form::Short(other, others)) => {
                one == other && bytes == others
            }
            _ => **self == **other,
        }
    }
}

impl Eq for ShortBytes {}

impl PartialOrd for ShortBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for ShortBytes {
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
            let (a, b) = (ShortBytes::from(&one[..]), ShortBytes::from(&other[..]));
            prop_assert_eq!(&*a, &one[..]);
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
        }
    }
}
