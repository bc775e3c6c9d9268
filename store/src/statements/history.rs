//! Statements on `connector_status_history`.

use crate::connectors::{HistoryRow, Transition};
use crate::sql::{Pool, Row, Transaction, Value};
use crate::{StoreError, Writer};
use azud_plan::component::StatusChange;
use std::time::Duration;
use uuid::Uuid;

/// How many changes an hour of one connector have a row each.
pub(crate) const CHANGES_AN_HOUR: i64 = 60;

/// Lets nobody else note changes of status until the transaction ends, so that who sees one sees
/// all those of lesser ids. Taken before anything else but our own row: then nobody waits in a
/// circle. In a file one writes at a time anyway.
pub(super) async fn note_alone(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    // `azst` in ASCII, and the schema: instances in schemas of their own do not meet.
    const ALONE: &str = "SELECT pg_advisory_xact_lock(1635414900, hashtext(current_schema()))";
    match transaction {
        Transaction::Sqlite(_) => Ok(()),
        Transaction::Postgres(_) => transaction.execute(ALONE, &[]).await.map(|_| ()),
    }
}

/// Notes a change of status. Of more than sixty an hour the last row gives way to the new one,
/// which stands for both: it has an id of its own, so that who reads them on sees it.
pub(super) async fn note(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    id: Uuid,
    change: &Transition,
    flaps: u64,
) -> Result<(), StoreError> {
    const RECENT: &str = "SELECT count(*) AS changes, max(id) AS last
                          FROM connector_status_history WHERE connector_id = $1 AND at > $2";
    const TAKE: &str = "DELETE FROM connector_status_history WHERE id = $1
                        RETURNING from_status, flaps";
    const ADD: &str = "
        INSERT INTO connector_status_history (connector_id, at, from_status, to_status, reason,
          message, http_status, instance_id, flaps)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let hour = change.at.saturating_sub(Duration::from_secs(3_600));
    let recent = transaction.rows(RECENT, &[id.into(), hour.into()]).await?;
    let recent = recent.first();
    let many = recent.map_or(Ok(0), |row| row.integer("changes"))? >= CHANGES_AN_HOUR;
    let last = recent.map_or(Ok(None), |row| row.optional_integer("last"))?;
    let (mut from, mut flaps) = (change.from.name().to_owned(), flaps);
    if let Some(last) = last.filter(|_| many) {
        for row in transaction.rows(TAKE, &[last.into()]).await? {
            from = row.text("from_status")?;
            flaps += row.count("flaps")? + 1;
        }
    }
    let values = [
        id.into(),
        change.at.into(),
        (&from).into(),
        change.to.name().into(),
        (&change.reason).into(),
        (&change.message).into(),
        Value::Integer(change.http_status.map(i64::from)),
        writer.instance.into(),
        flaps.into(),
    ];
    transaction.execute(ADD, &values).await?;
    Ok(())
}

/// Lists changes of status, the latest first, behind that of an id.
pub(crate) async fn connector_history(
    pool: &Pool,
    id: Uuid,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<HistoryRow>, StoreError> {
    const HISTORY: &str = "
        SELECT id, at, from_status, to_status, reason, message, http_status, instance_id, flaps
        FROM connector_status_history
        WHERE connector_id = $1 AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
    let read = |row: &Row| {
        Ok(HistoryRow {
            id: row.integer("id")?,
            at: row.time("at")?,
            from: row.text("from_status")?,
            to: row.text("to_status")?,
            reason: row.text("reason")?,
            message: row.optional_text("message")?,
            http_status: row.optional_integer("http_status")?,
            instance: row.uuid("instance_id")?.to_string(),
            flaps: row.count("flaps")?,
        })
    };
    let values = [id.into(), Value::Integer(before), i64::from(limit).into()];
    pool.rows(HISTORY, &values).await?.iter().map(read).collect()
}

/// Gives the number of the newest change of status of all connectors; 0 when there is none.
pub(crate) async fn newest_change(pool: &Pool) -> Result<u64, StoreError> {
    const NEWEST: &str = "SELECT coalesce(max(id), 0) AS newest FROM connector_status_history";
    let rows = pool.rows(NEWEST, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.count("newest"))
}

/// Lists changes of status of all connectors behind a number, in the order of their numbers.
pub(crate) async fn changes(
    pool: &Pool,
    behind: u64,
    limit: u32,
) -> Result<Vec<StatusChange>, StoreError> {
    const CHANGES: &str = "
        SELECT h.id AS number, h.at, h.from_status, h.to_status, h.reason, h.message,
          h.http_status, h.flaps, c.id, c.name, c.kind, c.type, c.labels
        FROM connector_status_history h JOIN connectors c ON c.id = h.connector_id
        WHERE h.id > $1 ORDER BY h.id LIMIT $2";
    let read = |row: &Row| {
        Ok(StatusChange {
            number: row.count("number")?,
            at: row.time("at")?,
            id: row.uuid("id")?.to_string(),
            name: row.text("name")?,
            kind: row.text("kind")?,
            r#type: row.text("type")?,
            labels: serde_json::from_value(row.json("labels")?).unwrap_or_default(),
            from: row.text("from_status")?,
            to: row.text("to_status")?,
            reason: row.text("reason")?,
            message: row.optional_text("message")?,
            http_status: row.optional_integer("http_status")?,
            flaps: row.count("flaps")?,
        })
    };
    pool.rows(CHANGES, &[behind.into(), i64::from(limit).into()]).await?.iter().map(read).collect()
}
