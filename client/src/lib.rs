//! How we speak HTTP to others: for sources that poll, sinks that send, backends of secrets.
//!
//! ```text
//!  Request ─▶ guard: may we go there? ─▶ auth: who are we? ─▶ connection (TLS, proxy, timeouts)
//!                 ▲                          ▲                     │
//!                 └── redirect, next link ───┘     401: anew, once │
//!                     credentials only where the author sent them  ▼
//!  Answer ◀── trace, without secrets ◀── bounded body, inflated within bounds
//! ```
//!
//! # What holds
//!
//! - Credentials go to the origins that the document writes, and nowhere else: not behind a
//!   redirect, not behind a link in an answer.
//! - Link-local addresses and those that serve a cloud's credentials are never connected to;
//!   private ones are where the document names the host itself ([`Guard`]).
//! - Nothing of the environment counts: no proxy, no credentials, no certificates beyond the
//!   system's.
//! - Everything has an end: connecting, waiting, reading, the body as it comes and as it inflates,
//!   redirects.
//! - No secret is in an error, a trace or a recording ([`Redactor`]).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
pub mod json;
pub mod sign;
pub mod url;

mod body;
mod failure;
mod guard;
mod handshake;
mod http;
mod limits;
mod options;
mod recorder;
mod redactor;
mod renewal;
mod retry;
mod tls;
mod trace;

#[cfg(test)]
mod testing;

pub use auth::{AUTH, Auth, AuthOptions, Keys, TokenStore, check_url};
pub use body::{gunzip, undeflate};
pub use failure::{Failure, causes};
pub use guard::Guard;
pub use http::{Answer, Http, Request};
pub use limits::{
    ANSWER_TOLD_BYTES_MAX, RECORDING_LENGTH_MAX, RETRY_AFTER_MAX, TOKEN_LIFE_MAX, TRACE_EXCHANGES,
};
pub use options::{ALLOW_PRIVATE, CONNECT_TIMEOUT, HttpOptions, MAX_RESPONSE, PROXY, READ_TIMEOUT};
pub use recorder::{Ended, Recorder, Recording};
pub use redactor::Redactor;
pub use renewal::Renewal;
pub use reqwest::header;
pub use reqwest::{Method, StatusCode, Url};
pub use retry::{Backoff, http_date, retry_after};
pub use tls::{TLS, Tls};
pub use trace::{Exchange, Replay, Trace, Traces};
