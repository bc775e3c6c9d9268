//! Any bytes decode to a message, except none at all; the priority survives whatever follows it.
#![no_main]

use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::Decoder;
use azud_event::codec::json::encode_json;
use azud_event::codec::source_fields::SourceFields;
use azud_event::codec::syslog::{SyslogDecoder, SyslogOptions, Zone};
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: bytes.len() as u64,
        received_at: EventTime::from_nanoseconds(1_772_323_200_000_000_000),
        bytes: Bytes::copy_from_slice(bytes),
        layout: Layout::Lines,
        peers: Arc::new([]),
    };
    let fields = SourceFields::new("syslog");
    let options = SyslogOptions { zone: Zone::UTC, fields, source_ip: true };
    let mut decoder = SyslogDecoder::new(options);
    let mut record = Record::new();
    let frame = Frame { range: 0..bytes.len(), peer: 0, received_delta_us: 0 };
    record.begin(&block, &frame);
    let (mut emitted, mut out) = (0, Vec::new());
    let decoded = decoder.decode(&block, &frame, &mut record, &mut |record| {
        emitted += 1;
        assert!(record.has("message") && record.has("timestamp"));
        encode_json(record, &mut out);
        serde_json::from_slice::<serde_json::Value>(&out).expect("what is written is JSON");
    });
    assert_eq!(decoded.is_ok(), emitted == 1);
    assert!(emitted == 1 || bytes.iter().all(|byte| b" \r\n\0".contains(byte)));
});
