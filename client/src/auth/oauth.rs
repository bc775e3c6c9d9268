//! `oauth2`: a token of a token endpoint (RFC 6749), by any of four grants.
//!
//! | grant | what is shown |
//! |---|---|
//! | `client_credentials` | the client's secret, or an assertion that it signs (RFC 7523 §2.2) |
//! | `password` | user and password |
//! | `refresh_token` | a token; where the answer has another, that is kept before it is used |
//! | `jwt_bearer` | an assertion (RFC 7523 §2.1), as service accounts of Google have them |

//!
//! # Tokens of one use
//!
//! ```text
//!  turn ─▶ keep what is not kept yet ─▶ load ─▶ exchange ─▶ keep the next ─▶ turn given back
//!   │      └────────────────── a task of its own: nothing breaks it off ─────────────┘
//!   └ one for all in this process that share the token (a poll, a test of the connector)
//! ```
//!
//! From the moment at which the server takes a refresh token until the next one is kept, only we
//! know the next. So whoever waits for an exchange may go (a poll is broken off, the program ends),
//! and the exchange goes on. What is left is a crash of this machine in between: then the token
//! before is shown again, and its server decides. Those that expect answers to get lost take it for
//! a while; others take who shows it for a thief, and somebody must authorize us anew.

use super::jwt::{Claims, Key, sign};
use super::token::{Token, TokenCache};
use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Answer, Http, Request};
use crate::json;
use crate::limits::{ANSWER_TOLD_BYTES_MAX, ASSERTION_LIFE, TOKEN_LIFE, TOKEN_LIFE_MAX};
use crate::sign::{Algorithm, hex, sha256};
use crate::url::shown;
use azud_plan::component::{Cause, Confidential, Secret, SecretUse};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The errors of a token endpoint that are about who asks (RFC 6749 §5.2).
const REFUSALS: [&str; 3] = ["invalid_client", "invalid_grant", "unauthorized_client"];

/// What is asked for, and what is shown for it.
#[derive(Clone, Debug)]
pub(crate) struct OAuth2Options {
    pub(crate) endpoint: Option<Url>,
    pub(crate) grant: Grant,
    pub(crate) client_id: Option<String>,
    pub(crate) client: Client,
    pub(crate) scopes: Vec<String>,
    pub(crate) params: Vec<(String, Confidential)>,
}

impl OAuth2Options {
    /// Lists what is confidential in them.
    fn confidential(&self) -> Vec<&Confidential> {
        let mut all = Vec::new();
        match &self.grant {
            Grant::ClientCredentials => {}
            Grant::Password { user, password } => all.extend([user, password]),
            Grant::RefreshToken(first) => all.push(first),
            Grant::JwtBearer { key, .. } => all.push(&key.private),
            Grant::ServiceAccount { key, .. } => all.push(key),
        }
        match &self.client {
            Client::None => {}
            Client::Basic(secret) | Client::Body(secret) => all.push(secret),
            Client::Assertion { key, .. } => all.push(&key.private),
        }
        all.extend(self.params.iter().map(|(_, value)| value));
        all
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Grant {
    ClientCredentials,
    Password { user: Confidential, password: Confidential },
    RefreshToken(Confidential),
    JwtBearer { key: Key, claims: Claims },
    ServiceAccount { key: Confidential, subject: Option<String> },
}

/// How a client says who it is.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    None,
    Basic(Confidential),
    Body(Confidential),
    Assertion { key: Key, audience: Option<String> },
}

/// The kind.
pub(crate) struct OAuth2 {
    asker: Arc<Asker>,
    cache: TokenCache,
}

/// Who asks the token endpoint.
struct Asker {
    options: OAuth2Options,
    /// A refresh token that is not kept yet.
    unkept: Mutex<Option<Unkept>>,
    /// Where there is no store that has one for all.
    turn: Arc<Semaphore>,
}

/// A refresh token that was given to us, and what came of it.
#[derive(Clone)]
struct Unkept {
    /// Stands for the token of the document that it comes of.
    of: String,
    token: Secret,
}

type Pairs = Vec<(String, Secret)>;

impl OAuth2 {
    pub(crate) fn new(options: OAuth2Options) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        let asker = Asker { options, unkept: Mutex::default(), turn };
        OAuth2 { asker: Arc::new(asker), cache: TokenCache::default() }
    }

