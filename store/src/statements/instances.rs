//! Statements on `instances`: who writes.
//!
//! Several instances may write one database in turns: one works, another stands by. Each has its
//! row here, found again by its data folder, so that what is kept for an instance (how far its
//! sinks are) is there when its turn comes again. The one that works is the one whose row names a
//! process; whoever begins takes that from all others.

use crate::sql::{Connection, Pool, Transaction, within};
use crate::{Identity, StoreError, Writer, new_uuid};
use azud_event::time::EventTime;
use uuid::Uuid;

/// Who writes from now on.
pub(crate) struct Begun {
    pub instance: Uuid,
    pub incarnation: Uuid,
    pub process: Uuid,
}

/// Finds or makes the row of an instance, and makes this process the one that writes.
pub(crate) async fn begin(
    pool: &Pool,
    identity: Identity,
    now: EventTime,
) -> Result<Begun, StoreError> {
    let mut connection = pool.acquire().await?;
    let begun = within(pool.patience(), take_over(&mut connection, identity, now)).await;
    connection.release(&begun);
    begun
}

async fn take_over(
    connection: &mut Connection,
    identity: Identity,
    now: EventTime,
) -> Result<Begun, StoreError> {
    // The rows of versions that knew one instance only have another id.
    const KNOWN: &str = "SELECT id FROM instances WHERE id = $1 OR incarnation = $1";
    const BEGIN: &str = "
        INSERT INTO instances (id, incarnation, process, version, started_at, last_seen_at)
        VALUES ($1, $2, $3, $4, $5, $5)
        ON CONFLICT (id) DO UPDATE SET
          incarnation = excluded.incarnation, process = excluded.process,
          version = excluded.version, started_at = excluded.started_at,
          last_seen_at = excluded.last_seen_at";
    const END_OTHERS: &str = "UPDATE instances SET process = NULL WHERE id <> $1";
    // Who had them is gone, or writes no more. The new term tells what it may still send.
    const END_LEASES: &str = "
        UPDATE connectors SET lease_term = lease_term + 1, owner_instance = NULL, lease_until = NULL
        WHERE owner_instance IS NOT NULL";
    let folder = Uuid::from_bytes(identity.folder);
    let incarnation = if identity.resumes { folder } else { new_uuid(now)? };
    let process = new_uuid(now)?;
    let mut transaction = connection.begin().await?;
    let known = transaction.rows(KNOWN, &[folder.into()]).await?;
    let instance = known.first().map_or(Ok(folder), |row| row.uuid("id"))?;
    let version = env!("CARGO_PKG_VERSION");
    let values = [instance.into(), incarnation.into(), process.into(), version.into(), now.into()];
    transaction.execute(BEGIN, &values).await?;
    transaction.execute(END_OTHERS, &[instance.into()]).await?;
    transaction.execute(END_LEASES, &[]).await?;
    transaction.commit().await?;
    Ok(Begun { instance, incarnation, process })
}

/// Says in a transaction that this process is here. The row stays ours until the transaction ends,
/// so nobody can take over in its middle.
///
/// # Errors
/// [`StoreError::Replaced`] when somebody took over before.
pub(super) async fn present(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    now: EventTime,
) -> Result<(), StoreError> {
    const PRESENT: &str = "UPDATE instances SET last_seen_at = $3 WHERE id = $1 AND process = $2";
    let values = [writer.instance.into(), writer.process.into(), now.into()];
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

/// Says that this process is here.
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
