//! How a record becomes bytes: the tables `encoding` and `framing`, shared by the sinks that write
//! text.

use azud_event::codec::json::{encode_json, encode_value};
use azud_event::codec::text::encode_text;
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_plan::component::{Default, Encoder, OptionKind, OptionSpec, Options, parse_field};
use std::sync::Arc;

/// The option `encoding`.
pub(crate) const ENCODING: OptionSpec = OptionSpec {
    name: "encoding",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "codec",
            kind: OptionKind::OneOf(&[
                ("json", "the record as one JSON object"),
                ("raw_message", "the field `message`, byte for byte; the same as `text`"),
                ("text", "the field `message`, byte for byte"),
            ]),
            default: Default::Value("\"json\""),
            summary: "The form of a record.",
        },
        OptionSpec {
            name: "except_fields",
            kind: OptionKind::List(&OptionKind::Field),
            default: Default::None,
            summary: "Fields that are left out of the JSON object.",
        },
        OptionSpec {
            name: "only_fields",
            kind: OptionKind::List(&OptionKind::Field),
            default: Default::None,
            summary: "The only fields of the JSON object; `except_fields` counts after it.",
        },
        OptionSpec {
            name: "timestamp_format",
            kind: OptionKind::OneOf(&[
                ("rfc3339", "text as `2026-03-01T10:00:00Z`"),
                ("unix", "whole seconds since 1970"),
                ("unix_float", "seconds since 1970, with a fraction"),
                ("unix_ms", "whole milliseconds since 1970"),
                ("unix_ns", "nanoseconds since 1970"),
                ("unix_us", "whole microseconds since 1970"),
            ]),
            default: Default::Value("\"rfc3339\""),
            summary: "How times are written in the JSON object.",
        },
    ]),
    default: Default::Value("{}"),
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
    default: Default::Value("{}"),
    summary: "What stands between records.",
};

/// Appends a record to a buffer, without a delimiter. Shared by the workers, each with a record of
/// its own.
type Write = Arc<dyn Fn(&Record, &mut Vec<u8>) + Send + Sync>;

/// A checked `encoding` and `framing`.
#[derive(Clone)]
pub(crate) enum Encoding {
    /// The whole record as JSON. Not a [`Write`], so that the usual way has no call through a
    /// pointer.
    Json,
    /// The message.
    Text,
    /// JSON of a record that is changed before.
    Shaped(Write),
}

impl Encoding {
    /// Reads the tables of a sink.
    pub fn check(options: &Options<'_>) -> Option<Self> {
        let encoding = options.table("encoding")?;
        match encoding.one_of("codec")? {
            "text" | "raw_message" => return Some(Encoding::Text),
            _ => {}
        }
        let only = encoding.strings("only_fields");
        let except = encoding.strings("except_fields");
        let times = TimeFormat::named(encoding.one_of("timestamp_format")?);
        if only.is_empty() && except.is_empty() && times.is_none() {
            return Some(Encoding::Json);
        }
        Some(Encoding::Shaped(shaped(&only, &except, times)))
    }

    /// Makes an encoder, for one worker.
    pub fn encoder(&self) -> RecordEncoder {
        RecordEncoder { encoding: self.clone() }
    }
}

/// Writes records, each with the line feed behind it.
pub(crate) struct RecordEncoder {
    encoding: Encoding,
}

impl Encoder for RecordEncoder {
    fn encode(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &self.encoding {
            Encoding::Json => encode_json(record, out),
            Encoding::Text => encode_text(record, out),
            Encoding::Shaped(write) => write(record, out),
        }
        out.push(b'\n');
        Ok(())
    }

    fn is_json_lines(&self) -> bool {
        matches!(self.encoding, Encoding::Json)
    }
}

