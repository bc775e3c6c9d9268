//! Why a request did not do its work, in the classes that a connector's status follows from.

use crate::guard::Refusal;
use crate::handshake;
use crate::limits::{ANSWER_TOLD_BYTES_MAX, PAGE_BYTES};
use azud_plan::component::{Cause, Failed, SecretError};
use reqwest::StatusCode;
use std::error::Error;
use std::io;
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
        if let Some(refusal) = find::<Refusal>(&error) {
            return Failure::new(Cause::Configuration, refusal.to_string());
        }
        // Also behind the handshake: with TLS 1.3 a server refuses our certificate when we believe
        // to be connected.
        if let Some((cause, told)) = find::<rustls::Error>(&error).and_then(handshake::explain) {
            return Failure::new(cause, told);
        }
        let cause = match () {
            () if error.is_timeout() => Cause::Timeout,
            () if error.is_connect() => Cause::Unreachable,
            // The connection stood, and what came over it is no whole answer.
            () => Cause::Response,
        };
        // The address may hold a token.
        Failure::new(cause, causes(&error.without_url()))
    }

    /// Says what helps where an answer over TLS (`told`) is about our certificate: a server may end
    /// the handshake first, and refuse then, as nginx does.
    pub(crate) fn name_certificate(&mut self, told: &str) {
        let told = told.to_ascii_lowercase();
        let named = ["ssl certificate", "client certificate"];
        if matches!(self.status, Some(400 | 401 | 403 | 495 | 496))
            && named.iter().any(|named| told.contains(named))
        {
            self.cause = Cause::Authentication;
            self.message.push_str(
                ": it wants a certificate of ours that it knows: look at `tls.crt_file` and \
                 `tls.key_file`",
            );
        }
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

/// Finds an error of this type among what caused an error. What an [`io::Error`] wraps is not its
/// source, and is looked into, too.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = wrapped.and_then(|inner| find::<T>(inner));
        if let Some(found) = error.downcast_ref::<T>().or(inner) {
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

/// Whether this looks like a page of HTML.
pub(crate) fn is_page(body: &[u8]) -> bool {
    let begin = String::from_utf8_lossy(&body[..body.len().min(PAGE_BYTES)]).to_ascii_lowercase();
    begin.contains("<html") || begin.contains("<!doctype html")
}

/// Gives the title of a page of HTML, if it has one: what is wrong often stands there only.
pub(crate) fn title(page: &[u8]) -> Option<String> {
    let page = String::from_utf8_lossy(page);
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title>")? + "<title>".len();
    let end = begin + lower[begin..].find("</title>")?;
    let title = page[begin..end].split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_html_may_be_something_else() {
        assert!(is_page(b"\n<!DOCTYPE html>\n<p>"));
        assert!(is_page(b"<!-- padding --><HTML lang=en>"));
        assert!(!is_page(b"<?xml version=\"1.0\"?><ErrorResponse>"));
        assert!(!is_page(b"{\"error\":\"invalid_client\"}") && !is_page(b""));
    }

    #[test]
    fn a_page_tells_its_title() {
        let page = b"<html><head><TITLE>\n 400 No required\tSSL certificate was sent</TITLE>";
        assert_eq!(title(page).unwrap(), "400 No required SSL certificate was sent");
        assert_eq!(title("<title>\u{212a}é".repeat(99).as_bytes()), None, "it has no end");
        assert_eq!(title(b"<title> </title>"), None);
    }

    #[test]
    fn a_refusal_of_our_certificate_is_a_matter_of_credentials() {
        let told = "a page of HTML, \"400 The SSL certificate error\"";
        let mut failure = Failure::of_status(StatusCode::BAD_REQUEST, told, None);
        failure.name_certificate(told);
        assert_eq!(failure.cause, Cause::Authentication);
        assert!(failure.message.ends_with("`tls.key_file`"), "{}", failure.message);
        let mut other = Failure::of_status(StatusCode::BAD_REQUEST, "no such parameter", None);
        other.name_certificate("no such parameter");
        assert_eq!(other.cause, Cause::Configuration);
    }
}
