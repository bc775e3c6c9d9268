//! `jwt`: a token that we sign ourselves, for each request. And what of it `oauth2` needs.

use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::limits::ASSERTION_LIFE;
use crate::sign::{Algorithm, nonce, token};
use azud_plan::component::{Confidential, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderName;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A key that tokens are signed with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) private: Confidential,
    pub(crate) id: Option<String>,
}

/// What a token says beside its times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) others: Map<String, Value>,
}

impl Key {
    /// Signs a token that is good for a while from now on.
    pub(crate) async fn sign(
        &self,
        claims: &Claims,
        life: Duration,
        http: &Http,
        keys: &Keys,
    ) -> Result<Secret, Failure> {
        let key = keys.fill(&self.private, http).await?;
        let signed = sign(self.algorithm, &key, self.id.as_deref(), claims, life, http)?;
        http.redactor().keep(&signed);
        Ok(signed)
    }
}

/// Signs a token with a key that is there.
pub(crate) fn sign(
    algorithm: Algorithm,
    key: &Secret,
    id: Option<&str>,
    claims: &Claims,
    life: Duration,
    http: &Http,
) -> Result<Secret, Failure> {
    let now = http.clock().now().nanoseconds().div_euclid(1_000_000_000);
    let mut all = claims.others.clone();
    for (name, value) in
        [("iss", &claims.issuer), ("sub", &claims.subject), ("aud", &claims.audience)]
    {
        if let Some(value) = value {
            all.insert(name.to_owned(), value.clone().into());
        }
    }
    all.insert("iat".to_owned(), now.into());
    all.insert("exp".to_owned(), (now + life.as_secs().cast_signed()).into());
    all.insert("jti".to_owned(), nonce(16).into());
    let header = match id {
        Some(id) => json!({ "kid": id }),
        None => json!({}),
    };
    token(algorithm, key, header, &Value::Object(all))
}

/// The kind.
pub(crate) struct Jwt {
    pub(crate) key: Key,
    pub(crate) claims: Claims,
    pub(crate) life: Option<Duration>,
    pub(crate) header: HeaderName,
    pub(crate) prefix: String,
}

impl Strategy for Jwt {
    fn confidential(&self) -> Vec<&Confidential> {
        vec![&self.key.private]
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let life = self.life.unwrap_or(ASSERTION_LIFE);
            let token = self.key.sign(&self.claims, life, http, keys).await?;
            let value = format!("{}{}", self.prefix, token.reveal());
            request.set_secret(self.header.clone(), &value)
        }
        .boxed()
    }
}
