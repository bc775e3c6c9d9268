//! `/health`: alive. `/ready`: taking in and delivering, else why not.

use super::Api;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Answers 200 as long as the process answers at all.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Answers 200 when everything runs, else 503 with the reasons.
pub async fn ready(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let reasons = api.engine.not_ready();
    if reasons.is_empty() {
        (StatusCode::OK, Json(json!({ "ready": true })))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reasons": reasons })))
    }
}
