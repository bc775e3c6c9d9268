//! Statements on `rules`.

use super::{Database, discard_if_failed};
use crate::{Rule, StoreError};
use azud_event::time::EventTime;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

impl Database {
    /// Upserts the rules and marks the others as removed.
    pub async fn load_rules(&self, rules: &[Rule], now: EventTime) -> Result<(), StoreError> {
        let mut connection = self.writer()?.pool.acquire().await?;
        let loaded = load_all(&mut connection, rules, &now.to_rfc3339()).await;
        discard_if_failed(&mut connection, &loaded);
        loaded
    }
}

async fn load_all(
    connection: &mut SqliteConnection,
    rules: &[Rule],
    now: &str,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for rule in rules {
        sqlx::query(
            "INSERT INTO rules (id, pipeline, version, title, severity, mode, tags, loaded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET
               pipeline = excluded.pipeline, version = excluded.version,
               title = excluded.title, severity = excluded.severity, mode = excluded.mode,
               tags = excluded.tags, loaded_at = excluded.loaded_at, removed_at = NULL",
        )
        .bind(&rule.id)
        .bind(&rule.pipeline)
        .bind(&rule.version)
        .bind(&rule.title)
        .bind(i64::from(rule.severity.id()))
        .bind(&rule.mode)
        .bind(Value::from(rule.tags.clone()).to_string())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    }
    let ids: Vec<_> = rules.iter().map(|rule| rule.id.clone()).collect();
    // One parameter for the whole list: a list of placeholders would make text of data.
    sqlx::query(
        "UPDATE rules SET removed_at = ?1
         WHERE removed_at IS NULL AND id NOT IN (SELECT value FROM json_each(?2))",
    )
    .bind(now)
    .bind(Value::from(ids).to_string())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
