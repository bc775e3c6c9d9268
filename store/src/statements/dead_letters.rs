//! Statements on `dead_letters`.

use super::instances::present;
use crate::dead_letters::{DeadLetters, LettersEnd, SAMPLE_BYTES_MAX};
use crate::sql::{Connection, Pool, Value, within};
use crate::{StoreError, Writer};
use azud_event::time::EventTime;
use std::borrow::Cow;
use uuid::Uuid;

// Counts are those of the files, so a row is set and not added to. One that was handled is held
// again when letters of its group come.
const UPSERT: &str = "
    INSERT INTO dead_letters (id, pipeline, component_id, stage, reason, message, source_id, peer,
      records, bytes, sample, segment_from, segment_to, minute, first_received_at,
      last_received_at, incarnation, epoch, response_code, state)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
      'held')
    ON CONFLICT (id) DO UPDATE SET
      message = excluded.message, peer = excluded.peer, records = excluded.records,
      bytes = excluded.bytes, sample = excluded.sample, segment_from = excluded.segment_from,
      segment_to = excluded.segment_to, first_received_at = excluded.first_received_at,
      last_received_at = excluded.last_received_at, epoch = excluded.epoch,
      response_code = excluded.response_code, state = 'held', handled_by = NULL,
      handled_at = NULL";

const END: &str = "
    UPDATE dead_letters SET state = $2, handled_by = $3, handled_at = $4
    WHERE id = $1 AND state = 'held'";

/// Writes groups as they are, and ends those that are gone.
pub(crate) async fn keep_dead_letters(
    writer: &Writer,
    held: &[DeadLetters],
    gone: &[LettersEnd],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let keeping = keep(&mut connection, writer, held, gone, now);
    let kept = within(writer.pool.patience(), keeping).await;
    connection.release(&kept);
    kept
}

/// Lists the ids of the groups that are held, of one life of the data folder.
pub(crate) async fn held_dead_letters(
    pool: &Pool,
    incarnation: [u8; 16],
) -> Result<Vec<String>, StoreError> {
    const HELD: &str = "SELECT id FROM dead_letters WHERE state = 'held' AND incarnation = $1";
    let incarnation = Value::Uuid(Uuid::from_bytes(incarnation));
    pool.rows(HELD, &[incarnation]).await?.iter().map(|row| row.text("id")).collect()
}

async fn keep(
    connection: &mut Connection,
    writer: &Writer,
    held: &[DeadLetters],
    gone: &[LettersEnd],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    for letters in held {
        let [message, peer] =
            [&letters.message, letters.peer.as_deref().unwrap_or_default()].map(without_zeros);
        let sample = &letters.sample[..letters.sample.len().min(SAMPLE_BYTES_MAX)];
        let values = [
            (&letters.id).into(),
            (&letters.pipeline).into(),
            (&letters.component_id).into(),
            (&letters.stage).into(),
            (&letters.reason).into(),
            (&*message).into(),
            (&letters.source_id).into(),
            Value::Text(letters.peer.as_ref().map(|_| &*peer)),
            letters.records.into(),
            letters.bytes.into(),
            Value::Bytes(sample),
            (&letters.segment_from).into(),
            (&letters.segment_to).into(),
            letters.minute.into(),
            letters.first_received_at.into(),
            letters.last_received_at.into(),
            Value::Uuid(Uuid::from_bytes(letters.incarnation)),
            letters.epoch.map_or(Value::Integer(None), Value::from),
            Value::Integer(letters.response_code.map(i64::from)),
        ];
        transaction.execute(UPSERT, &values).await?;
    }
    for end in gone {
        let state = if end.discarded_by.is_some() { "discarded" } else { "lost" };
        let values = [(&end.id).into(), state.into(), (&end.discarded_by).into(), end.at.into()];
        transaction.execute(END, &values).await?;
    }
    transaction.commit().await
}

/// Replaces what PostgreSQL takes in no text, and a stranger may send in any.
fn without_zeros(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}
