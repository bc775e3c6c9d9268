//! `/connectors`: what talks to the outside, and how it is.

use super::paging::{if_match, limit, page, versioned};
use crate::api::Api;
use crate::api::caller::{Caller, Editor};
use crate::api::problem::{Body, Parameters, Problem};
use crate::deeds::connectors::{self as deeds, Added, is_polled, not_of_a_file};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use azud_plan::component::{Asked, ConnectorKind, Failed, ProbeStep};
use azud_store::{ConnectorFilter, ConnectorRow, HistoryRow, Role, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    limit: Option<u32>,
    after: Option<String>,
    status: Option<String>,
    kind: Option<String>,
    removed: Option<bool>,
}

pub async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Listing>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let limit = limit(asked.limit)?;
    let status = match asked.status.as_deref().map(Status::named) {
        Some(None) => return Err(Problem::malformed("there is no such `status`")),
        status => status.flatten(),
    };
    let named = |name: &str| ConnectorKind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = match asked.kind.as_deref().map(named) {
        Some(None) => return Err(Problem::malformed("there is no such `kind`")),
        kind => kind.flatten(),
    };
    let removed = asked.removed.unwrap_or(false);
    let filter = ConnectorFilter { status, kind, removed, after: asked.after, limit: limit + 1 };
    let rows = caller.registry().store().connectors(&filter).await?;
    Ok(page(rows, limit, |row| row.name.clone(), ConnectorRow::to_json))
}

/// Finds a connector.
///
/// # Errors
/// A problem: there is none.
pub async fn find(caller: &Caller, name: &str) -> Result<ConnectorRow, Problem> {
    let found = caller.registry().store().connector(name).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no connector `{name}`")))
}

pub async fn show(caller: Caller, Path(name): Path<String>) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    let row = find(&caller, &name).await?;
    Ok(versioned(row.version, row.to_json()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: String,
    r#type: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

pub async fn add(Editor(caller): Editor, Body(new): Body<New>) -> Result<Response, Problem> {
    let New { name, r#type, labels, enabled } = new;
    let added = Added { name: name.clone(), r#type, labels, enabled };
    deeds::add(&caller.doer(), caller.registry().keyring(), added).await?;
    caller.registry().refresh().await?;
    let row = find(&caller, &name).await?;
    let mut response = versioned(row.version, row.to_json());
    *response.status_mut() = StatusCode::CREATED;
    let path = format!("/api/v1/connectors/{}", crate::admin::encoded(&row.name));
    if let Ok(path) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(LOCATION, path);
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    labels: BTreeMap<String, String>,
}

pub async fn change(
    Editor(caller): Editor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(change): Body<Change>,
) -> Result<Response, Problem> {
    // Before the version: what is malformed is so of any.
    deeds::check_labels(&change.labels)?;
    let row = find(&caller, &name).await?;
    not_of_a_file(&row)?;
    if_match(&headers, row.version)?;
    deeds::label(&caller.doer(), &row, &change.labels).await?;
    caller.registry().refresh().await?;
    let row = find(&caller, &name).await?;
    Ok(versioned(row.version, row.to_json()))
}

pub async fn remove(
    Editor(caller): Editor,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let row = find(&caller, &name).await?;
    not_of_a_file(&row)?;
    if_match(&headers, row.version)?;
    deeds::remove(&caller.doer(), &row).await?;
    caller.registry().refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn enable(
    Editor(caller): Editor,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(caller, &name, &headers, true).await
}

pub async fn disable(
    Editor(caller): Editor,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    switch(caller, &name, &headers, false).await
}

async fn switch(
    caller: Caller,
    name: &str,
    headers: &HeaderMap,
    enabled: bool,
) -> Result<Response, Problem> {
    let row = find(&caller, name).await?;
    is_polled(&row)?;
    if_match(headers, row.version)?;
    if deeds::switch(&caller.doer(), &row, enabled).await? {
        caller.registry().refresh().await?;
    }
    let row = find(&caller, name).await?;
    Ok(versioned(row.version, row.to_json()))
}

pub async fn poll(
    caller: Caller,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.needs(Role::Analyst)?;
    let row = find(&caller, &name).await?;
    is_polled(&row)?;
    if !row.enabled || row.removed_at.is_some() {
        return Err(
            Problem::new(409, format!("`{}` is disabled", row.name)).detail("enable it first")
        );
    }
    let asked = match caller.registry().ask(&row.name, Asked::Now) {
        true => Ok(()),
        false => Err(Problem::new(409, format!("`{}` does not run here", row.name))),
    };
    caller.did("connector.poll", format!("connector/{}", row.name), None, asked).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "asked": true }))))
}

pub async fn test(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Analyst)?;
    let row = find(&caller, &name).await?;
    let probed = probe(&api, &row).await;
    let probe =
        caller.did("connector.test", format!("connector/{}", row.name), None, probed).await?;
    Ok(Json(shown(&probe)))
}

/// Makes one real call as a connector would.
///
/// # Errors
/// A problem: nothing of the documents that run can try it.
pub async fn probe(api: &Api, row: &ConnectorRow) -> Result<Vec<ProbeStep>, Problem> {
    let Some(probers) = &api.probers else {
        return Err(Problem::new(409, "no documents run here"));
    };
    if let Some(probe) = probers.of(&row.name) {
        return Ok(probe.run().await);
    }
    let name = &row.name;
    let nothing =
        |why: &str| Problem::new(409, format!("there is nothing to try of `{name}`: {why}"));
    Err(match (row.removed_at, row.origin.as_str()) {
        (Some(_), _) => nothing("no document declares it any more").detail(
            "`azud connectors list --removed` shows such; put it into a document that runs again",
        ),
        (None, "api") => nothing("no definition that runs matches it").detail(
            "a source with `connector = \"…\"` that matches its name, in a document, runs for it",
        ),
        _ => nothing("it waits for what is sent to it"),
    })
}

/// Whether no step of a probe failed.
pub fn passed(steps: &[ProbeStep]) -> bool {
    steps.iter().all(|step| step.outcome.is_ok())
}

/// Writes what a probe saw.
pub fn shown(steps: &[ProbeStep]) -> Value {
    let shown = steps.iter().map(|step| match &step.outcome {
        Ok(seen) => json!({
            "name": step.name, "message": seen, "failed": null, "http_status": null,
        }),
        Err(Failed { cause, message, http_status }) => json!({
            "name": step.name, "message": message, "failed": cause.name(),
            "http_status": http_status,
        }),
    });
    json!({ "passed": passed(steps), "steps": shown.collect::<Vec<_>>() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    limit: Option<u32>,
    after: Option<i64>,
}

pub async fn history(
    caller: Caller,
    Path(name): Path<String>,
    Parameters(asked): Parameters<Page>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let limit = limit(asked.limit)?;
    let row = find(&caller, &name).await?;
    let rows = caller.registry().store().connector_history(&row, asked.after, limit + 1).await?;
    Ok(page(rows, limit, |row| row.id.to_string(), HistoryRow::to_json))
}
