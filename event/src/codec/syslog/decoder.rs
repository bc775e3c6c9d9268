//! Records out of messages of syslog.

use super::header::{Message, Span, parse};
use super::structured::{Part, parts};
use super::zone::Zone;
use crate::block::{Block, Frame};
use crate::codec::Decoder;
use crate::codec::source_fields::SourceFields;
use crate::dead_letter::{Fault, Reason};
use crate::limits::OBJECT_FIELDS_LAZY_MAX;
use crate::record::Record;
use bytes::Bytes;
use std::borrow::Cow;
use vrl::value::{KeyString, ObjectMap, Value};

/// How messages of syslog become records.
#[derive(Clone, Debug)]
pub struct SyslogOptions {
    /// The zone of times that name none.
    pub zone: Zone,
    /// The fields of the source. `host` is what the message calls its host, else the peer.
    pub fields: SourceFields,
    /// Whether the peer's address is also written to `source_ip`, as the `syslog` source has it.
    pub source_ip: bool,
}

/// Reads messages of syslog, one a frame; the module's text says what becomes of which part.
///
/// Each element of structured data becomes an object under its id, with all parameters that have
/// this id. Where a sender's id is the name of another field of the decoder, or there is none, or
/// there are more than [`OBJECT_FIELDS_LAZY_MAX`], it goes below `structured_data`: no sender can
/// write over the message.
#[derive(Clone, Debug)]
pub struct SyslogDecoder {
    options: SyslogOptions,
}

/// The names of the fields that the decoder itself writes.
const FIELDS: [&str; 13] = [
    "appname",
    "clock_synced",
    "facility",
    "host",
    "hostname",
    "message",
    "msgid",
    "procid",
    "sequence",
    "severity",
    "source_ip",
    STRUCTURED_DATA,
    "version",
];

const STRUCTURED_DATA: &str = "structured_data";

impl SyslogDecoder {
    /// Makes a decoder.
    pub fn new(options: SyslogOptions) -> Self {
        SyslogDecoder { options }
    }

    fn write(&self, message: &Message, block: &Block, frame: &Frame, record: &mut Record) {
        let start = frame.range.start;
        record.push_text("message", message.message.within(start));
        if let Some(time) = message.time {
            record.push_timestamp("timestamp", time);
            record.origin_mut().event_time = Some(time);
        }
        let words = [
            ("hostname", message.hostname),
            ("appname", message.appname),
            ("msgid", message.msgid),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                record.push_text(name, word.within(start));
            }
        }
        if let Some(process) = message.procid {
            match integer(&block.bytes[process.within(start)]) {
                Some(number) => record.push_integer("procid", number),
                None => record.push_text("procid", process.within(start)),
            }
        }
        if let Some(priority) = message.priority {
            record.push_static("facility", priority.facility());
            record.push_static("severity", priority.severity());
        }
        if let Some(version) = message.version {
            record.push_integer("version", i64::from(version));
        }
        if let Some(sequence) = message.sequence {
            record.push_integer("sequence", sequence);
        }
        if message.clock_unsynced {
            record.push_value("clock_synced".into(), Value::Boolean(false));
        }
        if let Some(structured) = message.structured {
            self.write_structured(structured, block, start, record);
        }
        if let Some(hostname) = message.hostname {
            self.options.fields.push_host(record, block, hostname.within(start));
        }
        if self.options.source_ip
            && let Some(peer) = block.peers.get(frame.peer)
        {
            record.push_bytes("source_ip", peer.host.clone());
        }
        self.options.fields.push_missing(record, block, frame);
    }

    fn write_structured(&self, structured: Span, block: &Block, start: usize, record: &mut Record) {
        let mut elements = self.elements(&block.bytes.slice(structured.within(start)));
        if elements.len() > OBJECT_FIELDS_LAZY_MAX {
            let all = Value::Object(std::mem::take(&mut elements));
            elements.insert(STRUCTURED_DATA.into(), all);
        }
        for (name, members) in elements {
            record.push_value(name, members);
        }
    }

    /// Gives the elements by their ids; those that may not stand beside the decoder's fields below
    /// one name.
    fn elements(&self, text: &Bytes) -> ObjectMap {
        let mut elements = ObjectMap::new();
        let mut path: (Option<KeyString>, bool) = (None, false);
        for part in parts(text) {
            if let Part::Element(id) = part {
                let id = (!id.is_empty()).then(|| key(id));
                let within = id.as_ref().is_none_or(|id| self.is_taken(id));
                path = (id, within);
            }
            let (id, within) = &path;
            let mut members = &mut elements;
            if *within {
                members = object_at(members, STRUCTURED_DATA);
            }
            if let Some(id) = id {
                members = object_at(members, id);
            }
            if let Part::Parameter(parameter) = part {
                let value = match parameter.value() {
                    Cow::Borrowed(value) => text.slice_ref(value),
                    Cow::Owned(value) => value.into(),
                };
                members.insert(key(parameter.name), Value::Bytes(value));
            }
        }
        elements
    }

    fn is_taken(&self, name: &str) -> bool {
        FIELDS.contains(&name) || self.options.fields.names().any(|taken| taken == name)
    }
}

impl Decoder for SyslogDecoder {
    fn decode(
        &mut self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        let bytes = &block.bytes[frame.range.clone()];
        if bytes.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n' | b' ')) {
            return Err(Fault::new(Reason::Malformed, "a message of syslog without text"));
        }
        let message = parse(bytes, record.origin().received_at, &self.options.zone);
        self.write(&message, block, frame, record);
        emit(record);
        Ok(())
    }

    fn verbatim_field(&self) -> Option<&'static str> {
        Some("message")
    }
}

/// Reads a process that is a number; one that does not fit is a name.
fn integer(text: &[u8]) -> Option<i64> {
    match super::digits::number(text, 0, 18)? {
        (number, end) if end == text.len() => Some(number),
        _ => None,
    }
}

fn key(name: &[u8]) -> KeyString {
    String::from_utf8_lossy(name).into()
}

/// Gives the object that is the member `name`, which is made if it is not there. It takes the place
/// of a parameter of that name: the last counts.
fn object_at<'a>(members: &'a mut ObjectMap, name: &str) -> &'a mut ObjectMap {
    if !matches!(members.get(name), Some(Value::Object(_))) {
        members.insert(name.into(), Value::Object(ObjectMap::new()));
    }
    match members.get_mut(name) {
        Some(Value::Object(inner)) => inner,
        _ => unreachable!("the member was just made an object"),
    }
}

#[cfg(test)]
mod tests;
