//! `/audit`: who changed what.

use super::paging::{limit, page};
use crate::api::caller::Admin;
use crate::api::problem::{Parameters, Problem};
use axum::Json;
use azud_store::AuditRow;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    limit: Option<u32>,
    after: Option<i64>,
}

pub async fn list(
    Admin(caller): Admin,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Value>, Problem> {
    let limit = limit(asked.limit)?;
    let rows = caller.registry().store().audit_log(asked.after, limit + 1).await?;
    Ok(page(rows, limit, |row| row.id.to_string(), AuditRow::to_json))
}
