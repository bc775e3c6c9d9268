//! Plain text: a frame is the message, the message is what is written.

use super::source_fields::SourceFields;
use crate::block::{Block, Frame};
use crate::codec::Decoder;
use crate::codec::json::encode_time;
use crate::dead_letter::Fault;
use crate::record::Record;
use std::borrow::Cow;
use std::sync::LazyLock;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// Makes of each frame one record, whose `message` is the frame's bytes, UTF-8 or not. Nothing is
/// malformed.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    fields: SourceFields,
}

impl TextDecoder {
    /// Makes a decoder that adds `fields` to each record.
    pub fn new(fields: SourceFields) -> Self {
        TextDecoder { fields }
    }
}

impl Decoder for TextDecoder {
    fn decode(
        &mut self,
        block: &Block,
        frame: &Frame,
        record: &mut Record,
        emit: &mut dyn FnMut(&mut Record),
    ) -> Result<(), Fault> {
        record.push_text("message", frame.range.clone());
        self.fields.push_missing(record, block, frame);
        emit(record);
        Ok(())
    }

    fn verbatim_field(&self) -> Option<&'static str> {
        Some("message")
    }
}

static MESSAGE: LazyLock<OwnedValuePath> =
    LazyLock::new(|| OwnedValuePath::single_field("message"));

/// Appends the event's `message` to `out`: a string as it is, a time in RFC 3339, anything else as
/// JSON. An event without one appends nothing.
///
/// A string is written byte for byte, line breaks included: who frames by lines has to know.
pub fn encode_text(record: &Record, out: &mut Vec<u8>) {
    match record.get_bytes(&MESSAGE) {
        None => {}
        Some(Cow::Borrowed(text)) => out.extend_from_slice(text),
        // A time needs more than its bytes: as JSON it has quotes, as text it has none.
        Some(Cow::Owned(text)) => match record.get(&MESSAGE) {
            Some(Value::Timestamp(time)) => encode_time(time, out),
            _ => out.extend_from_slice(&text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Layout;
    use crate::codec::framing::frames;
    use crate::codec::testing::{block_of, socket_peer};
    use serde_json::json;

    fn decoded(fields: SourceFields, block: &Block) -> Vec<serde_json::Value> {
        let mut decoder = TextDecoder::new(fields);
        let mut record = Record::new();
        let mut events = Vec::new();
        for frame in frames(block) {
            record.begin(block, &frame);
            let mut emit = |record: &mut Record| {
                events.push(serde_json::to_value(record.to_value()).unwrap());
            };
            decoder.decode(block, &frame, &mut record, &mut emit).unwrap();
        }
        events
    }

    #[test]
    fn a_line_becomes_a_message_with_the_fields_of_its_source() {
        let block = block_of(b"one\n\ntwo", Layout::Lines, socket_peer());
        let event = |message: &str| {
            json!({
                "message": message, "host": "203.0.113.9", "port": 40_000,
                "source_type": "socket", "timestamp": "2026-03-01T10:00:00Z",
            })
        };
        let events = decoded(SourceFields::of_socket("socket"), &block);
        assert_eq!(events, [event("one"), event("two")]);
    }

    #[test]
    fn the_peer_of_a_file_is_its_path() {
        let peer = vec![crate::block::Peer::named("/var/log/auth.log")];
        let block = block_of(b"one\n", Layout::Lines, peer);
        let fields = SourceFields::of_files("file", "web-1".into());
        let expected = json!({
            "message": "one", "host": "web-1", "file": "/var/log/auth.log",
            "source_type": "file", "timestamp": "2026-03-01T10:00:00Z",
        });
        assert_eq!(decoded(fields, &block), [expected]);
    }

    #[test]
    fn fields_go_where_the_document_says() {
        let path = |text| Some(vrl::path::parse_value_path(text).unwrap());
        let fields = SourceFields::of_socket("socket")
            .with_host_key(path("peer.address"))
            .with_port_key(None);
        let block = block_of(b"one\n", Layout::Lines, socket_peer());
        let expected = json!({
            "message": "one", "peer": {"address": "203.0.113.9"},
            "source_type": "socket", "timestamp": "2026-03-01T10:00:00Z",
        });
        assert_eq!(decoded(fields, &block), [expected]);
    }

    #[test]
    fn text_that_is_not_utf8_passes_unchanged() {
        let block = block_of(b"a\xffb", Layout::Lines, Vec::new());
        let mut record = Record::new();
        let frame = frames(&block).next().unwrap();
        record.begin(&block, &frame);
        let mut out = Vec::new();
        let mut decoder = TextDecoder::new(SourceFields::new("stdin"));
        let mut emit = |record: &mut Record| encode_text(record, &mut out);
        decoder.decode(&block, &frame, &mut record, &mut emit).unwrap();
        assert_eq!(out, b"a\xffb");
    }

    #[test]
    fn a_message_that_is_no_string_is_written_as_json() {
        let written = |message: Value| {
            let mut record = Record::new();
            record.insert(&MESSAGE, message);
            let mut out = Vec::new();
            encode_text(&record, &mut out);
            String::from_utf8(out).unwrap()
        };
        let time = crate::time::EventTime::from_nanoseconds(1_500_000_000).to_chrono();
        assert_eq!(written(Value::Timestamp(time)), "1970-01-01T00:00:01.500Z");
        assert_eq!(written(Value::Integer(7)), "7");
        assert_eq!(written(Value::Array(vec![Value::from("a"), Value::Null])), r#"["a",null]"#);
        assert_eq!(written(Value::from("\"quoted\"")), "\"quoted\"");
        let mut out = Vec::new();
        encode_text(&Record::new(), &mut out);
        assert!(out.is_empty());
    }
}
