//! The entry of a source into a chain: its decoder, what is passed over undecoded, and what its
//! blocks show of event time.

use super::Readers;
use crate::event_clock::{Observation, Observed};
use crate::telemetry::ComponentMeter;
use azud_event::block::{Block, Frame, Layout, Peer};
use azud_event::codec::Decoder;
use azud_event::id::StreamId;
use azud_event::record::{Path, Record, Wanted};
use azud_event::time::EventTime;
use azud_plan::component::{Needle, SourceSpec};
use azud_plan::plan::Timing;
use memchr::memmem::Finder;
use std::collections::HashMap;
use std::sync::Arc;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;

/// A source, on one worker.
pub struct SourceEntry {
    pub decoder: Box<dyn Decoder>,
    pub prefilter: Option<Prefilter>,
    pub spec: Arc<dyn SourceSpec>,
    /// Which fields are looked at of its records, if not all may be.
    pub wanted: Option<Wanted>,
    pub way: Way,
}

impl SourceEntry {
    /// Makes its decoder anew.
    pub fn renew(&mut self) {
        self.decoder = self.spec.decoder();
        if let Some(wanted) = &self.wanted {
            self.decoder.narrow(wanted.clone());
        }
    }
}

/// What happens to a record of a source once it is decoded.
pub struct Way {
    pub id: Arc<str>,
    /// The source's name for good.
    pub key: u64,
    /// Where records say when they happened.
    pub event_time: Option<Path>,
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
    /// For each peer of the block what its records showed.
    shown: Vec<Option<Shown>>,
    expected: Expected,
}

/// The greatest event time, and when it was last heard.
#[derive(Clone, Copy)]
struct Shown {
    time: EventTime,
    heard: EventTime,
}

/// The senders that must speak, and what a block showed of them.
struct Expected {
    by_name: HashMap<Vec<u8>, usize>,
    shown: Vec<Option<Shown>>,
    /// Where records carry the name of their sender, the first that is there.
    names: [OwnedValuePath; 2],
}

impl Shown {
    fn add(self, to: &mut Option<Shown>) {
        let sum =
            |old: Shown| Shown { time: old.time.max(self.time), heard: old.heard.max(self.heard) };
        *to = Some(to.map_or(self, sum));
    }
}

impl Expected {
    fn new(names: &[String]) -> Self {
        let by_name = names.iter().enumerate();
        Expected {
            by_name: by_name.map(|(place, name)| (name.clone().into_bytes(), place)).collect(),
            shown: vec![None; names.len()],
            names: [owned_value_path!("hostname"), owned_value_path!("host")],
        }
    }

    /// Finds who sent a record: by the address it came from, or the name that it carries.
    fn sender(&self, record: &Record) -> Option<usize> {
        let address = record.peer().and_then(|peer| self.by_name.get(&*peer.host));
        address.copied().or_else(|| {
            let name = self.names.iter().find_map(|path| record.get_bytes(path))?;
            self.by_name.get(&*name).copied()
        })
    }
}

impl Sight {
    /// Looks at the source that is the pipeline's `lane`th, of whose senders these must speak.
    pub fn new(lane: usize, expected: &[String]) -> Self {
        Sight { lane, shown: Vec::new(), expected: Expected::new(expected) }
    }

    /// Lists the fields that it looks at.
    pub fn reads(&self) -> Vec<OwnedValuePath> {
        if self.expected.by_name.is_empty() { Vec::new() } else { self.expected.names.to_vec() }
    }

    /// Begins a block.
    pub fn begin(&mut self, block: &Block) {
        self.shown.clear();
        self.shown.resize(block.peers.len().max(1), None);
        self.expected.shown.fill(None);
    }

    /// Looks at a record. One that says it happened after it was received shows no more than that.
    #[inline]
    pub fn see(&mut self, record: &Record) {
        let heard = record.origin().received_at;
        let shown = Shown { time: record.event_time().min(heard), heard };
        if let Some(peer) = self.shown.get_mut(record.origin().peer) {
            shown.add(peer);
        }
        if !self.expected.by_name.is_empty()
            && let Some(sender) = self.expected.sender(record)
        {
            shown.add(&mut self.expected.shown[sender]);
        }
    }

    /// Gives what the block showed.
    pub fn seen(&self, block: &Block, out: &mut Vec<Observation>) {
        let lane = self.lane;
        if block.layout == Layout::End {
            let (of, heard) = (Observed::Ended(block.stream), block.received_at);
            out.push(Observation { lane, of, time: EventTime::MIN, heard });
            return;
        }
        if let (Layout::Complete { to, again }, [who, ..]) = (&block.layout, &*block.peers) {
            let name = String::from_utf8_lossy(&who.host).into_owned();
            let (of, heard) = (Observed::Word(block.stream, name, *again), block.received_at);
            out.push(Observation { lane, of, time: *to, heard });
            return;
        }
        let streams = self.shown.iter().enumerate().map(|(peer, shown)| {
            let stream = match block.layout {
                Layout::Heads => stream_of(block.stream, block.peers.get(peer)),
                _ => block.stream,
            };
            (Observed::Stream(stream), shown)
        });
        let senders = self.expected.shown.iter().enumerate();
        let senders = senders.map(|(place, shown)| (Observed::Sender(place), shown));
        out.extend(streams.chain(senders).filter_map(|(of, shown)| {
            let Shown { time, heard } = (*shown)?;
            Some(Observation { lane, of, time, heard })
        }));
    }
}

/// Tells the senders of one socket apart.
fn stream_of(socket: StreamId, peer: Option<&Peer>) -> StreamId {
    let Some(peer) = peer else { return socket };
    let host = StreamId::named(&peer.host);
    StreamId(socket.0.rotate_left(1) ^ host.0)
}
