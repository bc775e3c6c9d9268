//! The options of listeners, declared once for all of them.

use super::permit::{Network, Permit};
use super::tls::TlsSettings;
use azud_event::limits::RECORD_BYTES_MAX;
use azud_plan::component::{Default, OptionKind, OptionSpec, Options, Resource};
use azud_plan::diagnostic::codes::{CONTRADICTION, MALFORMED_VALUE, MISSING_OPTION};
use azud_plan::diagnostic::{Checker, Diagnostic};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const MODE: OptionSpec = OptionSpec {
    name: "mode",
    kind: OptionKind::OneOf(&[
        ("tcp", "connections, with TLS if `tls` says so"),
        ("udp", "datagrams, each one record"),
    ]),
    default: Default::Required,
    summary: "What to listen for.",
};

pub(crate) const ADDRESS: OptionSpec = OptionSpec {
    name: "address",
    kind: OptionKind::SocketAddress,
    default: Default::Required,
    summary: "The address to listen on. `0.0.0.0` means every address of this machine.",
};

pub(crate) const MAX_LENGTH: OptionSpec = OptionSpec {
    name: "max_length",
    kind: OptionKind::Bytes { min: 1, max: RECORD_BYTES_MAX as u64 },
    default: Default::Value("102_400"),
    summary: "The longest record, in bytes. The start of a longer one is set aside as a dead \
              letter.",
};

pub(crate) const CONNECTION_LIMIT: OptionSpec = OptionSpec {
    name: "connection_limit",
    kind: OptionKind::Integer { min: 1, max: 1_000_000 },
    default: Default::Value("1_024"),
    summary: "How many connections may be open at once. Further ones are closed at once, and \
              counted. For `tcp` only.",
};

pub(crate) const IDLE_TIMEOUT: OptionSpec = OptionSpec {
    name: "idle_timeout",
    kind: OptionKind::Duration,
    default: Default::Value("\"1h\""),
    summary: "How long a connection may be silent before it is closed. What it sent of an \
              unfinished frame is set aside then. For `tcp` only.",
};

pub(crate) const KEEPALIVE: OptionSpec = OptionSpec {
    name: "keepalive",
    kind: OptionKind::Table(&[OptionSpec {
        name: "time_secs",
        kind: OptionKind::Integer { min: 1, max: 32_767 },
        default: Default::Value("120"),
        summary: "How long a connection is silent before the system asks whether its peer is still \
                  there, in seconds.",
    }]),
    default: Default::Value("{}"),
    summary: "TCP keepalive, which finds connections whose peer is gone. For `tcp` only.",
};

pub(crate) const PERMIT_ORIGIN: OptionSpec = OptionSpec {
    name: "permit_origin",
    kind: OptionKind::List(&OptionKind::Text),
    default: Default::None,
    summary: "The networks that may send: `10.0.0.0/8`, `2001:db8::/32`, or single addresses. \
              Others are turned away, and counted. Without it everyone may.",
};

pub(crate) const RECEIVE_BUFFER_BYTES: OptionSpec = OptionSpec {
    name: "receive_buffer_bytes",
    kind: OptionKind::Bytes { min: 1_024, max: 1 << 30 },
    default: Default::None,
    summary: "The size of the socket's receive buffer. Without it the system's default for `tcp`, \
              and 8 MiB for `udp`. The system may give less (`net.core.rmem_max`); what it gives \
              is logged at start.",
};

pub(crate) const TLS: OptionSpec = OptionSpec {
    name: "tls",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "enabled",
            kind: OptionKind::Boolean,
            default: Default::Value("false"),
            summary: "Whether connections must be TLS, version 1.2 or 1.3.",
        },
        OptionSpec {
            name: "crt_file",
            kind: OptionKind::Path,
            default: Default::None,
            summary: "The certificate in PEM, followed by those between it and its authority. \
                      Required when enabled.",
        },
        OptionSpec {
            name: "key_file",
            kind: OptionKind::Path,
            default: Default::None,
            summary: "The certificate's private key in PEM, without a passphrase. Required when \
                      enabled.",
        },
        OptionSpec {
            name: "ca_file",
            kind: OptionKind::Path,
            default: Default::None,
            summary: "The authorities of the clients' certificates, in PEM.",
        },
        OptionSpec {
            name: "verify_certificate",
            kind: OptionKind::Boolean,
            default: Default::Value("false"),
            summary: "Whether clients must show a certificate that an authority of `ca_file` gave \
                      them.",
        },
        OptionSpec {
            name: "handshake_timeout",
            kind: OptionKind::Duration,
            default: Default::Value("\"10s\""),
            summary: "How long a handshake may take.",
        },
    ]),
    default: Default::None,
    summary: "TLS. For `tcp` only.",
};

