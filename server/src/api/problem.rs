//! What is refused, as RFC 9457 writes it.

use crate::database;
use crate::deeds::Refusal;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use azud_store::{KeyError, StoreError};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    title: String,
    detail: Option<String>,
}

impl Problem {
    /// Makes one of a code and a short sentence.
    pub fn new(status: u16, title: impl Into<String>) -> Self {
        Problem { status, title: title.into(), detail: None }
    }

    /// Adds what to do.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// There is no such thing.
    pub fn not_found(title: impl Into<String>) -> Self {
        Problem::new(404, title)
    }

    /// The request is not of the form that it should have.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Problem::new(400, "the request is not of the right form").detail(detail)
    }

    /// What it was written to the trail with.
    pub fn title(&self) -> &str {
        &self.title
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, title, detail } = self;
        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = json!({ "type": "about:blank", "title": title, "status": status });
        if let Some(detail) = detail {
            body["detail"] = detail.into();
        }
        let mut response = (code, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if code == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"azud\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Taken { .. } => Problem::new(409, text),
            StoreError::Changed => Problem::new(412, text),
            StoreError::Unknown { .. } => Problem::not_found(text),
            StoreError::Sealed { .. } => {
                Problem::new(500, text).detail("`azud keys verify` names what does not open")
            }
            error if error.retry_helps() => {
                Problem::new(503, "the database does not answer now").detail(text)
            }
            error => {
                tracing::error!(error = database::causes(&error), "a request failed");
                Problem::new(500, "the database refused")
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(text) => Problem::malformed(text),
            Refusal::Missing(text) => Problem::not_found(text),
            Refusal::Conflict(title, None) => Problem::new(409, title),
            Refusal::Conflict(title, Some(detail)) => Problem::new(409, title).detail(detail),
            Refusal::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            error => Problem::new(500, error.to_string()),
        }
    }
}

/// A body in JSON, whose faults are problems. What it held is not shown again.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => {
                Err(Problem::new(415, "the body must be JSON")
                    .detail("say so: `Content-Type: application/json`"))
            }
            Err(JsonRejection::JsonDataError(error)) => Err(described(422, &error.body_text())),
            Err(JsonRejection::BytesRejection(error)) => {
                Err(Problem::new(error.status().as_u16(), "the body cannot be read"))
            }
            Err(_) => Err(Problem::malformed("the body is no JSON")),
        }
    }
}

/// Says what is wrong with a body, up to where the value itself would be shown.
fn described(status: u16, text: &str) -> Problem {
    let known = ["missing field", "unknown field", "duplicate field"];
    let told = known.iter().find_map(|begin| text.find(begin).map(|at| &text[at..]));
    let told = told.map(|told| told.split(" at line").next().unwrap_or(told));
    Problem::new(status, "the body is not of the right form")
        .detail(told.unwrap_or("a field has a value of another kind").to_owned())
}

/// Parameters behind the `?`, whose faults are problems.
pub struct Parameters<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Parameters(parameters)),
            Err(QueryRejection::FailedToDeserializeQueryString(error)) => {
                Err(Problem::malformed(error.body_text()))
            }
            Err(_) => Err(Problem::malformed("the parameters cannot be read")),
        }
    }
}
