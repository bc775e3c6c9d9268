//! `http` sends records in requests to a server.
//!
//! ```text
//!  worker   record ─▶ encode ─▶ buffer ─▶ queue
//!  task     queue ─▶ deliver (groups, tries again, divides) ─▶ body ─▶ compress ─▶ request
//! ```

mod outlet;

#[cfg(test)]
mod tests;

use crate::deliver::{BATCH, Delivery, DeliveryOptions, REQUEST};
use crate::encoding::{ENCODING, Encoding};
use crate::headers::Headers;
use azud_client::{TLS, Tls};
use azud_plan::component::{
    self, Batches, BuildContext, BuildError, Confidential, ConnectorKind, Encoder, Endpoint,
    Example, Kind, OptionKind, OptionSpec, Options, Resource, RunError, SinkFactory, SinkSpec,
    SinkTask,
};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::Text;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use outlet::{Auth, Compression, Framing, HttpOutlet, Request};
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde_json::json;

/// The registry's entry of `http`.
pub const HTTP: SinkFactory = SinkFactory {
    name: "http",
    summary: "Sends records in requests to an HTTP server.",
    description: "\
Gathers records into requests and sends them in their order. A record is confirmed when the server \
has answered 2xx. What the server cannot take now (no connection, no answer, 408, 425, 429, 5xx) is \
sent again, with growing pauses or when `Retry-After` says; so is what it does not take from us \
(401, 403, 404, redirects and the like), until somebody sets it right. A record that it will never \
take (400, 413, 422) is set aside with the answer; a request of several is divided until the record \
is found.

So every record arrives at least once. `Idempotency-Key` is a hash of the body: the same request has \
the same key. Redirects are not followed, because they would carry credentials elsewhere; proxies \
from the environment are not used.

When the last request failed and nothing is left to send, the address is asked for nothing (`HEAD`) every \
`request.retry_max_duration_secs`: so `azud connectors` says when the server is back.",
    inputs: &[Kind::Log, Kind::Alert],
    options: &[
        OptionSpec {
            name: "uri",
            kind: OptionKind::Confidential,
            default: component::Default::Required,
            summary: "The address, `http://` or `https://`. It may be a secret as a whole, or name \
                      one (`https://hooks.example/SECRET[azud.hook]`); user and password belong \
                      into `auth`.",
        },
        AUTH,
        BATCH,
        OptionSpec {
            name: "compression",
            kind: OptionKind::OneOf(&[
                ("gzip", "gzip, level 6"),
                ("none", "as it is"),
                ("zstd", "Zstandard, level 3"),
            ]),
            default: component::Default::Value("\"none\""),
            summary: "How the body is compressed.",
        },
        ENCODING,
        FRAMING,
        OptionSpec {
            name: "headers",
            kind: OptionKind::Map(&OptionKind::Confidential),
            default: component::Default::None,
            summary: "The same as `request.headers`.",
        },
        OptionSpec {
            name: "method",
            kind: OptionKind::OneOf(&[
                ("patch", "`PATCH`"),
                ("post", "`POST`"),
                ("put", "`PUT`"),
            ]),
            default: component::Default::Value("\"post\""),
            summary: "The method of the request.",
        },
        OptionSpec {
            name: "payload_prefix",
            kind: OptionKind::Text,
            default: component::Default::Value("\"\""),
            summary: "Stands before the array of records (`{\"data\":`). Not with \
                      `newline_delimited`.",
        },
        OptionSpec {
            name: "payload_suffix",
            kind: OptionKind::Text,
            default: component::Default::Value("\"\""),
            summary: "Stands behind the array of records (`}`).",
        },
        REQUEST,
        TLS,
    ],
    check,
    examples: &[
        Example {
            title: "An array of records, with a token",
            toml: "type = \"http\"\nuri = \"https://collector.example/logs\"\n\
                   auth = { strategy = \"bearer\", token = \"SECRET[azud.collector]\" }\n",
            input: "{\"message\":\"hello\"}\n{\"message\":\"again\"}\n",
            output: "{\"message\":\"hello\"}\n{\"message\":\"again\"}\n",
        },
        Example {
            title: "Lines of JSON, compressed, a thousand in a request",
            toml: "type = \"http\"\nuri = \"https://collector.example/logs\"\n\
                   compression = \"zstd\"\nframing.method = \"newline_delimited\"\n\
                   batch = { max_events = 1000, timeout_secs = 5 }\n",
            input: "{\"message\":\"hello\"}\n",
            output: "{\"message\":\"hello\"}\n",
        },
    ],
};

