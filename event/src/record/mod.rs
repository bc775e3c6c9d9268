//! The lazy record: one event over the bytes it came in, reused for every event of a worker.
//!
//! # The idea
//!
//! Most fields of most events are never looked at, and most of those that are looked at are not
//! changed. So a record is no map of values but a tree of *nodes* over the block's bytes. A node
//! says where its text stands and of what kind it is; it becomes a [`Value`] when a program asks
//! for it, and is kept in the node's cell until it changes.
//!
//! ```text
//!  block   … {"user":{"name":"root","id":7},"tags":["a","b"]} …
//!            │       │       │          │          │
//!  node 0  Object ───┼───────┼──────────┼──────────┼───  .            range of the whole text
//!  node 2          Object ───┼──────────┼──────────┼───  .user        range of its text
//!  node 3                  String       │          │     .user.name   between the quotes
//!  node 4                            Integer       │     .user.id
//!  node 5                                        Array   .tags        text until somebody asks
//!  node 1  Object, without members                       %
//! ```
//!
//! Strings are slices of the block's shared bytes, not copies. Writing makes nodes, too:
//! `.http.status = 200` makes at most two of them and no map. A value that is itself an object is
//! taken apart, one level, when something is written below it. Arrays are changed as values,
//! because programs seldom change them and positions shift.
//!
//! # Invariants
//!
//! - A node of [`tree::Kind::Owned`] that is not absent has its value in its cell. The cell of any
//!   other node is a cache: dropping it changes nothing.
//! - Whoever changes a node drops the caches of all nodes above it, and marks them dirty: only a
//!   clean object may be written out by its text. What is read stays clean.
//! - Every change goes through [`journal`], which saves the node first. So undoing is copying back.
//! - Reading, writing and removing mean exactly what they mean for [`Value`]; the property tests
//!   hold the two against each other.
//!
//! # What was rejected
//!
//! A flat list of `a.b.c` names: reading `.a` would have to collect, and duplicate names inside
//! would go unseen. A `Value` with copy on write: it allocates for each field before anybody asked
//! for one.

mod derived;
mod journal;
mod path;
mod read;
mod target;
pub(crate) mod tree;
mod wanted;
mod write;

#[cfg(test)]
pub(crate) mod model;

pub use derived::{Building, MemberName, TextWriter};
pub use journal::Mark;
pub use path::{Path, Steps};
pub use read::{Look, TextRange};
pub use target::ProgramTarget;
pub use wanted::Wanted;
pub use write::Taken;

use crate::block::{Block, Frame, Peer};
use crate::codec::json::{Day, Flaw, check_end, scan_value};
use crate::dead_letter::Fault;
use crate::id::{SourceIndex, StreamId};
use crate::parts::Parts;
use crate::row::Place;
use crate::time::EventTime;
use bytes::Bytes;
use journal::Journal;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tree::{ROOT, Tree};
use vrl::value::Value;
pub(crate) use wanted::Below;

/// Where a record comes from, and when it happened. No program changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source that took it in.
    pub source: SourceIndex,
    /// The source's name for good, see [`crate::row::Place::source`]. The engine sets it before a
    /// block, and it stays for all records of the block.
    pub source_key: u64,
    /// Its stream within the source.
    pub stream: StreamId,
    /// Where it begins in its stream; of datagrams, where its block does. See [`Block::place`].
    pub position: u64,
    /// Tells records of one position apart; the lower half is left to those who make many records
    /// of one.
    pub index: u64,
    /// When it was received.
    pub received_at: EventTime,
    /// When it happened, if that is known; else it counts as having happened when it was received.
    pub event_time: Option<EventTime>,
    /// Where its bytes are in the block: the frame, or of a JSON array the element.
    pub raw: Range<usize>,
    /// Which of the block's peers sent it.
    pub peer: usize,
}

/// One event, read and changed by path; see the module's text for how.
///
/// One record serves all events of a worker: [`Record::begin`] points it at the next, and keeps
/// what memory it has.
pub struct Record {
    pub(crate) bytes: Bytes,
    pub(crate) tree: Tree,
    journal: Journal,
    peers: Option<Arc<[Peer]>>,
    parts: Option<Arc<Parts>>,
    origin: Origin,
    /// Where the text of a record that is built is put together.
    built: Vec<u8>,
    day: Day,
}

impl Default for Record {
    fn default() -> Self {
        Record::new()
    }
}

impl Record {
    /// Makes a record that lies over nothing: an event and metadata without fields.
    pub fn new() -> Self {
        let mut tree = Tree::default();
        tree.clear();
        let origin = Origin {
            source: SourceIndex(0),
            source_key: 0,
            stream: StreamId(0),
            position: 0,
            index: 0,
            received_at: EventTime::EPOCH,
            event_time: None,
            raw: 0..0,
            peer: 0,
        };
        let (bytes, built, day) = (Bytes::new(), Vec::new(), Day::default());
        let journal = Journal::default();
        Record { bytes, tree, journal, peers: None, parts: None, origin, built, day }
    }

