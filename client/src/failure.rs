//! Why a request did not do its work, in the classes that a connector's status follows from.

use crate::guard::Refusal;
use crate::limits::ANSWER_TOLD_BYTES_MAX;
use azud_plan::component::{Cause, Failed, SecretError};
use reqwest::StatusCode;
use std::error::Error;
use std::time::Duration;

/// Why a request did not do its work. Its message holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class.
    pub cause: Cause,
    /// What happened, where, and what was answered.
    pub message: String,
    /// The code of the answer, where there was one.
    pub status: Option<u16>,
    /// How long the other side wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether all is well but for a limit of the other side (429).
    pub limited: bool,
    /// Whether the other side refused what we say of who we are.
    pub refused: bool,
}

impl Failure {
    /// Makes a failure without an answer.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        let message = message.into();
        let (status, retry_after) = (None, None);
        Failure { cause, message, status, retry_after, limited: false, refused: false }
    }

    /// Makes the failure that an answer is; `told` is what the server says of it.
    pub fn of_status(status: StatusCode, told: &str, retry_after: Option<Duration>) -> Self {
        let cause = match status.as_u16() {
            401 | 403 | 407 => Cause::Authentication,
            408 | 425 | 429 | 500.. => Cause::Server,
            _ => Cause::Configuration,
        };
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = &told[..told.floor_char_boundary(ANSWER_TOLD_BYTES_MAX)];
        let message = match told.is_empty() {
            true => format!("the server answered {status}"),
            false => format!("the server answered {status}: {told}"),
        };
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        // 407 is said by a proxy, of itself.
        let refused = matches!(status.as_u16(), 401 | 403);
        Failure { cause, message, status: Some(status.as_u16()), retry_after, limited, refused }
    }

    /// Says what the failure of a connection or a body is.
    pub(crate) fn of_transport(error: reqwest::Error) -> Self {
        let refusal = find::<Refusal>(&error).map(ToString::to_string);
        let cause = match &refusal {
            Some(_) => Cause::Configuration,
            None if error.is_timeout() => Cause::Timeout,
            None if error.is_connect() => Cause::Unreachable,
            // The connection stood, and what came over it is no whole answer.
            None => Cause::Response,
        };
        // The address may hold a token.
        Failure::new(cause, refusal.unwrap_or_else(|| causes(&error.without_url())))
    }

    /// Puts words before the message: what was tried.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Gives it as it is reported.
    pub fn failed(&self) -> Failed {
        let (cause, message) = (self.cause, self.message.clone());
        Failed { cause, message, http_status: self.status }
    }

    /// Whether trying again may help.
    pub fn is_passing(&self) -> bool {
        !self.cause.is_lasting()
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        let cause = match error {
            SecretError::Missing(_) => Cause::Authentication,
            SecretError::Unavailable(_) => Cause::Local,
        };
        Failure::new(cause, error.to_string())
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Writes an error with what caused it, in one line.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
