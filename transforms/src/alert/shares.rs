//! The parts of the windows that an alert knows: each is held once for a key, however many windows
//! it is in.

use super::sighting::Sighting;
use azud_event::id::Id;
use azud_event::parts::Parts;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parts of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// As of [`Parts::by`].
    pub by: u64,
    /// As of [`Parts::of`].
    pub of: Id,
    /// The parts. Once a [`Pool`] has taken them in, their bytes are there.
    pub parts: Vec<Share>,
}

/// A part of a window: its number, how many records are in it, what was gathered of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share(pub i64, pub u64, #[serde(with = "as_text")] pub Vec<u8>);

/// What a part is known by: whose it is, its number, how many records are in it.
pub type PartId = (Id, i64, u64);

/// The parts of the windows of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Written>", into = "Vec<Written>")]
pub struct Pool {
    parts: BTreeMap<PartId, Pooled>,
    bytes: usize,
}

/// How often a part is used, and what was gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pooled(u64, #[serde(with = "as_text")] Vec<u8>);

type Written = (PartId, Pooled);

impl Shares {
    /// Takes what came with a result.
    pub fn of(parts: &Parts) -> Self {
        let shares = parts.parts.iter();
        let shares = shares.map(|part| Share(part.number, part.records, part.bytes.clone()));
        Shares { by: parts.by, of: parts.of, parts: shares.collect() }
    }

    fn bytes(&self) -> usize {
        self.parts.len() * size_of::<Share>()
    }
}

impl Pooled {
    fn bytes(&self) -> usize {
        size_of::<(PartId, Self)>() + self.1.len()
    }
}

impl Pool {
    /// Takes in the parts of a window.
    pub fn add(&mut self, window: &mut Sighting) {
        let Some(shares) = &mut window.shares else { return };
        self.bytes += shares.bytes();
        for Share(number, records, bytes) in &mut shares.parts {
            let bytes = std::mem::take(bytes);
            let pooled = self.parts.entry((shares.of, *number, *records)).or_insert_with(|| {
                let pooled = Pooled(0, bytes);
                self.bytes += pooled.bytes();
                pooled
            });
            pooled.0 += 1;
        }
    }

    /// Lets go of the parts of a window that leaves, as far as no other has them.
    pub fn remove(&mut self, window: &Sighting) {
        let Some(shares) = &window.shares else { return };
        self.bytes -= shares.bytes();
        for Share(number, records, _) in &shares.parts {
            let id = (shares.of, *number, *records);
            let Some(pooled) = self.parts.get_mut(&id) else { continue };
            pooled.0 -= 1;
            if pooled.0 == 0 {
                self.bytes -= pooled.bytes();
                self.parts.remove(&id);
            }
        }
    }

    /// Gives what was gathered of a part.
    pub fn get(&self, id: &PartId) -> Option<&[u8]> {
        self.parts.get(id).map(|pooled| pooled.1.as_slice())
    }

    /// Gives about how much memory it takes, with what its windows know of it, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl From<Pool> for Vec<Written> {
    fn from(pool: Pool) -> Self {
        pool.parts.into_iter().collect()
    }
}

impl From<Vec<Written>> for Pool {
    fn from(written: Vec<Written>) -> Self {
        let parts: BTreeMap<PartId, Pooled> = written.into_iter().collect();
        let of = |pooled: &Pooled| {
            // Each use is a share of some window.
            pooled.bytes() + usize::try_from(pooled.0).unwrap_or(0) * size_of::<Share>()
        };
        let bytes = parts.values().map(of).sum();
        Pool { parts, bytes }
    }
}

/// Bytes as text, in which JSON takes a third of what a list of numbers does.
mod as_text {
    use super::STANDARD;
    use base64::Engine as _;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
