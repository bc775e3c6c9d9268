//! A [`Row`]: what crosses from one worker to another, packed, with the order in which it must be
//! applied.

use crate::id::{KeyGroup, StreamId};
use crate::short_bytes::ShortBytes;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// Where a record stands among all records: the canonical order.
///
/// Two runs over the same log give every record the same place, whatever the workers and batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// When it happened.
    pub event_time: EventTime,
    /// Hash of the source's id, so that the order does not hang on positions in a file.
    pub source: u64,
    /// Its stream.
    pub stream: StreamId,
    /// The position of its block.
    pub position: u64,
    /// Its index within the block, and within what a record became.
    pub index: u64,
}

/// A packed row on its way to the worker that owns its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The group that owns the key; workers own groups.
    pub group: KeyGroup,
    /// Its place in the canonical order.
    pub place: Place,
    /// The key, as canonical bytes.
    pub key: ShortBytes,
    /// What the stateful step needs of the record, in the step's own encoding.
    pub payload: ShortBytes,
}
