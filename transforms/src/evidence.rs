//! Records as they came, in the form in which results and alerts show them.

use azud_event::alert::{EVIDENCE_BYTES_MAX, Evidence};
use azud_event::codec::json::encode_json;
use azud_event::record::Record;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Gives a record as evidence.
pub fn evidence_of(record: &Record) -> Evidence {
    let mut made = Vec::new();
    let whole = match record.raw() {
        // A record that lies over no bytes was made by a step before; its fields are what there is.
        [] => {
            encode_json(record, &mut made);
            made.as_slice()
        }
        raw => raw,
    };
    let cut = whole.len() > EVIDENCE_BYTES_MAX;
    let raw = &whole[..whole.len().min(EVIDENCE_BYTES_MAX)];
    // A cut may go through a character; what is left of it is not worth a change of encoding.
    let (raw, encoding) = match std::str::from_utf8(raw) {
        Ok(text) => (text.to_owned(), "utf8"),
        Err(error) if cut && error.error_len().is_none() => {
            (String::from_utf8_lossy(&raw[..error.valid_up_to()]).into_owned(), "utf8")
        }
        Err(_) => (STANDARD.encode(raw), "base64"),
    };
    let origin = record.origin();
    Evidence {
        event_time: record.event_time(),
        source: None,
        peer: record.peer().map(|peer| String::from_utf8_lossy(&peer.host).into_owned()),
        raw,
        encoding: encoding.to_owned(),
        cut,
        r#ref: format!("{:016x}:{}:{}", origin.stream.0, origin.position, origin.index),
    }
}
