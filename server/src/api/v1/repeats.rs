//! `Idempotency-Key`: a POST that is repeated does its work once, and is answered as it was.
//!
//! Answers are kept in memory for a while, so that a client whose connection broke may ask again.
//! Who calls is found out first, and the key is the caller's own: nobody is given the answer of
//! somebody else, nor one that a token got before it was revoked. An answer that is [`ShownOnce`]
//! is not kept.

use super::Problem;
use crate::api::Api;
use crate::api::caller;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use azud_event::clock::Clock;
use azud_event::id::Id;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer is kept, how many are, and how large one may be.
const KEPT: Duration = Duration::from_secs(600);
const ANSWERS_MAX: usize = 1_000;
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long a key may be, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// Marks an answer that holds what is shown once: a token. Who asks for it again is told that it
/// was made.
#[derive(Clone, Copy)]
pub struct ShownOnce;

/// The answers that are kept.
#[derive(Clone)]
pub struct Repeats {
    answers: Arc<Mutex<VecDeque<Kept>>>,
    clock: Clock,
}

struct Kept {
    /// Of caller, method, path and key.
    id: Id,
    /// Of the body.
    body: Id,
    /// Since when.
    at: Duration,
    /// `None` while it is worked on.
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

enum Found {
    New,
    Working,
    Other,
    Answer(StatusCode, HeaderMap, Bytes),
}

impl Repeats {
    /// Keeps none yet.
    pub fn new(clock: Clock) -> Self {
        Repeats { answers: Arc::default(), clock }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // Nothing that panics is done under the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a request, and notes it when it is new.
    fn begin(&self, id: Id, body: Id) -> Found {
        let now = self.clock.monotonic();
        let mut answers = self.locked();
        answers.retain(|kept| now.saturating_sub(kept.at) < KEPT);
        if let Some(kept) = answers.iter().find(|kept| kept.id == id) {
            return match &kept.answer {
                _ if kept.body != body => Found::Other,
                None => Found::Working,
                Some((code, headers, answer)) => {
                    Found::Answer(*code, headers.clone(), answer.clone())
                }
            };
        }
        if answers.len() >= ANSWERS_MAX {
            answers.pop_front();
        }
        answers.push_back(Kept { id, body, at: now, answer: None });
        Found::New
    }

    /// Keeps an answer; of one that may be another next time, nothing.
    fn end(&self, id: Id, answer: Option<(StatusCode, HeaderMap, Bytes)>) {
        let mut answers = self.locked();
        match answer {
            Some(answer) => {
                if let Some(kept) = answers.iter_mut().find(|kept| kept.id == id) {
                    kept.answer = Some(answer);
                }
            }
            None => answers.retain(|kept| kept.id != id),
        }
    }
}

/// Answers a repeated POST as it was answered.
pub async fn repeat(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get("idempotency-key").cloned() else {
        return next.run(request).await;
    };
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let text = format!("`Idempotency-Key` has 1 to {KEY_BYTES_MAX} bytes");
        return Problem::malformed(text).into_response();
    }
    let (parts, body) = request.into_parts();
    let who = match caller::who(&parts, &api).await {
        Ok(who) => who.identity(),
        Err(problem) => return problem.into_response(),
    };
    let Ok(body) = to_bytes(body, super::BODY_BYTES_MAX).await else {
        return Problem::new(413, "the body is too large").into_response();
    };
    let id = Id::of(&[who.as_bytes(), parts.uri.path().as_bytes(), key.as_bytes()]);
    match api.repeats.begin(id, Id::of(&[&body])) {
        Found::Answer(code, headers, answer) => return (code, headers, answer).into_response(),
        Found::Working => {
            return Problem::new(409, "the first request of this key is still worked on")
                .into_response();
        }
        Found::Other => {
            return Problem::new(409, "this key was used for another request").into_response();
        }
        Found::New => {}
    }
    let mut ending = Ending { repeats: &api.repeats, id, answer: None };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_BYTES_MAX).await else {
        return Problem::new(500, "the answer is too large").into_response();
    };
    if head.status.is_success() && head.extensions.get::<ShownOnce>().is_none() {
        ending.answer = Some((head.status, head.headers.clone(), body.clone()));
    }
    Response::from_parts(head, Body::from(body))
}

/// Ends a request however it ends: a caller that went away must be able to ask again.
struct Ending<'a> {
    repeats: &'a Repeats,
    id: Id,
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.repeats.end(self.id, self.answer.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azud_event::time::EventTime;

    fn answer() -> Option<(StatusCode, HeaderMap, Bytes)> {
        Some((StatusCode::CREATED, HeaderMap::new(), Bytes::from_static(b"{}")))
    }

    #[test]
    fn what_is_repeated_is_done_once_and_forgotten_in_time() {
        let clock = Clock::manual(EventTime::EPOCH);
        let repeats = Repeats::new(clock.clone());
        let [id, body, other] = ["id", "body", "other"].map(|text| Id::of(&[text.as_bytes()]));
        assert!(matches!(repeats.begin(id, body), Found::New));
        assert!(matches!(repeats.begin(id, body), Found::Working));
        assert!(matches!(repeats.begin(id, other), Found::Other));
        repeats.end(id, answer());
        assert!(matches!(repeats.begin(id, body), Found::Answer(StatusCode::CREATED, ..)));
        clock.advance(KEPT);
        assert!(matches!(repeats.begin(id, body), Found::New), "it is over");
        repeats.end(id, None);
        assert!(matches!(repeats.begin(id, other), Found::New), "it failed, so it may be tried");
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let repeats = Repeats::new(Clock::manual(EventTime::EPOCH));
        for number in 0..2 * ANSWERS_MAX {
            let id = Id::of(&[number.to_string().as_bytes()]);
            assert!(matches!(repeats.begin(id, id), Found::New));
            repeats.end(id, answer());
        }
        assert_eq!(repeats.locked().len(), ANSWERS_MAX);
    }
}
