//! [`Http`]: one request to its answer, with redirects, credentials, bounds and a trace.

use crate::auth::Auth;
use crate::body;
use crate::failure::{Failure, causes};
use crate::guard::Guard;
use crate::limits::{IDLE_CONNECTION, REDIRECTS_MAX, REFUSAL_BYTES_MAX};
use crate::options::HttpOptions;
use crate::redactor::{About, Redactor};
use crate::renewal::Renewal;
use crate::retry::{http_date, retry_after};
use crate::trace::{Exchange, Trace};
use crate::url::shown;
use azud_event::clock::Clock;
use azud_event::time::EventTime;
use azud_plan::component::{BuildError, Cause};
use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE,
    HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, StatusCode, Url, redirect};
use std::sync::Arc;
use std::time::Duration;

/// A request. What proves who we are is not in it; that is added where it may go.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Its headers; they go only to origins that the document names, but for a few that say nothing
    /// (`Accept`).
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Request {
    /// Makes a `GET`.
    pub fn get(url: Url) -> Self {
        Request { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Makes a `POST` of a form.
    pub fn form<'a>(url: Url, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let body = crate::url::form(pairs).into();
        Request { method: Method::POST, url, headers, body }
    }

    /// Sets a header whose value is not to be shown.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn set_secret(&mut self, name: HeaderName, value: &str) -> Result<(), Failure> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = format!("what is to stand in `{name}` has signs that a header may not");
            Failure::new(Cause::Authentication, message)
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, inflated; of a refusal the beginning.
    pub body: Bytes,
    /// Where it came from, behind redirects.
    pub url: Url,
    /// How long it took.
    pub took: Duration,
    /// When it came.
    pub at: EventTime,
}

impl Answer {
    /// Gives a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Gives how long the other side wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, self.at))
    }

    /// Gives how far the other side's clock is ahead of ours, in seconds, as far as it says.
    pub fn skew_seconds(&self) -> Option<i64> {
        let theirs = http_date(self.header(DATE.as_str())?)?;
        Some(theirs.nanoseconds().saturating_sub(self.at.nanoseconds()) / 1_000_000_000)
    }

    /// Gives itself when its status is a success, else the failure that it is.
    ///
    /// # Errors
    /// What is not 2xx.
    pub fn succeeded(self, redactor: &Redactor) -> Result<Answer, Failure> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(self.failure(redactor)),
        }
    }

    /// Gives the failure that the answer is.
    pub fn failure(&self, redactor: &Redactor) -> Failure {
        self.failed(&redactor.refusal(&self.headers, &self.body))
    }

    /// Gives the failure that an answer about who we are is: it may hold secrets of which nobody
    /// knows, so little of it is told.
    pub(crate) fn identity_failure(&self, redactor: &Redactor) -> Failure {
        let Answer { status, headers, body, .. } = self;
        let told = redactor.answer(*status, headers, body, About::Identity, REFUSAL_BYTES_MAX);
        self.failed(&told)
    }

    fn failed(&self, told: &str) -> Failure {
        let mut failure = Failure::of_status(self.status, told, self.retry_after());
        if self.url.scheme() == "https" {
            failure.name_certificate(&String::from_utf8_lossy(&self.body));
        }
        failure
    }
}

/// A client. Clones share connections, trace and secrets to be hushed.
#[derive(Clone)]
pub struct Http {
    client: Arc<Renewal>,
    guard: Guard,
    clock: Clock,
    timeout: Duration,
    body_bytes_max: usize,
    redactor: Redactor,
    trace: Arc<Trace>,
    /// Whether exchanges are kept for people to look at.
    traces: bool,
}

