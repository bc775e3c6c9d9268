//! Statements on `encryption_keys`, and on every column that is sealed.

use crate::keys::MasterKind;
use crate::sql::{Connection, Pool, Row, Value, within};
use crate::{StoreError, Writer};
use azud_event::time::EventTime;
use uuid::Uuid;

/// A data key as it is kept.
#[derive(Debug)]
pub(crate) struct WrappedKey {
    pub id: Uuid,
    pub wrapped: Vec<u8>,
    /// Which master key wrapped it.
    pub master_version: String,
    pub active: bool,
}

/// A data key that comes or changes: its bytes, and the master key that wrapped them.
pub(crate) struct NewKey<'a> {
    pub id: Uuid,
    pub wrapped: &'a [u8],
    pub master: MasterKind,
    pub master_version: &'a str,
}

/// Lists the data keys.
pub(crate) async fn data_keys(pool: &Pool) -> Result<Vec<WrappedKey>, StoreError> {
    const KEYS: &str = "SELECT id, wrapped_key, master_version, state FROM encryption_keys";
    let read = |row: &Row| {
        Ok(WrappedKey {
            id: row.uuid("id")?,
            wrapped: row.bytes("wrapped_key")?,
            master_version: row.text("master_version")?,
            active: row.text("state")? == "active",
        })
    };
    pool.rows(KEYS, &[]).await?.iter().map(read).collect()
}

/// Adds the first data key; `false` when there are some.
pub(crate) async fn add_first_key(
    writer: &Writer,
    key: &NewKey<'_>,
    now: EventTime,
) -> Result<bool, StoreError> {
    const FIRST: &str = "
        INSERT INTO encryption_keys (id, wrapped_key, master, master_version, state, created_at)
        SELECT $1, $2, $3, $4, 'active', $5
        WHERE NOT EXISTS (SELECT 1 FROM encryption_keys)
        ON CONFLICT DO NOTHING";
    let mut connection = writer.pool.acquire().await?;
    let adding = async {
        let mut transaction = connection.begin().await?;
        let added = transaction.execute(FIRST, &values(key, now)).await?;
        transaction.commit().await?;
        Ok(added == 1)
    };
    let added = within(writer.pool.patience(), adding).await;
    connection.release(&added);
    added
}

/// Adds a data key that new rows are sealed with, and retires the one before.
///
/// # Errors
/// [`StoreError::Changed`] when the one before is not wrapped by the same master key any more: who
/// opens the others would not open this one.
pub(crate) async fn add_key(
    writer: &Writer,
    key: &NewKey<'_>,
    now: EventTime,
) -> Result<(), StoreError> {
    const RETIRE: &str = "UPDATE encryption_keys SET state = 'retired', retired_at = $1
         WHERE state = 'active' AND master_version = $2";
    const ADD: &str = "
        INSERT INTO encryption_keys (id, wrapped_key, master, master_version, state, created_at)
        VALUES ($1, $2, $3, $4, 'active', $5)";
    let mut connection = writer.pool.acquire().await?;
    let adding = async {
        let mut transaction = connection.begin().await?;
        let retired = transaction.execute(RETIRE, &[now.into(), key.master_version.into()]).await?;
        if retired == 0 {
            return Err(StoreError::Changed);
        }
        transaction.execute(ADD, &values(key, now)).await?;
        transaction.commit().await
    };
    let added = within(writer.pool.patience(), adding).await;
    connection.release(&added);
    added
}

/// Wraps data keys anew, all or none; `before` is the version of the master key that wraps them.
///
/// # Errors
/// [`StoreError::Changed`] when there are other keys meanwhile, or another master key.
pub(crate) async fn wrap_keys(
    writer: &Writer,
    keys: &[NewKey<'_>],
    before: &str,
) -> Result<(), StoreError> {
    const WRAP: &str = "UPDATE encryption_keys SET wrapped_key = $2, master = $3,
                          master_version = $4 WHERE id = $1 AND master_version = $5";
    let mut connection = writer.pool.acquire().await?;
    let wrapping = async {
        let mut transaction = connection.begin().await?;
        let mut wrapped = 0;
        for key in keys {
            let mut values = values(key, EventTime::EPOCH);
            values[4] = before.into();
            wrapped += transaction.execute(WRAP, &values).await?;
        }
        let known = transaction.rows("SELECT id FROM encryption_keys", &[]).await?;
        if known.len() != keys.len() || wrapped != keys.len() as u64 {
            return Err(StoreError::Changed);
        }
        transaction.commit().await
    };
    let wrapped = within(writer.pool.patience(), wrapping).await;
    connection.release(&wrapped);
    wrapped
}

fn values<'a>(key: &NewKey<'a>, now: EventTime) -> [Value<'a>; 5] {
    let master = key.master.name();
    [
        Value::Uuid(key.id),
        Value::Bytes(key.wrapped),
        master.into(),
        key.master_version.into(),
        now.into(),
    ]
}

/// A column that is sealed.
#[derive(Debug)]
pub(crate) struct SealedColumn {
    pub table: &'static str,
    pub field: &'static str,
    /// Gives `first` (and `second`), which name the row, `label` for people, and `sealed`.
    select: &'static str,
    /// Puts `$4` where `$3` was in the row of `$1` and `$2`.
    update: &'static str,
    second: Second,
}

