//! A way in for fuzzing, to what reads the bytes of strangers.

use crate::auth::oauth::Granted;
use crate::http::Answer;
use azud_event::time::EventTime;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use std::time::Duration;

/// Makes an answer that came at `at` from `https://api.example/v1/logs`; headers that cannot be are
/// left out.
pub fn answer(headers: &[(&str, &str)], body: &[u8], at: EventTime) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    Answer {
        status: StatusCode::OK,
        headers: map,
        body: Bytes::copy_from_slice(body),
        url: Url::parse("https://api.example/v1/logs").expect("it is an address"),
        took: Duration::ZERO,
        at,
    }
}

/// Gives how long the token is good that the answer of a token endpoint has.
pub fn token_life(body: &[u8]) -> Option<Duration> {
    let answer = serde_json::from_slice(body).ok()?;
    Some(Granted::read(&answer).ok()?.life)
}
