//! Records that are made, not taken in: results of keyed transforms.

use super::{Origin, Record};
use crate::id::SourceIndex;
use crate::row::Place;
use crate::time::EventTime;
use bytes::Bytes;

impl Origin {
    /// Gives the origin of a result: the place of the last row that made it, received at the clock
    /// of its epoch.
    ///
    /// `index` tells results of one place apart.
    pub fn derived(place: Place, now: EventTime, index: u64) -> Self {
        Origin {
            source: SourceIndex(0),
            stream: place.stream,
            position: place.position,
            index: place.index.wrapping_add(index),
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
