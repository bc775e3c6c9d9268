//! `syslog` listens for syslog messages over TCP, TLS and UDP.
//!
//! Both framings of RFC 6587 are understood on every connection, frame by frame, and both formats
//! of message. What the messages look like is the decoder's business (`azud_event::codec::syslog`);
//! here they are only found.

use crate::decoding::{HOST_KEY, check_key};
use crate::listen::{
    ADDRESS, CONNECTION_LIMIT, IDLE_TIMEOUT, KEEPALIVE, Listen, MAX_LENGTH, MODE, PERMIT_ORIGIN,
    RECEIVE_BUFFER_BYTES, Streams, TLS,
};
use crate::outlet::Common;
use azud_event::codec::Decoder;
use azud_event::codec::framing::Framing;
use azud_event::codec::source_fields::SourceFields;
use azud_event::codec::syslog::{SyslogDecoder, SyslogOptions, Zone};
use azud_plan::component::{
    BuildContext, BuildError, ConnectorKind, Default, Endpoint, Example, OptionKind, OptionSpec,
    Options, Resource, SourceFactory, SourceSpec, SourceTask,
};
use azud_plan::diagnostic::codes::MALFORMED_VALUE;
use azud_plan::diagnostic::{Checker, Diagnostic};
use vrl::path::OwnedValuePath;

/// The registry's entry.
pub const SYSLOG: SourceFactory = SourceFactory {
    name: "syslog",
    summary: "Listen for syslog messages over TCP, TLS or UDP.",
    description: "\
Takes messages of RFC 5424 and RFC 3164, told apart one by one, and the dialects that devices
speak. On connections a message is framed by a count of its bytes or by the end of its line (RFC
6587); a sender may mix both.

Messages become `message`, `hostname`, `appname`, `procid`, `msgid`, `facility`, `severity`,
`version` and `timestamp`, each where the message has it. Structured data becomes an object by its
name. `source_ip` is the sender's address, `host` the name the sender gives itself, else its
address.

A time without a zone is read in `timezone`. A time without a year is put into the year that brings
it nearest to when the message was received.

Over TCP a sender is slowed down while there is no room; nothing is lost that it has not been asked
to keep. Over UDP nobody can be asked to wait: the kernel drops what does not fit into its buffer,
and each such datagram is counted in `azud_udp_kernel_drops_total`. A frame above `max_length`, or
one that its connection cut short, is set aside.",
    options: &[
        MODE,
        ADDRESS,
        OptionSpec {
            name: "timezone",
            kind: OptionKind::TimeZone,
            default: Default::Value("\"UTC\""),
            summary: "The time zone of senders whose messages name none: `Europe/Madrid`, \
                      `+05:30`.",
        },
        MAX_LENGTH,
        HOST_KEY,
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
            title: "A message of RFC 5424",
            toml: "\
mode = \"udp\"
address = \"127.0.0.1:5514\"",
            input: "<38>1 2026-03-01T09:59:58.250Z web-1 sshd 4242 - - \
                    Failed password for root from 203.0.113.77 port 50211 ssh2",
            output: concat!(
                r#"{"timestamp":"2026-03-01T09:59:58.250Z","hostname":"web-1","appname":"sshd","#,
                r#""procid":4242,"facility":"auth","severity":"info","version":1,"#,
                r#""message":"Failed password for root from 203.0.113.77 port 50211 ssh2","#,
                r#""host":"web-1","source_ip":"203.0.113.9","source_type":"syslog"}"#,
            ),
        },
        Example {
            title: "Two framings on one connection, and a time without year and zone",
            toml: "\
mode = \"tcp\"
address = \"127.0.0.1:5514\"
timezone = \"Europe/Madrid\"",
            input: "42 <38>Mar  1 10:59:58 web-1 sshd[7]: counted\n\
                    <38>Mar  1 10:59:59 web-1 sshd[7]: a line\n",
            output: concat!(
                r#"{"timestamp":"2026-03-01T09:59:58Z","hostname":"web-1","appname":"sshd","#,
                r#""procid":7,"facility":"auth","severity":"info","message":"counted","#,
                r#""host":"web-1","source_ip":"203.0.113.9","source_type":"syslog"}"#,
                "\n",
                r#"{"timestamp":"2026-03-01T09:59:59Z","hostname":"web-1","appname":"sshd","#,
                r#""procid":7,"facility":"auth","severity":"info","message":"a line","#,
                r#""host":"web-1","source_ip":"203.0.113.9","source_type":"syslog"}"#,
            ),
        },
    ],
};

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let listen = Listen::check(options, checker);
    let host_key = check_key(options, "host_key", checker);
    let zone = check_zone(options, checker);
    let frame_bytes_max = usize::try_from(options.bytes("max_length")?).ok()?;
    Some(Box::new(Syslog {
        common: Common::check(options),
        listen: listen?,
        streams: Streams { framing: Framing::Syslog, frame_bytes_max },
        zone: zone?,
        host_key: host_key?,
    }))
}

fn check_zone(options: &Options<'_>, checker: &mut Checker) -> Option<Zone> {
    let text = options.string("timezone")?;
    let zone = Zone::parse(&text);
    if zone.is_none() {
        let title = format!("`{text}` is not a time zone");
        checker.report(
            Diagnostic::error(MALFORMED_VALUE, options.span("timezone"), title, "is not known")
                .help("write a name such as `Europe/Madrid`, or an offset such as `+05:30`"),
        );
    }
    zone
}

/// The checked source.
struct Syslog {
    common: Common,
    listen: Listen,
    streams: Streams,
    zone: Zone,
    host_key: Option<OwnedValuePath>,
}

impl SourceSpec for Syslog {
    fn decoder(&self) -> Box<dyn Decoder> {
        let fields = SourceFields::new(SYSLOG.name).with_host_key(self.host_key.clone());
        Box::new(SyslogDecoder::new(SyslogOptions { zone: self.zone, fields, source_ip: true }))
    }

    fn resources(&self) -> Vec<Resource> {
        self.listen.resources()
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(self.listen.endpoint(ConnectorKind::Syslog))
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        self.listen.build(context, self.streams, self.common.when_full)
    }
}
