//! Statements on `connectors` and `connector_cursors`.

use super::history::{note, note_alone};
use super::instances::present;
use crate::connectors::{
    ConnectorFilter, ConnectorRow, CursorRow, NewConnector, Progress, Status, Transition,
};
use crate::sql::{Connection, Pool, Row, Transaction, Value, within};
use crate::{StoreError, Writer};
use azud_event::id::Id;
use azud_event::time::EventTime;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// How long what no document has any more is remembered.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Writes a query of whole rows.
macro_rules! select {
    ($behind:literal) => {
        concat!(
            "SELECT id, name, kind, type, origin, origin_path, labels, enabled, configuration, ",
            "summary, version, interval_seconds, status, status_reason, status_message, ",
            "status_since, last_successful_connection, last_attempt_at, next_attempt_at, ",
            "last_error, last_error_at, consecutive_failures, records_total, bytes_total, ",
            "attempts_total, failures_total, owner_instance, lease_until, lease_term, ",
            "cursor_version, created_at, updated_at, removed_at FROM connectors ",
            $behind
        )
    };
}

const INSERT: &str = "
    INSERT INTO connectors (id, name, kind, type, origin, origin_path, labels, enabled,
      configuration, summary, version, interval_seconds, status, status_reason, status_since,
      created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12, $13, $14, $14, $14)";

const REDECLARE: &str = "
    UPDATE connectors SET kind = $2, type = $3, origin = $4, origin_path = $5, configuration = $6,
      summary = $7, interval_seconds = $8, version = version + $9, status = $10,
      status_reason = $11, status_message = NULL, status_since = $12,
      updated_at = CASE WHEN $9 > 0 THEN $12 ELSE updated_at END,
      next_attempt_at = NULL, removed_at = NULL
    WHERE id = $1";

const REMOVE: &str = "
    UPDATE connectors SET status = 'disabled', status_reason = 'removed', status_message = $2,
      status_since = $3, next_attempt_at = NULL, updated_at = $3, version = version + 1,
      removed_at = $3
    WHERE id = $1";

const FORGET: &str = "DELETE FROM connectors WHERE removed_at < $1";

/// A connector of a document, ready to be written: with its configuration sealed where it changed.
pub(crate) struct Declaration<'a> {
    pub id: Uuid,
    pub new: &'a NewConnector,
    /// Of a row that is there: whether anything of it changes.
    pub known: Option<Known>,
    pub configuration: &'a [u8],
}

/// What is there of a connector that a document declares.
pub(crate) struct Known {
    pub status: Status,
    pub enabled: bool,
    pub changed: bool,
}

