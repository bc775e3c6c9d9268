//! Tokens that last for a while: had when they are needed, by one request for all.

use crate::failure::Failure;
use crate::http::{Http, Request};
use crate::limits::TOKEN_MARGIN;
use azud_plan::component::{Cause, Secret};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A token, and until when it is good by the monotonic clock.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) secret: Secret,
    until: Duration,
    /// How long before that it is replaced.
    margin: Duration,
}

impl Token {
    /// Makes a token that was had now and lives so long.
    pub(crate) fn new(secret: Secret, life: Duration, http: &Http) -> Self {
        http.redactor().keep(&secret);
        let until = http.clock().monotonic().saturating_add(life);
        Token { secret, until, margin: TOKEN_MARGIN.min(life / 4) }
    }
}

/// The token that is good now.
pub(crate) struct TokenCache {
    token: Mutex<Option<Token>>,
    /// One at a time gets another; who waited finds it here.
    turn: Semaphore,
}

impl Default for TokenCache {
    fn default() -> Self {
        TokenCache { token: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl TokenCache {
    /// Gives the token, a new one if the last is about to end.
    pub(crate) async fn get(
        &self,
        http: &Http,
        fetch: impl AsyncFnOnce() -> Result<Token, Failure>,
    ) -> Result<Secret, Failure> {
        if let Some(token) = self.fresh(http) {
            return Ok(token);
        }
        let turn = self.turn.acquire().await;
        let _turn = turn.map_err(|error| Failure::new(Cause::Local, error.to_string()))?;
        if let Some(token) = self.fresh(http) {
            return Ok(token);
        }
        let token = fetch().await?;
        let secret = token.secret.clone();
        *self.lock() = Some(token);
        Ok(secret)
    }

    /// Forgets the token that a refused request carries. Of many requests that were refused with
    /// it, one gets another; who comes behind finds that one, and leaves it.
    pub(crate) fn forget(&self, signed: &Request) {
        let mut token = self.lock();
        if token.as_ref().is_some_and(|token| carries(signed, &token.secret)) {
            *token = None;
        }
    }

    fn fresh(&self, http: &Http) -> Option<Secret> {
        let token = self.lock();
        let token = token.as_ref()?;
        let now = http.clock().monotonic();
        (now + token.margin < token.until).then(|| token.secret.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn carries(request: &Request, token: &Secret) -> bool {
    request.headers.values().any(|value| value.as_bytes().ends_with(token.reveal().as_bytes()))
}
