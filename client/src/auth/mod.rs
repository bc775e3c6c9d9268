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
use azud_plan::component::{Cause, Confidential, Secret, SecretUse, Secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

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

    /// Makes of a refusal (401) of the request that was `signed` what helps with the next one;
    /// `false` when nothing does.
    fn refused<'a>(
        &'a self,
        answer: &'a Answer,
        signed: &'a Request,
        http: &'a Http,
        keys: &'a Keys,
    ) -> BoxFuture<'a, Result<bool, Failure>> {
        let _ = (answer, signed, http, keys);
        async { Ok(false) }.boxed()
    }
}

/// Where tokens that are good for one use are kept beyond the process.
pub trait TokenStore: Send + Sync {
    /// Gives the token that was last kept under a name, if one was.
    fn load<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, Failure>>;

    /// Keeps a token in place of the last; it is durable when this returns.
    fn keep<'a>(&'a self, name: &'a str, token: &'a Secret) -> BoxFuture<'a, Result<(), Failure>>;

    /// Gives what is held while a token is exchanged for the next: one permit for all of this
    /// process that share the token. Who closes takes it first, so that no exchange is cut off.
    fn turn(&self) -> Arc<Semaphore>;
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
    /// Fills a text that is a secret, and has it hushed from now on.
    pub(crate) async fn fill(&self, text: &Confidential, http: &Http) -> Result<Secret, Failure> {
        Ok(http.redactor().fill(text, &*self.secrets).await?)
    }

    /// Fills a text that is secret only where it names secrets, such as a user; has these hushed.
    pub(crate) async fn fill_open(
        &self,
        text: &Confidential,
        http: &Http,
    ) -> Result<Secret, Failure> {
        Ok(http.redactor().fill_open(text, &*self.secrets).await?)
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
        self.note(self.filled().await?);
        let signed = self.strategy.sign(request, http, &self.keys).await;
        let failure = match signed {
            // A token endpoint or a login that knows us not: perhaps by secrets that were replaced.
            Err(failure) if failure.cause == Cause::Authentication && failure.status.is_some() => {
                failure
            }
            signed => return signed,
        };
        match self.reread().await? {
            Some(now) => {
                self.note(now);
                self.strategy.sign(request, http, &self.keys).await
            }
            None => Err(failure),
        }
    }

    /// Notes that the request which was `signed` was refused (401); tells whether trying again is
    /// worth it.
    ///
    /// # Errors
    /// As of [`Auth::sign`].
    pub(crate) async fn refused(
        &self,
        answer: &Answer,
        signed: &Request,
        http: &Http,
    ) -> Result<bool, Failure> {
        if self.strategy.refused(answer, signed, http, &self.keys).await? {
            return Ok(true);
        }
        Ok(self.reread().await?.is_some())
    }

    /// Reads secrets that were refused anew; gives them if they are others than those that went.
    async fn reread(&self) -> Result<Option<Vec<Secret>>, Failure> {
        for text in self.strategy.confidential() {
            text.names().for_each(|name| self.keys.secrets.refused(name));
        }
        let now = self.filled().await?;
        let is_other = now != *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(is_other.then_some(now))
    }

    fn note(&self, filled: Vec<Secret>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = filled;
    }

    /// Tells of the secrets what came of a request, after all that helps with a refusal was done.
    pub(crate) fn told(&self, sent: &Result<Answer, Failure>, http: &Http) {
        let failure;
        let how = match sent {
            Ok(answer) if answer.status.is_success() => SecretUse::Taken,
            Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => SecretUse::Taken,
            Ok(answer) => {
                failure = answer.failure(http.redactor());
                match failure.refused {
                    true => SecretUse::Refused(&failure.message),
                    false => return,
                }
            }
            Err(failure) if failure.refused => SecretUse::Refused(&failure.message),
            Err(_) => return,
        };
        for text in self.strategy.confidential() {
            text.used(&*self.keys.secrets, how);
        }
    }

    async fn filled(&self) -> Result<Vec<Secret>, Failure> {
        let mut filled = Vec::new();
        for text in self.strategy.confidential() {
            filled.push(text.fill(&*self.keys.secrets).await?);
        }
        Ok(filled)
    }
}