/// How times are written where RFC 3339 is not wanted.
#[derive(Clone, Copy)]
enum TimeFormat {
    Seconds,
    Fraction,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl TimeFormat {
    fn named(word: &str) -> Option<Self> {
        match word {
            "unix" => Some(TimeFormat::Seconds),
            "unix_float" => Some(TimeFormat::Fraction),
            "unix_ms" => Some(TimeFormat::Milliseconds),
            "unix_us" => Some(TimeFormat::Microseconds),
            "unix_ns" => Some(TimeFormat::Nanoseconds),
            _ => None,
        }
    }
}

/// Makes a writer of records that are changed before they are written.
///
/// The values and paths are those of VRL; their types are inferred throughout, because this room
/// does not depend on it.
fn shaped(only: &[String], except: &[String], times: Option<TimeFormat>) -> Write {
    let only: Vec<_> = only.iter().filter_map(|field| parse_field(field)).collect();
    let except: Vec<_> = except.iter().filter_map(|field| parse_field(field)).collect();
    Arc::new(move |record, out| {
        let mut event = record.to_value();
        if !only.is_empty() {
            let mut kept = Record::new().to_value();
            for path in &only {
                if let Some(value) = event.get(path) {
                    kept.insert(path, value.clone());
                }
            }
            event = kept;
        }
        for path in &except {
            event.remove(path, false);
        }
        let mut rest = vec![&mut event];
        while let (Some(format), Some(value)) = (times, rest.pop()) {
            if let Some(time) = value.as_timestamp().copied() {
                *value = match format {
                    TimeFormat::Seconds => time.timestamp().into(),
                    TimeFormat::Milliseconds => time.timestamp_millis().into(),
                    TimeFormat::Microseconds => time.timestamp_micros().into(),
                    TimeFormat::Fraction => {
                        (&serde_json::Value::from(time.timestamp_micros() as f64 / 1e6)).into()
                    }
                    // A time outside the years 1677 to 2262 has no such number: none is better than
                    // a wrong one.
                    TimeFormat::Nanoseconds => time.timestamp_nanos_opt().into(),
                };
            } else if value.is_object() {
                rest.extend(
                    value.as_object_mut().into_iter().flat_map(|members| members.values_mut()),
                );
            } else if let Some(items) = value.as_array_mut() {
                rest.extend(items);
            }
        }
        encode_value(&event, out);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_table, record};
    use azud_event::time::EventTime;

    const OPTIONS: &[OptionSpec] = &[ENCODING, FRAMING];

    fn encoded(toml: &str, input: &str) -> String {
        let encoding = check_table(toml, OPTIONS, Encoding::check).unwrap();
        let mut record = record(input);
        record.push_timestamp("at", EventTime::from_nanoseconds(1_500_000_000));
        let mut out = Vec::new();
        encoding.encoder().encode(&record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_the_default() {
        let whole = "{\"a\":1,\"at\":\"1970-01-01T00:00:01.500Z\"}\n";
        assert_eq!(encoded("", r#"{"a":1}"#), whole);
        assert_eq!(encoded("encoding.codec = 'json'", r#"{"a":1}"#), whole);
    }

    #[test]
    fn text_is_the_message_with_a_line_feed() {
        let input = r#"{"message":"a\tb","x":1}"#;
        assert_eq!(encoded("encoding.codec = 'text'", input), "a\tb\n");
        assert_eq!(encoded("encoding.codec = 'raw_message'", input), "a\tb\n");
        assert_eq!(encoded("encoding.codec = 'text'", "{}"), "\n");
    }

    #[test]
    fn fields_are_chosen_by_path() {
        let input = r#"{"a":{"b":1,"c":2},"d":3,"e":[1]}"#;
        let only = "encoding.only_fields = ['.a.b', 'e', 'none']";
        assert_eq!(encoded(only, input), "{\"a\":{\"b\":1},\"e\":[1]}\n");
        let except = "encoding.except_fields = ['a.b', 'd', 'at', 'none']";
        assert_eq!(encoded(except, input), "{\"a\":{\"c\":2},\"e\":[1]}\n");
        let both = "encoding = { only_fields = ['a'], except_fields = ['a.b'] }";
        assert_eq!(encoded(both, input), "{\"a\":{\"c\":2}}\n");
    }

    #[test]
    fn times_are_written_as_asked() {
        for (format, number) in [
            ("unix", "1"),
            ("unix_float", "1.5"),
            ("unix_ms", "1500"),
            ("unix_us", "1500000"),
            ("unix_ns", "1500000000"),
            ("rfc3339", "\"1970-01-01T00:00:01.500Z\""),
        ] {
            let toml = format!("encoding.timestamp_format = '{format}'");
            assert_eq!(encoded(&toml, "{}"), format!("{{\"at\":{number}}}\n"), "{format}");
        }
    }
}