impl Http {
    /// Reads the files of TLS and makes the client; nothing is connected yet. `written` are the
    /// addresses that the document itself names. Files of TLS that change later are read again.
    ///
    /// # Errors
    /// When a file cannot be read, or does not hold what it should.
    pub fn build<'a>(
        options: &'a HttpOptions,
        written: impl IntoIterator<Item = &'a Url>,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        let guard = Guard::new(options.allow_private, written.into_iter().chain(&options.proxy));
        let (files, own) = (options.files().cloned().collect(), (options.clone(), guard.clone()));
        let client = Renewal::build(files, clock, move || make(&own.0, &own.1))?;
        let client = Arc::new(client);
        Ok(Http {
            client,
            guard,
            clock: clock.clone(),
            timeout: options.timeout,
            body_bytes_max: options.body_bytes_max,
            redactor: Redactor::default(),
            trace: Arc::default(),
            traces: true,
        })
    }

    /// Keeps no exchange: for who is answered with secrets.
    #[must_use]
    pub fn untraced(self) -> Self {
        Http { traces: false, ..self }
    }

    /// Gives what takes secrets out of texts.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Gives the last exchanges.
    pub fn trace(&self) -> &Arc<Trace> {
        &self.trace
    }

    /// Gives the clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sends a request and reads the whole answer; one that says that we are not known (401) is
    /// asked for once more with fresh credentials, where there are such.
    ///
    /// # Errors
    /// When there is no whole answer. An answer that is a refusal is an answer
    /// ([`Answer::succeeded`]).
    pub async fn send(&self, request: &Request, auth: Option<&Auth>) -> Result<Answer, Failure> {
        let whole = async {
            let (answer, signed) = self.follow(request.clone(), auth).await?;
            match auth {
                Some(auth)
                    if answer.status == StatusCode::UNAUTHORIZED
                        && auth.refused(&answer, &signed, self).await? =>
                {
                    Ok(self.follow(request.clone(), Some(auth)).await?.0)
                }
                _ => Ok(answer),
            }
        };
        if self.trace.is_replayed() {
            return self.replayed(request).await;
        }
        let sent = self.in_time(&request.url, whole).await;
        // Who was asked without credentials says nothing of them.
        let asked_with = |answer: &Answer| self.guard.is_written(&answer.url);
        if let Some(auth) = auth.filter(|_| sent.as_ref().map_or(true, asked_with)) {
            auth.told(&sent, self);
        }
        sent
    }

    /// Sends a request that a recording answers. Who we are is not asked for, and its secrets are
    /// not needed: no recording has them. Where a refusal was followed by another try, that is
    /// given.
    async fn replayed(&self, request: &Request) -> Result<Answer, Failure> {
        let (answer, _) = self.follow(request.clone(), None).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        Ok(self.follow(request.clone(), None).await.map_or(answer, |(again, _)| again))
    }

    /// Does what takes as long as a whole request may take.
    async fn in_time(
        &self,
        url: &Url,
        whole: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Answer, Failure> {
        tokio::time::timeout(self.timeout, whole).await.unwrap_or_else(|_| {
            let (host, timeout) = (shown(url), self.timeout);
            let message = format!("no whole answer of {host} within {timeout:?}");
            Err(Failure::new(Cause::Timeout, message))
        })
    }

    /// Follows a request to where it is answered; gives also the request that was answered, with
    /// what says who we are.
    async fn follow(
        &self,
        request: Request,
        auth: Option<&Auth>,
    ) -> Result<(Answer, Request), Failure> {
        let mut request = request;
        for _ in 0..=REDIRECTS_MAX {
            self.guard.admit(&request.url)?;
            let mut signed = request.clone();
            match self.guard.is_written(&request.url) {
                true => {
                    if let Some(auth) = auth {
                        match auth.sign(&mut signed, self).await {
                            // What a recording answers goes nowhere, and needs no key that is one.
                            Err(failure)
                                if failure.status.is_none() && self.trace.is_replayed() => {}
                            done => done?,
                        }
                    }
                }
                false => strip(&mut signed.headers),
            }
            let answer = self.exchange(signed.clone(), About::Data).await?;
            match redirected(&request, &answer)? {
                Some(next) => request = next,
                None => return Ok((answer, signed)),
            }
        }
        let message = format!("more than {REDIRECTS_MAX} redirects");
        Err(Failure::new(Cause::Response, message))
    }

    /// Sends one request of our own that proves who we are, such as one to a token endpoint, within
    /// the time of a whole request. Nothing is shown of the values in it and in its answer.
    ///
    /// # Errors
    /// When there is no whole answer in time.
    pub(crate) async fn identify(&self, request: Request) -> Result<Answer, Failure> {
        let url = request.url.clone();
        self.in_time(&url, self.exchange(request, About::Identity)).await
    }

    /// Sends one request as it is.
    ///
    /// # Errors
    /// When there is no whole answer.
    async fn exchange(&self, request: Request, about: About) -> Result<Answer, Failure> {
        self.guard.admit(&request.url)?;
        if let Some(replayed) = self.trace.replay(&request, self.clock.now()) {
            return replayed;
        }
        self.redactor.keep_headers(&request.headers);
        let begun = self.clock.monotonic();
        let done = self.transfer(&request, begun).await;
        let took = self.clock.monotonic().saturating_sub(begun);
        let done = done.map_err(|mut failure| {
            failure.message = self.redactor.clean(&failure.message);
            failure.during(&shown(&request.url))
        });
        if self.traces {
            let kept = (about, self.trace.body_bytes());
            let exchange =
                Exchange::of(&request, &done, took, self.clock.now(), &self.redactor, kept);
            self.trace.note(exchange);
        }
        done
    }

    async fn transfer(&self, request: &Request, begun: Duration) -> Result<Answer, Failure> {
        let Request { method, url, headers, body } = request.clone();
        let mut headers = headers;
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(body::ACCEPTED));
        if !body.is_empty() && headers.get(CONTENT_TYPE).is_none() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let client = self.client.client().await;
        let sending = client.request(method, url.clone()).headers(headers).body(body);
        let mut response = sending.send().await.map_err(Failure::of_transport)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match status.is_success() {
            true => body::read(&mut response, self.body_bytes_max).await?,
            // Read also then: a connection is used again only behind the end of an answer.
            false => body::beginning(&mut response, REFUSAL_BYTES_MAX).await,
        };
        let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let body = match encoding {
            None => body.into(),
            Some(encoding) => match body::inflate(body, encoding, self.body_bytes_max).await {
                Ok(body) => body,
                Err(_) if !status.is_success() => Bytes::new(),
                Err(failure) => return Err(failure),
            },
        };
        let took = self.clock.monotonic().saturating_sub(begun);
        Ok(Answer { status, headers, body, url, took, at: self.clock.now() })
    }
}

