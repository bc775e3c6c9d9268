use super::*;
use crate::block::{HeadWriter, Layout, Peer};
use crate::codec::framing::frames;
use crate::codec::syslog::tests::headers;
use crate::codec::testing::{RECEIVED_AT, block_of, socket_peer};
use crate::time::EventTime;
use proptest::prelude::*;
use serde_json::json;

fn at(time: &str) -> EventTime {
    EventTime::from_chrono(time.parse().unwrap())
}

fn decode_with(options: SyslogOptions, block: &Block) -> (serde_json::Value, EventTime) {
    let mut decoder = SyslogDecoder::new(options);
    let mut record = Record::new();
    let mut decoded = None;
    let frame = frames(block).next().unwrap();
    record.begin(block, &frame);
    let mut emit = |record: &mut Record| {
        let value = serde_json::to_value(record.to_value()).unwrap();
        let before = decoded.replace((value, record.event_time()));
        assert!(before.is_none(), "one record a frame");
    };
    decoder.decode(block, &frame, &mut record, &mut emit).unwrap();
    decoded.unwrap()
}

fn options() -> SyslogOptions {
    let fields = SourceFields::new("syslog");
    SyslogOptions { zone: Zone::UTC, fields, source_ip: true }
}

fn decode(line: &str) -> (serde_json::Value, EventTime) {
    decode_with(options(), &block_of(line.as_bytes(), Layout::Syslog, socket_peer()))
}

#[test]
fn a_record_of_rfc_5424_has_the_fields_of_vector() {
    let (event, time) = decode(
        "<165>1 2026-02-27T08:00:00.5Z web-1 app 8710 ID47 \
         [exampleSDID@32473 iut=\"3\" text=\"a \\\"b\\\" \\] \\\\ \\n\"][empty] An event",
    );
    let expected = json!({
        "message": "An event",
        "timestamp": "2026-02-27T08:00:00.500Z",
        "hostname": "web-1",
        "host": "web-1",
        "appname": "app",
        "procid": 8710,
        "msgid": "ID47",
        "facility": "local4",
        "severity": "notice",
        "version": 1,
        "source_type": "syslog",
        "source_ip": "203.0.113.9",
        "exampleSDID@32473": {"iut": "3", "text": "a \"b\" ] \\ \\n"},
        "empty": {},
    });
    assert_eq!(event, expected);
    assert_eq!(time, at("2026-02-27T08:00:00.5Z"));
}

#[test]
fn a_record_without_header_has_what_its_source_knows() {
    let (event, time) = decode("<30>just text");
    let expected = json!({
        "message": "just text",
        "timestamp": "2026-03-01T10:00:00Z",
        "host": "203.0.113.9",
        "facility": "daemon",
        "severity": "info",
        "source_type": "syslog",
        "source_ip": "203.0.113.9",
    });
    assert_eq!(event, expected);
    assert_eq!(time, RECEIVED_AT);
}

#[test]
fn fields_beyond_those_of_vector_are_only_there_when_a_sender_says_so() {
    let (event, _) = decode("<189>29: *Apr 29 13:58:40: %SYS-5-CONFIG_I: x");
    assert_eq!((&event["sequence"], &event["clock_synced"]), (&json!(29), &json!(false)));
    let (event, _) = decode("<189>Apr 29 13:58:40 h a[x-9]: x");
    assert_eq!((event.get("sequence"), event.get("clock_synced")), (None, None));
    assert_eq!(event["procid"], json!("x-9"));
    let (event, _) = decode("<189>Apr 29 13:58:40 h a[9999999999999999999]: x");
    assert_eq!(event["procid"], json!("9999999999999999999"));
}

