//! The options that all who fetch something over HTTP have, beside `tls`.

use crate::tls::Tls;
use azud_plan::component::{self, OptionKind, OptionSpec, Options};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use reqwest::Url;
use std::path::PathBuf;
use std::time::Duration;

/// The option `allow_private`.
pub const ALLOW_PRIVATE: OptionSpec = OptionSpec {
    name: "allow_private",
    kind: OptionKind::Boolean,
    default: component::Default::None,
    summary: "Whether addresses of private networks and of this machine may be connected to. \
              Without it those of hosts that the document names may, and those that an answer \
              leads to may not. Link-local addresses and metadata services never may.",
};

/// The option `connect_timeout_secs`.
pub const CONNECT_TIMEOUT: OptionSpec = OptionSpec {
    name: "connect_timeout_secs",
    kind: OptionKind::Seconds,
    default: component::Default::Value("10"),
    summary: "How long a connection may take, TLS included.",
};

/// The option `max_response_bytes`.
pub const MAX_RESPONSE: OptionSpec = OptionSpec {
    name: "max_response_bytes",
    kind: OptionKind::Bytes { min: 1024, max: 1 << 30 },
    default: component::Default::Value("\"64MiB\""),
    summary: "How large an answer may be, as it comes and inflated.",
};

/// The option `proxy`.
pub const PROXY: OptionSpec = OptionSpec {
    name: "proxy",
    kind: OptionKind::Text,
    default: component::Default::None,
    summary: "The HTTP proxy to go through (`http://proxy.example:3128`). Those of the \
              environment are not used. A proxy resolves names itself, so what is said under \
              `allow_private` holds for literal addresses only.",
};

/// The option `read_timeout_secs`.
pub const READ_TIMEOUT: OptionSpec = OptionSpec {
    name: "read_timeout_secs",
    kind: OptionKind::Seconds,
    default: component::Default::Value("30"),
    summary: "How long an answer may stand still.",
};

/// What they come to.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// TLS.
    pub tls: Tls,
    /// The proxy, if one is used.
    pub proxy: Option<Url>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may stand still.
    pub read_timeout: Duration,
    /// How long a request may take, its redirects and its answer included.
    pub timeout: Duration,
    /// How large an answer may be.
    pub body_bytes_max: usize,
    /// See [`crate::Guard`].
    pub allow_private: Option<bool>,
}

impl std::default::Default for HttpOptions {
    /// What holds where nothing is written.
    fn default() -> Self {
        HttpOptions {
            tls: Tls::default(),
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            body_bytes_max: 64 << 20,
            allow_private: None,
        }
    }
}

impl HttpOptions {
    /// Checks the options above and `tls`; `timeout` is for a whole request.
    pub fn check(
        options: &Options<'_>,
        timeout: Duration,
        checker: &mut Checker,
    ) -> Option<HttpOptions> {
        let tls = Tls::check(options, checker);
        let proxy = check_proxy(options, checker);
        Some(HttpOptions {
            connect_timeout: options.duration("connect_timeout_secs")?.min(timeout),
            read_timeout: options.duration("read_timeout_secs")?,
            timeout,
            body_bytes_max: usize::try_from(options.bytes("max_response_bytes")?).ok()?,
            allow_private: options.boolean("allow_private"),
            tls: tls?,
            proxy: proxy?,
        })
    }

    /// Lists the files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tls.files()
    }
}

/// Checks the proxy; the outer `None` is a fault.
fn check_proxy(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Url>> {
    if !options.has("proxy") {
        return Some(None);
    }
    let text = options.string("proxy")?;
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if url.is_none() {
        let title = "this is no address of a proxy";
        let found = Diagnostic::error(codes::MALFORMED_VALUE, options.span("proxy"), title, "");
        checker.report(found.help("write `http://proxy.example:3128`, without credentials"));
    }
    url.map(Some)
}