/// Makes these the connectors of the documents: others that came from documents are marked as
/// removed, and forgotten a month later.
pub(crate) async fn declare_connectors(
    writer: &Writer,
    declared: &[Declaration<'_>],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let declaring = declare_all(&mut connection, writer, declared, now);
    let done = within(writer.pool.patience(), declaring).await;
    connection.release(&done);
    done
}

async fn declare_all(
    connection: &mut Connection,
    writer: &Writer,
    declared: &[Declaration<'_>],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    note_alone(&mut transaction).await?;
    for one in declared {
        match &one.known {
            None => insert(&mut transaction, one.id, one.new, one.configuration, now).await?,
            Some(known) => redeclare(&mut transaction, writer, one, known, now).await?,
        }
    }
    let names: HashSet<&str> = declared.iter().map(|one| one.new.name.as_str()).collect();
    const FILED: &str = "SELECT id, name, status, origin_path FROM connectors
                         WHERE origin = 'file' AND removed_at IS NULL";
    for row in transaction.rows(FILED, &[]).await? {
        if names.contains(row.text("name")?.as_str()) {
            continue;
        }
        let (id, path) = (row.uuid("id")?, row.optional_text("origin_path")?);
        let message = format!("no longer in {}", path.as_deref().unwrap_or("any document"));
        transaction.execute(REMOVE, &[id.into(), (&message).into(), now.into()]).await?;
        let change = Transition {
            at: now,
            from: status(&row)?,
            to: Status::Disabled,
            reason: "removed".to_owned(),
            message,
            http_status: None,
        };
        note(&mut transaction, writer, id, &change, 0).await?;
    }
    transaction.execute(FORGET, &[now.saturating_sub(REMEMBERED).into()]).await?;
    transaction.commit().await
}

async fn redeclare(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    one: &Declaration<'_>,
    known: &Known,
    now: EventTime,
) -> Result<(), StoreError> {
    let (to, reason) = match known.enabled {
        true => (Status::Starting, "started"),
        false => (Status::Disabled, "disabled"),
    };
    let summary = one.new.summary.to_string();
    let values = [
        one.id.into(),
        one.new.kind.name().into(),
        (&one.new.r#type).into(),
        one.new.origin.name().into(),
        (&one.new.origin_path).into(),
        Value::Bytes(one.configuration),
        Value::Json(Some(&summary)),
        seconds(one.new.interval),
        i64::from(known.changed).into(),
        to.name().into(),
        reason.into(),
        now.into(),
    ];
    transaction.execute(REDECLARE, &values).await?;
    if known.status == to {
        return Ok(());
    }
    let message = "the instance started".to_owned();
    let reason = reason.to_owned();
    let change = Transition { at: now, from: known.status, to, reason, message, http_status: None };
    note(transaction, writer, one.id, &change, 0).await
}

fn seconds(interval: Option<Duration>) -> Value<'static> {
    let seconds = interval.map(|interval| interval.as_secs().max(1));
    Value::Integer(seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
}

async fn insert(
    transaction: &mut Transaction<'_>,
    id: Uuid,
    new: &NewConnector,
    configuration: &[u8],
    now: EventTime,
) -> Result<(), StoreError> {
    let labels = serde_json::to_string(&new.labels).expect("texts are JSON");
    let summary = new.summary.to_string();
    let (status, reason) = match new.enabled {
        true => ("starting", "started"),
        false => ("disabled", "disabled"),
    };
    let values = [
        id.into(),
        (&new.name).into(),
        new.kind.name().into(),
        (&new.r#type).into(),
        new.origin.name().into(),
        (&new.origin_path).into(),
        Value::Json(Some(&labels)),
        Value::Boolean(new.enabled),
        Value::Bytes(configuration),
        Value::Json(Some(&summary)),
        seconds(new.interval),
        status.into(),
        reason.into(),
        now.into(),
    ];
    transaction.execute(INSERT, &values).await?;
    Ok(())
}

/// Adds a connector that no document has.
///
/// # Errors
/// [`StoreError::Taken`] when there is one of that name.
pub(crate) async fn add_connector(
    writer: &Writer,
    id: Uuid,
    new: &NewConnector,
    configuration: &[u8],
    now: EventTime,
) -> Result<(), StoreError> {
    const SAME: &str = "SELECT id FROM connectors WHERE name = $1";
    let mut connection = writer.pool.acquire().await?;
    let adding = async {
        let mut transaction = connection.begin().await?;
        if !transaction.rows(SAME, &[(&new.name).into()]).await?.is_empty() {
            return Err(StoreError::Taken { name: new.name.clone() });
        }
        insert(&mut transaction, id, new, configuration, now).await?;
        transaction.commit().await
    };
    let added = within(writer.pool.patience(), adding).await;
    connection.release(&added);
    added
}

/// Switches a connector on or off; gives whether that changed something.
///
/// # Errors
/// [`StoreError::Changed`] when its version is not the expected one any more.
pub(crate) async fn enable_connector(
    writer: &Writer,
    row: &ConnectorRow,
    enabled: bool,
    message: &str,
    now: EventTime,
) -> Result<bool, StoreError> {
    const ENABLE: &str = "
        UPDATE connectors SET enabled = $2, status = $3, status_reason = $4, status_message = $5,
          status_since = $6, next_attempt_at = NULL, updated_at = $6, version = version + 1
        WHERE id = $1 AND version = $7 AND removed_at IS NULL";
    if row.enabled == enabled {
        return Ok(false);
    }
    let (to, reason) = match enabled {
        true => (Status::Starting, "enabled"),
        false => (Status::Disabled, "disabled"),
    };
    let mut connection = writer.pool.acquire().await?;
    let enabling = async {
        let mut transaction = connection.begin().await?;
        note_alone(&mut transaction).await?;
        let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
        let values = [
            id.into(),
            Value::Boolean(enabled),
            to.name().into(),
            reason.into(),
            message.into(),
            now.into(),
            row.version.into(),
        ];
        if transaction.execute(ENABLE, &values).await? == 0 {
            return Err(StoreError::Changed);
        }
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let from = row.status;
        let change = Transition { at: now, from, to, reason, message, http_status: None };
        note(&mut transaction, writer, id, &change, 0).await?;
        transaction.commit().await
    };
    let enabled = within(writer.pool.patience(), enabling).await;
    connection.release(&enabled);
    enabled.map(|()| true)
}

const PROGRESS: &str = "
    UPDATE connectors SET status = $2, status_reason = $3, status_message = $4,
      status_since = $5, last_successful_connection = $6, last_attempt_at = $7,
      next_attempt_at = $8, last_error = $9, last_error_at = $10, consecutive_failures = $11,
      records_total = records_total + $12, bytes_total = bytes_total + $13,
      attempts_total = attempts_total + $14, failures_total = failures_total + $15
    WHERE id = $1 AND removed_at IS NULL AND enabled = $16";

/// Writes how connectors are, and what they did since the last time, all or nothing.
pub(crate) async fn report_connectors(
    writer: &Writer,
    progress: &[Progress],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let reporting = report_all(&mut connection, writer, progress, now);
    let done = within(writer.pool.patience(), reporting).await;
    connection.release(&done);
    done
}

async fn report_all(
    connection: &mut Connection,
    writer: &Writer,
    progress: &[Progress],
    now: EventTime,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    present(&mut transaction, writer, now).await?;
    if progress.iter().any(|one| !one.changes.is_empty()) {
        note_alone(&mut transaction).await?;
    }
    for one in progress {
        let values = [
            one.id.into(),
            one.status.name().into(),
            (&one.reason).into(),
            (&one.message).into(),
            one.since.into(),
            one.last_success.into(),
            one.last_attempt.into(),
            one.next_attempt.into(),
            (&one.last_error).into(),
            one.last_error_at.into(),
            u64::from(one.failures_in_row).into(),
            one.records.into(),
            one.bytes.into(),
            one.attempts.into(),
            one.failures.into(),
            Value::Boolean(one.status != Status::Disabled),
        ];
        // Nothing is written of what somebody switched off meanwhile: that is the status.
        if transaction.execute(PROGRESS, &values).await? == 0 {
            continue;
        }
        for (number, change) in one.changes.iter().enumerate() {
            let flaps = if number == 0 { one.flaps } else { 0 };
            note(&mut transaction, writer, one.id, change, flaps).await?;
        }
    }
    transaction.commit().await
}

/// Lists connectors by name.
pub(crate) async fn connectors(
    pool: &Pool,
    filter: &ConnectorFilter,
) -> Result<Vec<ConnectorRow>, StoreError> {
    const LIST: &str = select!(
        "WHERE ($1 IS NULL OR name > $1) AND ($2 IS NULL OR status = $2)
           AND ($3 IS NULL OR kind = $3) AND ($4 = 1 OR removed_at IS NULL)
         ORDER BY name LIMIT $5"
    );
    let values = [
        (&filter.after).into(),
        Value::Text(filter.status.map(Status::name)),
        Value::Text(filter.kind.map(azud_plan::component::ConnectorKind::name)),
        i64::from(filter.removed).into(),
        i64::from(filter.limit).into(),
    ];
    pool.rows(LIST, &values).await?.iter().map(read).collect()
}

/// Gives a connector by its name or id.
pub(crate) async fn connector(pool: &Pool, name: &str) -> Result<Option<ConnectorRow>, StoreError> {
    const BY_NAME: &str = select!("WHERE name = $1");
    const BY_ID: &str = select!("WHERE id = $1");
    let mut rows = pool.rows(BY_NAME, &[name.into()]).await?;
    if let (true, Ok(id)) = (rows.is_empty(), Uuid::parse_str(name)) {
        rows = pool.rows(BY_ID, &[id.into()]).await?;
    }
    rows.first().map(read).transpose()
}

/// Gives what changes whenever somebody changes a connector: a hash of which rows there are, and of
/// the counts in them. A sum of the counts would be the same again when a row goes and another
/// comes.
pub(crate) async fn connectors_version(pool: &Pool) -> Result<Id, StoreError> {
    const VERSIONS: &str = "SELECT id, version, cursor_version FROM connectors ORDER BY id";
    let mut counts = Vec::new();
    for row in pool.rows(VERSIONS, &[]).await? {
        counts.extend_from_slice(row.uuid("id")?.as_bytes());
        counts.extend_from_slice(&row.count("version")?.to_le_bytes());
        counts.extend_from_slice(&row.count("cursor_version")?.to_le_bytes());
    }
    Ok(Id::of(&[&counts]))
}

fn status(row: &Row) -> Result<Status, StoreError> {
    let name = row.text("status")?;
    Ok(Status::named(&name).expect("the checks of the tables let only statuses in"))
}

fn read(row: &Row) -> Result<ConnectorRow, StoreError> {
    Ok(ConnectorRow {
        id: row.uuid("id")?.to_string(),
        name: row.text("name")?,
        kind: row.text("kind")?,
        r#type: row.text("type")?,
        origin: row.text("origin")?,
        origin_path: row.optional_text("origin_path")?,
        labels: serde_json::from_value(row.json("labels")?).unwrap_or_default(),
        enabled: row.boolean("enabled")?,
        configuration: row.bytes("configuration")?,
        summary: row.json("summary")?,
        version: row.count("version")?,
        interval_seconds: row.optional_integer("interval_seconds")?.map(i64::unsigned_abs),
        status: status(row)?,
        status_reason: row.optional_text("status_reason")?,
        status_message: row.optional_text("status_message")?,
        status_since: row.time("status_since")?,
        last_successful_connection: row.optional_time("last_successful_connection")?,
        last_attempt_at: row.optional_time("last_attempt_at")?,
        next_attempt_at: row.optional_time("next_attempt_at")?,
        last_error: row.optional_text("last_error")?,
        last_error_at: row.optional_time("last_error_at")?,
        consecutive_failures: row.count("consecutive_failures")?,
        records_total: row.count("records_total")?,
        bytes_total: row.count("bytes_total")?,
        attempts_total: row.count("attempts_total")?,
        failures_total: row.count("failures_total")?,
        owner_instance: row.optional_uuid("owner_instance")?.map(|id| id.to_string()),
        lease_until: row.optional_time("lease_until")?,
        lease_term: row.count("lease_term")?,
        cursor_version: row.count("cursor_version")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        removed_at: row.optional_time("removed_at")?,
    })
}

/// Lists the cursors of a connector by partition, sealed.
pub(crate) async fn cursors(pool: &Pool, id: Uuid) -> Result<Vec<CursorRow>, StoreError> {
    Ok(cursors_and_version(pool, id).await?.0)
}

/// As [`cursors`], with how often they were set from outside.
pub(crate) async fn cursors_and_version(
    pool: &Pool,
    id: Uuid,
) -> Result<(Vec<CursorRow>, u64), StoreError> {
    // One statement, so that both are of one moment.
    const CURSORS: &str = "
        SELECT connectors.cursor_version, partition, cursor, connector_cursors.summary, event_time,
          format, connector_cursors.updated_at
        FROM connectors LEFT JOIN connector_cursors ON connector_id = connectors.id
        WHERE connectors.id = $1 ORDER BY partition";
    let read = |row: &Row| {
        Ok(CursorRow {
            partition: row.text("partition")?,
            sealed: row.bytes("cursor")?,
            summary: row.text("summary")?,
            event_time: row.optional_time("event_time")?,
            format: u32::try_from(row.integer("format")?).unwrap_or(u32::MAX),
            updated_at: row.time("updated_at")?,
        })
    };
    let rows = pool.rows(CURSORS, &[id.into()]).await?;
    let version = rows.first().map_or(Ok(0), |row| row.count("cursor_version"))?;
    let mut cursors = Vec::new();
    for row in &rows {
        // A connector without a cursor has a row without one.
        if row.optional_text("partition")?.is_some() {
            cursors.push(read(row)?);
        }
    }
    Ok((cursors, version))
}

/// A change of a cursor; without `cursor` it is given up.
#[derive(Debug)]
pub(crate) struct CursorChange {
    pub id: Uuid,
    pub partition: String,
    pub cursor: Option<SealedCursor>,
    /// The term of the lease that the caller holds; `None` where none is needed.
    pub term: Option<u64>,
    /// How often it had been set from outside when the caller read it; `None` from outside.
    pub version: Option<u64>,
}

/// What became of a change of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CursorChanged {
    Done,
    /// Another process holds the lease.
    Lost,
    /// Somebody set it meanwhile.
    Overtaken,
}

/// A cursor, sealed for its row.
#[derive(Debug)]
pub(crate) struct SealedCursor {
    pub sealed: Vec<u8>,
    pub summary: String,
    pub event_time: Option<EventTime>,
    pub format: u32,
}

/// Writes changes of cursors in one transaction; says of each whether its caller may write.
pub(crate) async fn change_cursors(
    writer: &Writer,
    changes: &[CursorChange],
    now: EventTime,
) -> Result<Vec<CursorChanged>, StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let changing = async {
        let mut transaction = connection.begin().await?;
        present(&mut transaction, writer, now).await?;
        let mut may = Vec::with_capacity(changes.len());
        for change in changes {
            may.push(change_cursor(&mut transaction, writer, change, now).await?);
        }
        transaction.commit().await?;
        Ok(may)
    };
    let done = within(writer.pool.patience(), changing).await;
    connection.release(&done);
    done
}

async fn change_cursor(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    change: &CursorChange,
    now: EventTime,
) -> Result<CursorChanged, StoreError> {
    // The row stays ours until the transaction ends, so nobody takes the lease in its middle, nor
    // sets the cursor.
    const MINE: &str = "
        UPDATE connectors SET lease_term = lease_term
        WHERE id = $1 AND ($3 IS NULL OR owner_instance = $2 AND lease_term = $3)
        RETURNING cursor_version";
    let term = change.term.map_or(Value::Integer(None), Value::from);
    let mine = [change.id.into(), writer.instance.into(), term];
    let rows = transaction.rows(MINE, &mine).await?;
    let Some(row) = rows.first() else { return Ok(CursorChanged::Lost) };
    let version = row.count("cursor_version")?;
    if change.version.is_some_and(|seen| seen != version) {
        return Ok(CursorChanged::Overtaken);
    }
    put_cursor(transaction, writer, change, now).await?;
    Ok(CursorChanged::Done)
}

async fn put_cursor(
    transaction: &mut Transaction<'_>,
    writer: &Writer,
    change: &CursorChange,
    now: EventTime,
) -> Result<(), StoreError> {
    const PUT: &str = "
        INSERT INTO connector_cursors (connector_id, partition, cursor, summary, event_time,
          incarnation, format, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (connector_id, partition) DO UPDATE SET
          cursor = excluded.cursor, summary = excluded.summary,
          event_time = excluded.event_time, incarnation = excluded.incarnation,
          format = excluded.format, updated_at = excluded.updated_at";
    const GIVE_UP: &str =
        "DELETE FROM connector_cursors WHERE connector_id = $1 AND partition = $2";
    let (id, partition) = (change.id.into(), (&change.partition).into());
    let Some(cursor) = &change.cursor else {
        transaction.execute(GIVE_UP, &[id, partition]).await?;
        return Ok(());
    };
    let values = [
        id,
        partition,
        Value::Bytes(&cursor.sealed),
        (&cursor.summary).into(),
        cursor.event_time.into(),
        writer.incarnation.into(),
        i64::from(cursor.format).into(),
        now.into(),
    ];
    transaction.execute(PUT, &values).await?;
    Ok(())
}

/// Takes or renews leases, each for so long; gives the term of each that is ours. A server only:
/// an embedded database has one process.
pub(crate) async fn take_leases(
    writer: &Writer,
    wanted: &[(Uuid, Duration)],
    now: EventTime,
) -> Result<Vec<Option<u64>>, StoreError> {
    // By the clock of the server, so that those of the processes do not matter.
    const TAKE: &str = "
        UPDATE connectors SET
          lease_term = lease_term
            + CASE WHEN owner_instance IS NOT DISTINCT FROM $2 THEN 0 ELSE 1 END,
          owner_instance = $2, lease_until = clock_timestamp() + $3 * interval '1 millisecond'
        WHERE id = $1 AND removed_at IS NULL AND (owner_instance IS NULL OR owner_instance = $2
          OR lease_until IS NULL OR lease_until < clock_timestamp())
        RETURNING lease_term";
    let mut connection = writer.pool.acquire().await?;
    let taking = async {
        let mut transaction = connection.begin().await?;
        present(&mut transaction, writer, now).await?;
        let mut terms = Vec::with_capacity(wanted.len());
        for (id, length) in wanted {
            let milliseconds = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
            let values = [(*id).into(), writer.instance.into(), milliseconds.into()];
            let rows = transaction.rows(TAKE, &values).await?;
            terms.push(rows.first().map(|row| row.count("lease_term")).transpose()?);
        }
        transaction.commit().await?;
        Ok(terms)
    };
    let taken = within(writer.pool.patience(), taking).await;
    connection.release(&taken);
    taken
}

/// Removes a connector.
///
/// # Errors
/// [`StoreError::Changed`] when it is another one by now.
pub(crate) async fn remove_connector(
    writer: &Writer,
    row: &ConnectorRow,
) -> Result<(), StoreError> {
    const REMOVE: &str = "DELETE FROM connectors WHERE id = $1 AND version = $2";
    let mut connection = writer.pool.acquire().await?;
    let removing = async {
        let mut transaction = connection.begin().await?;
        let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
        match transaction.execute(REMOVE, &[id.into(), row.version.into()]).await? {
            0 => Err(StoreError::Changed),
            _ => transaction.commit().await,
        }
    };
    let removed = within(writer.pool.patience(), removing).await;
    connection.release(&removed);
    removed
}

/// Sets the sealed settings of a connector, and how often it is polled. Its version stays: it is of
/// what people change.
pub(crate) async fn configure_connector(
    writer: &Writer,
    id: Uuid,
    (configuration, interval): (&[u8], Option<Duration>),
) -> Result<(), StoreError> {
    const CONFIGURE: &str =
        "UPDATE connectors SET configuration = $2, interval_seconds = $3 WHERE id = $1";
    let mut connection = writer.pool.acquire().await?;
    let configuring = async {
        let mut transaction = connection.begin().await?;
        let values = [id.into(), Value::Bytes(configuration), seconds(interval)];
        transaction.execute(CONFIGURE, &values).await?;
        transaction.commit().await
    };
    let configured = within(writer.pool.patience(), configuring).await;
    connection.release(&configured);
    configured
}

/// Changes the labels of a connector.
///
/// # Errors
/// [`StoreError::Changed`] when it is another one by now.
pub(crate) async fn label_connector(
    writer: &Writer,
    row: &ConnectorRow,
    labels: &BTreeMap<String, String>,
    now: EventTime,
) -> Result<(), StoreError> {
    const LABEL: &str = "
        UPDATE connectors SET labels = $3, version = version + 1, updated_at = $4
        WHERE id = $1 AND version = $2";
    let mut connection = writer.pool.acquire().await?;
    let labelling = async {
        let mut transaction = connection.begin().await?;
        let id = Uuid::parse_str(&row.id).expect("it was written from a UUID");
        let labels = serde_json::to_string(labels).expect("texts are JSON");
        let values = [id.into(), row.version.into(), Value::Json(Some(&labels)), now.into()];
        match transaction.execute(LABEL, &values).await? {
            0 => Err(StoreError::Changed),
            _ => transaction.commit().await,
        }
    };
    let labelled = within(writer.pool.patience(), labelling).await;
    connection.release(&labelled);
    labelled
}

const REREAD: &str = "UPDATE connectors SET cursor_version = cursor_version + 1 WHERE id = $1";

/// Sets a cursor from outside, whoever has the lease: who polls reads it again.
pub(crate) async fn set_cursor(
    writer: &Writer,
    change: &CursorChange,
    now: EventTime,
) -> Result<(), StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let setting = async {
        let mut transaction = connection.begin().await?;
        put_cursor(&mut transaction, writer, change, now).await?;
        transaction.execute(REREAD, &[change.id.into()]).await?;
        transaction.commit().await
    };
    let set = within(writer.pool.patience(), setting).await;
    connection.release(&set);
    set
}

/// Forgets cursors from outside; gives how many.
pub(crate) async fn reset_cursors(
    writer: &Writer,
    id: Uuid,
    partition: Option<&str>,
) -> Result<u64, StoreError> {
    const RESET: &str = "DELETE FROM connector_cursors
                         WHERE connector_id = $1 AND ($2 IS NULL OR partition = $2)";
    let mut connection = writer.pool.acquire().await?;
    let resetting = async {
        let mut transaction = connection.begin().await?;
        let gone = transaction.execute(RESET, &[id.into(), Value::Text(partition)]).await?;
        transaction.execute(REREAD, &[id.into()]).await?;
        transaction.commit().await?;
        Ok(gone)
    };
    let reset = within(writer.pool.patience(), resetting).await;
    connection.release(&reset);
    reset
}