/// How a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A listener, checked.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) mode: Mode,
    pub(crate) address: SocketAddr,
    pub(crate) receive_buffer_bytes: Option<usize>,
    pub(crate) permit: Permit,
    pub(crate) connection_limit: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) tls: Option<TlsSettings>,
}

impl Listen {
    /// Checks the options of a listener.
    pub(crate) fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Listen> {
        let mode = options.one_of("mode").map(|mode| match mode {
            "udp" => Mode::Udp,
            _ => Mode::Tcp,
        });
        if mode == Some(Mode::Udp) {
            refuse_options_of_tcp(options, checker);
        }
        let permit = check_permit(options, checker);
        let tls = check_tls(options, checker);
        let size = options.bytes("receive_buffer_bytes");
        let keepalive = options.table("keepalive").and_then(|table| table.integer("time_secs"));
        Some(Listen {
            mode: mode?,
            address: options.socket_address("address")?,
            receive_buffer_bytes: size.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            permit: permit?,
            connection_limit: usize::try_from(options.integer("connection_limit")?).ok()?,
            idle_timeout: options.duration("idle_timeout")?,
            keepalive: keepalive.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            tls: tls?,
        })
    }

    /// Lists what it holds of the outside.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let port = match self.mode {
            Mode::Tcp => Resource::TcpPort(self.address),
            Mode::Udp => Resource::UdpPort(self.address),
        };
        let files = self.tls.iter().flat_map(TlsSettings::files);
        let files = files.map(|file| Resource::Reads(file.clone()));
        std::iter::once(port).chain(files).collect()
    }
}

fn refuse_options_of_tcp(options: &Options<'_>, checker: &mut Checker) {
    for name in ["connection_limit", "idle_timeout", "keepalive", "tls"] {
        if options.has(name) {
            let title = format!("`{name}` is for connections, and UDP has none");
            let place = "means nothing here…";
            checker.report(
                Diagnostic::error(CONTRADICTION, options.span(name), title, place)
                    .label(options.span("mode"), "…with this mode")
                    .help(format!("remove `{name}`, or write `mode = \"tcp\"`")),
            );
        }
    }
}

fn check_permit(options: &Options<'_>, checker: &mut Checker) -> Option<Permit> {
    if !options.has("permit_origin") {
        return Some(Permit(None));
    }
    let mut networks = Some(Vec::new());
    for text in options.list_of_text("permit_origin") {
        match Network::parse(&text.text) {
            Some(network) => {
                if let Some(networks) = &mut networks {
                    networks.push(network);
                }
            }
            None => {
                networks = None;
                let title = format!("`{}` is not a network", text.text);
                checker.report(
                    Diagnostic::error(MALFORMED_VALUE, text.span, title, "cannot be read")
                        .help("write an address and the bits that count: `10.0.0.0/8`"),
                );
            }
        }
    }
    networks.map(|networks| Permit(Some(networks)))
}

/// Checks `tls`; the outer `None` means that it is faulty, the inner that it is off.
fn check_tls(options: &Options<'_>, checker: &mut Checker) -> Option<Option<TlsSettings>> {
    let Some(tls) = options.table("tls") else {
        return (!options.has("tls")).then_some(None);
    };
    if !tls.boolean("enabled")? {
        if tls.has("crt_file") && !tls.has("enabled") {
            let title = "TLS has a certificate but is not enabled";
            checker.report(
                Diagnostic::warning(CONTRADICTION, options.span("tls"), title, "is off")
                    .help("write `enabled = true`, or remove `tls`"),
            );
        }
        return Some(None);
    }
    let mut require = |name: &str, why: &str| {
        let path = tls.path(name);
        if path.is_none() && !tls.has(name) {
            let title = format!("TLS needs `{name}`");
            checker.report(
                Diagnostic::error(MISSING_OPTION, options.span("tls"), title, why)
                    .help(format!("add `{name} = \"/path/to/file.pem\"`")),
            );
        }
        path
    };
    let crt_file = require("crt_file", "has no certificate to show to clients");
    let key_file = require("key_file", "has no key");
    let clients_of = match tls.boolean("verify_certificate")? {
        true => Some(require("ca_file", "verifies clients, but knows no authority")?),
        false => None,
    };
    let handshake_timeout = tls.duration("handshake_timeout")?;
    Some(Some(TlsSettings {
        crt_file: crt_file?,
        key_file: key_file?,
        clients_of,
        handshake_timeout,
    }))
}
