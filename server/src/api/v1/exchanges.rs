//! What connectors asked, and what they were answered: shown, and recorded for tests. Neither holds
//! a secret.

use super::connectors::find;
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use azud_client::{Exchange, Recorder, Trace};
use azud_store::Role;
use serde_json::{Value, json};
use std::sync::Arc;

/// The folder below the data folder that has recordings.
const FOLDER: &str = "recordings";

/// Finds what is known of the exchanges of a connector.
async fn trace(caller: &Caller, api: &Api, name: &str) -> Result<Arc<Trace>, Problem> {
    let row = find(caller, name).await?;
    api.traces.of(&row.name).ok_or_else(|| {
        Problem::new(409, format!("`{name}` asks nobody here"))
            .detail("only connectors that poll, and run, have exchanges")
    })
}

pub async fn list(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Analyst)?;
    let found = trace(&caller, &api, &name).await;
    let trace = caller.did("connector.trace", format!("connector/{name}"), None, found).await?;
    // Who has looked once will look again.
    trace.watch(true);
    let items: Vec<Value> = trace.last().iter().map(Exchange::to_json).collect();
    Ok(Json(json!({ "items": items, "next": null })))
}

pub async fn record(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Editor)?;
    let begun = match trace(&caller, &api, &name).await {
        Ok(trace) => begin(&api, &trace),
        Err(problem) => Err(problem),
    };
    let folder = caller.did("connector.record", format!("connector/{name}"), None, begun).await?;
    Ok(Json(json!({ "folder": folder })))
}

fn begin(api: &Api, trace: &Trace) -> Result<String, Problem> {
    let begun = format!("{}", api.clock.now().nanoseconds());
    let folder = api.data_dir.join(FOLDER).join(begun);
    // Whoever reads it may run in another folder.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let recorder = Recorder::new(&folder).map_err(|error| {
        Problem::new(409, format!("{} cannot be written to", folder.display()))
            .detail(error.to_string())
    })?;
    trace.record(Some(recorder));
    Ok(folder.display().to_string())
}

pub async fn stop(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Editor)?;
    trace(&caller, &api, &name).await?.record(None);
    Ok(StatusCode::NO_CONTENT)
}
