//! [`SourceFields`]: what a source knows of a record beside its bytes, written into the event.

use crate::block::{Block, Frame};
use crate::record::{Record, Wanted};
use bytes::Bytes;
use std::ops::Range;
use vrl::path::{OwnedSegment, OwnedValuePath};
use vrl::value::Value;

/// The fields that a source adds to the events of its decoder: who sent them, when they came, what
/// took them in.
///
/// | field | value | default |
/// |---|---|---|
/// | `host` | the peer's address, or [`SourceFields::with_host`] | written where known |
/// | `port` | the peer's port, an integer | not written |
/// | `file` | the peer's name, which for files is the path | not written |
/// | `source_type` | the source's type | always |
/// | `timestamp` | the receive time | always |
///
/// An event keeps what it has: a field that the decoder made is never replaced, so a sender's own
/// `host` or `timestamp` stands. Names and meanings are those of Vector.
#[derive(Clone, Debug)]
pub struct SourceFields {
    source_type: &'static str,
    host: Option<Bytes>,
    host_key: Option<FieldKey>,
    port_key: Option<FieldKey>,
    file_key: Option<FieldKey>,
    /// Whether anybody looks at `source_type`, and at `timestamp`.
    tells_type: bool,
    tells_time: bool,
}

/// Where a field goes: under a name known here, which costs nothing to write, or along a path that
/// was configured.
#[derive(Clone, Debug)]
enum FieldKey {
    Known(&'static str),
    Path(OwnedValuePath),
}

impl SourceFields {
    /// Makes the fields of a source whose peers are hosts: `host`, `source_type` and `timestamp`.
    pub fn new(source_type: &'static str) -> Self {
        let host_key = Some(FieldKey::Known("host"));
        SourceFields {
            source_type,
            host: None,
            host_key,
            port_key: None,
            file_key: None,
            tells_type: true,
            tells_time: true,
        }
    }

    /// Makes the fields of a socket: also `port`.
    pub fn of_socket(source_type: &'static str) -> Self {
        SourceFields { port_key: Some(FieldKey::Known("port")), ..SourceFields::new(source_type) }
    }

    /// Makes the fields of a source that reads files on the machine called `host`: also `file`.
    pub fn of_files(source_type: &'static str, host: Bytes) -> Self {
        let file_key = Some(FieldKey::Known("file"));
        SourceFields { host: Some(host), file_key, ..SourceFields::new(source_type) }
    }

    /// Gives every event this host, in place of the peer's address: for standard input, files,
    /// pipes.
    pub fn with_host(mut self, host: Bytes) -> Self {
        self.host = Some(host);
        self
    }

    /// Writes the host to `path` instead; not at all when `None`.
    pub fn with_host_key(mut self, path: Option<OwnedValuePath>) -> Self {
        self.host_key = path.map(FieldKey::of);
        self
    }

    /// Writes the peer's port to `path`; not at all when `None`.
    pub fn with_port_key(mut self, path: Option<OwnedValuePath>) -> Self {
        self.port_key = path.map(FieldKey::of);
        self
    }

    /// Writes the file's path to `path`; not at all when `None`.
    pub fn with_file_key(mut self, path: Option<OwnedValuePath>) -> Self {
        self.file_key = path.map(FieldKey::of);
        self
    }

    /// Leaves out what nobody looks at.
    pub(crate) fn narrow(&mut self, wanted: &Wanted) {
        for key in [&mut self.host_key, &mut self.port_key, &mut self.file_key] {
            key.take_if(|key| key.first_name().is_some_and(|name| !wanted.has(name)));
        }
        self.tells_type &= wanted.has("source_type");
        self.tells_time &= wanted.has("timestamp");
    }

    /// Tells the type of the source, as it stands in `source_type`.
    pub fn source_type(&self) -> &'static str {
        self.source_type
    }

    /// Writes each field that the event does not have yet. To be called once, after decoding.
    pub fn push_missing(&self, record: &mut Record, block: &Block, frame: &Frame) {
        let peer = block.peers.get(frame.peer);
        if let Some(key) = &self.host_key {
            let host = self.host.as_ref().or(peer.map(|peer| &peer.host));
            if let Some(host) = host {
                key.push_bytes(record, host);
            }
        }
        if let Some(key) = &self.port_key
            && let Some(port) = peer.and_then(|peer| peer.port)
        {
            key.push_integer(record, i64::from(port));
        }
        if let Some(key) = &self.file_key
            && let Some(peer) = peer
        {
            key.push_bytes(record, &peer.host);
        }
        if self.tells_type && !record.has("source_type") {
            record.push_static("source_type", self.source_type);
        }
        if self.tells_time && !record.has("timestamp") {
            record.push_timestamp("timestamp", record.origin().received_at);
        }
    }

    /// Writes what the sender calls itself, the bytes at `range` of the block, to where the host
    /// goes.
    pub(crate) fn push_host(&self, record: &mut Record, block: &Block, range: Range<usize>) {
        match &self.host_key {
            Some(FieldKey::Known(name)) if record.has(name) => {}
            Some(FieldKey::Known(name)) => record.push_text(name, range),
            Some(key) => key.push_bytes(record, &block.bytes.slice(range)),
            None => {}
        }
    }

    /// Gives the first name on the path of each field, for decoders that take names from the data.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let keys = [&self.host_key, &self.port_key, &self.file_key];
        let written = keys.into_iter().flatten().filter_map(FieldKey::first_name);
        written.chain(["source_type", "timestamp"])
    }
}

impl FieldKey {
    fn of(path: OwnedValuePath) -> Self {
        for name in ["host", "port", "file"] {
            if path == OwnedValuePath::single_field(name) {
                return FieldKey::Known(name);
            }
        }
        FieldKey::Path(path)
    }

    fn first_name(&self) -> Option<&str> {
        match self {
            FieldKey::Known(name) => Some(name),
            FieldKey::Path(path) => match path.segments.first()? {
                OwnedSegment::Field(name) => Some(name.as_str()),
                OwnedSegment::Index(_) => None,
            },
        }
    }

    fn push_bytes(&self, record: &mut Record, bytes: &Bytes) {
        match self {
            FieldKey::Known(name) if record.has(name) => {}
            FieldKey::Known(name) => record.push_bytes(name, bytes.clone()),
            FieldKey::Path(path) => insert_missing(record, path, Value::Bytes(bytes.clone())),
        }
    }

    fn push_integer(&self, record: &mut Record, number: i64) {
        match self {
            FieldKey::Known(name) if record.has(name) => {}
            FieldKey::Known(name) => record.push_integer(name, number),
            FieldKey::Path(path) => insert_missing(record, path, Value::Integer(number)),
        }
    }
}

fn insert_missing(record: &mut Record, path: &OwnedValuePath, value: Value) {
    if record.get(path).is_none() {
        record.insert(path, value);
    }
}