const AUTH: OptionSpec = OptionSpec {
    name: "auth",
    kind: OptionKind::Table(&[
        OptionSpec {
            name: "password",
            kind: OptionKind::Confidential,
            default: component::Default::None,
            summary: "The password, of `basic`.",
        },
        OptionSpec {
            name: "strategy",
            kind: OptionKind::OneOf(&[("basic", "user and password"), ("bearer", "a token")]),
            default: component::Default::Required,
            summary: "How we say who we are.",
        },
        OptionSpec {
            name: "token",
            kind: OptionKind::Confidential,
            default: component::Default::None,
            summary: "The token, of `bearer`.",
        },
        OptionSpec {
            name: "user",
            kind: OptionKind::Confidential,
            default: component::Default::None,
            summary: "The user, of `basic`.",
        },
    ]),
    default: component::Default::None,
    summary: "Credentials. Keep them out of the document: `SECRET[…]`.",
};

const FRAMING: OptionSpec = OptionSpec {
    name: "framing",
    kind: OptionKind::Table(&[OptionSpec {
        name: "method",
        kind: OptionKind::OneOf(&[
            ("character_delimited", "a comma between records, and of JSON an array around them"),
            ("newline_delimited", "a line feed between records"),
        ]),
        default: component::Default::None,
        summary: "How records are told apart. Without it an array of JSON, and lines of text.",
    }]),
    default: component::Default::Value("{}"),
    summary: "What stands between records.",
};

/// A checked `http`.
struct Http {
    encoding: Encoding,
    delivery: DeliveryOptions,
    request: Request,
    tls: Tls,
}

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    let encoding = Encoding::check(options);
    let uri = options.text("uri").and_then(|text| {
        let uri = options.confidential("uri")?;
        check_uri(text, &uri, checker).map(|()| uri)
    });
    let auth = check_auth(options, checker);
    let headers = Headers::check(options, &["headers"], checker);
    let tls = Tls::check(options, checker);
    let framing = encoding.as_ref().and_then(|encoding| check_framing(options, encoding, checker));
    let method = match options.one_of("method")? {
        "patch" => Method::PATCH,
        "put" => Method::PUT,
        _ => Method::POST,
    };
    let compression = match options.one_of("compression")? {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        _ => Compression::None,
    };
    let (auth, headers) = (auth?, headers?);
    Some(Box::new(Http {
        encoding: encoding?,
        delivery: DeliveryOptions::check(options)?,
        request: Request { uri: uri?, method, auth, headers, compression, framing: framing? },
        tls: tls?,
    }))
}

/// Checks what of an address stands open.
fn check_uri(text: &Text, uri: &Confidential, checker: &mut Checker) -> Option<()> {
    // One that begins with a secret shows its form only when it is filled in.
    if text.text.starts_with("SECRET[") {
        return Some(());
    }

    let mut refuse = |title: &str, help: &str| {
        let found = Diagnostic::error(codes::MALFORMED_VALUE, text.span, title.to_owned(), "");
        checker.report(found.help(help));
        None
    };
    let form = "write it as `https://collector.example/path`";
    let Ok(uri) = Url::parse(uri.stand_in("secret").reveal()) else {
        return refuse("this is no address", form);
    };
    if !matches!(uri.scheme(), "http" | "https") || !uri.has_host() {
        return refuse("this is no address of an HTTP server", form);
    }
    if !uri.username().is_empty() || uri.password().is_some() {
        return refuse("this address holds credentials", "put them into `auth`");
    }
    Some(())
}