/// What names a row beside its first identity.
#[derive(Clone, Copy, Debug)]
enum Second {
    None,
    Text,
    Uuid,
}

/// Every column that is sealed.
pub(crate) const SEALED: &[SealedColumn] = &[
    SealedColumn {
        table: "connector_cursors",
        field: "cursor",
        select: "SELECT connector_id AS first, partition AS second, cursor AS sealed,
                   (SELECT name FROM connectors WHERE id = connector_id) AS label
                 FROM connector_cursors",
        update: "UPDATE connector_cursors SET cursor = $4
                 WHERE connector_id = $1 AND partition = $2 AND cursor = $3",
        second: Second::Text,
    },
    SealedColumn {
        table: "connectors",
        field: "configuration",
        select: "SELECT id AS first, configuration AS sealed, name AS label FROM connectors",
        update: "UPDATE connectors SET configuration = $3 WHERE id = $1 AND configuration = $2",
        second: Second::None,
    },
    SealedColumn {
        table: "credentials",
        field: "value",
        select: "SELECT id AS first, value AS sealed, name AS label FROM credentials
                 WHERE value IS NOT NULL",
        update: "UPDATE credentials SET value = $3 WHERE id = $1 AND value = $2",
        second: Second::None,
    },
    SealedColumn {
        table: "credentials",
        field: "previous_value",
        select: "SELECT id AS first, previous_value AS sealed, name AS label FROM credentials
                 WHERE previous_value IS NOT NULL",
        update: "UPDATE credentials SET previous_value = $3
                 WHERE id = $1 AND previous_value = $2",
        second: Second::None,
    },
    SealedColumn {
        table: "oauth_tokens",
        field: "access",
        select: "SELECT credential_id AS first, connector_id AS second, access AS sealed,
                   (SELECT name FROM credentials WHERE id = credential_id) AS label
                 FROM oauth_tokens WHERE access IS NOT NULL",
        update: "UPDATE oauth_tokens SET access = $4
                 WHERE credential_id = $1 AND connector_id = $2 AND access = $3",
        second: Second::Uuid,
    },
    SealedColumn {
        table: "oauth_tokens",
        field: "refresh",
        select: "SELECT credential_id AS first, connector_id AS second, refresh AS sealed,
                   (SELECT name FROM credentials WHERE id = credential_id) AS label
                 FROM oauth_tokens WHERE refresh IS NOT NULL",
        update: "UPDATE oauth_tokens SET refresh = $4
                 WHERE credential_id = $1 AND connector_id = $2 AND refresh = $3",
        second: Second::Uuid,
    },
];

/// A sealed value in its row.
#[derive(Debug)]
pub(crate) struct SealedValue {
    first: Uuid,
    second: Option<String>,
    /// What people call the row.
    pub label: String,
    pub sealed: Vec<u8>,
}

impl SealedValue {
    /// Names the row, as it was named when the value was sealed.
    pub fn row(&self) -> String {
        row_name(self.first, self.second.as_deref())
    }
}

/// Names a row for [`crate::seal::Place`].
pub(crate) fn row_name(first: Uuid, second: Option<&str>) -> String {
    match second {
        Some(second) => format!("{first}/{second}"),
        None => first.to_string(),
    }
}

/// Lists all values of a column.
pub(crate) async fn sealed_values(
    pool: &Pool,
    column: &SealedColumn,
) -> Result<Vec<SealedValue>, StoreError> {
    let read = |row: &Row| {
        let second = match column.second {
            Second::None => None,
            Second::Text => Some(row.text("second")?),
            Second::Uuid => Some(row.uuid("second")?.to_string()),
        };
        let label = row.optional_text("label")?.unwrap_or_default();
        Ok(SealedValue { first: row.uuid("first")?, second, label, sealed: row.bytes("sealed")? })
    };
    pool.rows(column.select, &[]).await?.iter().map(read).collect()
}

/// Replaces values of a column by the same, sealed anew; those that somebody has changed meanwhile
/// stay. Gives how many were replaced.
pub(crate) async fn reseal(
    writer: &Writer,
    column: &SealedColumn,
    values: &[(SealedValue, Vec<u8>)],
) -> Result<u64, StoreError> {
    let mut connection = writer.pool.acquire().await?;
    let sealing = reseal_all(&mut connection, column, values);
    let done = within(writer.pool.patience(), sealing).await;
    connection.release(&done);
    done
}

async fn reseal_all(
    connection: &mut Connection,
    column: &SealedColumn,
    values: &[(SealedValue, Vec<u8>)],
) -> Result<u64, StoreError> {
    let mut transaction = connection.begin().await?;
    let mut replaced = 0;
    for (value, anew) in values {
        let (first, old) = (Value::Uuid(value.first), Value::Bytes(&value.sealed));
        let second = value.second.as_deref().unwrap_or_default();
        let values = match column.second {
            Second::None => vec![first, old, Value::Bytes(anew)],
            Second::Text => vec![first, second.into(), old, Value::Bytes(anew)],
            Second::Uuid => {
                let second = Uuid::parse_str(second).expect("it was written from a UUID");
                vec![first, Value::Uuid(second), old, Value::Bytes(anew)]
            }
        };
        replaced += transaction.execute(column.update, &values).await?;
    }
    transaction.commit().await?;
    Ok(replaced)
}