    /// Points the record at `frame` of `block`, without any field yet. All marks are void from then
    /// on.
    ///
    /// # Panics
    /// When the block has 4 GiB or more; sources close blocks far below.
    pub fn begin(&mut self, block: &Block, frame: &Frame) {
        assert!(u32::try_from(block.bytes.len()).is_ok(), "a block is far below 4 GiB");
        // Two counters of references less to move, for every record but a block's first. Equal
        // addresses mean equal bytes here: the record keeps the old ones alive, so nothing else can
        // have taken their place.
        let (old, new) = (&self.bytes, &block.bytes);
        if old.as_ptr() != new.as_ptr() || old.len() != new.len() {
            self.bytes = block.bytes.clone();
        }
        if !self.peers.as_ref().is_some_and(|peers| Arc::ptr_eq(peers, &block.peers)) {
            self.peers = Some(Arc::clone(&block.peers));
        }
        self.clear();
        let later = Duration::from_micros(u64::from(frame.received_delta_us));
        let (position, index) = block.place(frame);
        self.origin = Origin {
            source: block.source,
            source_key: self.origin.source_key,
            stream: block.stream,
            position,
            index,
            received_at: block.received_at.saturating_add(later),
            event_time: None,
            raw: frame.range.clone(),
            peer: frame.peer,
        };
    }

    /// Makes it a record that lies over no bytes and holds `value`: an alert, a result of a window.
    pub fn begin_value(&mut self, value: Value, origin: Origin) {
        self.bytes = Bytes::new();
        self.peers = None;
        self.clear();
        self.origin = origin;
        self.insert_within(Steps::new(ROOT, &[]), value);
    }

    fn clear(&mut self) {
        self.tree.clear();
        self.journal.clear();
        self.parts = None;
    }

    /// Gives what the window has gathered that it is a result of, in parts, if somebody asked for
    /// it. No program sees it, and no encoder writes it.
    pub fn parts(&self) -> Option<&Arc<Parts>> {
        self.parts.as_ref()
    }

    /// Says what the window has gathered that it is a result of.
    pub fn set_parts(&mut self, parts: Option<Arc<Parts>>) {
        self.parts = parts;
    }

    /// Tells where the record comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Gives the origin for change, to those who decode and divide records.
    pub fn origin_mut(&mut self) -> &mut Origin {
        &mut self.origin
    }

    /// Tells when it happened: as its source declares, else when it was received.
    pub fn event_time(&self) -> EventTime {
        self.origin.event_time.unwrap_or(self.origin.received_at)
    }

    /// Gives its place in the canonical order.
    pub fn place(&self) -> Place {
        let origin = &self.origin;
        Place {
            event_time: self.event_time(),
            source: origin.source_key,
            stream: origin.stream,
            position: origin.position,
            index: origin.index,
        }
    }

    /// Gives the bytes it came in, which no change of its fields changes; none for a record over no
    /// bytes.
    pub fn raw(&self) -> &[u8] {
        self.bytes.get(self.origin.raw.clone()).unwrap_or_default()
    }

    /// Tells who sent it, where that is known.
    pub fn peer(&self) -> Option<&Peer> {
        self.peers.as_ref()?.get(self.origin.peer)
    }

    /// Reads the JSON document at `range` of the block: it becomes the event's root.
    ///
    /// # Errors
    /// `Malformed` when it is not JSON (RFC 8259, UTF-8, surrogates in pairs), `TooDeep` when it
    /// nests deeper than [`crate::limits::JSON_DEPTH_MAX`]. The record has no fields then.
    pub fn decode_json(&mut self, range: Range<usize>) -> Result<(), Fault> {
        self.decode_document(ROOT, range, None)
    }

    /// Reads the JSON document at `range` of the block as [`Record::decode_json`] does, but only
    /// these fields of it need be there. The whole of the event must not be asked for then.
    ///
    /// # Errors
    /// As of [`Record::decode_json`].
    pub(crate) fn decode_wanted(
        &mut self,
        range: Range<usize>,
        wanted: Option<&Wanted>,
    ) -> Result<(), Fault> {
        self.decode_document(ROOT, range, wanted)
    }

    /// Reads the JSON document at `range` of the block: it becomes the `message` of the event,
    /// which has no field yet.
    pub(crate) fn decode_message(&mut self, range: Range<usize>) -> Result<(), Fault> {
        let node = self.message_node();
        self.decode_document(node, range, None)
    }

    fn message_node(&mut self) -> u32 {
        self.push_node("message").expect("an event without fields is held as nodes")
    }

    fn decode_document(
        &mut self,
        node: u32,
        range: Range<usize>,
        wanted: Option<&Wanted>,
    ) -> Result<(), Fault> {
        let text = &self.bytes[..range.end];
        let scanned = scan_value(text, range.start, &mut self.tree, node, wanted);
        let whole = scanned.and_then(|end| check_end(text, end));
        whole.map_err(|flaw| {
            // Nodes of half a document would lead to text that is not there.
            self.tree.clear();
            flaw.fault(range.start)
        })
    }

    /// Reads one element of a JSON array, which begins at `start` and may reach to `end`: the
    /// record becomes that element, of which only the fields in `wanted` need be there. Gives where
    /// it ended.
    pub(crate) fn decode_element(
        &mut self,
        start: usize,
        end: usize,
        wanted: Option<&Wanted>,
    ) -> Result<usize, Flaw> {
        let object = self.bytes[start] == b'{';
        let node = if object { ROOT } else { self.message_node() };
        let wanted = wanted.filter(|_| object);
        let end = scan_value(&self.bytes[..end], start, &mut self.tree, node, wanted)?;
        self.origin.index = (start as u64) << 32;
        self.origin.raw = start..end;
        Ok(end)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("origin", &self.origin)
            .field("value", &self.to_value())
            .field("metadata", &self.value(tree::METADATA))
            .finish()
    }
}
