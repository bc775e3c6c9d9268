//! `aws_secrets_manager`: AWS Secrets Manager. A key is the name of a secret, `name#field` a field
//! of one that is a JSON object; with `secret_id` a key is the name of a field, as in Vector.
//!
//! Who we are is said by keys (of the document, or of the environment), by a token of a web
//! identity (of the environment: what EKS gives a pod), and perhaps by a role that these take on.
//!
//! Source: AWS, *Secrets Manager API reference* (GetSecretValue), *STS API reference* (AssumeRole,
//! AssumeRoleWithWebIdentity); the names of variables are those of AWS' SDKs.

use crate::http::{address, client, told};
use crate::limits::{ROLE_LIFE, SECRET_BYTES_MAX, TOKEN_MARGIN};
use crate::tell::{missing, unavailable};
use crate::wiped::{Wiped, bounded, secret};
use crate::{Cache, file};
use azud_client::auth::aws::{Credentials, sign};
use azud_client::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use azud_client::{Answer, Failure, Http, Method, Request, StatusCode, Url};
use azud_event::clock::Clock;
use azud_plan::component::{
    BuildError, Cause, Confidential, Secret, SecretBackend, SecretError, Secrets,
};
use azud_plan::resolve::{AwsAuth, AwsSecretsManager as Options};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::env;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Errors that say that our credentials do not do any more.
const STALE: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
];

/// The secrets of an account in a region.
pub(crate) struct AwsSecretsManager {
    name: String,
    region: String,
    address: Url,
    tokens: Url,
    secret_id: Option<String>,
    auth: AwsAuth,
    http: Http,
    local: Arc<Cache>,
    clock: Clock,
    /// The keys of a role, and until when they last.
    session: Mutex<Option<(Credentials, Duration)>>,
    /// One at a time takes it on.
    turn: Semaphore,
}

impl AwsSecretsManager {
    /// Makes the backend of this name; its own secrets come of those on this machine.
    ///
    /// # Errors
    /// When no region is known, or a file of TLS cannot be used.
    pub fn new(
        name: &str,
        options: &Options,
        local: &Arc<Cache>,
        clock: &Clock,
    ) -> Result<Self, BuildError> {
        let region = options.region.clone().or_else(|| variable("AWS_REGION"));
        let region = region.or_else(|| variable("AWS_DEFAULT_REGION"));
        let Some(region) = region else {
            return Err(BuildError {
                message: format!("the secret backend `{name}` has no region"),
                help: Some("write its `region`, or set AWS_REGION".to_owned()),
            });
        };
        let own = |written: &Option<String>, service: &str| {
            let usual = || format!("https://{service}.{region}.{}/", domain(&region));
            address(name, &written.clone().unwrap_or_else(usual))
        };
        let main = own(&options.endpoint, "secretsmanager")?;
        let tokens = own(&options.auth.sts_endpoint, "sts")?;
        let written = [main.clone(), tokens.clone()];
        let http = client(name, &options.tls, options.timeout, &written, clock)?;
        Ok(AwsSecretsManager {
            name: name.to_owned(),
            region,
            address: main,
            tokens,
            secret_id: options.secret_id.clone(),
            auth: options.auth.clone(),
            http,
            local: Arc::clone(local),
            clock: clock.clone(),
            session: Mutex::new(None),
            turn: Semaphore::new(1),
        })
    }

    async fn find(&self, key: &str) -> Result<Secret, SecretError> {
        let (id, field) = match (&self.secret_id, key.split_once('#')) {
            (Some(id), _) => (id.as_str(), Some(key)),
            (None, Some((id, field))) => (id, Some(field)),
            (None, None) => (key, None),
        };
        let answer = self.ask(id).await.map_err(|failure| told(&self.name, key, &failure))?;
        let whole = Wiped::parse(&answer.body);
        let down = |why: &str| unavailable(&self.name, format!("the answer is {why}"));
        let whole = whole.map_err(|why| down(&why))?;
        if answer.status != StatusCode::OK {
            return Err(self.refusal(key, &answer, &whole));
        }
        let text = match (whole.get("SecretString"), whole.get("SecretBinary")) {
            (Some(Value::String(text)), _) => text,
            (_, Some(_)) => return Err(missing(&self.name, key, "binary, not a text")),
            _ => return Err(down("none of Secrets Manager")),
        };
        let Some(field) = field else {
            return bounded(text).map_err(|why| missing(&self.name, key, why));
        };
        let object = Wiped::parse(text.as_bytes());
        let object = object.map_err(|why| missing(&self.name, key, why))?;
        secret(object.get(field)).map_err(|why| missing(&self.name, key, why))
    }

