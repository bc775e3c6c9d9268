//! `/credentials`: what this database keeps for `SECRET[azud.…]`. A value never comes out.

use super::connectors::shown;
use super::paging::{Named, limit, page, versioned};
use super::tokens::time;
use crate::api::Api;
use crate::api::caller::{Caller, Editor};
use crate::api::problem::{Body, Parameters, Problem};
use crate::deeds::credentials::{self as deeds, Rotation, Running, Tried};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use azud_plan::component::{Secret, parse_duration};
use azud_store::{CredentialKind, CredentialRow, Role};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Named>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let limit = limit(asked.limit)?;
    let rows = caller.registry().store().credentials(asked.after.as_deref(), limit + 1).await?;
    Ok(page(rows, limit, |row| row.name.clone(), CredentialRow::to_json))
}

pub async fn show(caller: Caller, Path(name): Path<String>) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    let row = deeds::find(&caller.doer(), &name).await?;
    Ok(versioned(row.version, row.to_json()))
}

/// A value on its way in.
struct Hidden(Secret);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Hidden(Secret::new(text)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: String,
    kind: Option<String>,
    value: Hidden,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewValue {
    value: Hidden,
    kind: Option<String>,
    expires_at: Option<String>,
    overlap: Option<String>,
    /// Of a rotation: the value is taken on trust.
    untested: Option<bool>,
}

fn value(
    Hidden(value): Hidden,
    kind: Option<&str>,
    expires_at: Option<&str>,
) -> Result<deeds::Value, Problem> {
    let kind = match kind.map(CredentialKind::named) {
        Some(None) => return Err(Problem::malformed("there is no such `kind`")),
        kind => kind.flatten(),
    };
    Ok(deeds::Value { value, kind, expires_at: time("expires_at", expires_at)? })
}

fn overlap(text: Option<&str>) -> Result<Option<Duration>, Problem> {
    match text.map(parse_duration) {
        Some(None) => Err(Problem::malformed("`overlap` is written as `1h`")),
        asked => Ok(asked.flatten()),
    }
}

pub async fn add(Editor(caller): Editor, Body(new): Body<New>) -> Result<Response, Problem> {
    let value = value(new.value, new.kind.as_deref(), new.expires_at.as_deref())?;
    let keyring = caller.registry().keyring();
    let row = deeds::add(&caller.doer(), keyring, &new.name, value).await?;
    let mut response = versioned(row.version, row.to_json());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub async fn set(
    Editor(caller): Editor,
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(new): Body<NewValue>,
) -> Result<Response, Problem> {
    let value = value(new.value, new.kind.as_deref(), new.expires_at.as_deref())?;
    let (overlap, doer) = (overlap(new.overlap.as_deref())?, caller.doer());
    let row = deeds::find(&doer, &name).await?;
    let keyring = caller.registry().keyring();
    let row = deeds::set(&doer, keyring, &row.name, value, overlap).await?;
    forget(&api, &row.name).await;
    Ok(versioned(row.version, row.to_json()))
}

/// Has a credential read anew by who uses it; where it cannot be read now, it is in a moment.
async fn forget(api: &Api, name: &str) {
    if let Ok(running) = running(api) {
        let _ = deeds::reread(&running, name).await;
    }
}

fn running(api: &Api) -> Result<Running, Problem> {
    match (&api.secrets, &api.probers) {
        (Some(secrets), Some(probers)) => {
            let (secrets, probers) = (Arc::clone(secrets), Arc::clone(probers));
            Ok(Running { secrets, probers, rotating: Arc::clone(&api.rotating) })
        }
        _ => Err(Problem::new(409, "no documents run here")),
    }
}

pub async fn rotate(
    Editor(caller): Editor,
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(new): Body<NewValue>,
) -> Result<Response, Problem> {
    let running = running(&api)?;
    let rotation = Rotation {
        doer: caller.doer(),
        keyring: Arc::clone(caller.registry().keyring()),
        name,
        value: value(new.value, new.kind.as_deref(), new.expires_at.as_deref())?,
        overlap: overlap(new.overlap.as_deref())?.unwrap_or(deeds::OVERLAP),
        untested: new.untested.unwrap_or(false),
    };
    // A task of its own: who asked may leave, and the new value must not stay untried.
    let rotating = tokio::spawn(async move { deeds::rotate(rotation, Some(&running)).await });
    let rotated = rotating.await.map_err(|_| Problem::new(500, "the rotation broke off"))?;
    let (row, trial) = rotated?;
    let tried: Vec<&str> = trial.tried.iter().map(|one| one.connector.as_str()).collect();
    let mut shown = row.to_json();
    shown["tried"] = tried.into();
    shown["untried"] = trial.untried.into();
    Ok(versioned(row.version, shown))
}

pub async fn test(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Analyst)?;
    let row = deeds::find(&caller.doer(), &name).await?;
    let tried = try_users(&caller, &api, &row.name).await;
    let object = format!("credential/{}", row.name);
    let tried = caller.did("credential.test", object, None, tried).await?;
    Ok(Json(json!({ "items": tried, "next": null })))
}

/// Tries every connector that names a credential and can be tried, with what it is now.
async fn try_users(caller: &Caller, api: &Api, name: &str) -> Result<Vec<Value>, Problem> {
    let (registry, running) = (caller.registry(), running(api)?);
    let uses = registry.store().credential_uses(registry.keyring(), name).await?;
    deeds::reread(&running, name).await.map_err(unread)?;
    let trial = deeds::try_all(&running, uses).await;
    let show = |one: &Tried| {
        let mut item = shown(&one.steps);
        item["connector"] = one.connector.as_str().into();
        item
    };
    Ok(trial.tried.iter().map(show).collect())
}

fn unread(why: String) -> Problem {
    Problem::new(503, "the credential cannot be read now").detail(why)
}

pub async fn refresh(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Analyst)?;
    let row = deeds::find(&caller.doer(), &name).await?;
    deeds::reread(&running(&api)?, &row.name).await.map_err(unread)?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn uses(caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let row = deeds::find(&caller.doer(), &name).await?;
    let registry = caller.registry();
    let uses = registry.store().credential_uses(registry.keyring(), &row.name).await?;
    let items: Vec<Value> =
        uses.into_iter().map(|connector| json!({ "connector": connector })).collect();
    Ok(Json(json!({ "items": items, "next": null })))
}

pub async fn revoke(
    Editor(caller): Editor,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let row = deeds::find(&caller.doer(), &name).await?;
    deeds::revoke(&caller.doer(), caller.registry().keyring(), &row.name).await?;
    forget(&api, &row.name).await;
    Ok(StatusCode::NO_CONTENT)
}