/// Makes the connections, with what the files of TLS hold now.
fn make(options: &HttpOptions, guard: &Guard) -> Result<Client, BuildError> {
    let unbuilt = |error: reqwest::Error| BuildError {
        message: format!("the HTTP client cannot be made: {}", causes(&error.without_url())),
        help: None,
    };
    let mut builder = Client::builder()
        .user_agent(concat!("azud/", env!("CARGO_PKG_VERSION")))
        // Redirects are followed by us, who know what may be sent on.
        .redirect(redirect::Policy::none())
        .referer(false)
        // What the environment says is for the author to let in.
        .no_proxy()
        .dns_resolver(Arc::new(guard.clone()))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .pool_idle_timeout(IDLE_CONNECTION);
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(unbuilt)?);
    }
    options.tls.apply(builder)?.build().map_err(unbuilt)
}

/// Leaves of the headers what goes to anybody.
fn strip(headers: &mut HeaderMap) {
    let open = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE];
    let kept: Vec<(HeaderName, HeaderValue)> = headers
        .iter()
        .filter(|(name, _)| open.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    *headers = kept.into_iter().collect();
}

/// Gives the request that an answer sends us on with, if it does.
fn redirected(request: &Request, answer: &Answer) -> Result<Option<Request>, Failure> {
    let refuse = |why: String| {
        let mut failure = Failure::new(Cause::Configuration, why);
        failure.status = Some(answer.status.as_u16());
        Err(failure)
    };
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.header(LOCATION.as_str()).unwrap_or_default();
    let Ok(url) = request.url.join(location) else {
        return refuse(format!("the server answered {} to no address", answer.status));
    };
    if location.is_empty() {
        return refuse(format!("the server answered {} to no address", answer.status));
    }
    if request.url.scheme() == "https" && url.scheme() != "https" {
        let host = shown(&url);
        return refuse(format!("a redirect to {host} would go on without TLS"));
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let mut next = request.clone();
    if answer.status == StatusCode::SEE_OTHER && !reads {
        next.method = Method::GET;
        next.body = Bytes::new();
        next.headers.remove(CONTENT_TYPE);
        next.headers.remove(CONTENT_LENGTH);
    } else if !reads && url.origin() != request.url.origin() {
        let host = shown(&url);
        return refuse(format!("a redirect of a {} to {host} is not followed", request.method));
    }
    next.url = url;
    Ok(Some(next))
}
