//! How we say who we are: a kind a file.
//!
//! Everything secret is a [`Confidential`]: it is filled when a request is made, so that what was
//! rotated is used with the next one. What is made of secrets and lasts (a token, a session) is
//! kept in memory until shortly before its end; of several requests that want a new one, one gets
//! it.

mod api_key;
pub mod aws;
mod basic;
mod bearer;
mod check;
mod custom;
mod digest;
mod hmac;
mod jwt;
mod login;
pub(crate) mod oauth;
mod options;
mod token;

#[cfg(test)]
mod tests;

pub use check::{AuthOptions, check_url};
pub use options::AUTH;

use crate::failure::Failure;
use crate::http::{Answer, Http, Request};
use azud_plan::component::{Confidential, Secret, Secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};

/// What a kind of authentication does.
pub(crate) trait Strategy: Send + Sync {
    /// Lists what is confidential in it.
    fn confidential(&self) -> Vec<&Confidential>;

    /// Puts into a request what says who we are.
    fn sign<'a>(
        &'a self,
        request: &'a mut Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Makes of a refusal (401) what helps with the next request; `false` when nothing does.
    fn refused<'a>(
        &'a self,
        answer: &'a Answer,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        let _ = (answer, http, keys);
        async { Ok(false) }.boxed()
    }
}

/// Where tokens that are good for one use are kept beyond the process.
pub trait TokenStore: Send + Sync {
    /// Gives the token that was last kept under a name, if one was.
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, Failure>>;

    /// Keeps a token in place of the last; it is durable when this returns.
    fn keep<'a>(&'a self, name: &'a str, token: &'a Secret) -> BoxFuture<'a, Result<(), Failure>>;
}

/// What an authentication takes its secrets from.
#[derive(Clone)]
pub struct Keys {
    /// The secrets of the instance.
    pub secrets: Arc<dyn Secrets>,
    /// Where tokens are kept, if anywhere.
    pub tokens: Option<Arc<dyn TokenStore>>,
}

impl Keys {
    /// Fills a text, and has it hushed from now on.
    pub(crate) async fn fill(&self, text: &Confidential, http: &Http) -> Result<Secret, Failure> {
        for name in text.names() {
            http.hush().keep(&self.secrets.get(name).await?);
        }
        let filled = text.fill(&*self.secrets).await?;
        http.hush().keep(&filled);
        Ok(filled)
    }
}

/// An authentication that is ready.
pub struct Auth {
    strategy: Box<dyn Strategy>,
    keys: Keys,
    /// What was filled in for the last request, to know whether another try would be another.
    last: Mutex<Vec<Secret>>,
}

impl Auth {
    pub(crate) fn new(strategy: Box<dyn Strategy>, keys: Keys) -> Self {
        Auth { strategy, keys, last: Mutex::default() }
    }

    /// Puts into a request what says who we are.
    ///
    /// # Errors
    /// When a secret, or a token that is made of it, cannot be had.
    pub async fn sign(&self, request: &mut Request, http: &Http) -> Result<(), Failure> {
        let filled = self.filled().await?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = filled;
        self.strategy.sign(request, http, &self.keys).await
    }

    /// Notes that a request was refused (401); tells whether trying again is worth it.
    ///
    /// # Errors
    /// As of [`Auth::sign`].
    pub(crate) async fn refused(&self, answer: &Answer, http: &Http) -> Result<bool, Failure> {
        if self.strategy.refused(answer, http, &self.keys).await? {
            return Ok(true);
        }
        for text in self.strategy.confidential() {
            text.names().for_each(|name| self.keys.secrets.refused(name));
        }
        let now = self.filled().await?;
        Ok(now != *self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn filled(&self) -> Result<Vec<Secret>, Failure> {
        let mut filled = Vec::new();
        for text in self.strategy.confidential() {
            filled.push(text.fill(&*self.keys.secrets).await?);
        }
        Ok(filled)
    }
}
