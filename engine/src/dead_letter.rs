//! Dead letters: what could not go on is written to files under the data folder, one JSON object a
//! line.
//!
//! They leave a pipeline like any other result, through a sink that every pipeline has
//! ([`Writer`]): their epoch is not complete, and their source not acknowledged, before they are on
//! disk. The files have a budget; when it is used up the sink waits and the pipeline pushes back,
//! because what was promised to be kept may not be lost. Discarding letters, and removing or moving
//! segments, makes room at once.
//!
//! ```text
//! chain, egress ──letters──▶ writer ──lines, with their epoch──▶ segments ──▶ index: by group
//!                              ▲ what a repeated epoch has there already (known)      │
//!                              └──────────────────────────────────────────────────────┤
//!                                                              census ◀───────────────┘
//!                                                    list, show, table    discard
//! ```
//!
//! The segments are the truth; everything else is made from them. So letters are counted once,
//! however often a process is killed and repeats their epochs.

mod budget;
mod census;
mod discard;
mod folder;
mod index;
mod known;
mod line;
mod writer;

#[cfg(test)]
mod crash_tests;

pub use budget::Budget;
pub use census::{Census, FOLDER, Letters, Listing, record_of};
pub use discard::{AUDIT, DiscardError, Discarded, Word, audit, discard};
pub use folder::Folder;
pub use index::{Group, GroupKey};
pub use known::Epochs;
pub use writer::Writer;

use crate::feed::Epoch;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::limits::DEAD_LETTER_RAW_BYTES;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{Encoder, Refused};
use base64::Engine as _;
use serde_json::json;

/// The epoch of letters that belong to none: of what left its epoch for a spill, and was refused
/// when nobody waited for it any more. Such a letter is written whatever is repeated.
pub const OF_NO_EPOCH: Epoch = Epoch::MAX;

/// The id of the dead letters among a pipeline's components.
pub const COMPONENT: &str = "dead_letters";

/// A record set aside, with everything that is known of it.
pub struct Letter<'a> {
    /// When it was received.
    pub received_at: EventTime,
    /// The component that could not go on.
    pub component: &'a str,
    /// The source that took it in.
    pub source: &'a str,
    /// Who sent it.
    pub peer: Option<&'a [u8]>,
    /// Why it could not go on.
    pub fault: &'a Fault,
    /// Its raw bytes, as many as are known.
    pub raw: &'a [u8],
    /// How many there were.
    pub raw_bytes: usize,
    /// What the receiver of a sink answered, where its protocol has codes.
    pub response_code: Option<u16>,
}

impl Letter<'_> {
    /// Writes the letter as one line of JSON.
    ///
    /// Bytes that are no UTF-8 are written in base64 under `raw_base64`; above
    /// [`DEAD_LETTER_RAW_BYTES`] only the start is kept, and `raw_bytes` tells the true length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kept = &self.raw[..self.raw.len().min(DEAD_LETTER_RAW_BYTES)];
        let mut letter = json!({
            "received_at": self.received_at.to_rfc3339(),
            "component": self.component,
            "source": self.source,
            "stage": self.fault.reason.stage(),
            "reason": self.fault.reason.name(),
            "message": self.fault.message,
            "raw_bytes": self.raw_bytes,
        });
        if let Some(peer) = self.peer {
            letter["peer"] = String::from_utf8_lossy(peer).into();
        }
        if let Some(code) = self.response_code {
            letter["response_code"] = code.into();
        }
        match std::str::from_utf8(kept) {
            Ok(text) => letter["raw"] = text.into(),
            Err(_) => {
                letter["raw_base64"] = base64::prelude::BASE64_STANDARD.encode(kept).into();
            }
        }
        out.extend_from_slice(letter.to_string().as_bytes());
        out.push(b'\n');
    }
}

/// Writes the letter of a record that the receiver of a sink will never take.
pub fn write_refused(sink: &str, received_at: EventTime, refused: &Refused, out: &mut Vec<u8>) {
    let letter = Letter {
        received_at,
        component: sink,
        source: "",
        peer: None,
        fault: &refused.fault,
        raw: &refused.bytes,
        raw_bytes: refused.bytes.len(),
        response_code: refused.response_code,
    };
    letter.write(out);
}

/// Says why a source refused bytes.
pub fn refusal(reason: Reason, length: usize) -> String {
    match reason {
        Reason::TooLong => format!("a record of {length} bytes is longer than `max_length` allows"),
        Reason::IncompleteFrame => format!("a frame ended after {length} bytes, before its end"),
        Reason::BadFrame => "these bytes are no frame of the source's framing".to_owned(),
        other => format!("the source refused these {length} bytes: {other}"),
    }
}

/// Stands where a sink has its encoder; letters are written by [`Letter::write`].
pub struct NoEncoder;

impl Encoder for NoEncoder {
    fn encode(&mut self, _record: &Record, _out: &mut Vec<u8>) -> Result<(), Fault> {
        Err(Fault::new(Reason::EncodeFailed, "dead letters take no records"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A letter as a line, without an epoch.
    pub(crate) fn letter_of(component: &str, source: &str, raw: &[u8]) -> Vec<u8> {
        letter_at(EventTime::EPOCH, component, source, raw)
    }

    /// One that was received at some time.
    pub(crate) fn letter_at(at: EventTime, component: &str, source: &str, raw: &[u8]) -> Vec<u8> {
        let fault = Fault::new(Reason::Malformed, "not JSON");
        let letter = Letter {
            received_at: at,
            component,
            source,
            peer: Some(b"203.0.113.9"),
            fault: &fault,
            raw,
            raw_bytes: raw.len(),
            response_code: None,
        };
        let mut out = Vec::new();
        letter.write(&mut out);
        out
    }

    #[test]
    fn a_letter_tells_everything_that_is_known() {
        let read = |raw: &[u8]| -> serde_json::Value {
            serde_json::from_slice(&letter_of("in", "in", raw)).unwrap()
        };
        let text = read(b"half {");
        assert_eq!(text["raw"], "half {");
        assert_eq!((&text["stage"], &text["reason"]), (&"decode".into(), &"malformed".into()));
        assert_eq!(text["peer"], "203.0.113.9");
        let binary = read(b"\xff\x00");
        assert_eq!(binary["raw_base64"], "/wA=");
        let long = read(&vec![b'x'; 10 << 20]);
        assert_eq!(long["raw"].as_str().unwrap().len(), DEAD_LETTER_RAW_BYTES);
        assert_eq!(long["raw_bytes"], 10 << 20);
    }
}
