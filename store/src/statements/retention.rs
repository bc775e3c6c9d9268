//! Statements that remove what is old, a batch each.
//!
//! What is to go is looked for by a reader, which holds nobody up however long it looks; the writer
//! then removes at most [`ROWS_MAX`] rows by their keys.

use super::instances::present;
use crate::sql::{Connection, Pool, Transaction, within};
use crate::{StoreError, Writer};
use azud_event::time::EventTime;

/// About how many rows go in one transaction: some milliseconds.
pub(crate) const ROWS_MAX: i64 = 500;

/// How many alerts are looked at for a batch.
const ALERTS_MAX: i64 = 100;

/// Removes a batch of changes of status.
pub(crate) async fn retire_history(
    readers: &Pool,
    writer: &Writer,
    before: EventTime,
    now: EventTime,
) -> Result<u64, StoreError> {
    const OLD: &str = "SELECT id FROM connector_status_history WHERE at < $1 ORDER BY id LIMIT $2";
    const RETIRE: &str = "DELETE FROM connector_status_history WHERE id <= $2 AND at < $1";
    retire_numbered(readers, writer, (OLD, RETIRE), before, now).await
}

/// Removes a batch of the trail.
pub(crate) async fn retire_audit(
    readers: &Pool,
    writer: &Writer,
    before: EventTime,
    now: EventTime,
) -> Result<u64, StoreError> {
    const OLD: &str = "SELECT id FROM audit_log WHERE at < $1 ORDER BY id LIMIT $2";
    const RETIRE: &str = "DELETE FROM audit_log WHERE id <= $2 AND at < $1";
    retire_numbered(readers, writer, (OLD, RETIRE), before, now).await
}

/// Removes a batch of a table whose rows are numbered as they come.
async fn retire_numbered(
    readers: &Pool,
    writer: &Writer,
    (old, retire): (&'static str, &'static str),
    before: EventTime,
    now: EventTime,
) -> Result<u64, StoreError> {
    let rows = readers.rows(old, &[before.into(), ROWS_MAX.into()]).await?;
    let Some(last) = rows.last() else { return Ok(0) };
    let last = last.integer("id")?;
    within_transaction(writer, now, async |transaction| {
        transaction.execute(retire, &[before.into(), last.into()]).await
    })
    .await
}

/// Removes a batch of groups of dead letters that were handled.
pub(crate) async fn retire_dead_letters(
    writer: &Writer,
    before: EventTime,
    now: EventTime,
) -> Result<u64, StoreError> {
    const RETIRE: &str = "
        DELETE FROM dead_letters WHERE id IN (
          SELECT id FROM dead_letters
          WHERE state IN ('replayed', 'discarded', 'lost') AND handled_at < $1 LIMIT $2)";
    within_transaction(writer, now, async |transaction| {
        transaction.execute(RETIRE, &[before.into(), ROWS_MAX.into()]).await
    })
    .await
}

/// Removes a batch of alerts that are over. One with many revisions loses the oldest of them first,
/// and goes with the last.
pub(crate) async fn retire_alerts(
    readers: &Pool,
    writer: &Writer,
    before: EventTime,
    now: EventTime,
) -> Result<u64, StoreError> {
    const OLD: &str = "
        SELECT id FROM alerts WHERE state <> 'firing' AND revised_at < $1
        ORDER BY revised_at, id LIMIT $2";
    let rows = readers.rows(OLD, &[before.into(), ALERTS_MAX.into()]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<String> = rows.iter().map(|row| row.text("id")).collect::<Result<_, _>>()?;
    within_transaction(writer, now, async |transaction| {
        let mut removed = 0;
        for id in &ids {
            removed += retire_alert(transaction, id, before).await?;
            if removed >= ROWS_MAX.unsigned_abs() {
                break;
            }
        }
        Ok(removed)
    })
    .await
}

/// Removes an alert, or as many of its revisions as go at a time; nothing when it came back.
async fn retire_alert(
    transaction: &mut Transaction<'_>,
    id: &str,
    before: EventTime,
) -> Result<u64, StoreError> {
    const REVISIONS: &str = "
        DELETE FROM alert_revisions WHERE alert_id = $1
          AND revision < $3 + (SELECT min(revision) FROM alert_revisions WHERE alert_id = $1)
          AND EXISTS (SELECT 1 FROM alerts
                      WHERE id = $1 AND state <> 'firing' AND revised_at < $2)";
    const ALERT: &str = "
        DELETE FROM alerts WHERE id = $1 AND state <> 'firing' AND revised_at < $2
          AND NOT EXISTS (SELECT 1 FROM alert_revisions WHERE alert_id = $1)";
    let values = [id.into(), before.into(), ROWS_MAX.into()];
    let removed = transaction.execute(REVISIONS, &values).await?;
    Ok(removed + transaction.execute(ALERT, &values[..2]).await?)
}

/// Does some work in a transaction of the writer's, as long as nobody took over.
async fn within_transaction(
    writer: &Writer,
    now: EventTime,
    work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<u64, StoreError>,
) -> Result<u64, StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let done = within(writer.pool.patience(), run(&mut connection, writer, now, work)).await;
    connection.release(&done);
    done
}

async fn run(
    connection: &mut Connection,
    writer: &Writer,
    now: EventTime,
    work: impl AsyncFnOnce(&mut Transaction<'_>) -> Result<u64, StoreError>,
) -> Result<u64, StoreError> {
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    let removed = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(removed)
}
