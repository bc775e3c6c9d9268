//! Statements on `instances`: who writes.

use crate::sql::{Connection, Pool, Transaction, Value, within};
use crate::{StoreError, Writer, new_uuid};
use azud_event::time::EventTime;
use uuid::Uuid;

/// Finds or makes the instance's row, and gives its id and its incarnation: the one given, or a new
/// one.
pub(crate) async fn begin_incarnation(
    pool: &Pool,
    incarnation: Option<[u8; 16]>,
    now: EventTime,
) -> Result<(Uuid, Uuid), StoreError> {
    let incarnation = match incarnation {
        Some(bytes) => Uuid::from_bytes(bytes),
        None => new_uuid(now)?,
    };
    let mut connection = pool.acquire().await?;
    let begun = within(pool.patience(), begin(&mut connection, incarnation, now)).await;
    connection.release(&begun);
    begun
}

async fn begin(
    connection: &mut Connection,
    incarnation: Uuid,
    now: EventTime,
) -> Result<(Uuid, Uuid), StoreError> {
    let mut transaction = connection.begin().await?;
    let known = transaction.rows("SELECT id FROM instances", &[]).await?;
    let instance = match known.first() {
        Some(row) => row.uuid("id")?,
        None => new_uuid(now)?,
    };
    let values = [
        Value::Uuid(instance),
        Value::Uuid(incarnation),
        env!("CARGO_PKG_VERSION").into(),
        now.into(),
    ];
    transaction
        .execute(
            "INSERT INTO instances (id, incarnation, version, started_at, last_seen_at)
             VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (id) DO UPDATE SET
               incarnation = excluded.incarnation, version = excluded.version,
               started_at = excluded.started_at, last_seen_at = excluded.last_seen_at",
            &values,
        )
        .await?;
    transaction.commit().await?;
    Ok((instance, incarnation))
}

/// Says in a transaction that this incarnation is here. The row stays ours until the transaction
/// ends, so nobody can take over in its middle.
///
/// # Errors
/// [`StoreError::Replaced`] when somebody took over before.
pub(super) async fn present(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    now: EventTime,
) -> Result<(), StoreError> {
    const PRESENT: &str =
        "UPDATE instances SET last_seen_at = $3 WHERE id = $1 AND incarnation = $2";
    let values = [Value::Uuid(writer.instance), Value::Uuid(writer.incarnation), now.into()];
    match transaction.execute(PRESENT, &values).await? {
        0 => Err(StoreError::Replaced),
        _ => Ok(()),
    }
}

/// Gives when the instance last said that it is here; `None` when it never did.
pub(crate) async fn last_seen(pool: &Pool) -> Result<Option<EventTime>, StoreError> {
    let rows = pool.rows("SELECT max(last_seen_at) AS seen FROM instances", &[]).await?;
    rows.first().map_or(Ok(None), |row| row.optional_time("seen"))
}

/// Says that this incarnation is here.
pub(crate) async fn check(writer: &Writer, now: EventTime) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let checking = async {
        let mut transaction = connection.begin().await?;
        present(&mut transaction, writer, now).await?;
        transaction.commit().await
    };
    let checked = within(writer.pool.patience(), checking).await;
    connection.release(&checked);
    checked
}
