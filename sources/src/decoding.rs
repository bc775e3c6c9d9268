//! The table `decoding`: how the bytes of a record become fields.

use azud_event::codec::Decoder;
use azud_event::codec::json::JsonDecoder;
use azud_event::codec::source_fields::SourceFields;
use azud_event::codec::syslog::{SyslogDecoder, SyslogOptions, Zone};
use azud_event::codec::text::TextDecoder;
use azud_plan::component::{Default, OptionKind, OptionSpec, Options, parse_field};
use azud_plan::diagnostic::codes::MALFORMED_VALUE;
use azud_plan::diagnostic::{Checker, Diagnostic};
use vrl::path::OwnedValuePath;

pub(crate) const DECODING: OptionSpec = OptionSpec {
    name: "decoding",
    kind: OptionKind::Table(&[OptionSpec {
        name: "codec",
        kind: OptionKind::OneOf(&[
            ("bytes", "the record as it is, in `message`"),
            ("json", "a JSON document: the members of an object become the fields"),
            ("syslog", "a syslog message of RFC 5424 or RFC 3164, in UTC when it names no zone"),
            ("text", "another word for `bytes`"),
        ]),
        default: Default::Value("\"bytes\""),
        summary: "The format of a record.",
    }]),
    default: Default::Value("{}"),
    summary: "How records are read.",
};

pub(crate) const HOST_KEY: OptionSpec = OptionSpec {
    name: "host_key",
    kind: OptionKind::Text,
    default: Default::Value("\"host\""),
    summary: "The field that the host is written to, unless the record has one. Empty: none.",
};

/// Reads an option that names a field, where the empty text means none. The outer `None` means that
/// it is faulty.
pub(crate) fn check_key(
    options: &Options<'_>,
    name: &str,
    checker: &mut Checker,
) -> Option<Option<OwnedValuePath>> {
    let text = options.string(name)?;
    if text.is_empty() {
        return Some(None);
    }
    let path = parse_field(&text).filter(|path| !path.is_root());
    if path.is_none() {
        let title = format!("`{text}` is not a field");
        checker.report(
            Diagnostic::error(MALFORMED_VALUE, options.span(name), title, "cannot be written to")
                .help("write a path such as `peer.address`, or `\"\"` for no field"),
        );
    }
    path.map(Some)
}

/// What records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// Text, or any bytes.
    Bytes,
    /// JSON documents.
    Json,
    /// Syslog messages.
    Syslog,
}

impl Decoding {
    /// Reads the table.
    pub(crate) fn check(options: &Options<'_>) -> Option<Decoding> {
        Some(match options.table("decoding")?.one_of("codec")? {
            "json" => Decoding::Json,
            "syslog" => Decoding::Syslog,
            _ => Decoding::Bytes,
        })
    }

    /// Makes a decoder that adds `fields` to each record.
    pub(crate) fn decoder(self, fields: SourceFields) -> Box<dyn Decoder> {
        match self {
            Decoding::Bytes => Box::new(TextDecoder::new(fields)),
            Decoding::Json => Box::new(JsonDecoder::new(Some(fields))),
            Decoding::Syslog => Box::new(SyslogDecoder::new(SyslogOptions {
                zone: Zone::UTC,
                fields,
                source_ip: false,
            })),
        }
    }
}
