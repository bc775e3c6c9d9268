//! Listings page by page, and versions.

use crate::api::problem::Problem;
use axum::http::HeaderMap;
use axum::http::header::{ETAG, IF_MATCH};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many rows of a listing are given when nobody says how many, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;

/// Reads `limit`.
///
/// # Errors
/// A problem, when it is out of bounds.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::malformed(format!("`limit` must be between 1 and {LIMIT_MAX}"))),
    }
}

/// What is asked of a list that goes by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub limit: Option<u32>,
    /// The name behind which it goes on.
    pub after: Option<String>,
}

/// Writes a page: its rows, and what to ask for behind it. One row more than the page was read, so
/// that it is known whether there is one.
pub fn page<R>(
    mut rows: Vec<R>,
    limit: u32,
    cursor: impl Fn(&R) -> String,
    show: impl Fn(&R) -> Value,
) -> Json<Value> {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(cursor);
    Json(json!({ "items": rows.iter().map(show).collect::<Vec<_>>(), "next": next }))
}

/// Answers with something that has a version.
pub fn versioned(version: u64, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Checks that a change is of the version that is there.
///
/// # Errors
/// 428 when it names none, 412 when it names another.
pub fn if_match(headers: &HeaderMap, version: u64) -> Result<(), Problem> {
    let Some(wanted) = headers.get(IF_MATCH) else {
        return Err(Problem::new(428, "a change must say of which version it is")
            .detail("send `If-Match` with the `ETag` of what you read"));
    };
    let tag = format!("\"{version}\"");
    let wanted = wanted.to_str().unwrap_or_default();
    match wanted == "*" || wanted.split(',').any(|one| one.trim() == tag) {
        true => Ok(()),
        false => Err(Problem::new(412, "somebody else has changed it meanwhile")
            .detail(format!("it is at version {version} now; look at it again"))),
    }
}
