//! `vault`: HashiCorp Vault or OpenBao, the engine KV version 2. A key is `path#field`.
//!
//! ```text
//!   read ─▶ session? ─ none, or at its end ─▶ log in, one at a time
//!              │                                   └─▶ a task renews the token at half its life
//!              ▼
//!           GET /v1/MOUNT/data/PATH ─ 403 ─▶ once more, with a new session
//! ```
//!
//! A token that was renewed lasts until its greatest life; then the role is logged in again. A
//! token from a file is read again when it is refused: what keeps that file, keeps it fresh.
//!
//! Source: Vault, *KV secrets engine version 2 (API)*, *Token auth method (API)*, *AppRole auth
//! method (API)*.

use crate::http::{address, client, told};
use crate::limits::{SECRET_BYTES_MAX, TOKEN_MARGIN, TOKEN_RENEWAL_MIN};
use crate::tell::{missing, unavailable};
use crate::wiped::{Wiped, secret};
use crate::{Cache, file};
use azud_client::header::{HeaderName, HeaderValue};
use azud_client::url::encode;
use azud_client::{Answer, Failure, Http, Method, Request, StatusCode, Url};
use azud_event::clock::Clock;
use azud_plan::component::{
    BuildError, Cause, Confidential, Secret, SecretBackend, SecretError, Secrets,
};
use azud_plan::resolve::{Kept, Vault as Options, VaultAuth};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::sleep;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's own guard against requests that a browser was tricked into.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// A server of Vault.
pub(crate) struct Vault {
    name: String,
    mount: String,
    auth: VaultAuth,
    server: Server,
    local: Arc<Cache>,
    clock: Clock,
    session: Mutex<Option<Session>>,
    /// One at a time logs in.
    turn: Semaphore,
}

/// Where requests go.
#[derive(Clone)]
struct Server {
    http: Http,
    address: Url,
    namespace: Option<HeaderValue>,
}

/// A token as long as it lasts, and what renews it.
struct Session {
    token: Secret,
    until: Arc<Mutex<Option<Duration>>>,
    renewal: Option<AbortHandle>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

/// What Vault says of a token.
struct Lease {
    length: Duration,
    renewable: bool,
}

impl Lease {
    /// Reads it of `auth` (`lease_duration`) or of a look-up (`ttl`); without a length it has no
    /// end.
    fn of(value: &Value) -> Option<Lease> {
        let length = value.get("lease_duration").or_else(|| value.get("ttl"))?.as_u64()?;
        let renewable = value.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        (length > 0).then(|| Lease { length: Duration::from_secs(length), renewable })
    }
}

impl Server {
    fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&Secret>,
    ) -> Result<Request, Failure> {
        let address = format!("{}/v1/{path}", self.address.as_str().trim_end_matches('/'));
        let url = Url::parse(&address)
            .map_err(|error| Failure::new(Cause::Configuration, error.to_string()))?;
        let mut request = Request { method, ..Request::get(url) };
        request.headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            request.headers.insert(NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            self.http.redactor().keep(token);
            request.set_secret(TOKEN, token.reveal())?;
        }
        Ok(request)
    }

    async fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &Value,
    ) -> Result<Wiped, Failure> {
        let mut request = self.request(Method::POST, path, token)?;
        request.body = body.to_string().into();
        let answer = self.http.send(&request, None).await?.succeeded(self.http.redactor())?;
        parse(&answer)
    }

    /// Renews a token again and again, until that does not lengthen its life any more.
    async fn keep_renewing(
        self,
        token: Secret,
        mut lease: Lease,
        until: Arc<Mutex<Option<Duration>>>,
        name: String,
    ) {
        let clock = self.http.clock().clone();
        while lease.renewable && lease.length >= TOKEN_RENEWAL_MIN {
            sleep(lease.length / 2).await;
            let renewed = self.post("auth/token/renew-self", Some(&token), &json!({})).await;
            match renewed.map(|answer| answer.get("auth").and_then(Lease::of)) {
                Ok(Some(renewed)) => {
                    lease = renewed;
                    let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
                    *until = Some(clock.monotonic().saturating_add(lease.length));
                }
                Ok(None) => return,
                Err(failure) if failure.is_passing() => {
                    // It is tried again in the half that is left.
                    lease.length /= 2;
                }
                Err(failure) => {
                    tracing::warn!(backend = name, "the token is not renewed: {failure}");
                    return;
                }
            }
        }
    }
}

