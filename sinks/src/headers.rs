//! Headers that an author writes, which may name secrets; and what it means when one cannot be had.

use crate::deliver::{Failure, FailureKind};
use azud_client::Redactor;
use azud_plan::component::{Confidential, Options, SecretError, SecretUse, Secrets};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// Headers that follow from a request.
const OURS: &[&str] = &["content-length", "content-encoding", "host", "transfer-encoding"];

/// The checked tables of headers of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Headers(Vec<(HeaderName, Confidential)>);

impl Headers {
    /// Checks `request.headers`, and the options of these names before it.
    pub fn check(options: &Options<'_>, names: &[&str], checker: &mut Checker) -> Option<Self> {
        let mut headers = Vec::new();
        let mut sound = true;
        let request = options.table("request")?;
        // The others may put what they have elsewhere.
        let elsewhere = ["api_key", "hmac", "jwt", "login"];
        let strategy = options.table("auth").and_then(|auth| auth.one_of("strategy"));
        let by_auth = strategy.is_some_and(|strategy| !elsewhere.contains(&strategy));
        let own = names.iter().flat_map(|name| options.map(name));
        for entry in own.chain(request.map("headers")) {
            let name = HeaderName::from_bytes(entry.key.as_bytes()).ok();
            let value = entry.node.as_text().and_then(|text| Confidential::parse(&text.text).ok());
            let value = value
                .filter(|value| HeaderValue::from_str(value.stand_in("secret").reveal()).is_ok());
            if by_auth && name.as_ref() == Some(&AUTHORIZATION) {
                let title = format!("`{}` is set by `auth`, too", entry.key);
                let found = Diagnostic::error(codes::CONTRADICTION, entry.key_span, title, "");
                let found = found.label(options.span("auth"), "by this");
                checker.report(found.help("remove one of them"));
                sound = false;
                continue;
            }
            let title = match (name, value) {
                (Some(name), _) if OURS.contains(&name.as_str()) => {
                    format!("`{name}` follows from the request and cannot be set")
                }
                (Some(name), Some(value)) => {
                    headers.push((name, value));
                    continue;
                }
                _ => format!("`{}` is no header, or its value is none", entry.key),
            };
            sound = false;
            checker.report(Diagnostic::error(codes::MALFORMED_VALUE, entry.key_span, title, ""));
        }
        sound.then_some(Headers(headers))
    }

    /// Lists the values.
    pub fn confidential(&self) -> impl Iterator<Item = &Confidential> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Adds them to those of a request, in place of such as have their names. What is secret in
    /// them is known to the redactor then.
    ///
    /// # Errors
    /// When a secret cannot be had, or cannot stand in a header.
    pub async fn fill(
        &self,
        secrets: &dyn Secrets,
        redactor: &Redactor,
        into: &mut HeaderMap,
    ) -> Result<(), Failure> {
        for (name, value) in &self.0 {
            let text = redactor.fill_header(name, value, secrets).await.map_err(not_had)?;
            let mut filled = HeaderValue::from_str(text.reveal())
                .map_err(|_| rejected(format!("what is to stand in `{name}` cannot")))?;
            filled.set_sensitive(true);
            into.insert(name, filled);
        }
        Ok(())
    }
}

/// Tells of the secrets in a request what its answer says of them. Not in the server's words, which
/// may repeat what was sent.
pub(crate) fn told<'a>(
    texts: impl Iterator<Item = &'a Confidential>,
    secrets: &dyn Secrets,
    status: u16,
) {
    let refused = format!("the server answered {status}");
    let how = match status {
        401 | 403 => SecretUse::Refused(&refused),
        // What it says of a record it says to somebody whom it knows.
        200..=299 | 400 | 413 | 422 => SecretUse::Taken,
        _ => return,
    };
    texts.for_each(|text| text.used(secrets, how));
}

/// Says that nothing goes until somebody sets something right.
pub(crate) fn rejected(message: String) -> Failure {
    Failure { kind: FailureKind::Rejected, message, response_code: None, retry_after: None }
}

/// Says that a secret cannot be had: as a failure of the other side, because it is tried again.
pub(crate) fn not_had(error: SecretError) -> Failure {
    let kind = match error {
        SecretError::Missing(_) => FailureKind::Rejected,
        SecretError::Unavailable(_) => FailureKind::Unreachable,
    };
    Failure { kind, message: error.to_string(), response_code: None, retry_after: None }
}
