//! Statements on `sink_progress`.

use crate::sql::{Pool, Row, Transaction, Value};
use crate::{Delivery, Progress, StoreError, Writer};
use azud_event::time::EventTime;
use uuid::Uuid;

const PROGRESS: &str = "SELECT pipeline, incarnation, confirmed_epoch, plan_version, rows_total,
                          updated_at
                        FROM sink_progress WHERE sink_id = $1 AND instance_id = $2";

/// Gives how far a sink is.
pub(crate) async fn progress(
    pool: &Pool,
    sink_id: &str,
    instance: Uuid,
) -> Result<Option<Progress>, StoreError> {
    let rows = pool.rows(PROGRESS, &[sink_id.into(), Value::Uuid(instance)]).await?;
    rows.first().map(read).transpose()
}

/// Adds a delivery that wrote so many rows.
///
/// # Errors
/// [`StoreError::WentBack`] when there is less than the delivery expects.
pub(super) async fn advance(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    delivery: &Delivery<'_>,
    rows: u64,
    now: EventTime,
) -> Result<(), StoreError> {
    let key = [delivery.sink_id.into(), Value::Uuid(writer.instance)];
    let stored = transaction.rows(PROGRESS, &key).await?;
    let stored = stored.first().map(read).transpose()?;
    let mut progress = stored.unwrap_or_else(|| Progress::none(writer.incarnation));
    if let Some(expected) = delivery.expects {
        let epoch = progress.epoch_of(expected.incarnation, &expected.pipeline);
        if epoch < Some(expected.epoch) {
            return Err(StoreError::WentBack { epoch, at: progress.updated_at });
        }
    }
    progress.advance(delivery.progress, rows);
    if let Some(alert) = delivery.alerts.last().filter(|_| progress.epoch.is_none()) {
        progress.pipeline.clone_from(&alert.rule.pipeline);
    }
    let [sink_id, instance] = key;
    let values = [
        sink_id,
        instance,
        (&progress.pipeline).into(),
        Value::Uuid(Uuid::from_bytes(progress.incarnation)),
        progress.epoch.map_or(Value::Integer(None), Value::from),
        (&progress.plan_version).into(),
        progress.rows_total.into(),
        now.into(),
    ];
    transaction
        .execute(
            "INSERT INTO sink_progress (sink_id, instance_id, pipeline, incarnation,
               confirmed_epoch, plan_version, rows_total, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (sink_id, instance_id) DO UPDATE SET
               pipeline = excluded.pipeline, incarnation = excluded.incarnation,
               confirmed_epoch = excluded.confirmed_epoch, plan_version = excluded.plan_version,
               rows_total = excluded.rows_total, updated_at = excluded.updated_at",
            &values,
        )
        .await?;
    Ok(())
}

fn read(row: &Row) -> Result<Progress, StoreError> {
    Ok(Progress {
        pipeline: row.text("pipeline")?,
        incarnation: *row.uuid("incarnation")?.as_bytes(),
        epoch: row.optional_integer("confirmed_epoch")?.map(i64::unsigned_abs),
        plan_version: row.optional_text("plan_version")?,
        rows_total: row.count("rows_total")?,
        updated_at: Some(row.time("updated_at")?),
    })
}
