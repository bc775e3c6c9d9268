//! The HTTP surface: whether the instance lives, whether it is ready, its metrics, and `/api/v1`.

mod health;
mod metrics;
mod v1;

pub use v1::{LocalToken, Repeats};

use crate::probers::Probers;
use axum::Router;
use axum::routing::get;
use azud_client::Traces;
use azud_engine::Engine;
use azud_plan::component::Secrets;
use azud_store::Registry;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

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
    /// The token of those who may read the data folder.
    pub local: Option<LocalToken>,
    /// Answers to requests that may come again.
    pub repeats: Repeats,
    /// Whether the API listens on this machine only.
    pub on_loopback: bool,
}

/// Opens the listener.
///
/// # Errors
/// A sentence that names the address and the remedy.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "the API cannot listen on {address}: {error}; choose another with `api.address`, \
             or switch it off with `api.enabled = false`"
        )
    })
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, api: Api) {
    let routes = Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .nest("/api/v1", v1::routes(&api))
        .with_state(api)
        .into_make_service_with_connect_info::<SocketAddr>();
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!("the API ended: {error}");
    }
}