fn parse(answer: &Answer) -> Result<Wiped, Failure> {
    Wiped::parse(&answer.body)
        .map_err(|why| Failure::new(Cause::Response, format!("the answer is {why}")))
}

impl Vault {
    /// Makes the backend of this name; its own secrets come of those on this machine.
    ///
    /// # Errors
    /// When a file of TLS cannot be used.
    pub fn new(
        name: &str,
        options: &Options,
        local: &Arc<Cache>,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        let address = address(name, &options.address)?;
        let written = std::slice::from_ref(&address);
        let http = client(name, &options.tls, options.timeout, written, clock)?;
        let namespace = options.namespace.as_deref().map(HeaderValue::from_str);
        let namespace = namespace.transpose().map_err(|_| BuildError {
            message: format!("the secret backend `{name}` has no namespace that can be sent"),
            help: None,
        })?;
        Ok(Vault {
            name: name.to_owned(),
            mount: options.mount.split('/').map(encode).collect::<Vec<_>>().join("/"),
            auth: options.auth.clone(),
            server: Server { http, address, namespace },
            local: Arc::clone(local),
            clock: clock.clone(),
            session: Mutex::new(None),
            turn: Semaphore::new(1),
        })
    }

    async fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let Some((path, field)) = key.rsplit_once('#') else {
            return Err(missing(&self.name, key, "a key is `path#field`"));
        };
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            return Err(missing(&self.name, key, "its path has an empty part, `.` or `..`"));
        }
        let path = parts.into_iter().map(encode).collect::<Vec<_>>().join("/");
        let path = format!("{}/data/{path}", self.mount);
        let answer = self.get(&path).await.map_err(|failure| told(&self.name, key, &failure))?;
        let status = answer.status.as_u16();
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(missing(&self.name, key, "404")),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let failure = answer.failure(self.server.http.redactor());
                return Err(missing(&self.name, key, format!("{status}: {}", failure.message)));
            }
            _ => {
                let failure = answer.failure(self.server.http.redactor());
                return Err(unavailable(&self.name, failure.message));
            }
        }
        let answer = parse(&answer).map_err(|failure| told(&self.name, key, &failure))?;
        match answer.pointer("/data/data") {
            Some(Value::Object(fields)) => {
                secret(fields.get(field)).map_err(|why| missing(&self.name, key, why))
            }
            _ => Err(unavailable(&self.name, "the answer is none of the engine KV version 2")),
        }
    }

    /// Asks, and once more with a new session when the token is not taken.
    async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let (token, fresh) = self.token().await?;
        let request = self.server.request(Method::GET, path, Some(&token))?;
        let answer = self.server.http.send(&request, None).await?;
        if answer.status != StatusCode::FORBIDDEN || fresh {
            return Ok(answer);
        }
        self.forget(&token);
        let (token, _) = self.token().await?;
        let request = self.server.request(Method::GET, path, Some(&token))?;
        self.server.http.send(&request, None).await
    }

    /// Gives a token, and whether it was obtained just now.
    async fn token(&self) -> Result<(Secret, bool), Failure> {
        if let Some(token) = self.current() {
            return Ok((token, false));
        }
        let turn = self.turn.acquire().await;
        let _turn = turn.map_err(|error| Failure::new(Cause::Local, error.to_string()))?;
        if let Some(token) = self.current() {
            return Ok((token, false));
        }
        let (token, lease) = self.log_in().await?;
        self.server.http.redactor().keep(&token);
        self.begin(token.clone(), lease);
        Ok((token, true))
    }

    fn current(&self) -> Option<Secret> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let session = session.as_ref()?;
        let until = *session.until.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = until.is_none_or(|until| self.clock.monotonic() + TOKEN_MARGIN < until);
        lasts.then(|| session.token.clone())
    }

    fn begin(&self, token: Secret, lease: Option<Lease>) {
        let now = self.clock.monotonic();
        let until = Arc::new(Mutex::new(lease.as_ref().map(|lease| now + lease.length)));
        let renewal = lease.filter(|lease| lease.renewable).map(|lease| {
            let (server, until) = (self.server.clone(), Arc::clone(&until));
            let renewing = server.keep_renewing(token.clone(), lease, until, self.name.clone());
            tokio::spawn(renewing).abort_handle()
        });
        let session = Session { token, until, renewal };
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    /// Forgets a session whose token is not taken, and reads what it was made of again.
    fn forget(&self, token: &Secret) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(|session| session.token == *token) {
            *session = None;
        }
        drop(session);
        for text in self.confidential() {
            text.refused(&*self.local);
        }
    }

    fn confidential(&self) -> Vec<&Confidential> {
        match &self.auth {
            VaultAuth::AppRole { role_id, secret_id: Kept::Text(text), .. } => vec![role_id, text],
            VaultAuth::AppRole { role_id, .. } => vec![role_id],
            VaultAuth::Token(Kept::Text(text)) => vec![text],
            VaultAuth::Token(Kept::File(_)) => Vec::new(),
        }
    }

    async fn log_in(&self) -> Result<(Secret, Option<Lease>), Failure> {
        match &self.auth {
            VaultAuth::Token(token) => {
                let token = self.kept(token).await?;
                let request =
                    self.server.request(Method::GET, "auth/token/lookup-self", Some(&token))?;
                let answer = self.server.http.send(&request, None).await?;
                // Whoever may not look itself up may still read; it is then not renewed.
                let known = match answer.status.is_success() {
                    true => parse(&answer)?.get("data").and_then(Lease::of),
                    false => None,
                };
                Ok((token, known))
            }
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                let (role, secret) = (self.fill(role_id).await?, self.kept(secret_id).await?);
                self.server.http.redactor().keep(&secret);
                let body = json!({ "role_id": role.reveal(), "secret_id": secret.reveal() });
                let mount = mount.split('/').map(encode).collect::<Vec<_>>().join("/");
                let path = format!("auth/{mount}/login");
                let answer = self.server.post(&path, None, &body).await.map_err(|failure| {
                    // A login that is refused is answered with 400.
                    let refused = failure.status.is_some_and(|status| (400..404).contains(&status));
                    let cause = if refused { Cause::Authentication } else { failure.cause };
                    Failure { cause, ..failure }.during("logging in")
                })?;
                let auth = answer.get("auth");
                let token = auth.and_then(|auth| auth.get("client_token"));
                let token = secret_of(token).ok_or_else(|| {
                    Failure::new(Cause::Response, "the answer to the login has no token")
                })?;
                Ok((token, auth.and_then(Lease::of)))
            }
        }
    }

    async fn fill(&self, text: &Confidential) -> Result<Secret, Failure> {
        let secrets: &dyn Secrets = &*self.local;
        Ok(text.fill(secrets).await?)
    }

    async fn kept(&self, kept: &Kept) -> Result<Secret, Failure> {
        match kept {
            Kept::Text(text) => self.fill(text).await,
            Kept::File(path) => {
                let lost = |why: String| {
                    Failure::new(Cause::Authentication, format!("{}: {why}", path.display()))
                };
                let bytes = file::read_bounded(path, SECRET_BYTES_MAX).await;
                let bytes = bytes.map_err(|error| lost(error.to_string()))?;
                let text = std::str::from_utf8(&bytes).map_err(|_| lost("not UTF-8".to_owned()))?;
                Ok(Secret::new(text.trim().to_owned()))
            }
        }
    }
}

fn secret_of(value: Option<&Value>) -> Option<Secret> {
    secret(value).ok()
}

impl SecretBackend for Vault {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        self.find(key).boxed()
    }
}
