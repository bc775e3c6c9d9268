//! `/health`: alive. `/ready`: taking in and delivering, else why not.

use super::Api;
use super::caller::Viewer;
use super::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Answers 200 as long as the process answers at all.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Answers 200 when everything runs, else 503 with the reasons; and warns of what holds up nobody:
/// sinks that have stalled, connectors in error. Who may not look is told the first only.
pub async fn ready(
    viewer: Result<Viewer, Problem>,
    State(api): State<Api>,
) -> (StatusCode, Json<Value>) {
    let reasons = api.engine.not_ready();
    let code = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = json!({ "ready": reasons.is_empty() });
    if viewer.is_err() {
        return (code, Json(answer));
    }
    let mut warnings = api.engine.warnings();
    warnings.extend(api.registry.iter().flat_map(|registry| registry.troubles()));
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    if !reasons.is_empty() {
        answer["reasons"] = reasons.into();
    }
    (code, Json(answer))
}
