//! What backends that are asked over the network share.

use crate::limits::ANSWER_BYTES_MAX;
use azud_client::{Failure, Http, HttpOptions, Tls, Url};
use azud_event::clock::Clock;
use azud_plan::component::{BuildError, Cause, SecretError};
use azud_plan::resolve::SecretTls;
use std::time::Duration;

/// Makes the client of a backend that is asked at these addresses. Of what it is answered nothing
/// is kept.
///
/// # Errors
/// When a file of TLS cannot be used.
pub(crate) fn client(
    name: &str,
    tls: &SecretTls,
    timeout: Duration,
    written: &[Url],
    clock: &Clock,
) -> Result<Http, BuildError> {
    let SecretTls { authorities, identity, verify_certificate, verify_hostname } = tls.clone();
    let options = HttpOptions {
        tls: Tls::new(authorities, identity, verify_certificate, verify_hostname),
        connect_timeout: timeout,
        read_timeout: timeout,
        timeout,
        body_bytes_max: ANSWER_BYTES_MAX,
        ..HttpOptions::default()
    };
    let http = Http::build(&options, written, clock).map_err(|error| BuildError {
        message: format!("the secret backend `{name}` cannot be made: {error}"),
        ..error
    })?;
    Ok(http.untraced())
}

/// Reads the address of a backend.
///
/// # Errors
/// When it is none.
pub(crate) fn address(name: &str, address: &str) -> Result<Url, BuildError> {
    Url::parse(address).map_err(|error| BuildError {
        message: format!("the secret backend `{name}` has no address: {address}: {error}"),
        help: None,
    })
}

/// Says what a failure means for who wants a secret: whether somebody must set something right.
pub(crate) fn told(name: &str, key: &str, failure: &Failure) -> SecretError {
    match failure.cause {
        Cause::Authentication => crate::tell::missing(name, key, &failure.message),
        _ => crate::tell::unavailable(name, &failure.message),
    }
}