#[test]
fn structured_data_cannot_write_over_a_field() {
    let (event, _) = decode(
        "<165>1 - web-1 app - - [message x=\"1\"][host y=\"2\"][message x=\"3\" z=\"4\"]\
         [own a=\"5\"][own a=\"6\" b=\"7\"][structured_data c=\"8\"] true text",
    );
    assert_eq!(event["message"], json!("true text"));
    assert_eq!(event["host"], json!("web-1"));
    assert_eq!(event["own"], json!({"a": "6", "b": "7"}));
    let below = json!({
        "message": {"x": "3", "z": "4"}, "host": {"y": "2"}, "structured_data": {"c": "8"},
    });
    assert_eq!(event["structured_data"], below);
    let (event, _) = decode("<134>1 - gw CheckPoint 9 - [action:\"Accept\"; message:\"m\"] t");
    assert_eq!(event["structured_data"], json!({"action": "Accept", "message": "m"}));
    // A parameter and an element of the same name in the same place: the last counts.
    let (event, _) = decode("<134>1 - gw app 9 - [host=\"1\"][host x=\"2\"] t");
    assert_eq!(event["structured_data"], json!({"host": {"x": "2"}}));
}

#[test]
fn very_many_elements_are_kept_below_one_name() {
    let elements: String = (0..500).map(|n| format!("[e{n} a=\"{n}\"]")).collect();
    let (event, _) = decode(&format!("<165>1 - h a - - {elements} text"));
    assert_eq!(event["message"], json!("text"));
    assert_eq!(event["structured_data"]["e499"], json!({"a": "499"}));
    assert_eq!(event["structured_data"].as_object().unwrap().len(), 500);
}

#[test]
fn the_host_goes_where_the_document_says() {
    let line = b"<30>Feb 27 08:00:00 web-1 sshd[7]: x";
    let block = block_of(line, Layout::Syslog, socket_peer());
    let path = Some(vrl::path::parse_value_path("peer.name").unwrap());
    let fields = SourceFields::new("syslog").with_host_key(path);
    let (event, _) = decode_with(SyslogOptions { fields, ..options() }, &block);
    assert_eq!((&event["peer"]["name"], event.get("host")), (&json!("web-1"), None));
    let fields = SourceFields::new("file").with_host_key(None);
    let options = SyslogOptions { fields, source_ip: false, ..options() };
    let (event, _) = decode_with(options, &block);
    assert_eq!((event.get("host"), event.get("source_ip")), (None, None));
    assert_eq!(event["source_type"], json!("file"));
}

#[test]
fn a_frame_without_text_is_malformed() {
    let mut writer = HeadWriter::new();
    for text in [&b""[..], b"\0\0", b" \r\n"] {
        writer.push(text, 0, 0);
    }
    let block = block_of(&writer.take(), Layout::Heads, vec![Peer::named("x")]);
    let mut decoder = SyslogDecoder::new(options());
    let mut record = Record::new();
    for frame in frames(&block) {
        record.begin(&block, &frame);
        let mut emit = |_: &mut Record| panic!("there is nothing to emit");
        let fault = decoder.decode(&block, &frame, &mut record, &mut emit).unwrap_err();
        assert_eq!(fault.reason, Reason::Malformed);
    }
}

proptest! {
    #[test]
    fn any_header_makes_a_record(line in headers()) {
        let mut writer = HeadWriter::new();
        writer.push(&line, 0, 0);
        let block = block_of(&writer.take(), Layout::Heads, socket_peer());
        let frame = frames(&block).next().unwrap();
        let mut record = Record::new();
        record.begin(&block, &frame);
        let mut emitted = 0;
        let mut emit = |record: &mut Record| {
            emitted += 1;
            assert!(record.has("message") && record.has("timestamp"));
        };
        let result = SyslogDecoder::new(options()).decode(&block, &frame, &mut record, &mut emit);
        let has_text = line.iter().any(|byte| !b"\0\r\n ".contains(byte));
        prop_assert_eq!(result.is_ok(), has_text);
        prop_assert_eq!(emitted, u32::from(has_text));
    }
}
