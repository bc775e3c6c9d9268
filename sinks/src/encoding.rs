//! How a record becomes bytes: the tables `encoding` and `framing`, shared by the sinks that write text.

use azud_event::codec::json::encode_json;
use azud_event::codec::text::encode_text;
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_plan::component::{Default, Encoder, OptionKind, OptionSpec, Options};
use azud_plan::diagnostic::Checker;

/// The option `encoding`.
pub(crate) const ENCODING: OptionSpec = OptionSpec {
    name: "encoding",
    kind: OptionKind::Table(&[OptionSpec {
        name: "codec",
        kind: OptionKind::OneOf(&[
            ("json", "the record as one JSON object"),
            ("raw_message", "the field `message`, byte for byte; the same as `text`"),
            ("text", "the field `message`, byte for byte"),
        ]),
        default: Default::Value("\"json\""),
        summary: "The form of a record.",
    }]),
    default: Default::None,
    summary: "How a record is written.",
};

/// The option `framing`.
pub(crate) const FRAMING: OptionSpec = OptionSpec {
    name: "framing",
    kind: OptionKind::Table(&[OptionSpec {
        name: "method",
        kind: OptionKind::OneOf(&[("newline_delimited", "a line feed behind each record")]),
        default: Default::Value("\"newline_delimited\""),
        summary: "How records are told apart. JSON has no line break of its own; text may have.",
    }]),
    default: Default::None,
    summary: "What stands between records.",
};

/// A checked `encoding` and `framing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// JSON, one record a line.
    Json,
    /// The message, a line each.
    Text,
}

impl Encoding {
    /// Reads the tables of a sink.
    pub fn check(options: &Options<'_>, _checker: &mut Checker) -> Option<Self> {
        let codec = match options.table("encoding") {
            Some(encoding) => encoding.one_of("codec")?,
            None if options.has("encoding") => return None,
            None => "json",
        };
        match codec {
            "text" | "raw_message" => Some(Encoding::Text),
            _ => Some(Encoding::Json),
        }
    }

    /// Makes an encoder, for one worker.
    pub fn encoder(self) -> RecordEncoder {
        RecordEncoder { encoding: self }
    }
}

/// Writes records, each with the line feed behind it.
pub(crate) struct RecordEncoder {
    encoding: Encoding,
}

impl Encoder for RecordEncoder {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.encoding {
            Encoding::Json => encode_json(record, out),
            Encoding::Text => encode_text(record, out),
        }
        out.push(b'\n');
        Ok(())
    }
}
