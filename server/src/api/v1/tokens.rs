//! `/tokens`: who may use the API.

use super::paging::{Named, limit, page};
use crate::api::caller::Caller;
use crate::api::problem::{Body, Parameters, Problem};
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use azud_event::time::EventTime;
use azud_store::{Role, TokenRow};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 128;

pub async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Named>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Admin)?;
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

pub async fn create(
    caller: Caller,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.needs(Role::Admin)?;
    let Some(role) = Role::named(&new.role) else {
        return Err(Problem::malformed("`role` is viewer, analyst, editor or admin"));
    };
    check_name(&new.name)?;
    let expires_at = time("expires_at", new.expires_at.as_deref())?;
    let created = caller.registry().store().create_token(&new.name, role, expires_at).await;
    let after = json!({ "role": role.name(), "expires_at": new.expires_at });
    let object = format!("token/{}", new.name);
    let created = created.map_err(Problem::from);
    let (row, token) = caller.did("token.create", object, Some(after), created).await?;
    let mut shown = row.to_json();
    shown["token"] = token.reveal().into();
    Ok((StatusCode::CREATED, Json(shown)))
}

pub async fn revoke(caller: Caller, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    caller.needs(Role::Admin)?;
    let revoked = match caller.registry().store().revoke_token(&name).await {
        Ok(true) => Ok(()),
        Ok(false) => return Err(Problem::not_found(format!("there is no token `{name}`"))),
        Err(error) => Err(error.into()),
    };
    caller.did("token.revoke", format!("token/{name}"), None, revoked).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Checks a name that somebody gives.
///
/// # Errors
/// A problem that says what it may be.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(good) {
        true => Ok(()),
        false => Err(Problem::malformed(
            "`name` has letters, digits, `_`, `-`, `.` and `/`, and at most 128 of them",
        )),
    }
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
