//! What connectors asked, and what they were answered: shown, and recorded for tests. Neither holds
//! a secret.

use super::connectors::find;
use crate::api::Api;
use crate::api::caller::{Caller, Editor};
use crate::api::problem::{Parameters, Problem};
use axum::Json;
use axum::extract::{Path, State};
use azud_client::{Exchange, RECORDING_LENGTH_MAX, Recorder, Recording, Trace};
use azud_store::Role;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

/// The folder below the data folder that has recordings.
const FOLDER: &str = "recordings";

/// How many recordings that nobody took away there may be: each has its bounds, so all have one.
const RECORDINGS_MAX: usize = 16;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// For so long at most.
    seconds: Option<u64>,
}

pub async fn record(
    Editor(caller): Editor,
    State(api): State<Api>,
    Path(name): Path<String>,
    Parameters(Length { seconds }): Parameters<Length>,
) -> Result<Json<Value>, Problem> {
    let length = Duration::from_secs(seconds.unwrap_or(RECORDING_LENGTH_MAX.as_secs()));
    if length.is_zero() || length > RECORDING_LENGTH_MAX {
        let most = RECORDING_LENGTH_MAX.as_secs();
        return Err(Problem::malformed(format!("`seconds` must be between 1 and {most}")));
    }
    let begun = match trace(&caller, &api, &name).await {
        Ok(trace) => begin(&api, &trace, length),
        Err(problem) => Err(problem),
    };
    let folder = caller.did("connector.record", format!("connector/{name}"), None, begun).await?;
    Ok(Json(json!({ "folder": folder })))
}

fn begin(api: &Api, trace: &Trace, length: Duration) -> Result<String, Problem> {
    let now = api.clock.now();
    let folder = api.data_dir.join(FOLDER);
    // Whoever reads it may run in another folder.
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    has_room(&folder)?;
    let folder = folder.join(now.nanoseconds().to_string());
    let recorder = Recorder::new(&folder).map_err(|error| {
        Problem::new(409, format!("{} cannot be written to", folder.display()))
            .detail(error.to_string())
    })?;
    trace.record(Some(recorder.until(now.saturating_add(length))));
    Ok(folder.display().to_string())
}

/// Refuses a further recording where many were left.
fn has_room(folder: &FilePath) -> Result<(), Problem> {
    // Where there is none yet, there is room.
    let left = fs::read_dir(folder).map_or(0, Iterator::count);
    match left < RECORDINGS_MAX {
        true => Ok(()),
        false => Err(Problem::new(409, format!("there are {left} recordings already"))
            .detail(format!("remove those that nobody needs below {}", folder.display()))),
    }
}

pub async fn stop(
    Editor(caller): Editor,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let ended = trace(&caller, &api, &name).await?.record(None);
    let Recording { folder, exchanges, bytes, ended } = ended
        .ok_or_else(|| Problem::new(409, format!("the exchanges of `{name}` are not recorded")))?;
    Ok(Json(json!({
        "folder": folder.display().to_string(), "exchanges": exchanges, "bytes": bytes,
        "ended": ended.map(|ended| ended.name()), "why": ended.map(|ended| ended.to_string()),
    })))
}
