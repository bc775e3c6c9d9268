//! One request: its body, its headers, and what its answer means.

use crate::deliver::{DeliveryOptions, Failure, FailureKind, Outlet, causes, retry_after};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_TOLD_BYTES_MAX, CONNECT_TIMEOUT};
use azud_client::Tls;
use azud_event::clock::Clock;
use azud_event::id::Id;
use azud_plan::component::BuildError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use std::fmt;
use std::io::{self, Write};

/// `Idempotency-Key`: draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The level of gzip: what gzip itself takes.
const GZIP_LEVEL: u32 = 6;

/// The level of Zstandard: what zstd itself takes.
const ZSTD_LEVEL: i32 = 3;

/// What every request of a sink has in common.
#[derive(Clone)]
pub(super) struct Request {
    pub uri: Url,
    pub method: Method,
    pub auth: Option<Auth>,
    pub headers: HeaderMap,
    pub compression: Compression,
    pub framing: Framing,
}

/// The value of `Authorization`. Never shown.
#[derive(Clone)]
pub(super) struct Auth(HeaderValue);

impl Auth {
    /// Makes the value of Basic authentication (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Self {
        let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Auth::hidden(HeaderValue::from_str(&text).expect("Base64 is ASCII"))
    }

    /// Makes the value of a bearer token (RFC 6750); `None` when it cannot stand in a header.
    pub fn bearer(token: &str) -> Option<Self> {
        HeaderValue::from_str(&format!("Bearer {token}")).ok().map(Auth::hidden)
    }

    fn hidden(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Auth(value)
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn name(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zstd => Some("zstd"),
        }
    }

    fn compress(self, body: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Compression::None => Ok(body),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), level);
                encoder.write_all(&body)?;
                encoder.finish()
            }
            Compression::Zstd => zstd::bulk::compress(&body, ZSTD_LEVEL),
        }
    }
}

/// How records stand in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    JsonLines,
    TextLines,
    TextCommas,
    Array { before: String, behind: String },
}

impl Framing {
    fn content_type(&self) -> &'static str {
        match self {
            Framing::JsonLines => "application/x-ndjson",
            Framing::TextLines | Framing::TextCommas => "text/plain",
            Framing::Array { .. } => "application/json",
        }
    }

    /// Makes a body of records, each with its line feed. The last has none: as Vector has it.
    fn body(&self, records: &[u8]) -> Vec<u8> {
        let records = records.strip_suffix(b"\n").unwrap_or(records);
        let commas = || records.iter().map(|byte| if *byte == b'\n' { b',' } else { *byte });
        match self {
            Framing::JsonLines | Framing::TextLines => records.to_vec(),
            Framing::TextCommas => commas().collect(),
            // JSON has no line feed within a record, so each is an end of one.
            Framing::Array { before, behind } => {
                let mut body = Vec::with_capacity(before.len() + records.len() + behind.len());
                body.extend_from_slice(before.as_bytes());
                body.extend(commas());
                body.extend_from_slice(behind.as_bytes());
                body
            }
        }
    }
}

/// Sends requests.
pub(super) struct HttpOutlet {
    client: Client,
    request: Request,
    clock: Clock,
}

impl HttpOutlet {
    /// Reads the files of TLS and makes the client; nothing is connected yet.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub fn build(
        request: Request,
        tls: &Tls,
        options: &DeliveryOptions,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        let builder = Client::builder()
            .user_agent(concat!("azud/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry credentials and records to whom the author did not name.
            .redirect(redirect::Policy::none())
            .referer(false)
            // What the environment says is for the author to let in.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
            .pool_max_idle_per_host(options.concurrency);
        let client = tls.apply(builder)?.build().map_err(|error| BuildError {
            message: format!("the HTTP client cannot be made: {}", causes(&error.without_url())),
            help: None,
        })?;
        Ok(HttpOutlet { client, request, clock: clock.clone() })
    }

    async fn post(&self, records: &[u8]) -> Result<(), Failure> {
        let Request { uri, method, auth, headers, compression, framing } = &self.request;
        let body = framing.body(records);
        let key = Id::of(&[body.as_slice()]).to_string();
        let body = self.compress(body).await?;
        let mut all = HeaderMap::new();
        all.insert(CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
        all.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&key).expect("digits are ASCII"));
        if let Some(name) = compression.name() {
            all.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        if let Some(Auth(value)) = auth {
            all.insert(AUTHORIZATION, value.clone());
        }
        // Behind ours: the author knows the server.
        all.extend(headers.clone());
        let request = self.client.request(method.clone(), uri.clone()).headers(all).body(body);
        let response = request.send().await.map_err(unreachable)?;
        self.understand(response).await
    }

    /// Compresses on a thread that may take its time: ten megabytes hold up everybody else.
    async fn compress(&self, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let compression = self.request.compression;
        if compression == Compression::None {
            return Ok(body);
        }
        let compressed = tokio::task::spawn_blocking(move || compression.compress(body)).await;
        let compressed = compressed.map_err(io::Error::other).and_then(|compressed| compressed);
        compressed.map_err(|error| Failure {
            kind: FailureKind::Status,
            message: format!("the request cannot be compressed: {error}"),
            response_code: None,
            retry_after: None,
        })
    }

    async fn understand(&self, response: Response) -> Result<(), Failure> {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after(value, self.clock.now()));
        // Read also when all is well: a connection is used again only behind the end of an answer.
        let answer = beginning(response).await;
        if status.is_success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&answer);
        let told = told[..told.floor_char_boundary(ANSWER_TOLD_BYTES_MAX)].trim();
        let message = match told.is_empty() {
            true => format!("the server answered {status}"),
            false => format!("the server answered {status}: {told}"),
        };
        let kind = kind(status);
        let response_code = Some(status.as_u16());
        Err(Failure { kind, message, response_code, retry_after: wait })
    }
}

impl Outlet for HttpOutlet {
    fn send<'a>(&'a self, records: &'a [u8]) -> BoxFuture<'a, Result<(), Failure>> {
        self.post(records).boxed()
    }
}

/// Says whose a failure is, by RFC 9110 §15. What is not known to be about the records themselves
/// may be set right elsewhere.
fn kind(status: StatusCode) -> FailureKind {
    match status.as_u16() {
        400 | 413 | 422 => FailureKind::Refused,
        408 | 425 => FailureKind::Status,
        429 | 503 => FailureKind::Throttled,
        500.. => FailureKind::Status,
        _ => FailureKind::Rejected,
    }
}

/// Reads an answer as far as it counts; one that breaks off has been understood by its status.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        answer.extend_from_slice(&chunk);
    }
    answer
}

fn unreachable(error: reqwest::Error) -> Failure {
    let kind = if error.is_timeout() { FailureKind::Timeout } else { FailureKind::Unreachable };
    // The address may hold a token.
    let message = causes(&error.without_url());
    Failure { kind, message, response_code: None, retry_after: None }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}
