//! `hmac`: a code over what the author writes together of a request.

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::sign::{hex, mac, nonce, sha256};
use crate::url::encode;
use aws_lc_rs::hmac::{
    Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512,
};
use azud_plan::component::{Cause, Confidential, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderName, HeaderValue};

/// What a message and the headers may name.
pub(crate) const NAMES: &[&str] = &[
    "body",
    "body_sha256",
    "date",
    "host",
    "method",
    "nonce",
    "path",
    "query",
    "signature",
    "timestamp",
    "timestamp_ms",
];

/// The hashes, as options name them.
pub(crate) const HASHES: &[(&str, &str)] = &[
    ("sha1", "SHA-1, for APIs that have no other"),
    ("sha256", "SHA-256"),
    ("sha384", "SHA-384"),
    ("sha512", "SHA-512"),
];

/// What is signed, with what, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Hmac {
    pub(crate) key: Confidential,
    pub(crate) hash: &'static str,
    pub(crate) base64: bool,
    pub(crate) message: String,
    pub(crate) headers: Vec<(HeaderName, Confidential)>,
    /// The code is the password of this user, by Basic.
    pub(crate) user: Option<Confidential>,
}

/// Checks that a text names only what there is.
pub(crate) fn check_names(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").ok_or("`{{` without `}}`")?;
        if !NAMES.contains(&name.trim()) {
            let known = NAMES.join(", ");
            return Err(format!("there is no `{}`; there are {known}", name.trim()));
        }
        rest = behind;
    }
    Ok(())
}

/// The values of one request.
struct Values {
    all: Vec<(&'static str, String)>,
}

impl Values {
    fn of(request: &Request, http: &Http) -> Self {
        let now = http.clock().now();
        let milliseconds = now.nanoseconds().div_euclid(1_000_000);
        let mut pairs: Vec<(String, String)> = request
            .url
            .query_pairs()
            .map(|(name, value)| (encode(&name), encode(&value)))
            .collect();
        pairs.sort();
        let pairs: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let port = request.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", request.url.host_str().unwrap_or_default());
        Values {
            all: vec![
                ("body", String::from_utf8_lossy(&request.body).into_owned()),
                ("body_sha256", hex(&sha256(&request.body))),
                ("date", now.to_chrono().format("%a, %d %b %Y %H:%M:%S +0000").to_string()),
                ("host", host),
                ("method", request.method.to_string()),
                ("nonce", nonce(16)),
                ("path", request.url.path().to_owned()),
                ("query", pairs.join("&")),
                ("timestamp", (milliseconds / 1000).to_string()),
                ("timestamp_ms", milliseconds.to_string()),
            ],
        }
    }

    fn fill(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, behind)) = behind.split_once("}}") else { break };
            let found = self.all.iter().find(|(known, _)| *known == name.trim());
            out.push_str(found.map_or("", |(_, value)| value));
            rest = behind;
        }
        out + rest
    }
}

impl Hmac {
    fn algorithm(&self) -> Algorithm {
        match self.hash {
            "sha1" => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "sha384" => HMAC_SHA384,
            "sha512" => HMAC_SHA512,
            _ => HMAC_SHA256,
        }
    }
}

impl Strategy for Hmac {
    fn confidential(&self) -> Vec<&Confidential> {
        let headers = self.headers.iter().map(|(_, value)| value);
        [&self.key].into_iter().chain(headers).chain(&self.user).collect()
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let key = keys.fill(&self.key, http).await?;
            let mut values = Values::of(request, http);
            let message = values.fill(&self.message);
            let code = mac(self.algorithm(), key.reveal().as_bytes(), message.as_bytes());
            let code = if self.base64 { STANDARD.encode(code) } else { hex(&code) };
            http.redactor().keep(&Secret::new(code.clone()));
            values.all.push(("signature", code.clone()));
            let uses_date = self.message.contains("date");
            if uses_date
                && let Some((_, date)) = values.all.iter().find(|(name, _)| *name == "date")
            {
                let value = HeaderValue::from_str(date);
                let value = value.map_err(|_| Failure::new(Cause::Local, "no date"))?;
                request.headers.insert(reqwest::header::DATE, value);
            }
            for (name, value) in &self.headers {
                let value = keys.fill_open(value, http).await?;
                request.set_secret(name.clone(), &values.fill(value.reveal()))?;
            }
            match &self.user {
                Some(user) => {
                    let user = keys.fill_open(user, http).await?;
                    super::basic::set(request, http, user.reveal(), &code)
                }
                None => Ok(()),
            }
        }
        .boxed()
    }
}
