//! `/credentials`: what this database keeps for `SECRET[azud.…]`. A value never comes out.

use super::connectors::{probe, shown};
use super::paging::{Named, limit, page, versioned};
use super::tokens::{check_name, time};
use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::problem::{Body, Parameters, Problem};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use azud_plan::component::{Secret, SecretName, parse_duration};
use azud_store::{CredentialKind, CredentialRow, NewCredential, Role};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a value may be, in signs.
const VALUE_SIGNS_MAX: usize = 64 * 1024;

/// How long the old value is kept when nobody says.
const OVERLAP: Duration = Duration::from_secs(3_600);

pub async fn list(
    caller: Caller,
    Parameters(asked): Parameters<Named>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let limit = limit(asked.limit)?;
    let rows = caller.registry().store().credentials(asked.after.as_deref(), limit + 1).await?;
    Ok(page(rows, limit, |row| row.name.clone(), CredentialRow::to_json))
}

async fn find(caller: &Caller, name: &str) -> Result<CredentialRow, Problem> {
    let found = caller.registry().store().credential_row(name).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no credential `{name}`")))
}

pub async fn show(caller: Caller, Path(name): Path<String>) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    let row = find(&caller, &name).await?;
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
    expires_at: Option<String>,
    overlap: Option<String>,
}

fn check_value(value: &Hidden) -> Result<(), Problem> {
    match value.0.reveal().chars().count() {
        1..=VALUE_SIGNS_MAX => Ok(()),
        _ => Err(Problem::malformed(format!("`value` has 1 to {VALUE_SIGNS_MAX} signs"))),
    }
}

pub async fn add(caller: Caller, Body(new): Body<New>) -> Result<Response, Problem> {
    caller.needs(Role::Editor)?;
    check_name(&new.name)?;
    check_value(&new.value)?;
    let kind = match new.kind.as_deref().map(CredentialKind::named) {
        Some(None) => return Err(Problem::malformed("there is no such `kind`")),
        kind => kind.flatten(),
    };
    let expires_at = time("expires_at", new.expires_at.as_deref())?;
    if caller.registry().store().credential_row(&new.name).await?.is_some() {
        return Err(Problem::new(409, format!("there is a credential `{}` already", new.name))
            .detail("set its value with PUT"));
    }
    let credential = NewCredential {
        name: new.name,
        kind,
        value: new.value.0,
        expires_at,
        overlap: None,
        by: caller.name.clone(),
    };
    let row = store(&caller, "credential.add", &credential).await?;
    let mut response = versioned(row.version, row.to_json());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Stores a value, and has it read anew by who uses it.
async fn store(
    caller: &Caller,
    action: &str,
    credential: &NewCredential,
) -> Result<CredentialRow, Problem> {
    let registry = caller.registry();
    let set = registry.store().set_credential(registry.keyring(), credential).await;
    let after = set
        .as_ref()
        .ok()
        .map(|row| json!({ "version": row.version, "fingerprint": row.fingerprint }));
    let object = format!("credential/{}", credential.name);
    caller.did(action, object, after, set.map_err(Problem::from)).await
}

pub async fn set(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(new): Body<NewValue>,
) -> Result<Response, Problem> {
    caller.needs(Role::Editor)?;
    let row = put(&caller, &name, new, None, "credential.set").await?;
    forget(&api, &row.name);
    Ok(versioned(row.version, row.to_json()))
}

async fn put(
    caller: &Caller,
    name: &str,
    new: NewValue,
    overlap: Option<Duration>,
    action: &str,
) -> Result<CredentialRow, Problem> {
    let row = find(caller, name).await?;
    check_value(&new.value)?;
    let asked = match new.overlap.as_deref().map(parse_duration) {
        Some(None) => return Err(Problem::malformed("`overlap` is written as `1h`")),
        asked => asked.flatten(),
    };
    let credential = NewCredential {
        name: row.name,
        kind: None,
        value: new.value.0,
        expires_at: time("expires_at", new.expires_at.as_deref())?,
        overlap: asked.or(overlap),
        by: caller.name.clone(),
    };
    store(caller, action, &credential).await
}

/// Has a credential read anew.
fn forget(api: &Api, name: &str) {
    if let Some(secrets) = &api.secrets {
        secrets.refused(&SecretName { backend: "azud".to_owned(), key: name.to_owned() });
    }
}

pub async fn rotate(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(new): Body<NewValue>,
) -> Result<Response, Problem> {
    caller.needs(Role::Editor)?;
    let row = put(&caller, &name, new, Some(OVERLAP), "credential.rotate").await?;
    forget(&api, &row.name);
    let tried = try_users(&caller, &api, &row.name).await?;
    let failed = tried.iter().find(|one| one["passed"] == false);
    if let Some(failed) = failed {
        let registry = caller.registry();
        let back = registry.store().restore_credential(registry.keyring(), &row.name).await;
        let object = format!("credential/{}", row.name);
        caller.did("credential.restore", object, None, back.map_err(Problem::from)).await?;
        forget(&api, &row.name);
        return Err(Problem::new(409, "the new value does not work; the old one is in use again")
            .detail(format!("connector {}", failed["connector"].as_str().unwrap_or_default())));
    }
    Ok(versioned(row.version, row.to_json()))
}

/// Tries every connector that names a credential and can be tried.
async fn try_users(caller: &Caller, api: &Api, name: &str) -> Result<Vec<Value>, Problem> {
    let registry = caller.registry();
    let uses = registry.store().credential_uses(registry.keyring(), name).await?;
    let mut tried = Vec::new();
    for connector in uses {
        if let Ok(probe) = probe(api, &connector).await {
            let mut one = shown(&probe);
            one["connector"] = connector.into();
            tried.push(one);
        }
    }
    Ok(tried)
}

pub async fn test(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Analyst)?;
    let row = find(&caller, &name).await?;
    let tried = try_users(&caller, &api, &row.name).await;
    let object = format!("credential/{}", row.name);
    let tried = caller.did("credential.test", object, None, tried).await?;
    Ok(Json(json!({ "items": tried, "next": null })))
}

pub async fn refresh(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Analyst)?;
    let row = find(&caller, &name).await?;
    forget(&api, &row.name);
    Ok(StatusCode::NO_CONTENT)
}

pub async fn uses(caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let row = find(&caller, &name).await?;
    let registry = caller.registry();
    let uses = registry.store().credential_uses(registry.keyring(), &row.name).await?;
    let items: Vec<Value> =
        uses.into_iter().map(|connector| json!({ "connector": connector })).collect();
    Ok(Json(json!({ "items": items, "next": null })))
}

pub async fn revoke(
    caller: Caller,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(Role::Editor)?;
    let row = find(&caller, &name).await?;
    let registry = caller.registry();
    let revoked = registry.store().revoke_credential(registry.keyring(), &row.name).await;
    let object = format!("credential/{}", row.name);
    caller.did("credential.revoke", object, None, revoked.map_err(Problem::from)).await?;
    forget(&api, &row.name);
    Ok(StatusCode::NO_CONTENT)
}