    async fn fetch(&self, http: &Http, keys: &Keys) -> Result<Token, Failure> {
        if !matches!(self.asker.options.grant, Grant::RefreshToken(_)) {
            return self.asker.fetch(http, keys).await;
        }
        let (asker, http, keys) = (Arc::clone(&self.asker), http.clone(), keys.clone());
        // It ends when its request and the store do, whoever waits for it.
        let exchange = tokio::spawn(async move {
            let turn = keys.tokens.as_ref().map_or(Arc::clone(&asker.turn), |store| store.turn());
            let turn = turn.acquire().await;
            let _turn = turn.map_err(|error| Failure::new(Cause::Local, error.to_string()))?;
            asker.fetch(&http, &keys).await
        });
        let broken = |error: tokio::task::JoinError| Failure::new(Cause::Local, error.to_string());
        exchange.await.map_err(broken)?
    }
}

impl Asker {
    async fn fetch(&self, http: &Http, keys: &Keys) -> Result<Token, Failure> {
        let mut of = String::new();
        let mut pairs: Pairs = Vec::new();
        let mut add = |name: &str, value: Secret| pairs.push((name.to_owned(), value));
        let open = |text: &str| Secret::new(text.to_owned());
        let mut endpoint = self.options.endpoint.clone();
        match &self.options.grant {
            Grant::ClientCredentials => add("grant_type", open("client_credentials")),
            Grant::Password { user, password } => {
                add("grant_type", open("password"));
                add("username", keys.fill_open(user, http).await?);
                add("password", keys.fill(password, http).await?);
            }
            Grant::RefreshToken(first) => {
                add("grant_type", open("refresh_token"));
                let written = keys.fill(first, http).await?;
                of = fingerprint(&written);
                add("refresh_token", self.refresh_token(first, written, http, keys).await?);
            }
            Grant::JwtBearer { key, claims } => {
                add("grant_type", open(JWT_BEARER));
                let mut claims = claims.clone();
                claims.audience =
                    claims.audience.or_else(|| endpoint.as_ref().map(ToString::to_string));
                if !self.options.scopes.is_empty() {
                    let scopes = self.options.scopes.join(" ").into();
                    claims.others.insert("scope".to_owned(), scopes);
                }
                add("assertion", key.sign(&claims, ASSERTION_LIFE, http, keys).await?);
            }
            Grant::ServiceAccount { key, subject } => {
                add("grant_type", open(JWT_BEARER));
                let key = keys.fill(key, http).await?;
                let account = ServiceAccount::read(&key)?;
                endpoint = endpoint.or(Some(account.token_uri.clone()));
                add("assertion", account.assertion(subject.clone(), &self.options.scopes, http)?);
            }
        }
        let bearer =
            matches!(self.options.grant, Grant::JwtBearer { .. } | Grant::ServiceAccount { .. });
        if !self.options.scopes.is_empty() && !bearer {
            add("scope", open(&self.options.scopes.join(" ")));
        }
        for (name, value) in &self.options.params {
            add(name, keys.fill(value, http).await?);
        }
        let missing = || Failure::new(Cause::Configuration, "there is no token endpoint");
        let endpoint = endpoint.ok_or_else(missing)?;
        let asked = self.ask(&endpoint, pairs, http, keys).await;
        let token = self.take(&asked?, of, http, keys).await?;
        for text in self.options.confidential() {
            text.used(&*keys.secrets, SecretUse::Refreshed);
        }
        Ok(token)
    }

    /// Sends a request for a token.
    async fn ask(
        &self,
        endpoint: &Url,
        mut pairs: Pairs,
        http: &Http,
        keys: &Keys,
    ) -> Result<Value, Failure> {
        let mut basic = None;
        let id = self.options.client_id.clone();
        let in_body = !matches!(self.options.client, Client::Basic(_));
        if let Some(id) = id.clone().filter(|_| in_body) {
            pairs.push(("client_id".to_owned(), Secret::new(id)));
        }
        match &self.options.client {
            Client::None => {}
            Client::Basic(secret) => basic = Some(keys.fill(secret, http).await?),
            Client::Body(secret) => {
                pairs.push(("client_secret".to_owned(), keys.fill(secret, http).await?));
            }
            Client::Assertion { key, audience } => {
                let claims = Claims {
                    issuer: id.clone(),
                    subject: id.clone(),
                    audience: Some(audience.clone().unwrap_or_else(|| endpoint.to_string())),
                    ..Claims::default()
                };
                let signed = key.sign(&claims, ASSERTION_LIFE, http, keys).await?;
                let kind = Secret::new(ASSERTION_TYPE.to_owned());
                pairs.push(("client_assertion_type".to_owned(), kind));
                pairs.push(("client_assertion".to_owned(), signed));
            }
        }
        let texts = pairs.iter().map(|(name, value)| (name.as_str(), value.reveal()));
        let mut request = Request::form(endpoint.clone(), texts);
        if let Some(secret) = basic {
            // Both are encoded as in a form before they are joined (RFC 6749 §2.3.1).
            let id = crate::url::encode(&id.unwrap_or_default());
            super::basic::set(&mut request, http, &id, &crate::url::encode(secret.reveal()))?;
        }
        let answer = http.identify(request).await;
        let answer = answer.map_err(|failure| failure.during("asking for a token"))?;
        self.understand(endpoint, &answer, http)
    }