    fn refusal(&self, key: &str, answer: &Answer, body: &Value) -> SecretError {
        let class = class(body);
        let status = answer.status.as_u16();
        match class {
            "ResourceNotFoundException" => missing(&self.name, key, format!("{status}: {class}")),
            "ThrottlingException" | "InternalServiceError" | "" => {
                unavailable(&self.name, answer.failure(self.http.redactor()).message)
            }
            _ if answer.status.is_server_error() => {
                unavailable(&self.name, answer.failure(self.http.redactor()).message)
            }
            _ => missing(&self.name, key, answer.failure(self.http.redactor()).message),
        }
    }

    /// Asks for a secret, and once more with new keys when these do not do any more.
    async fn ask(&self, id: &str) -> Result<Answer, Failure> {
        let mut request = Request { method: Method::POST, ..Request::get(self.address.clone()) };
        let target = HeaderValue::from_static("secretsmanager.GetSecretValue");
        request.headers.insert(TARGET, target);
        let kind = HeaderValue::from_static("application/x-amz-json-1.1");
        request.headers.insert(CONTENT_TYPE, kind);
        request.body = json!({ "SecretId": id }).to_string().into();
        let answer = self.send(&request).await?;
        if answer.status.is_success() || !is_stale(&answer) {
            return Ok(answer);
        }
        self.forget();
        self.send(&request).await
    }

