//! Records that are made, not taken in: results of keyed transforms.

use super::{Origin, Record};
use crate::id::SourceIndex;
use crate::row::Place;
use crate::time::EventTime;
use bytes::Bytes;

impl Origin {
    /// Gives the origin of a record that was made and not taken in: its place, and the clock of the
    /// epoch in which it was made as its receive time.
    pub fn made(place: Place, now: EventTime) -> Self {
        Origin {
            source: SourceIndex(0),
            source_key: place.source,
            stream: place.stream,
            position: place.position,
            index: place.index,
            received_at: now,
            event_time: Some(place.event_time),
            raw: 0..0,
            peer: 0,
        }
    }
}

impl Record {
    /// Lets go of the block that the record lies over, so that its memory can be freed while
    /// nothing comes.
    pub fn release(&mut self) {
        self.clear();
        self.bytes = Bytes::new();
        self.peers = None;
        self.origin.raw = 0..0;
    }
}
