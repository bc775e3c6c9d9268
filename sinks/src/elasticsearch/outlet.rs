//! One bulk request: to one of the servers, until it does not answer; and what its answer means.

use super::bulk::{body, failure, understand};
use crate::deliver::{DeliveryOptions, Failure, FailureKind, Outlet, Unsent};
use crate::headers::Headers;
use crate::limits::{ANSWER_TOLD_BYTES_MAX, CONNECT_TIMEOUT};
use azud_client::auth::Keys;
use azud_client::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use azud_client::{Answer, Auth, AuthOptions, Http, HttpOptions, Method, Request, Tls, Url};
use azud_plan::component::{
    BuildContext, BuildError, Cause, Failed, Probe, ProbeStep, SecretService, Secrets,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The level of gzip: what gzip itself takes.
const GZIP_LEVEL: u32 = 6;

/// What every request of a sink has in common.
#[derive(Clone)]
pub(super) struct Settings {
    /// The servers.
    pub endpoints: Vec<Url>,
    pub auth: Option<AuthOptions>,
    pub headers: Headers,
    pub tls: Tls,
    pub gzip: bool,
    pub pipeline: Option<String>,
}

/// Sends bulk requests.
pub(super) struct BulkOutlet {
    settings: Settings,
    http: Http,
    auth: Option<Auth>,
    secrets: Arc<dyn Secrets>,
    /// Which of the servers is asked.
    turn: AtomicUsize,
}

impl BulkOutlet {
    /// Reads the files of TLS and makes the client; nothing is connected yet.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub fn build(
        settings: Settings,
        options: &DeliveryOptions,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let timeout = options.timeout;
        let http = HttpOptions {
            tls: settings.tls.clone(),
            connect_timeout: CONNECT_TIMEOUT.min(timeout),
            read_timeout: timeout,
            timeout,
            ..HttpOptions::default()
        };
        let own = settings.auth.iter().flat_map(AuthOptions::urls);
        let http = Http::build(&http, settings.endpoints.iter().chain(own), &context.clock)?;
        let secrets = SecretService::of(&context.services);
        let keys = Keys { secrets: Arc::clone(&secrets), tokens: None };
        let auth = settings.auth.as_ref().map(|auth| auth.build(keys));
        let turn = AtomicUsize::new(0);
        Ok(BulkOutlet { settings, http: http.untraced(), auth, secrets, turn })
    }

    /// Gives the server whose turn it is.
    fn endpoint(&self) -> &Url {
        let turn = self.turn.load(Ordering::Relaxed) % self.settings.endpoints.len();
        &self.settings.endpoints[turn]
    }

    /// Makes a request to the server whose turn it is; `path` stands below its address.
    fn request(&self, method: Method, path: &str) -> Request {
        let mut url = self.endpoint().clone();
        let above = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{above}/{path}"));
        Request { method, ..Request::get(url) }
    }

    async fn post(&self, records: &[u8]) -> Result<(), Unsent> {
        let mut request = self.request(Method::POST, "_bulk");
        // All that is looked at; the rest of an answer is as long as the request.
        let mut query = vec![("filter_path", "errors,items.*.status,items.*.error")];
        query.extend(self.settings.pipeline.as_deref().map(|name| ("pipeline", name)));
        request.url.query_pairs_mut().extend_pairs(query);
        let lines = HeaderValue::from_static("application/x-ndjson");
        request.headers.insert(CONTENT_TYPE, lines);
        let body = body(records);
        request.body = match self.settings.gzip {
            true => {
                request.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                // On a thread that may take its time.
                let packed = tokio::task::spawn_blocking(move || gzip(&body)).await;
                let packed = packed.map_err(io::Error::other).and_then(|packed| packed);
                packed.map_err(|error| told(FailureKind::Status, error.to_string()))?.into()
            }
            false => body.into(),
        };
        let count = records.iter().filter(|byte| **byte == b'\n').count();
        let answer = self.send(request).await?;
        let wait = answer.retry_after();
        let own = self.settings.headers.confidential();
        crate::headers::told(own, &*self.secrets, answer.status.as_u16());
        if answer.status.is_success() {
            return understand(&answer.body, count, wait, self.http.redactor());
        }
        let code = answer.status.as_u16();
        let kind = kind(code);
        if kind == FailureKind::Rejected {
            self.refused();
        }
        let message = answer.failure(self.http.redactor()).message;
        Err(failure(kind, message, Some(code), wait).into())
    }

    /// Sends a request; where there is no answer, the next goes to another server.
    async fn send(&self, mut request: Request) -> Result<Answer, Failure> {
        let mut own = HeaderMap::new();
        self.settings.headers.fill(&*self.secrets, self.http.redactor(), &mut own).await?;
        request.headers.extend(own);
        let sent = self.http.send(&request, self.auth.as_ref()).await;
        let failed = |failure: azud_client::Failure| {
            let kind = match failure.cause {
                Cause::Timeout => FailureKind::Timeout,
                Cause::Unreachable | Cause::Local => FailureKind::Unreachable,
                Cause::Server | Cause::Response | Cause::Bound => FailureKind::Status,
                Cause::Authentication | Cause::Configuration => FailureKind::Rejected,
            };
            self::failure(kind, failure.message, failure.status, failure.retry_after)
        };
        let answer = sent.map_err(failed);
        let elsewhere = match &answer {
            Ok(answer) => answer.status.is_server_error(),
            Err(failure) => failure.kind != FailureKind::Rejected,
        };
        if elsewhere {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Asks the server for what anybody may ask. Who may only write is denied that, and is known.
    async fn knock(&self, last: &Failure) -> Result<(), Failure> {
        let answer = self.send(self.request(Method::GET, "")).await?;
        let code = answer.status.as_u16();
        match code {
            200..=299 => Ok(()),
            403 if last.kind != FailureKind::Rejected => Ok(()),
            403 => Err(last.clone()),
            _ => {
                let message = answer.failure(self.http.redactor()).message;
                Err(failure(kind(code), message, Some(code), answer.retry_after()))
            }
        }
    }

    fn refused(&self) {
        self.settings.headers.confidential().for_each(|text| text.refused(&*self.secrets));
    }

    /// Asks the server who it is.
    async fn greet(&self) -> Result<String, Failed> {
        let request = self.request(Method::GET, "");
        let failed = |failure: Failure| Failed {
            cause: match failure.kind {
                FailureKind::Unreachable => Cause::Unreachable,
                FailureKind::Timeout => Cause::Timeout,
                FailureKind::Throttled | FailureKind::Status => Cause::Server,
                FailureKind::Rejected | FailureKind::Refused => Cause::Authentication,
            },
            message: failure.message,
            http_status: failure.response_code,
        };
        let answer = self.send(request).await.map_err(failed)?;
        if !answer.status.is_success() {
            return Err(answer.failure(self.http.redactor()).failed());
        }
        let about: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let part = |path: &str| about.pointer(path).and_then(Value::as_str);
        let Some(version) = part("/version/number") else {
            let message = "the answer is not that of Elasticsearch or OpenSearch".to_owned();
            let http_status = Some(answer.status.as_u16());
            return Err(Failed { cause: Cause::Response, message, http_status });
        };
        let what = part("/version/distribution").unwrap_or("elasticsearch");
        let cluster = part("/cluster_name").unwrap_or("?");
        let told = format!("{what} {version}, cluster {cluster}");
        let told = self.http.redactor().quote(told.as_bytes(), ANSWER_TOLD_BYTES_MAX);
        Ok(format!("{told}, {} ms", answer.took.as_millis()))
    }
}

impl Outlet for BulkOutlet {
    fn send<'a>(&'a self, records: &'a [u8]) -> BoxFuture<'a, Result<(), Unsent>> {
        self.post(records).boxed()
    }

    fn look<'a>(&'a self, last: &'a Failure) -> BoxFuture<'a, Result<(), Failure>> {
        self.knock(last).boxed()
    }
}

/// Asks each server who it is.
pub(super) struct Greeting(pub Result<BulkOutlet, BuildError>);

impl Probe for Greeting {
    fn run(self: Box<Self>) -> BoxFuture<'static, Vec<ProbeStep>> {
        async move {
            let outlet = match self.0 {
                Ok(outlet) => outlet,
                Err(error) => {
                    let message = error.to_string();
                    let failed = Failed { cause: Cause::Local, message, http_status: None };
                    return vec![ProbeStep { name: "client", outcome: Err(failed) }];
                }
            };
            let mut steps = Vec::new();
            for (number, endpoint) in outlet.settings.endpoints.iter().enumerate() {
                outlet.turn.store(number, Ordering::Relaxed);
                let outcome = outlet.greet().await;
                let at = azud_client::url::shown(endpoint);
                let outcome = outcome.map(|seen| format!("{at}: {seen}")).map_err(|failed| {
                    let message = format!("{at}: {}", failed.message);
                    Failed { message, ..failed }
                });
                let ended = outcome.is_err();
                steps.push(ProbeStep { name: "server", outcome });
                if ended {
                    break;
                }
            }
            steps
        }
        .boxed()
    }
}

/// Says whose a failure of a whole request is.
fn kind(code: u16) -> FailureKind {
    match code {
        413 => FailureKind::Refused,
        429 | 503 => FailureKind::Throttled,
        408 | 425 | 500.. => FailureKind::Status,
        // What is wrong with a record is said of it alone: this is said of us.
        _ => FailureKind::Rejected,
    }
}

fn told(kind: FailureKind, message: String) -> Failure {
    failure(kind, message, None, None)
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let packed = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(packed, Compression::new(GZIP_LEVEL));
    encoder.write_all(body)?;
    encoder.finish()
}
