//! Identities: what outlives the process is hashed by a named function, never by one that may
//! change.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::Hasher;

/// A source's place in the running plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceIndex(pub u32);

/// Gives the name of a source for good, a hash of its id: positions in a plan shift when a document
/// is added.
pub fn source_key(id: &str) -> u64 {
    StreamId::named(id.as_bytes()).0
}

/// A connection, file, peer table or API within a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Derives the identity of a stream from what names it for good: a file's fingerprint, a
    /// socket's address.
    pub fn named(name: &[u8]) -> Self {
        let hash = blake3::hash(name);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        StreamId(u64::from_le_bytes(first))
    }
}

/// How many key groups there are: the unit in which keyed state is owned by workers, bounded and
/// moved. Fixed, so that neither bounds nor eviction depend on the number of workers.
pub const KEY_GROUPS: usize = 256;

/// One of [`KEY_GROUPS`] groups of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroup(pub u8);

impl KeyGroup {
    /// Gives the group of keys with this hash of a [`Partitioner`].
    pub fn of(hash: u64) -> Self {
        KeyGroup((hash >> 56) as u8)
    }
}

/// Assigns keys to key groups by SipHash-2-4 under a secret: senders choose keys, and must not be
/// able to aim them all at one group.
#[derive(Clone, Copy, Debug)]
pub struct Partitioner {
    secret: (u64, u64),
}

impl Partitioner {
    /// Makes the partitioner of an instance from its stored secret.
    pub fn new(secret: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(secret);
        Partitioner { secret: (number as u64, (number >> 64) as u64) }
    }

    /// Hashes `key`: for tables too, as nobody knows the secret.
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher24::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(key);
        hasher.finish()
    }

    /// Gives the group that owns `key`.
    pub fn group(&self, key: &[u8]) -> KeyGroup {
        KeyGroup::of(self.hash(key))
    }
}

/// How many bytes are hashed in one piece: what is shorter is put together first, which is much
/// quicker than a hasher is made.
const TOGETHER_BYTES: usize = 256;

/// A 128-bit identity by BLAKE3, written as 32 hexadecimal digits: of an alert, of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id([u8; 16]);

impl Id {
    /// Hashes `parts`, each with its length before it, so that no two lists of parts collide by
    /// concatenation.
    pub fn of(parts: &[&[u8]]) -> Self {
        let length: usize = parts.iter().map(|part| size_of::<u64>() + part.len()).sum();
        let mut together = [0; TOGETHER_BYTES];
        if let Some(together) = together.get_mut(..length) {
            let mut rest = &mut *together;
            for part in parts {
                let (head, body) = rest.split_at_mut(size_of::<u64>());
                head.copy_from_slice(&(part.len() as u64).to_le_bytes());
                let (body, behind) = body.split_at_mut(part.len());
                body.copy_from_slice(part);
                rest = behind;
            }
            return Id::from_hash(&blake3::hash(together));
        }
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Id::from_hash(&hasher.finalize())
    }

    fn from_hash(hash: &blake3::Hash) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        Id(id)
    }

    /// Reads what is written as 32 hexadecimal digits; `None` when it is something else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(Id(number.to_be_bytes()))
    }

    /// Gives the 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Id {
    /// Writes it as 32 hexadecimal digits.
    pub fn to_text(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        text
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Id::of(&[b"ab", b"c"]), Id::of(&[b"a", b"bc"]));
    }

    #[test]
    fn long_parts_are_hashed_as_short_ones_are() {
        for length in [0, 1, 200, 240, 241, 2_000] {
            let part = vec![7; length];
            let mut hasher = blake3::Hasher::new();
            for part in [b"a".as_slice(), &part] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            let expected = hasher.finalize();
            let id = Id::of(&[b"a", &part]);
            assert_eq!(id.as_bytes()[..], expected.as_bytes()[..16], "{length}");
        }
    }

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        let id = Id::of(&[b"a"]);
        assert_eq!(Id::from_hex(&id.to_string()), Some(id));
        for wrong in ["", "+0000000000000000000000000000001", &id.to_string()[1..], "é"] {
            assert_eq!(Id::from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_group_of_a_key_is_fixed_by_the_secret() {
        let one = Partitioner::new([1; 16]);
        assert_eq!(one.group(b"203.0.113.9"), Partitioner::new([1; 16]).group(b"203.0.113.9"));
        let spread = (0..1_000u32).map(|n| one.group(&n.to_le_bytes()));
        let groups: std::collections::BTreeSet<_> = spread.collect();
        assert!(groups.len() > 200, "{} groups", groups.len());
    }
}
