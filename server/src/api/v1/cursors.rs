//! `/connectors/{connector}/cursor`: how far one has come.

use super::connectors::find;
use crate::api::caller::{Caller, Editor};
use crate::api::problem::{Body, Parameters, Problem};
use crate::deeds::connectors as deeds;
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use azud_plan::component::Cursor;
use azud_store::{Role, StoredCursor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

pub async fn show(caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    caller.needs(Role::Viewer)?;
    let row = find(&caller, &name).await?;
    let cursors = caller.registry().store().cursor_summaries(&row).await?;
    let items: Vec<Value> = cursors.iter().map(StoredCursor::to_json).collect();
    Ok(Json(json!({ "items": items, "next": null })))
}

/// What was exported, or a cursor as a person writes it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`state`, `format` and `summary` as they were exported, or `cursor`")]
pub enum New {
    Exported(Exported),
    Written(Written),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    #[serde(default)]
    partition: String,
    state: String,
    #[serde(deserialize_with = "whole")]
    format: u32,
    summary: String,
    event_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    #[serde(default)]
    partition: String,
    cursor: String,
}

impl New {
    fn cursor(self) -> Result<(String, Cursor), Problem> {
        let Exported { partition, state, format, summary, event_time } = match self {
            New::Exported(exported) => exported,
            New::Written(Written { partition, cursor }) => {
                return Ok((partition, deeds::written_cursor(&cursor)?));
            }
        };
        let Ok(state) = STANDARD.decode(&state) else {
            return Err(Problem::malformed("`state` is Base64"));
        };
        let event_time = super::tokens::time("event_time", event_time.as_deref())?;
        Ok((partition, Cursor { state, format, summary, event_time }))
    }
}

/// Reads a whole number, also one that is written with a fraction of nothing: JSON knows one kind.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = f64::deserialize(deserializer)?;
    match number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
        true => Ok(number as u32),
        false => Err(D::Error::custom("no whole number")),
    }
}

pub async fn set(
    Editor(caller): Editor,
    Path(name): Path<String>,
    Body(new): Body<New>,
) -> Result<StatusCode, Problem> {
    let row = find(&caller, &name).await?;
    let (partition, cursor) = new.cursor()?;
    let keyring = caller.registry().keyring();
    deeds::set_cursor(&caller.doer(), keyring, &row, &partition, &cursor).await?;
    caller.registry().refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    partition: Option<String>,
}

pub async fn reset(
    Editor(caller): Editor,
    Path(name): Path<String>,
    Parameters(which): Parameters<Which>,
) -> Result<StatusCode, Problem> {
    let row = find(&caller, &name).await?;
    deeds::reset_cursors(&caller.doer(), &row, which.partition.as_deref()).await?;
    caller.registry().refresh().await?;
    Ok(StatusCode::NO_CONTENT)
}
