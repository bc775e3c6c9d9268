//! Statements on `rules`.

use super::instances::present;
use crate::sql::{Connection, Value, within};
use crate::{Rule, StoreError, Writer};
use azud_event::time::EventTime;
use std::collections::HashSet;

const UPSERT: &str = "
    INSERT INTO rules (id, pipeline, version, title, severity, mode, tags, loaded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (id) DO UPDATE SET
      pipeline = excluded.pipeline, version = excluded.version,
      title = excluded.title, severity = excluded.severity, mode = excluded.mode,
      tags = excluded.tags, loaded_at = excluded.loaded_at, removed_at = NULL";

/// Upserts the rules and marks the others as removed.
pub(crate) async fn load_rules(
    writer: &Writer,
    rules: &[Rule],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let loading = load_all(&mut connection, writer, rules, now);
    let loaded = within(writer.pool.patience(), loading).await;
    connection.release(&loaded);
    loaded
}

async fn load_all(
    connection: &mut Connection,
    writer: &Writer,
    rules: &[Rule],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    for rule in rules {
        let tags = serde_json::Value::from(rule.tags.clone()).to_string();
        let values = [
            (&rule.id).into(),
            (&rule.pipeline).into(),
            (&rule.version).into(),
            (&rule.title).into(),
            rule.severity.into(),
            (&rule.mode).into(),
            Value::Json(Some(&tags)),
            now.into(),
        ];
        transaction.execute(UPSERT, &values).await?;
    }
    // One by one: rules leave seldom, and the databases agree on no way to bind a list.
    let loaded: HashSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    let known = transaction.rows("SELECT id FROM rules WHERE removed_at IS NULL", &[]).await?;
    for row in known {
        let id = row.text("id")?;
        if !loaded.contains(id.as_str()) {
            let gone = [(&id).into(), now.into()];
            transaction.execute("UPDATE rules SET removed_at = $2 WHERE id = $1", &gone).await?;
        }
    }
    transaction.commit().await
}