    /// Takes the token out of an answer; a refresh token is kept first. `of` stands for the one of
    /// the document.
    async fn take(
        &self,
        answer: &Value,
        of: String,
        http: &Http,
        keys: &Keys,
    ) -> Result<Token, Failure> {
        let Granted { token, life, refresh } = Granted::read(answer)?;
        if let (Grant::RefreshToken(first), Some(token)) = (&self.options.grant, refresh) {
            http.redactor().keep(&token);
            *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Unkept { of, token });
            self.keep(first, keys).await?;
        }
        Ok(Token::new(token, life, http))
    }

    /// Gives the refresh token that is good: the last that was given to us, unless the document's
    /// (`written`) has changed since.
    async fn refresh_token(
        &self,
        first: &Confidential,
        written: Secret,
        http: &Http,
        keys: &Keys,
    ) -> Result<Secret, Failure> {
        self.keep(first, keys).await?;
        let of = fingerprint(&written);
        let Some(store) = &keys.tokens else {
            // Without a store it is known as long as the process runs.
            let unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Ok(unkept.filter(|unkept| unkept.of == of).map_or(written, |u| u.token));
        };
        let Some(kept) = store.load(&name(first)).await? else { return Ok(written) };
        match kept.reveal().split_once(' ') {
            Some((known, token)) if known == of => {
                let token = Secret::new(token.to_owned());
                http.redactor().keep(&token);
                Ok(token)
            }
            _ => Ok(written),
        }
    }

    /// Keeps a refresh token that was given to us and is not kept yet.
    async fn keep(&self, first: &Confidential, keys: &Keys) -> Result<(), Failure> {
        let unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(Unkept { of, token }), Some(store)) = (unkept, &keys.tokens) else {
            return Ok(());
        };
        let kept = Secret::new(format!("{of} {}", token.reveal()));
        store.keep(&name(first), &kept).await?;
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Reads an answer of the token endpoint.
    fn understand(&self, endpoint: &Url, answer: &Answer, http: &Http) -> Result<Value, Failure> {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let place = format!("asking {} for a token", shown(endpoint));
        if answer.status.is_success() {
            let missing = || Failure::new(Cause::Response, "the answer is not JSON").during(&place);
            return body.ok_or_else(missing);
        }
        let mut failure = answer.identity_failure(http.redactor());
        if matches!(answer.status.as_u16(), 400 | 401 | 403) {
            failure.cause = Cause::Authentication;
            let text = |name: &str| body.as_ref()?.get(name).and_then(json::text);
            if let Some(error) = text("error") {
                if matches!(error.as_str(), "server_error" | "temporarily_unavailable") {
                    failure.cause = Cause::Server;
                }
                let described = text("error_description").map(|text| format!(" ({text})"));
                let told = format!("{error}{}", described.unwrap_or_default());
                let told = http.redactor().quote(told.as_bytes(), ANSWER_TOLD_BYTES_MAX);
                let remedy = self.remedy(&error).map(|remedy| format!(": {remedy}"));
                failure.message = format!("it was refused: {told}{}", remedy.unwrap_or_default());
                failure.refused |= REFUSALS.contains(&error.as_str());
            }
        }
        Err(failure.during(&place))
    }

    /// Says what a person can do about an error (RFC 6749 §5.2).
    fn remedy(&self, error: &str) -> Option<String> {
        let secrets = |texts: &[&Confidential]| {
            let names = texts.iter().flat_map(|text| text.names());
            let names: Vec<String> = names.map(|name| format!("SECRET[{name}]")).collect();
            match names.is_empty() {
                true => String::new(),
                false => format!(" and {}", names.join(", ")),
            }
        };
        let client = match &self.options.client {
            Client::None => String::new(),
            Client::Basic(secret) | Client::Body(secret) => secrets(&[secret]),
            Client::Assertion { key, .. } => secrets(&[&key.private]),
        };
        match (error, &self.options.grant) {
            ("invalid_client", _) => {
                Some(format!("check `client_id`, how the client shows who it is{client}"))
            }
            ("invalid_grant", Grant::RefreshToken(first)) => Some(format!(
                "the refresh token is used up, too old or revoked: authorize azud anew, and set \
                 `refresh_token`{}",
                secrets(&[first])
            )),
            ("invalid_grant" | "invalid_request", Grant::Password { user, password }) => {
                Some(format!("check `user` and `password`{}", secrets(&[user, password])))
            }
            ("invalid_grant", Grant::JwtBearer { key, .. }) => Some(format!(
                "check `issuer`, `subject`, `audience`, this machine's clock{}",
                secrets(&[&key.private])
            )),
            ("invalid_grant", Grant::ServiceAccount { key, .. }) => Some(format!(
                "check `subject`, what the account may do, this machine's clock{}",
                secrets(&[key])
            )),
            ("invalid_scope", _) => Some("check `scopes`".to_owned()),
            ("unauthorized_client" | "unsupported_grant_type", _) => {
                Some("the server does not let this client use this `grant`".to_owned())
            }
            _ => None,
        }
    }
}

