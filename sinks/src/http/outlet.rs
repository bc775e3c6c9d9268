//! One request: its body, its headers, and what its answer means.

use crate::deliver::{DeliveryOptions, Failure, FailureKind, Outlet, Unsent, causes};
use crate::headers::{Headers, not_had, rejected};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_TOLD_BYTES_MAX, CONNECT_TIMEOUT};
use azud_client::{Redactor, Renewal, Tls, retry_after};
use azud_event::clock::Clock;
use azud_event::id::Id;
use azud_plan::component::{
    BuildContext, BuildError, Confidential, Secret, SecretName, SecretService, Secrets,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use std::io::{self, Write};
use std::sync::Arc;

/// `Idempotency-Key`: draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The level of gzip: what gzip itself takes.
const GZIP_LEVEL: u32 = 6;

/// The level of Zstandard: what zstd itself takes.
const ZSTD_LEVEL: i32 = 3;

/// What every request of a sink has in common.
#[derive(Clone)]
pub(super) struct Request {
    pub uri: Confidential,
    pub method: Method,
    pub auth: Option<Auth>,
    pub headers: Headers,
    pub compression: Compression,
    pub framing: Framing,
}

impl Request {
    /// Lists everything of it that may name secrets.
    fn confidential(&self) -> impl Iterator<Item = &Confidential> {
        let auth = self.auth.iter().flat_map(Auth::confidential);
        [&self.uri].into_iter().chain(auth).chain(self.headers.confidential())
    }

    /// Gives the address and the headers with every secret as it is now, which the redactor knows
    /// then.
    async fn fill(
        &self,
        secrets: &dyn Secrets,
        redactor: &Redactor,
    ) -> Result<(Url, HeaderMap), Failure> {
        let uri = redactor.fill_open(&self.uri, secrets).await.map_err(not_had)?;
        let uri = Url::parse(uri.reveal()).ok();
        let uri = uri.filter(|uri| matches!(uri.scheme(), "http" | "https") && uri.has_host());
        let uri = uri.ok_or_else(|| {
            let names: Vec<_> = self.uri.names().map(SecretName::to_string).collect();
            rejected(format!("`uri` with {} is no address of a server", names.join(", ")))
        })?;
        let mut headers = HeaderMap::new();
        if let Some(auth) = &self.auth {
            headers.insert(AUTHORIZATION, auth.fill(secrets, redactor).await?);
        }
        self.headers.fill(secrets, redactor, &mut headers).await?;
        Ok((uri, headers))
    }
}

/// How we say who we are.
#[derive(Clone)]
pub(super) enum Auth {
    /// RFC 7617.
    Basic { user: Confidential, password: Confidential },
    /// RFC 6750.
    Bearer(Confidential),
}

impl Auth {
    fn confidential(&self) -> Vec<&Confidential> {
        match self {
            Auth::Basic { user, password } => vec![user, password],
            Auth::Bearer(token) => vec![token],
        }
    }

    /// Makes the value of `Authorization`.
    async fn fill(
        &self,
        secrets: &dyn Secrets,
        redactor: &Redactor,
    ) -> Result<HeaderValue, Failure> {
        let text = match self {
            Auth::Basic { user, password } => {
                let user = redactor.fill_open(user, secrets).await.map_err(not_had)?;
                let password = redactor.fill(password, secrets).await.map_err(not_had)?;
                let both = Secret::new(format!("{}:{}", user.reveal(), password.reveal()));
                let both = Secret::new(STANDARD.encode(both.reveal()));
                redactor.keep(&both);
                Secret::new(format!("Basic {}", both.reveal()))
            }
            Auth::Bearer(token) => {
                let token = redactor.fill(token, secrets).await.map_err(not_had)?;
                Secret::new(format!("Bearer {}", token.reveal()))
            }
        };
        let mut value = HeaderValue::from_str(text.reveal())
            .map_err(|_| rejected("the token cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
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

/// Makes the connections, with what the files of TLS hold now.
fn make(tls: &Tls, options: &DeliveryOptions) -> Result<Client, BuildError> {
    let builder = Client::builder()
        .user_agent(concat!("azud/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry credentials and records to whom the author did not name.
        .redirect(redirect::Policy::none())
        .referer(false)
        // What the environment says is for the author to let in.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        .pool_max_idle_per_host(options.concurrency);
    tls.apply(builder)?.build().map_err(|error| BuildError {
        message: format!("the HTTP client cannot be made: {}", causes(&error.without_url())),
        help: None,
    })
}

/// Sends requests.
pub(super) struct HttpOutlet {
    client: Arc<Renewal>,
    request: Request,
    secrets: Arc<dyn Secrets>,
    redactor: Redactor,
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
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let (files, tls, options) = (tls.files().cloned().collect(), tls.clone(), *options);
        let client = Renewal::build(files, &context.clock, move || make(&tls, &options))?;
        let (client, secrets) = (Arc::new(client), SecretService::of(&context.services));
        let (redactor, clock) = (Redactor::default(), context.clock.clone());
        Ok(HttpOutlet { client, request, secrets, redactor, clock })
    }

    async fn post(&self, records: &[u8]) -> Result<(), Failure> {
        let Request { method, compression, framing, .. } = &self.request;
        let (uri, headers) = self.request.fill(&*self.secrets, &self.redactor).await?;
        let body = framing.body(records);
        let key = Id::of(&[body.as_slice()]).to_string();
        let body = self.compress(body).await?;
        let mut all = HeaderMap::new();
        all.insert(CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
        all.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&key).expect("digits are ASCII"));
        if let Some(name) = compression.name() {
            all.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        // Behind ours: the author knows the server.
        all.extend(headers);
        let client = self.client.client().await;
        let request = client.request(method.clone(), uri).headers(all).body(body);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let understood = self.understand(response).await;
        if let Err(Failure { kind: FailureKind::Rejected, .. }) = understood {
            // Perhaps a secret was replaced: also one in the address, whose old one is not found.
            self.request.confidential().for_each(|text| text.refused(&*self.secrets));
        }
        let secrets = &*self.secrets;
        crate::headers::told(self.request.confidential(), secrets, status.as_u16());
        understood
    }

    /// Asks for nothing (`HEAD`), as whoever sends. A server that does not know this method, or has
    /// nothing to show here, is there all the same; but who was rejected before wants a success.
    async fn head(&self, last: &Failure) -> Result<(), Failure> {
        let (uri, headers) = self.request.fill(&*self.secrets, &self.redactor).await?;
        let client = self.client.client().await;
        let request = client.request(Method::HEAD, uri).headers(headers);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let secrets = &*self.secrets;
        crate::headers::told(self.request.confidential(), secrets, status.as_u16());
        let Err(failure) = self.understand(response).await else { return Ok(()) };
        let denied = matches!(status.as_u16(), 401 | 403 | 407);
        match failure.kind {
            FailureKind::Rejected if denied => {
                // Perhaps a secret was replaced.
                self.request.confidential().for_each(|text| text.refused(secrets));
                Err(failure)
            }
            FailureKind::Rejected | FailureKind::Refused => match last.kind {
                FailureKind::Rejected => Err(last.clone()),
                _ => Ok(()),
            },
            _ => Err(failure),
        }
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
        let told = self.redactor.quote(&answer, ANSWER_TOLD_BYTES_MAX);
        let told = told.trim();
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
    fn send<'a>(&'a self, records: &'a [u8]) -> BoxFuture<'a, Result<(), Unsent>> {
        self.post(records).map(|sent| sent.map_err(Unsent::All)).boxed()
    }

    fn look<'a>(&'a self, last: &'a Failure) -> BoxFuture<'a, Result<(), Failure>> {
        self.head(last).boxed()
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
