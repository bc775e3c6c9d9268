//! `/api/v1`: what programs and the dashboard look at and change.
//!
//! JSON. What is refused is a problem (RFC 9457). Listings are read page by page (`limit`,
//! `after`), changes name the version they are of (`If-Match`), and a POST may be repeated under
//! one `Idempotency-Key`. Every change is in the trail, with who did it. A value of a credential
//! goes in and never comes out.

mod audit;
mod connectors;
mod credentials;
mod cursors;
mod exchanges;
mod openapi;
mod paging;
mod repeats;
mod tokens;

pub use repeats::Repeats;

use super::Api;
use super::problem::Problem;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

/// How large a request may be: a certificate with those between it and its authority.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// Makes the routes.
pub fn routes(api: &Api) -> Router<Api> {
    let routes = Router::new()
        .route("/audit", get(audit::list))
        .route("/connectors", get(connectors::list).post(connectors::add))
        .route(
            "/connectors/{connector}",
            get(connectors::show).patch(connectors::change).delete(connectors::remove),
        )
        .route(
            "/connectors/{connector}/cursor",
            get(cursors::show).put(cursors::set).delete(cursors::reset),
        )
        .route("/connectors/{connector}/disable", post(connectors::disable))
        .route("/connectors/{connector}/enable", post(connectors::enable))
        .route("/connectors/{connector}/exchanges", get(exchanges::list))
        .route("/connectors/{connector}/history", get(connectors::history))
        .route("/connectors/{connector}/poll", post(connectors::poll))
        .route("/connectors/{connector}/recording", put(exchanges::record).delete(exchanges::stop))
        .route("/connectors/{connector}/test", post(connectors::test))
        .route("/credentials", get(credentials::list).post(credentials::add))
        .route("/credentials/{credential}", get(credentials::show).delete(credentials::revoke))
        .route("/credentials/{credential}/refresh", post(credentials::refresh))
        .route("/credentials/{credential}/rotate", post(credentials::rotate))
        .route("/credentials/{credential}/test", post(credentials::test))
        .route("/credentials/{credential}/uses", get(credentials::uses))
        .route("/credentials/{credential}/value", put(credentials::set))
        .route("/openapi.json", get(openapi::document))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{token}", axum::routing::delete(tokens::revoke))
        .fallback(|| async { Problem::not_found("there is no such resource") })
        .method_not_allowed_fallback(|| async { Problem::new(405, "not with this method") });
    routes
        .layer(from_fn_with_state(api.clone(), repeats::repeat))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}
