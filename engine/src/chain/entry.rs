//! The entry of a source into a chain: its decoder, what is passed over undecoded, and what its
//! blocks show of event time.

use super::Readers;
use crate::event_clock::Observation;
use crate::telemetry::ComponentMeter;
use azud_event::block::{Block, Frame, Layout, Peer};
use azud_event::codec::Decoder;
use azud_event::id::StreamId;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{Needle, SourceSpec};
use azud_plan::plan::Timing;
use memchr::memmem::Finder;
use std::sync::Arc;

/// A source, on one worker.
pub struct SourceEntry {
    pub decoder: Box<dyn Decoder>,
    pub prefilter: Option<Prefilter>,
    pub spec: Arc<dyn SourceSpec>,
    pub way: Way,
}

/// What happens to a record of a source once it is decoded.
pub struct Way {
    pub id: Arc<str>,
    /// The source's name for good.
    pub key: u64,
    pub timing: Timing,
    pub readers: Readers,
    /// Who reads what is too far ahead of its receipt.
    pub future: Readers,
    pub meter: ComponentMeter,
    /// Whether this pipeline is the one that counts what the source received.
    pub counts: bool,
    /// What the block under way shows of event time, where somebody wants to know.
    pub sight: Option<Sight>,
}

impl Way {
    /// Counts a record that was received, where it is this pipeline's to count.
    pub fn received(&mut self) {
        if self.counts {
            self.meter.received(1);
        }
    }
}

/// Passes over the frames of a block that the one reader of a source would discard.
///
/// A frame is counted as its reader would have counted it; only the work of decoding is left out.
pub struct Prefilter {
    finder: Finder<'static>,
    /// The reader, a transform.
    pub reader: usize,
}

impl Prefilter {
    /// Looks for the text that `reader` needs.
    pub fn new(needle: &Needle, reader: usize) -> Self {
        Prefilter { finder: Finder::new(needle.text.as_bytes()).into_owned(), reader }
    }

    /// Finds where the text first stands in a block.
    pub fn first(&self, block: &Block) -> Option<usize> {
        self.finder.find(&block.bytes)
    }

    /// Whether a frame holds the text. `hit` is where the text next stands in the block, not before
    /// the frame that was asked about last.
    pub fn may_pass(&self, block: &Block, frame: &Frame, hit: &mut Option<usize>) -> bool {
        let Frame { range, .. } = frame;
        if block.bytes.get(range.start).is_none_or(|first| *first <= b' ') {
            return true;
        }
        while let Some(at) = *hit
            && at < range.start
        {
            let next = self.finder.find(&block.bytes[at + 1..]);
            *hit = next.map(|next| at + 1 + next);
        }
        let length = self.finder.needle().len();
        hit.is_some_and(|at| at + length <= range.end)
    }
}

/// What a block shows of event time, sender by sender.
pub struct Sight {
    lane: usize,
    /// For each peer of the block the greatest event time, and when it was last heard.
    shown: Vec<Option<(EventTime, EventTime)>>,
}

impl Sight {
    /// Looks at the source that is the pipeline's `lane`th.
    pub fn new(lane: usize) -> Self {
        Sight { lane, shown: Vec::new() }
    }

    /// Begins a block.
    pub fn begin(&mut self, block: &Block) {
        self.shown.clear();
        self.shown.resize(block.peers.len().max(1), None);
    }

    /// Looks at a record. One that says it happened after it was received shows no more than that.
    #[inline]
    pub fn see(&mut self, record: &Record) {
        let heard = record.origin().received_at;
        let time = record.event_time().min(heard);
        let Some(shown) = self.shown.get_mut(record.origin().peer) else { return };
        *shown = Some(shown.map_or((time, heard), |(t, h)| (t.max(time), h.max(heard))));
    }

    /// Gives what the block showed.
    pub fn seen(&self, block: &Block, out: &mut Vec<Observation>) {
        let lane = self.lane;
        if block.layout == Layout::End {
            let (stream, heard) = (block.stream, block.received_at);
            out.push(Observation { lane, stream, time: EventTime::MIN, heard, ended: true });
            return;
        }
        for (peer, shown) in self.shown.iter().enumerate() {
            let Some((time, heard)) = *shown else { continue };
            let stream = match block.layout {
                Layout::Heads => stream_of(block.stream, block.peers.get(peer)),
                _ => block.stream,
            };
            out.push(Observation { lane, stream, time, heard, ended: false });
        }
    }
}

/// Tells the senders of one socket apart.
fn stream_of(socket: StreamId, peer: Option<&Peer>) -> StreamId {
    let Some(peer) = peer else { return socket };
    let host = StreamId::named(&peer.host);
    StreamId(socket.0.rotate_left(1) ^ host.0)
}
