//! `/tokens`: who may use the API.

use super::paging::{Named, limit, page};
use super::repeats::ShownOnce;
use crate::api::caller::Admin;
use crate::api::problem::{Body, Parameters, Problem};
use crate::deeds::tokens as deeds;
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use azud_event::time::EventTime;
use azud_store::TokenRow;
use serde::Deserialize;
use serde_json::Value;

pub async fn list(
    Admin(caller): Admin,
    Parameters(asked): Parameters<Named>,
) -> Result<Json<Value>, Problem> {
    let limit = limit(asked.limit)?;
    let rows = caller.registry().store().tokens(asked.after.as_deref(), limit + 1).await?;
    Ok(page(rows, limit, |row| row.name.clone(), TokenRow::to_json))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: String,
    role: String,
    expires_at: Option<String>,
}

pub async fn create(Admin(caller): Admin, Body(new): Body<New>) -> Result<Response, Problem> {
    let expires_at = time("expires_at", new.expires_at.as_deref())?;
    let created = deeds::create(&caller.doer(), &new.name, &new.role, expires_at).await;
    let (row, token) = created?;
    let mut shown = row.to_json();
    shown["token"] = token.reveal().into();
    let mut response = (StatusCode::CREATED, Json(shown)).into_response();
    response.extensions_mut().insert(ShownOnce);
    Ok(response)
}

pub async fn revoke(Admin(caller): Admin, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    deeds::revoke(&caller.doer(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a time that may be given.
///
/// # Errors
/// A problem that names the field.
pub fn time(field: &str, text: Option<&str>) -> Result<Option<EventTime>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match EventTime::from_rfc3339(text) {
        Some(time) => Ok(Some(time)),
        None => Err(Problem::malformed(format!("`{field}` is written as 2026-03-01T10:00:00Z"))),
    }
}
