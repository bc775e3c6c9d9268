//! `/metrics`: what Prometheus scrapes.

use super::Api;
use super::caller::Viewer;
use ::metrics::gauge;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use azud_plan::telemetry::{BUILD_INFO, UPTIME_SECONDS};

/// Answers with every metric in Prometheus' text format. From elsewhere it needs a token, of any
/// role.
pub async fn metrics(
    _: Viewer,
    State(api): State<Api>,
) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(UPTIME_SECONDS).set(api.clock.monotonic().as_secs_f64());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.recorder.render())
}
