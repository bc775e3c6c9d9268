//! The HTTP surface: whether the instance lives, whether it is ready, its metrics, and `/api/v1`.

mod caller;
mod health;
mod local;
mod metrics;
mod problem;
mod serve;
mod v1;

pub use caller::{ACTOR, NO_DATABASE};
pub use local::{LocalSocket, connect};
pub use serve::{Listener, acceptor, serve};
pub use v1::Repeats;

use crate::deeds::credentials::Rotating;
use crate::probers::Probers;
use axum::Router;
use axum::routing::get;
use azud_client::Traces;
use azud_engine::Engine;
use azud_plan::component::Secrets;
use azud_store::Registry;
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::PathBuf;
use std::sync::Arc;

/// What handlers may look at.
#[derive(Clone)]
pub struct Api {
    /// The running plan.
    pub engine: Arc<Engine>,
    /// The recorder of metrics.
    pub recorder: PrometheusHandle,
    /// Since when, by the monotonic clock, the instance runs.
    pub clock: azud_event::clock::Clock,
    /// The connectors, where there are some.
    pub registry: Option<Arc<Registry>>,
    /// What tries connectors.
    pub probers: Option<Arc<Probers>>,
    /// What connectors asked and were answered.
    pub traces: Arc<Traces>,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The secrets of the instance.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// The credentials that are being rotated.
    pub rotating: Arc<Rotating>,
    /// Answers to requests that may come again.
    pub repeats: Repeats,
    /// Whether the API listens on this machine only.
    pub on_loopback: bool,
}

/// Makes the routes.
fn routes(api: Api) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .nest("/api/v1", v1::routes(&api))
        .with_state(api)
}
