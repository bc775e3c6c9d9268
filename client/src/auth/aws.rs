//! `aws`: Signature Version 4.
//!
//! Source: AWS, *Signature Version 4 signing process*; the vectors are those of its test suite.

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::limits::TOKEN_MARGIN;
use crate::sign::{hex, hmac_sha256, sha256};
use crate::url::encode;
use azud_event::time::EventTime;
use azud_plan::component::{Cause, Confidential, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const AMZ_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const AMZ_CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// How long a role is taken on for.
const ROLE_LIFE: Duration = Duration::from_secs(3600);

/// Keys that requests are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The id of the key; it stands in requests.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// The token of a session, where the key is of one.
    pub session_token: Option<Secret>,
}

/// Signs a request: everything in it but headers that hands on the way may change.
///
/// # Errors
/// When a key cannot stand in a header.
pub fn sign(
    request: &mut Request,
    credentials: &Credentials,
    (region, service): (&str, &str),
    at: EventTime,
) -> Result<(), Failure> {
    let at = at.to_chrono().format("%Y%m%dT%H%M%SZ").to_string();
    let day = &at[..8];
    let digest = hex(&sha256(&request.body));
    request.headers.insert(AMZ_DATE, ascii(&at)?);
    if service == "s3" {
        request.headers.insert(AMZ_CONTENT, ascii(&digest)?);
    }
    if let Some(token) = &credentials.session_token {
        request.set_secret(AMZ_TOKEN, token.reveal())?;
    }
    if !request.body.is_empty() && !request.headers.contains_key(CONTENT_TYPE) {
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let (signed, headers) = canonical_headers(&request.url, &request.headers);
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\n{digest}",
        request.method,
        canonical_path(&request.url, service),
        canonical_query(&request.url),
    );
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
    let start = Secret::new(format!("AWS4{}", credentials.secret_access_key.reveal()));
    let parts = [day, region, service, "aws4_request"];
    let key = parts
        .iter()
        .fold(start.reveal().as_bytes().to_vec(), |key, part| hmac_sha256(&key, part.as_bytes()));
    let signature = hex(&hmac_sha256(&key, text.as_bytes()));
    let id = &credentials.access_key_id;
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    );
    request.set_secret(reqwest::header::AUTHORIZATION, &value)
}

fn ascii(text: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(text);
    value.map_err(|_| Failure::new(Cause::Configuration, "a header with signs it may not have"))
}

/// Gives the names of the headers that are signed, and each with its value.
fn canonical_headers(url: &Url, headers: &HeaderMap) -> (String, String) {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str().unwrap_or_default());
    let mut all = vec![("host".to_owned(), host)];
    for name in headers.keys() {
        if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            let values: Vec<String> = values
                .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            all.push((name.to_string(), values.join(",")));
        }
    }
    all.sort();
    let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    (names, lines)
}

/// Gives the path as it is signed: encoded once more than it is sent, but of S3.
fn canonical_path(url: &Url, service: &str) -> String {
    let path = if url.path().is_empty() { "/" } else { url.path() };
    match service {
        "s3" => path.to_owned(),
        _ => path.split('/').map(encode).collect::<Vec<_>>().join("/"),
    }
}

fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (encode(&name), encode(&value))).collect();
    pairs.sort();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// The kind, with keys of its own or of a role that these take on.
pub(crate) struct Aws {
    pub(crate) access_key_id: Confidential,
    pub(crate) secret_access_key: Confidential,
    pub(crate) session_token: Option<Confidential>,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) role: Option<Role>,
    pub(crate) session: Session,
}

/// A role that is taken on.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) arn: String,
    pub(crate) external_id: Option<Confidential>,
    pub(crate) session_name: String,
    /// Where roles are taken on.
    pub(crate) endpoint: Url,
}

/// The keys of a role, as long as they last.
pub(crate) struct Session {
    keys: Mutex<Option<(Credentials, Duration)>>,
    /// One at a time gets new ones.
    turn: Semaphore,
}