/// Checks the credentials; the outer `None` is a fault.
fn check_auth(options: &Options<'_>, checker: &mut Checker) -> Option<Option<Auth>> {
    let Some(auth) = options.table("auth") else {
        return (!options.has("auth")).then_some(None);
    };
    let strategy = auth.one_of("strategy")?;
    let wanted: &[&str] = if strategy == "basic" { &["user", "password"] } else { &["token"] };
    let mut sound = true;
    for name in ["user", "password", "token"] {
        let title = match (wanted.contains(&name), auth.has(name)) {
            (true, false) => format!("`{strategy}` needs `auth.{name}`"),
            (false, true) => format!("`{strategy}` has no `auth.{name}`"),
            _ => continue,
        };
        sound = false;
        let place = auth.span(name);
        checker.report(Diagnostic::error(codes::CONTRADICTION, place, title, ""));
    }
    if !sound {
        return None;
    }
    let read = |name| auth.confidential(name);
    if strategy == "basic" {
        return Some(Some(Auth::Basic { user: read("user")?, password: read("password")? }));
    }
    let token = read("token")?;
    if HeaderValue::from_str(token.stand_in("secret").reveal()).is_err() {
        let title = "a token has only visible signs of ASCII";
        let place = auth.span("token");
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, place, title, ""));
        return None;
    }
    Some(Some(Auth::Bearer(token)))
}

fn check_framing(
    options: &Options<'_>,
    encoding: &Encoding,
    checker: &mut Checker,
) -> Option<Framing> {
    let json = !matches!(encoding, Encoding::Text);
    let framing = options.table("framing")?;
    let lines = match framing.has("method") {
        true => framing.one_of("method")? == "newline_delimited",
        false => !json,
    };
    let wrapped = ["payload_prefix", "payload_suffix"].into_iter().find(|name| options.has(name));
    if let Some(name) = wrapped.filter(|_| lines || !json) {
        let title = format!("`{name}` stands around an array of JSON, and there is none");
        checker.report(Diagnostic::error(codes::CONTRADICTION, options.span(name), title, ""));
        return None;
    }
    Some(match (lines, json) {
        (true, true) => Framing::JsonLines,
        (true, false) => Framing::TextLines,
        (false, false) => Framing::TextCommas,
        (false, true) => Framing::Array {
            before: options.string("payload_prefix")? + "[",
            behind: "]".to_owned() + &options.string("payload_suffix")?,
        },
    })
}

impl SinkSpec for Http {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(self.encoding.encoder())
    }

    fn resources(&self) -> Vec<Resource> {
        let files = self.tls.files();
        files.map(|path| Resource::Reads(path.clone())).collect()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let outlet = HttpOutlet::build(self.request.clone(), &self.tls, &self.delivery, context)?;
        let who = (context.id.as_str(), HTTP.name);
        let clock = context.clock.clone();
        let connector = context.services.connectors().map(|all| all.of(&context.id));
        let delivery = Delivery::new(who, Box::new(outlet), self.delivery, clock);
        Ok(Box::new(Running(delivery.reporting(connector))))
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let Request { uri, method, .. } = &self.request;
        // Of an address that names secrets, or may be one, only the server is shown.
        let open = Url::parse(uri.stand_in("secret").reveal()).ok();
        let shown = open.filter(Url::has_host).map(|uri| uri.origin().ascii_serialization());
        let summary = json!({ "uri": shown, "method": method.as_str() });
        Some(Endpoint::new(ConnectorKind::Sink, summary))
    }
}

/// A running `http`.
struct Running(Delivery);

impl SinkTask for Running {
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        async move {
            self.0.run(batches).await;
            Ok(())
        }
        .boxed()
    }
}