/// What a token endpoint grants (RFC 6749 §5.1).
pub(crate) struct Granted {
    pub(crate) token: Secret,
    pub(crate) life: Duration,
    refresh: Option<Secret>,
}

impl Granted {
    /// Reads an answer.
    ///
    /// # Errors
    /// When there is no token in it.
    pub(crate) fn read(answer: &Value) -> Result<Granted, Failure> {
        let text = |name: &str| answer.get(name).and_then(json::text);
        let missing = || Failure::new(Cause::Response, "the token endpoint gave no token");
        let token = Secret::new(text("access_token").ok_or_else(missing)?);
        let seconds = text("expires_in").and_then(|text| text.parse::<f64>().ok());
        let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // However long it is said to live, there is an end that a clock can tell.
        let life = life.unwrap_or(TOKEN_LIFE).min(TOKEN_LIFE_MAX);
        Ok(Granted { token, life, refresh: text("refresh_token").map(Secret::new) })
    }
}

/// The name that a refresh token is kept under: that of the secret which the first one is.
fn name(first: &Confidential) -> String {
    first.names().next().map_or_else(|| "refresh_token".to_owned(), ToString::to_string)
}

/// Stands for the token of the document, so that another one there is noticed.
fn fingerprint(written: &Secret) -> String {
    hex(&sha256(written.reveal().as_bytes())[..8])
}

/// A key of a service account, as Google gives it in JSON.
struct ServiceAccount {
    email: String,
    key: Secret,
    key_id: Option<String>,
    token_uri: Url,
}

impl ServiceAccount {
    fn read(key: &Secret) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            let message = format!("the key of the service account {what}");
            Failure::new(Cause::Authentication, message)
        };
        let value: Value = serde_json::from_str(key.reveal()).map_err(|_| wrong("is no JSON"))?;
        let text = |name: &str| value.get(name).and_then(json::text);
        let uri = text("token_uri").unwrap_or("https://oauth2.googleapis.com/token".to_owned());
        Ok(ServiceAccount {
            email: text("client_email").ok_or_else(|| wrong("has no `client_email`"))?,
            key: Secret::new(text("private_key").ok_or_else(|| wrong("has no `private_key`"))?),
            key_id: text("private_key_id"),
            token_uri: Url::parse(&uri).map_err(|_| wrong("has no address in `token_uri`"))?,
        })
    }

    fn assertion(
        &self,
        subject: Option<String>,
        scopes: &[String],
        http: &Http,
    ) -> Result<Secret, Failure> {
        http.redactor().keep(&self.key);
        let mut claims = Claims {
            issuer: Some(self.email.clone()),
            subject,
            audience: Some(self.token_uri.to_string()),
            ..Claims::default()
        };
        claims.others.insert("scope".to_owned(), scopes.join(" ").into());
        let id = self.key_id.as_deref();
        let signed = sign(Algorithm::Rs256, &self.key, id, &claims, ASSERTION_LIFE, http)?;
        http.redactor().keep(&signed);
        Ok(signed)
    }
}

impl Strategy for OAuth2 {
    fn confidential(&self) -> Vec<&Confidential> {
        self.asker.options.confidential()
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let token = self.cache.get(http, async || self.fetch(http, keys).await).await?;
            request.set_secret(AUTHORIZATION, &format!("Bearer {}", token.reveal()))
        }
        .boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a Answer,
        signed: &'a Request,
        _: &'a Http,
        _: &'a Keys,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        self.cache.forget(signed);
        async { Ok(true) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_said_to_live_for_ever_has_an_end() {
        let life = |expires_in: Value| {
            let answer = serde_json::json!({"access_token": "t", "expires_in": expires_in});
            Granted::read(&answer).unwrap().life
        };
        assert_eq!(life(3600.into()), Duration::from_secs(3600));
        assert_eq!(life("90".into()), Duration::from_secs(90));
        // The greatest number of seconds that is still a time: behind it no clock goes on.
        assert_eq!(life(18_446_744_073_709_549_568_u64.into()), TOKEN_LIFE_MAX);
        for unknown in [Value::Null, (-1).into(), "soon".into(), "inf".into()] {
            assert_eq!(life(unknown), TOKEN_LIFE);
        }
        assert!(Granted::read(&serde_json::json!({"token": "t"})).is_err());
    }
}
