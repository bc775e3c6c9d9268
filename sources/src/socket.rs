//! `socket` listens for records of any text format over TCP, TLS and UDP: a line each, or a
//! datagram each.

use crate::decoding::{DECODING, Decoding, HOST_KEY, check_key};
use crate::listen::{
    ADDRESS, CONNECTION_LIMIT, IDLE_TIMEOUT, KEEPALIVE, Listen, MAX_LENGTH, MODE, PERMIT_ORIGIN,
    RECEIVE_BUFFER_BYTES, Streams, TLS,
};
use crate::outlet::Common;
use azud_event::codec::Decoder;
use azud_event::codec::framing::Framing;
use azud_event::codec::source_fields::SourceFields;
use azud_plan::component::{
    BuildContext, BuildError, ConnectorKind, Default, Endpoint, Example, OptionKind, OptionSpec,
    Options, Resource, SourceFactory, SourceSpec, SourceTask,
};
use azud_plan::diagnostic::Checker;

/// The registry's entry.
pub const SOCKET: SourceFactory = SourceFactory {
    name: "socket",
    summary: "Listen for lines over TCP or TLS, or for datagrams over UDP.",
    description: "\
Over TCP each line is a record; a last line without its end counts when the connection is closed.
Over UDP each datagram is a record. `decoding.codec` says what a record is.

Records get `host` and `port`, the sender's address, unless they have fields of these names,
`source_type`, and `timestamp`, when they were received, unless they have one.

Over TCP a sender is slowed down while there is no room. Over UDP the kernel drops what does not
fit into its buffer; each such datagram is counted in `azud_udp_kernel_drops_total`. A record above
`max_length` is set aside.",
    options: &[
        MODE,
        ADDRESS,
        DECODING,
        OptionSpec {
            name: "framing",
            kind: OptionKind::Table(&[OptionSpec {
                name: "method",
                kind: OptionKind::OneOf(&[("newline_delimited", "a record is a line")]),
                default: Default::Value("\"newline_delimited\""),
                summary: "How records are told apart.",
            }]),
            default: Default::Value("{}"),
            summary: "How the records of a connection are told apart. A datagram is one record.",
        },
        MAX_LENGTH,
        HOST_KEY,
        OptionSpec {
            name: "port_key",
            kind: OptionKind::Text,
            default: Default::Value("\"port\""),
            summary: "The field that the sender's port is written to, unless the record has one. \
                      Empty: none.",
        },
        RECEIVE_BUFFER_BYTES,
        PERMIT_ORIGIN,
        CONNECTION_LIMIT,
        IDLE_TIMEOUT,
        KEEPALIVE,
        TLS,
    ],
    check,
    examples: &[
        Example {
            title: "JSON, a document a line",
            toml: "\
mode = \"tcp\"
address = \"127.0.0.1:9000\"
decoding.codec = \"json\"",
            input: "{\"user\":\"root\",\"host\":\"web-1\"}\n{\"user\":\"alice\"}\n",
            output: concat!(
                r#"{"user":"root","host":"web-1","port":40000,"source_type":"socket","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
                "\n",
                r#"{"user":"alice","host":"203.0.113.9","port":40000,"source_type":"socket","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
        Example {
            title: "Datagrams of text, without the sender's port",
            toml: "\
mode = \"udp\"
address = \"127.0.0.1:9000\"
host_key = \"sender\"
port_key = \"\"",
            input: "up and running",
            output: concat!(
                r#"{"message":"up and running","sender":"203.0.113.9","source_type":"socket","#,
                r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            ),
        },
    ],
};

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let listen = Listen::check(options, checker);
    let host_key = check_key(options, "host_key", checker);
    let port_key = check_key(options, "port_key", checker);
    let frame_bytes_max = usize::try_from(options.bytes("max_length")?).ok()?;
    let fields = SourceFields::of_socket(SOCKET.name);
    Some(Box::new(SocketSource {
        common: Common::check(options),
        listen: listen?,
        streams: Streams { framing: Framing::Lines, frame_bytes_max },
        decoding: Decoding::check(options)?,
        fields: fields.with_host_key(host_key?).with_port_key(port_key?),
    }))
}

/// The checked source.
struct SocketSource {
    common: Common,
    listen: Listen,
    streams: Streams,
    decoding: Decoding,
    fields: SourceFields,
}

impl SourceSpec for SocketSource {
    fn decoder(&self) -> Box<dyn Decoder> {
        self.decoding.decoder(self.fields.clone())
    }

    fn resources(&self) -> Vec<Resource> {
        self.listen.resources()
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(self.listen.endpoint(ConnectorKind::Listener))
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        self.listen.build(context, self.streams, self.common.when_full)
    }
}
