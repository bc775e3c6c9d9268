//! `login`: a call that gives a token or a cookie, which later requests carry.

use super::token::{Token, TokenCache};
use super::{Keys, Strategy};
use crate::failure::Failure;
use crate::http::{Answer, Http, Request};
use crate::json;
use azud_plan::component::{Cause, Confidential, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Method, Url};
use std::time::Duration;
use vrl::path::OwnedValuePath;

/// What is sent, and what of the answer is carried on.
#[derive(Clone, Debug)]
pub(crate) struct LoginOptions {
    pub(crate) endpoint: Url,
    pub(crate) body: Option<Confidential>,
    pub(crate) user: Option<(Confidential, Confidential)>,
    pub(crate) life: Duration,
    pub(crate) carried: Carried,
}

#[derive(Clone, Debug)]
pub(crate) enum Carried {
    Cookie,
    Token { path: OwnedValuePath, header: HeaderName, prefix: String },
}

/// The kind.
pub(crate) struct Login {
    pub(crate) options: LoginOptions,
    pub(crate) cache: TokenCache,
}

impl Login {
    async fn fetch(&self, http: &Http, keys: &Keys) -> Result<Token, Failure> {
        let LoginOptions { endpoint, body, user, life, carried } = &self.options;
        let mut request = Request { method: Method::POST, ..Request::get(endpoint.clone()) };
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = body {
            let body = keys.fill(body, http).await?;
            let is_json = body.reveal().trim_start().starts_with(['{', '[']);
            let kind = match is_json {
                true => "application/json",
                false => "application/x-www-form-urlencoded",
            };
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            request.body = body.reveal().to_owned().into();
        }
        if let Some((user, password)) = user {
            let user = keys.fill_open(user, http).await?;
            let password = keys.fill(password, http).await?;
            super::basic::set(&mut request, http, user.reveal(), password.reveal())?;
        }
        let answer = http.identify(request).await.map_err(|failure| failure.during("login"))?;
        if !answer.status.is_success() {
            let mut failure = answer.identity_failure(http.redactor());
            if matches!(answer.status.as_u16(), 400 | 404) {
                failure.cause = Cause::Authentication;
            }
            return Err(failure.during("login"));
        }
        let missing = |what: &str| {
            Failure::new(Cause::Authentication, format!("the answer to the login has no {what}"))
        };
        let secret = match carried {
            Carried::Cookie => cookies(&answer).ok_or_else(|| missing("cookie"))?,
            Carried::Token { path, .. } => {
                let body = serde_json::from_slice(&answer.body).unwrap_or_default();
                json::text_at(&body, path).ok_or_else(|| missing("token at its place"))?
            }
        };
        Ok(Token::new(Secret::new(secret), *life, http))
    }
}

/// Gives the cookies of an answer as they are sent back; those that are deleted are none.
fn cookies(answer: &Answer) -> Option<String> {
    let cookies = answer.headers.get_all(SET_COOKIE).iter().filter_map(|value| {
        let cookie = value.to_str().ok()?.split(';').next()?.trim();
        cookie.split_once('=').filter(|(_, value)| !value.is_empty())?;
        Some(cookie)
    });
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    (!cookies.is_empty()).then_some(cookies)
}

impl Strategy for Login {
    fn confidential(&self) -> Vec<&Confidential> {
        let user = self.options.user.iter().flat_map(|(user, password)| [user, password]);
        self.options.body.iter().chain(user).collect()
    }

    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let token = self.cache.get(http, async || self.fetch(http, keys).await).await?;
            match &self.options.carried {
                Carried::Cookie => request.set_secret(COOKIE, token.reveal()),
                Carried::Token { header, prefix, .. } => {
                    request.set_secret(header.clone(), &format!("{prefix}{}", token.reveal()))
                }
            }
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