    async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let credentials = self.credentials().await?;
        let mut signed = request.clone();
        let place = (self.region.as_str(), "secretsmanager");
        sign(&mut signed, &credentials, place, self.clock.now())?;
        self.http.send(&signed, None).await
    }

    fn forget(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let keys = self.auth.keys.iter().flat_map(|(id, key)| [id, key]);
        keys.chain(&self.auth.session_token).for_each(|text| text.refused(&*self.local));
    }

    fn current(&self) -> Option<Credentials> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (credentials, until) = session.as_ref()?;
        (self.clock.monotonic() + TOKEN_MARGIN < *until).then(|| credentials.clone())
    }

    async fn credentials(&self) -> Result<Credentials, Failure> {
        let identity = web_identity().filter(|_| self.auth.keys.is_none());
        if identity.is_none() && self.auth.assume_role.is_none() {
            return self.own().await;
        }
        if let Some(credentials) = self.current() {
            return Ok(credentials);
        }
        let turn = self.turn.acquire().await;
        let _turn = turn.map_err(|error| Failure::new(Cause::Local, error.to_string()))?;
        if let Some(credentials) = self.current() {
            return Ok(credentials);
        }
        let own = match identity {
            Some(identity) => self.identify(&identity).await?,
            None => self.own().await?,
        };
        let credentials = match &self.auth.assume_role {
            Some(role) => self.assume(role, &own).await?,
            None => own,
        };
        let until = self.clock.monotonic() + ROLE_LIFE;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        *session = Some((credentials.clone(), until));
        Ok(credentials)
    }

    /// Gives the keys of the document, else those of the environment.
    async fn own(&self) -> Result<Credentials, Failure> {
        let fill = async |text: &Confidential| -> Result<Secret, Failure> {
            let secrets: &dyn Secrets = &*self.local;
            let secret = text.fill(secrets).await?;
            self.http.redactor().keep(&secret);
            Ok(secret)
        };
        if let Some((id, key)) = &self.auth.keys {
            let session_token = match &self.auth.session_token {
                Some(token) => Some(fill(token).await?),
                None => None,
            };
            return Ok(Credentials {
                access_key_id: fill(id).await?.reveal().to_owned(),
                secret_access_key: fill(key).await?,
                session_token,
            });
        }
        let (id, key) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let (Some(access_key_id), Some(key)) = (id, key) else {
            let message = "nothing says who we are: neither `auth.access_key_id`, nor \
                           AWS_ACCESS_KEY_ID, nor AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN";
            return Err(Failure::new(Cause::Authentication, message));
        };
        let session_token = variable("AWS_SESSION_TOKEN").map(Secret::new);
        Ok(Credentials { access_key_id, secret_access_key: Secret::new(key), session_token })
    }

    async fn assume(&self, role: &str, own: &Credentials) -> Result<Credentials, Failure> {
        let life = ROLE_LIFE.as_secs().to_string();
        let mut pairs = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", self.auth.session_name.as_str()),
            ("DurationSeconds", life.as_str()),
        ];
        pairs.extend(self.auth.external_id.as_deref().map(|id| ("ExternalId", id)));
        let mut request = form(&self.tokens, pairs);
        sign(&mut request, own, (&self.region, "sts"), self.clock.now())?;
        self.tokens_of(&request).await.map_err(|failure| failure.during("taking on the role"))
    }

    async fn identify(&self, identity: &WebIdentity) -> Result<Credentials, Failure> {
        let path = identity.token_file.display();
        let lost = |why: String| Failure::new(Cause::Authentication, format!("{path}: {why}"));
        let bytes = file::read_bounded(&identity.token_file, SECRET_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| lost(error.to_string()))?;
        let token = std::str::from_utf8(&bytes).map_err(|_| lost("not UTF-8".to_owned()))?;
        self.http.redactor().keep(&Secret::new(token.trim().to_owned()));
        let life = ROLE_LIFE.as_secs().to_string();
        let session = identity.session.as_deref().unwrap_or(&self.auth.session_name);
        let request = form(
            &self.tokens,
            [
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", "2011-06-15"),
                ("RoleArn", identity.role.as_str()),
                ("RoleSessionName", session),
                ("WebIdentityToken", token.trim()),
                ("DurationSeconds", life.as_str()),
            ],
        );
        self.tokens_of(&request).await.map_err(|failure| failure.during("showing the web identity"))
    }

    /// Sends a request to STS, and reads the keys that it gives.
    async fn tokens_of(&self, request: &Request) -> Result<Credentials, Failure> {
        let answer = self.http.send(request, None).await?;
        let answer = answer.succeeded(self.http.redactor()).map_err(|failure| {
            let refused = failure.status.is_some_and(|status| (400..404).contains(&status));
            let cause = if refused { Cause::Authentication } else { failure.cause };
            Failure { cause, ..failure }
        })?;
        let text = String::from_utf8_lossy(&answer.body);
        let part = |name: &str| {
            let behind = text.split_once(&format!("<{name}>"))?.1;
            Some(behind.split_once(&format!("</{name}>"))?.0.trim().to_owned())
        };
        let (id, key) = (part("AccessKeyId"), part("SecretAccessKey").map(Secret::new));
        let session_token = part("SessionToken").map(Secret::new);
        let (Some(access_key_id), Some(secret_access_key)) = (id, key) else {
            return Err(Failure::new(Cause::Response, "the answer has no keys"));
        };
        self.http.redactor().keep(&secret_access_key);
        session_token.iter().for_each(|token| self.http.redactor().keep(token));
        Ok(Credentials { access_key_id, secret_access_key, session_token })
    }
}

/// A token that says who this process is, of the environment.
struct WebIdentity {
    token_file: PathBuf,
    role: String,
    session: Option<String>,
}

fn web_identity() -> Option<WebIdentity> {
    if variable("AWS_ACCESS_KEY_ID").is_some() {
        return None;
    }
    Some(WebIdentity {
        token_file: variable("AWS_WEB_IDENTITY_TOKEN_FILE")?.into(),
        role: variable("AWS_ROLE_ARN")?,
        session: variable("AWS_ROLE_SESSION_NAME"),
    })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Gives what the names of services end with in a region.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

fn form<'a>(url: &Url, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Request {
    let mut request = Request::form(url.clone(), pairs);
    // STS answers in XML unless it is asked for something else.
    request.headers.remove(ACCEPT);
    request
}

/// Gives the class of an error: `com.amazonaws…#ResourceNotFoundException`.
fn class(body: &Value) -> &str {
    let class = body.get("__type").or_else(|| body.get("code")).and_then(Value::as_str);
    class.map_or("", |class| class.rsplit('#').next().unwrap_or(class))
}

fn is_stale(answer: &Answer) -> bool {
    let body = Wiped::parse(&answer.body);
    body.is_ok_and(|body| STALE.contains(&class(&body)))
}

impl SecretBackend for AwsSecretsManager {
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        self.find(key).boxed()
    }
}