impl Default for Session {
    fn default() -> Self {
        Session { keys: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Aws {
    async fn own(&self, http: &Http, keys: &Keys) -> Result<Credentials, Failure> {
        let session_token = match &self.session_token {
            Some(token) => Some(keys.fill(token, http).await?),
            None => None,
        };
        Ok(Credentials {
            access_key_id: keys.fill_open(&self.access_key_id, http).await?.reveal().to_owned(),
            secret_access_key: keys.fill(&self.secret_access_key, http).await?,
            session_token,
        })
    }

    fn current(&self, http: &Http) -> Option<Credentials> {
        let known = self.session.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let (credentials, until) = known.as_ref()?;
        (http.clock().monotonic() + TOKEN_MARGIN < *until).then(|| credentials.clone())
    }

    async fn credentials(&self, http: &Http, keys: &Keys) -> Result<Credentials, Failure> {
        let Some(role) = &self.role else { return self.own(http, keys).await };
        if let Some(known) = self.current(http) {
            return Ok(known);
        }
        let turn = self.session.turn.acquire().await;
        let _turn = turn.map_err(|error| Failure::new(Cause::Local, error.to_string()))?;
        if let Some(known) = self.current(http) {
            return Ok(known);
        }
        let taken = self.take_on(role, http, keys).await;
        let credentials = taken.map_err(|failure| failure.during("taking on the role"))?;
        let until = http.clock().monotonic() + ROLE_LIFE;
        let mut known = self.session.keys.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((credentials.clone(), until));
        Ok(credentials)
    }

    async fn take_on(&self, role: &Role, http: &Http, keys: &Keys) -> Result<Credentials, Failure> {
        let own = self.own(http, keys).await?;
        let life = ROLE_LIFE.as_secs().to_string();
        let external = match &role.external_id {
            Some(id) => Some(keys.fill(id, http).await?),
            None => None,
        };
        let mut pairs = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role.arn.as_str()),
            ("RoleSessionName", role.session_name.as_str()),
            ("DurationSeconds", life.as_str()),
        ];
        if let Some(id) = &external {
            pairs.push(("ExternalId", id.reveal()));
        }
        let mut request = Request::form(role.endpoint.clone(), pairs);
        request.headers.remove(reqwest::header::ACCEPT);
        sign(&mut request, &own, (&self.region, "sts"), http.clock().now())?;
        let answer = http.identify(request).await?;
        if !answer.status.is_success() {
            return Err(answer.identity_failure(http.redactor()));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let part = |name: &str| {
            let behind = text.split_once(&format!("<{name}>"))?.1;
            Some(behind.split_once(&format!("</{name}>"))?.0.trim().to_owned())
        };
        let (id, key) = (part("AccessKeyId"), part("SecretAccessKey").map(Secret::new));
        let token = part("SessionToken").map(Secret::new);
        let (Some(access_key_id), Some(secret_access_key)) = (id, key) else {
            let message = "the answer has no keys of the role";
            return Err(Failure::new(Cause::Response, message));
        };
        http.redactor().keep(&secret_access_key);
        token.iter().for_each(|token| http.redactor().keep(token));
        Ok(Credentials { access_key_id, secret_access_key, session_token: token })
    }
}

impl Strategy for Aws {
    fn confidential(&self) -> Vec<&Confidential> {
        let role = self.role.as_ref().and_then(|role| role.external_id.as_ref());
        let own = [&self.access_key_id, &self.secret_access_key];
        own.into_iter().chain(&self.session_token).chain(role).collect()
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let credentials = self.credentials(http, keys).await?;
            sign(request, &credentials, (&self.region, &self.service), http.clock().now())
        }
        .boxed()
    }

    fn refused<'a>(
        &'a self,
        _: &'a crate::http::Answer,
        _: &'a Request,
        _: &'a Http,
        _: &'a Keys,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        let dropped = self.session.keys.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { Ok(dropped.is_some()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::Method;
    use reqwest::header::AUTHORIZATION;

    fn signature(method: Method, path: &str, form: Option<&'static str>) -> String {
        let url = Url::parse(&format!("https://example.amazonaws.com{path}")).unwrap();
        let mut request = Request { method, ..Request::get(url) };
        if let Some(form) = form {
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers.insert(CONTENT_TYPE, kind);
            request.body = form.into();
        }
        let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new(key.to_owned()),
            session_token: None,
        };
        let at = EventTime::from_rfc3339("2015-08-30T12:36:00Z").unwrap();
        sign(&mut request, &credentials, ("us-east-1", "service"), at).unwrap();
        let value = &request.headers[AUTHORIZATION];
        assert!(value.is_sensitive());
        value.to_str().unwrap().rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_vectors_of_the_test_suite_come_out() {
        for (method, path, form, expected) in [
            (
                Method::GET,
                "/",
                None,
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Method::GET,
                "/?Param2=value2&Param1=value1",
                None,
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                Method::POST,
                "/",
                None,
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                Method::POST,
                "/",
                Some("Param1=value1"),
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature(method, path, form), expected, "{path} {form:?}");
        }
    }
}
